"""What a search or a selection gets to see of a split: rows to train and to validate on, and no held-out one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from contender.data.media import REFERENCE
from contender.files import link_or_copy
from contender.records import SplitReport
from contender.run import Run
from contender.workspace import Staged

ON = "validation"
SEEN = ("train", ON)


@contextmanager
def blind(run: Run, split: Staged[SplitReport], who: str) -> Iterator[Staged[SplitReport]]:
    """The split without its held-out rows: nothing that is called with it can read, or choose by, what the judge decides on.

    `who`: what is done with it, by its own name; whoever has the same one waits.
    """
    with run.workspace.scratch(f"{who}-{split.key[:12]}") as folder:
        for name in (*(f"{name}.arrow" for name in SEEN), REFERENCE):
            if (split.folder / name).exists():
                link_or_copy(split.folder / name, folder / name)
        seen: Any = {what: {n: getattr(split.record, what)[n] for n in SEEN} for what in ("rows", "digests")}
        yield replace(split, folder=folder, record=split.record.model_copy(update=seen))
