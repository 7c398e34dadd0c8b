"""Several objectives at once: which points no other one beats, and which of these to take.

A point holds a value for each objective, the most important first; in each the higher is the better.
"""

from __future__ import annotations

from collections.abc import Sequence

Point = tuple[float, ...]

ROUNDING = 1e-9  # that a difference of two scores may be off by: 0.90 − 0.89 is no more than 0.01


def dominates(one: Point, other: Point) -> bool:
    """Whether one is as good in every objective, and better in some: of equal points neither is."""
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))


def front(points: Sequence[Point]) -> list[int]:
    """Places of the points that no other one dominates, in their order; equal ones are on it together."""
    return [place for place, one in enumerate(points) if not any(dominates(other, one) for other in points)]


def near_best(points: Sequence[Point], tolerance: float) -> list[int]:
    """Places of the points whose first objective is at most `tolerance` worse than the best one's."""
    best = max((one[0] for one in points), default=0.0)
    return [place for place, one in enumerate(points) if best - one[0] <= tolerance + ROUNDING]


def chosen(points: Sequence[Point], tolerance: float = 0.0) -> int | None:
    """Place of the point that is best in the second objective, then the third…, of those near the best of the first; None of none.

    Equal ones are told apart by the first objective, then by which came first. It is always on the front.
    """
    near = near_best(points, tolerance)
    return max(near, key=lambda place: (points[place][1:], points[place][0], -place), default=None)


def eligible(points: Sequence[Point], tolerance: float = 0.0) -> set[int]:
    """Places of the points that can still be chosen, whatever points may come after them."""
    first = {one: place for place, one in reversed([*enumerate(points)])}
    return {place for place in {*front(points)} & {*near_best(points, tolerance)} if first[points[place]] == place}
