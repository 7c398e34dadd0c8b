"""The meter of a run: what the trainings for its model took so far, whichever run did them.

Light to import: the spec's budget is measured by it.
"""

from __future__ import annotations

JOULES_PER_KWH = 3.6e6


def amounts(**shown: float | None) -> str:
    """Unit → how much of it, for people; None: no end."""
    names = {unit: unit.removesuffix("s") if value == 1 else unit for unit, value in shown.items()}
    told = [f"{value:.4g} {names[unit].replace('_', ' ')}" for unit, value in shown.items() if value is not None]
    return " and ".join(told)


class Spent:
    """Seconds in training loops, and joules, by the key of the training; one that is told of again is counted once. For several threads."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[float, float]] = {}

    def add(self, key: str, seconds: float, kwh: float | None) -> None:
        """`kwh`: None where the device did not tell."""
        self._of[key] = (seconds, (kwh or 0.0) * JOULES_PER_KWH)

    @property
    def trainings(self) -> int:
        return len(self._of)

    @property
    def seconds(self) -> float:
        return sum(seconds for seconds, _ in [*self._of.values()])

    @property
    def joules(self) -> float:
        return sum(joules for _, joules in [*self._of.values()])
