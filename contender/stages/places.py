"""Where a stage is kept whose output is only the best so far, since the budget was spent.

That is not what the stage's key promises: a larger budget must find nothing there, and go on. It lies under a key of its own, which
follows from the budget too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from contender.records import Record, digest
from contender.run import Run


class Ended(Protocol):
    """What a record says of its end."""

    @property
    def budget_spent(self) -> bool: ...


@dataclass(frozen=True)
class Places:
    """The two keys that the output of a stage may have."""

    run: Run
    whole: str
    spent: str

    def of(self, record: Ended) -> str:
        """The key to keep it under."""
        return self.spent if record.budget_spent else self.whole

    def found(self, stage: str, record_type: type[Record]) -> str:
        """The key to look for it under."""
        ends = self.run.pipeline.spec.resources.budget.when_spent == "judge"
        return self.spent if ends and self.run.workspace.find(stage, self.spent, record_type) else self.whole


def places(run: Run, key: str) -> Places:
    """Of the stage with this key."""
    return Places(run, key, digest([key, run.pipeline.spec.resources.budget.model_dump()])[:32])
