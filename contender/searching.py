"""What a search came to: its trials, the best of them, and what the values of each key moved.

A search is a sequence of trials in which each depends on nothing but the spec, the rows and the trials before it. That is why it
survives a kill: what is asked again is answered the same, and what was tried already is found in the workspace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from contender.around import Around
from contender.crossvalidation import CrossValidated
from contender.judging.words import amount, facts, in_sentence, value
from contender.records import Record
from contender.searchspec import Value
from contender.shareable import shareable

State = Literal["finished", "pruned", "failed"]
TRIAL_COLUMNS = ("trial", "values", "on validation", "came to", "seconds")
AS_WRITTEN = "as the spec stands"
BASE = "model.base"  # the key of the space that a selection which keeps several adds


class Point(Record):
    """The score on validation after an epoch, the better the higher."""

    epoch: int
    score: float


class TriedTrial(Record):
    """One training with other values of some keys."""

    number: int = Field(description="1 is the spec as it stands")
    changes: dict[str, Value]
    state: State
    score: float | None = Field(
        default=None, description="of the primary metric on validation; None: pruned, or failed"
    )
    metrics: dict[str, float] = {}
    spread: float | None = Field(
        default=None,
        description="standard deviation of the score over folds; score and metrics are means over them then",
    )
    folds: CrossValidated | None = Field(default=None, description="each fold, with cross_validation")
    costs: dict[str, float] = Field(default={}, description="objective that is no metric → value, where it counts")
    curve: tuple[Point, ...] = ()
    seconds: float = Field(description="in the training loop")
    energy_kwh: float | None = Field(default=None, description="that its device drew there; null: not told")
    budget_spent: bool = Field(default=False, description="whether it ended where the budget did: the best so far")
    model: str | None = Field(default=None, description="the key of its training in the workspace")
    message: str = ""

    @property
    def text(self) -> str:
        """Its values, for people."""
        return ", ".join(f"{key} {_shown(key, one)}" for key, one in sorted(self.changes.items())) or AS_WRITTEN


class SearchReport(Record):
    """The trials of a search, in their order, and the one that was chosen."""

    method: str
    primary: str
    higher_is_better: bool
    set: str = "validation"
    rows: int = Field(description="of that set")
    most: int = Field(description="trials that were allowed")
    trials: tuple[TriedTrial, ...]
    best: int = Field(description="number of the trial that was chosen")
    reached: bool = Field(description="whether stop_when ended it")
    budget_spent: bool = Field(default=False, description="whether the budget ended it")
    importance: dict[str, float] = Field(
        description="key → share of what moved the score (PED-ANOVA), where there are enough trials"
    )
    objectives: tuple[str, ...] = Field(
        default=(), description="where several count: the primary metric, then the others"
    )
    tolerance: float = Field(default=0.0, description="how much of the primary metric could be given up for the others")
    front: tuple[int, ...] = Field(
        default=(), description="numbers of the trials that no other one beats, where several objectives count"
    )
    around: Around | None = Field(default=None, description="the champion that ranges were narrowed around")

    @property
    def chosen(self) -> TriedTrial:
        return self.trials[self.best - 1]

    @property
    def seconds(self) -> float:
        """In the training loop, of all trials."""
        return sum(trial.seconds for trial in self.trials)

    @property
    def lineage(self) -> dict[str, Any]:
        """What a release tells of how its options were chosen."""
        around = {"around": self.around.release} if self.around else {}
        told = {"method": self.method, "trials": len(self.trials), "chosen": self.best, **around}
        return told | {"metric": self.primary, "score": self.chosen.score, "set": self.set}

    @property
    def sentence(self) -> str:
        first, best = self.trials[0], self.chosen
        score = value(self.primary, best.score) if best.score is not None else "nothing"
        found = f"Trial {best.number} of {len(self.trials)} came to {in_sentence(self.primary)} {score} on {self.set}"
        if self.budget_spent:
            found = f"The budget is spent after {len(self.trials)} of {self.most} trials. {found}"
        if best.number == 1:
            better = "better" if not self.objectives else "chosen before it"
            return f"{found}: the spec as it stands, and nothing that was tried is {better}."
        before = (
            f", where the spec as it stands comes to {value(self.primary, first.score)}"
            if first.score is not None
            else ""
        )
        return f"{found} with {best.text}{before}."


def best_of(trials: Sequence[TriedTrial], higher_is_better: bool) -> TriedTrial | None:
    """The finished trial with the best score, the earliest of equals; None where none finished."""
    finished = [trial for trial in trials if trial.score is not None]
    sign = 1 if higher_is_better else -1
    return max(finished, key=lambda trial: (sign * (trial.score or 0.0), -trial.number), default=None)


def leaderboard(report: SearchReport) -> list[tuple[str, ...]]:
    """A row per trial, the best first: finished ones by score, pruned ones by how far they came, failed ones last."""
    sign = 1 if report.higher_is_better else -1

    def rank(trial: TriedTrial) -> tuple[float, ...]:
        if trial.score is not None:
            return (0, -sign * trial.score, trial.number)
        return (1, -len(trial.curve), trial.number) if trial.state == "pruned" else (2, 0, trial.number)

    return [
        (
            f"{trial.number}",
            trial.text,
            _scored(report.primary, trial),
            trial.message or ("chosen" if trial.number == report.best else trial.state),
            f"{trial.seconds:,.1f}",
        )
        for trial in sorted(report.trials, key=rank)
    ]


def _scored(primary: str, trial: TriedTrial) -> str:
    """Its score, with cross-validation give or take the standard deviation over the folds."""
    if trial.score is None:
        return ""
    spread = "" if trial.spread is None else f" ± {amount(primary, trial.spread)}"
    return f"{value(primary, trial.score)}{spread}"


def best_so_far(report: SearchReport) -> list[float]:
    """The best score up to each trial from the first finished one on: the history of the search."""
    found: list[float] = []
    for trial in report.trials:
        if trial.score is not None:
            worse = found and (trial.score <= found[-1]) == report.higher_is_better
            found.append(found[-1] if worse else trial.score)
        elif found:
            found.append(found[-1])
    return found


def importance_rows(report: SearchReport) -> list[tuple[str, str]]:
    """Keys by their share of what moved the score, the largest first."""
    ordered = sorted(report.importance.items(), key=lambda entry: -entry[1])
    return [(key, f"{share:.0%}") for key, share in ordered]


def reached(trial: TriedTrial, wanted: dict[str, float]) -> bool:
    """Whether a trial comes up to every value that was asked for."""
    if not wanted or trial.score is None:
        return False
    found = trial.metrics | trial.costs
    return all(
        found[name] >= bound if facts(name).higher_is_better else found[name] <= bound for name, bound in wanted.items()
    )


def _shown(key: str, one: Value) -> str:
    return shareable(str(one)) if key == BASE else shown(one)


def shown(one: Value) -> str:
    return f"{one:.3g}" if isinstance(one, float) else str(one)
