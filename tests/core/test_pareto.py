"""The laws of a Pareto front, and of the choice from it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from contender.pareto import Point, chosen, dominates, eligible, front, near_best

VALUES = st.integers(0, 4).map(float)  # few, so that many are equal
POINTS = st.integers(1, 3).flatmap(lambda size: st.lists(st.tuples(*[VALUES] * size), max_size=12))
TOLERANCES = st.integers(0, 3).map(float)


@given(POINTS)
def test_what_is_on_the_front_is_beaten_by_none_and_the_rest_by_one_of_it(points: list[Point]) -> None:
    held = front(points)
    for place, one in enumerate(points):
        beaten = [other for other in held if dominates(points[other], one)]
        assert (place in held) == (not beaten)
    assert bool(held) == bool(points)


@given(POINTS, st.randoms(use_true_random=False))
def test_the_front_and_the_choice_do_not_ask_for_an_order(points: list[Point], random: object) -> None:
    shuffled = [*points]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert sorted(points[place] for place in front(points)) == sorted(shuffled[place] for place in front(shuffled))
    if points:
        one, other = chosen(points, 1.0), chosen(shuffled, 1.0)
        assert one is not None and other is not None and points[one] == shuffled[other]


@given(POINTS, TOLERANCES)
def test_the_chosen_one_is_on_the_front_near_the_best_and_best_in_what_comes_next(
    points: list[Point], t: float
) -> None:
    place = chosen(points, t)
    if place is None:
        assert not points
        return
    assert place in front(points) and place in near_best(points, t)
    best = max(one[0] for one in points)
    assert best - points[place][0] <= t
    assert all(points[other][1:] <= points[place][1:] for other in near_best(points, t))
    if t == 0:
        assert points[place][0] == best
    assert points.index(points[place]) == place  # of equal ones the first


@given(POINTS, TOLERANCES)
def test_what_cannot_be_chosen_any_more_never_is(points: list[Point], t: float) -> None:
    """A model that was removed for it would have to be trained again."""
    held: set[int] = set()
    for count in range(1, len(points) + 1):
        now = eligible(points[:count], t)
        assert now - {count - 1} <= held
        held = now
        assert chosen(points[:count], t) in now


def test_equal_points_are_on_the_front_together_and_one_objective_is_a_maximum() -> None:
    assert front([(1.0, 2.0), (1.0, 2.0), (0.0, 2.0), (2.0, 1.0)]) == [0, 1, 3]
    assert front([(1.0,), (3.0,), (3.0,)]) == [1, 2]
    assert (chosen([(1.0,), (3.0,), (3.0,)]), chosen([])) == (1, None)


def test_a_tolerance_reaches_what_rounding_puts_beyond_it() -> None:
    points = [(0.90, -5.0), (0.89, -1.0)]
    assert 0.90 - 0.89 > 0.01 and chosen(points, 0.01) == 1
    assert chosen(points, 0.009) == 0
