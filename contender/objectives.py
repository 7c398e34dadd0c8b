"""The objectives of a search: what each trial came to in all of them, which trials no other one beats, and which is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from contender import pareto
from contender.judging.words import amount, facts, in_sentence, value
from contender.names import COSTS
from contender.searching import SearchReport, TriedTrial, best_of
from contender.searchspec import Search


@dataclass(frozen=True)
class Objectives:
    """Names, the primary metric first, and how much of it may be given up for the others, in its own units."""

    names: tuple[str, ...]
    tolerance: float = 0.0

    @property
    def costs(self) -> tuple[str, ...]:
        """Those that are measured beside the metrics."""
        return tuple(name for name in self.names if name in COSTS)

    def point(self, trial: TriedTrial) -> pareto.Point:
        """A finished trial's values, in each the higher the better."""
        return tuple(found if facts(name).higher_is_better else -found for name, found in self.values(trial))

    def values(self, trial: TriedTrial) -> list[tuple[str, float]]:
        """Objective → value of a finished trial."""
        found = trial.metrics | trial.costs
        return [(self.names[0], trial.score or 0.0), *((name, found[name]) for name in self.names[1:])]

    def chosen(self, trials: Sequence[TriedTrial]) -> TriedTrial | None:
        """The trial to go on with; None where none finished."""
        finished = [trial for trial in trials if trial.score is not None]
        place = pareto.chosen([*map(self.point, finished)], self.tolerance)
        return None if place is None else finished[place]

    def eligible(self, trials: Sequence[TriedTrial]) -> set[int]:
        """Numbers of the trials that can still be chosen, whatever comes after them."""
        finished = [trial for trial in trials if trial.score is not None]
        return {finished[place].number for place in pareto.eligible([*map(self.point, finished)], self.tolerance)}

    def front(self, trials: Sequence[TriedTrial]) -> tuple[int, ...]:
        """Numbers of the trials that no other one beats, the best in the primary metric first."""
        finished = [trial for trial in trials if trial.score is not None]
        points = [*map(self.point, finished)]
        ordered = sorted(pareto.front(points), key=lambda place: (*(-one for one in points[place]), place))
        return tuple(finished[place].number for place in ordered)


def told_of(aims: Objectives, trials: Sequence[TriedTrial]) -> dict[str, Any]:
    """What a report says of several objectives; nothing where the score alone counts."""
    if len(aims.names) == 1:
        return {}
    return {"objectives": aims.names, "tolerance": aims.tolerance, "front": aims.front(trials)}


def objectives(search: Search, primary: str) -> Objectives:
    return Objectives((primary, *search.objectives), search.tolerance)


def front_columns(report: SearchReport) -> tuple[str, ...]:
    return ("trial", "values", *map(in_sentence, report.objectives), "came to")


def front_rows(report: SearchReport) -> list[tuple[str, ...]]:
    """A row for each trial on the front, with its value in each objective; none where the score alone counted."""
    told = Objectives(report.objectives, report.tolerance)
    return [
        (
            f"{number}",
            report.trials[number - 1].text,
            *(value(name, found) for name, found in told.values(report.trials[number - 1])),
            "chosen" if number == report.best else "",
        )
        for number in report.front
    ]


def front_sentence(report: SearchReport) -> str:
    """What the chosen trial gives up, and what for; empty where the score alone counted."""
    best, chosen = best_of(report.trials, report.higher_is_better), report.chosen
    if not report.objectives or best is None or best.score is None or chosen.score is None:
        return ""
    told = Objectives(report.objectives, report.tolerance)
    many = len(report.front)
    count = f"{many} {'trial is' if many == 1 else 'trials are'} on the Pareto front of {_listed(report.objectives)}"
    ours, theirs = told.values(chosen)[1:], dict(told.values(best))
    if chosen.score == best.score:
        return (
            f"{count}; the chosen one has {', '.join(f'{in_sentence(name)} {value(name, own)}' for name, own in ours)}."
        )
    instead = [
        f"{in_sentence(name)} {value(name, own)} instead of {value(name, theirs[name])}"
        for name, own in ours
        if own != theirs[name]
    ]
    lost = f"{amount(report.primary, abs(best.score - chosen.score))} of {in_sentence(report.primary)}"
    return f"{count}; the chosen one gives up {lost} against trial {best.number}, for {', '.join(instead)}."


def _listed(names: Sequence[str]) -> str:
    *others, last = map(in_sentence, names)
    return f"{', '.join(others)} and {last}"
