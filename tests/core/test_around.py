"""A search around the champion: its options as a trial, narrower ranges, and when neither is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from searches import SPACE, loaded

from contender.around import SearchAround, narrowed, options_of, search_around
from contender.errors import SpecError
from contender.models import ResolvedBase
from contender.progress import Note, listening
from contender.records import ReleaseManifest
from contender.run import Run, open_run
from contender.searching import TriedTrial
from contender.searchspec import Parameter, Search
from contender.stages.around import around_champion, found_around
from contender.study import NextTrial

RATES = {"train.learning_rate": {"low": 1e-5, "high": 1e-2, "scale": "log"}}
OPTIONS: dict[str, Any] = {
    "train.learning_rate": 1e-3,
    "train.batch_size": 8,
    "model.method": "lora",
    "model.lora.r": 4,
}


def around(space: dict[str, Any], options: dict[str, Any], tried: bool = True, **more: Any) -> SearchAround:
    found = search_around(Search.model_validate({"space": space, **more}), "r-1", options, tried)
    assert found is not None
    return found


# --- what is narrowed -------------------------------------------------------------------------------------------------


def test_a_third_of_a_range_is_left_on_its_own_scale() -> None:
    log = narrowed(Parameter(low=1e-6, high=1.0, scale="log"), 1e-3)
    assert log.ends == pytest.approx((1e-4, 1e-2))
    assert narrowed(Parameter(low=0.0, high=0.6), 0.2).ends == pytest.approx((0.1, 0.3))
    assert narrowed(Parameter(low=0.0, high=0.6), 0.0).ends == pytest.approx((0.0, 0.1))
    assert narrowed(Parameter(values=(1, 2, 3)), 2).values == (1, 2, 3)


def test_of_whole_numbers_and_steps_the_next_ones_are_left() -> None:
    assert narrowed(Parameter(low=1, high=4), 4).ends == (3, 4)
    assert narrowed(Parameter(low=4, high=64, scale="log"), 8).ends == (6, 12)
    assert narrowed(Parameter(low=2, high=20, step=2), 10).listed == (8, 10, 12)


@given(st.data())
def test_what_is_left_lies_in_the_range_and_holds_the_value(data: st.DataObject) -> None:
    whole, log = data.draw(st.booleans()), data.draw(st.booleans())
    numbers: Any = st.integers(1, 500) if whole else st.floats(1e-6, 500)
    low, high = sorted(data.draw(st.lists(numbers, min_size=2, max_size=2, unique=True)))
    value = data.draw(st.integers(low, high) if whole else st.floats(low, high))
    one = Parameter(low=low, high=high, scale="log" if log else "linear")
    least, most = narrowed(one, value).ends
    assert low <= least <= value <= most <= high and least < most
    assert narrowed(one, value).whole == one.whole
    assert Parameter.model_validate(narrowed(one, value).model_dump()) == narrowed(one, value)


# --- what is tried ----------------------------------------------------------------------------------------------------


def test_the_champion_is_the_second_trial_and_others_lie_around_it() -> None:
    search = around(SPACE, OPTIONS, method="random", prune="asha", trials=12)
    trials: list[TriedTrial] = []
    for number in range(1, 13):
        found = NextTrial(search, 17, trials, higher_is_better=True)
        assert not found.given or not found.is_hopeless(1, -1.0, 3)
        trials.append(TriedTrial(number=number, changes=found.changes, state="finished", score=0.5, seconds=1.0))
    assert trials[0].changes == {} and trials[1].changes == OPTIONS
    low, high = search.found.ranges["train.learning_rate"]
    assert low > 1e-5 and high <= 1e-2
    assert all(low <= float(one.changes["train.learning_rate"]) <= high for one in trials[2:])
    assert "around champion r-1: train.learning_rate 0.000316 to 0.00316" in search.found.text


def test_another_champion_makes_another_search() -> None:
    def third(rate: float) -> Any:
        search = around(RATES, {"train.learning_rate": rate}, method="random")
        before = [
            TriedTrial(number=n, changes=one, state="finished", score=0.5, seconds=1.0)
            for n, one in enumerate(({}, search.found.values), 1)
        ]
        return NextTrial(search, 17, before, higher_is_better=True).changes

    assert third(1e-3) == third(1e-3) != third(2e-3)


@pytest.mark.parametrize("method", ["random", "bayesian"])
def test_a_champion_that_only_has_some_of_the_values_is_tried_with_these(method: str) -> None:
    space = RATES | {"train.batch_size": [8, 16], "train.dropout": {"low": 0.1, "high": 0.3}}
    options = {"train.learning_rate": 0.5, "train.batch_size": 16, "train.dropout": "auto"}
    search = around(space, options, method=method, prune="none", trials=4)
    assert search.found.values == {"train.batch_size": 16} and search.found.ranges == {}
    trials: list[TriedTrial] = []
    for number in range(1, 5):
        found = NextTrial(search, 17, trials, higher_is_better=True)
        trials.append(TriedTrial(number=number, changes=found.changes, state="finished", score=0.5, seconds=1.0))
    assert trials[1].changes == {"train.batch_size": 16} and set(trials[3].changes) == set(space)


def test_a_grid_around_a_champion_tries_it_once() -> None:
    space = {"train.dropout": {"low": 0.1, "high": 0.9, "step": 0.1}, "train.batch_size": [8, 16]}
    search = around(space, {"train.dropout": 0.3, "train.batch_size": 8}, method="grid")
    found = [{}, search.found.values, *search.combinations()]
    assert search.most == len(found) == 1 + 3 * 2
    assert len({repr(sorted(one.items())) for one in found}) == len(found)
    assert {one["train.dropout"] for one in found[1:]} == {0.2, search.found.values["train.dropout"], 0.4}
    trials: list[TriedTrial] = []
    for number in range(1, search.most + 1):
        changes = NextTrial(search, 17, trials, higher_is_better=True).changes
        trials.append(TriedTrial(number=number, changes=changes, state="finished", score=0.5, seconds=1.0))
    assert [one.changes for one in trials] == found


def test_a_champion_with_nothing_in_the_space_is_none() -> None:
    search = Search.model_validate({"space": RATES})
    for options in ({}, {"train.batch_size": 8}, {"train.learning_rate": 1.0}, {"train.learning_rate": True}):
        assert search_around(search, "r-1", options, True) is None


# --- whose champion ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["best", "none", True, ["champion"], "r-0123456789abcdef"])
def test_a_search_is_around_a_champion_or_nothing(tmp_path: Path, value: object) -> None:
    with pytest.raises(SpecError) as error:
        loaded(tmp_path, {"around": value})
    assert "search.around" in error.value.what and "'champion'" in error.value.what


LINEAGE: dict[str, Any] = {
    "base_digest": "d",
    "base": "b",
    "init": "pretrained",
    "method": "full",
    "train": {"learning_rate": 2e-4, "batch_size": 16, "max_length": "auto"},
    "spec": {"model": {"method": "full", "lora": {"r": 8, "targets": ["query"]}}, "train": {"learning_rate": "auto"}},
}
BASE = ResolvedBase(name="b", path="/b", digest="d")


def release(**lineage: Any) -> ReleaseManifest:
    kind = lineage.pop("kind", "text-classification")
    told = {"columns": {}, "label_names": (), "files": (), "digest": "x", "created": "", "lineage": LINEAGE | lineage}
    return ReleaseManifest.model_validate({"kind": kind, "release": "r-1"} | told)


def found_by(run: Run, champion: ReleaseManifest | None) -> tuple[Run, list[str]]:
    notes: list[Note] = []
    with listening(notes.append):
        found = around_champion(run, BASE, champion)
    return found, [note.text for note in notes]


@pytest.mark.parametrize(
    ("champion", "why"),
    [
        (None, "there is no champion yet"),
        (release(kind="token-classification"), "r-1 is of task token-classification"),
        (release(base_digest="e", base="other"), "was trained from another base, other"),
        (release(init="scratch"), "init scratch"),
        (release(method="head"), "method head"),
        (release(train={}), "no options that search.space allows"),
        (release(train={"learning_rate": 0.5}), "no options that search.space allows"),
    ],
)
def test_without_a_champion_of_its_kind_a_search_goes_as_ever_and_says_so(
    tmp_path: Path, champion: ReleaseManifest | None, why: str
) -> None:
    run = open_run(loaded(tmp_path, {"around": "champion", "space": RATES}), actor="")
    found, said = found_by(run, champion)
    assert found is run and [why in text for text in said] == [True]
    plain = open_run(loaded(tmp_path, {"space": RATES}), actor="")
    assert found_by(plain, release()) == (plain, [])


def test_a_champion_narrows_the_search_of_the_run(tmp_path: Path) -> None:
    run = open_run(loaded(tmp_path, {"around": "champion", "space": SPACE | {"train.epochs": [1, 2]}}), actor="")
    assert run.pipeline.spec.search is not None and "around the champion" in run.pipeline.spec.search.text
    found, said = found_by(run, release())
    search = found.pipeline.spec.search
    assert search is not None and search.given[1] == {
        "train.learning_rate": 2e-4,
        "train.batch_size": 16,
        "model.method": "full",
    }
    told = found_around(search)
    assert told is not None and told.release == "r-1" and told.text in said[0]
    assert found_around(run.pipeline.spec.search) is None
    assert found.pipeline.spec.with_changes({}) == run.pipeline.spec.with_changes({})


def test_a_champion_that_the_spec_stands_for_is_no_trial_of_its_own(tmp_path: Path) -> None:
    run = open_run(loaded(tmp_path, {"around": "champion", "space": RATES}), actor="")
    own = run.pipeline.spec.train.model_dump(mode="json")
    same = release(spec=LINEAGE["spec"] | {"train": own})
    search = found_by(run, same)[0].pipeline.spec.search
    assert search is not None and search.given == ({},) and found_around(search) is not None
    other = release(spec=LINEAGE["spec"] | {"train": own | {"learning_rate": 3e-4}})
    search = found_by(run, other)[0].pipeline.spec.search
    assert search is not None and len(search.given) == 2


def test_options_are_what_was_used_where_a_spec_says_auto() -> None:
    assert options_of(LINEAGE) == {
        "train.learning_rate": 2e-4,
        "train.batch_size": 16,
        "train.max_length": "auto",
        "model.lora.r": 8,
        "model.method": "full",
    }
    assert options_of({}) == {}
