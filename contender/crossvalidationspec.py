"""The spec's section `cross_validation`: how many parts of the rows validate in turn."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from contender.section import Section


class CrossValidation(Section):
    """Each part of the training and validation rows in turn validates a model that was trained on the others."""

    folds: Annotated[int, Field(ge=2, le=20)] = Field(
        default=5,
        description="parts, and trainings; rows of one split key stay in one part, labels are spread evenly, and with a split by time "
        "each part is validated by a model of all earlier rows",
    )

    def told(self, searches: bool) -> str:
        """What a run would do, for people."""
        more = f"{self.folds} trainings more{' of each trial' if searches else ''}"
        return f"{more}, each tried on rows of train and validation that it leaves out"
