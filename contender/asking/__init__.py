"""Tasks by asking a model that is somebody else's: what is asked about a row, and what an answer means; one module per family of tasks.

A family serves every task whose facts are like its own. A new one is a module with a class of the protocol `contender.asking.base.Asking`,
and a line here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contender.asking.base import Asking
    from contender.spec import Spec


def asking_of(spec: Spec, labels: Sequence[str]) -> Asking:
    """How the spec's task is asked, which is one of selectionspec.API_TASKS; `labels`: those that there are."""
    from contender.asking.chats import Chats
    from contender.asking.label_sets import LabelSets
    from contender.asking.labels import OneLabel
    from contender.asking.pairs import Pairs

    facts, longest = spec.facts, spec.model.generation.max_new_tokens
    if facts.labels == "one":
        return OneLabel(facts, labels)
    if facts.labels == "set":
        return LabelSets(facts, labels)
    return Chats(longest) if facts.parts else Pairs(spec.task, facts, spec.columns, longest)
