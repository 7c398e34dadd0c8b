"""A search for several objectives: what a spec may say, what is tried next, which trial is chosen, and what the pages show of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports import report_input
from searches import loaded

from contender.errors import SpecError
from contender.objectives import front_columns, front_rows, front_sentence, objectives, told_of
from contender.reporting.front import front_chart
from contender.reporting.report import render_report
from contender.run import open_run
from contender.searching import SearchReport, TriedTrial, best_of, reached
from contender.searchspec import Search
from contender.showing.search import search_page
from contender.stages.search import generation
from contender.study import NextTrial

pytestmark = pytest.mark.usefixtures("one_torch_thread")  # Gaussian processes of a few points

BOTH = ["latency_ms", "size_mb"]
SPACE: dict[str, Any] = {
    "train.learning_rate": {"low": 1e-5, "high": 1e-2, "scale": "log"},
    "train.max_length": [8, 16, 32, 64],
}


def trial(number: int, score: float | None, latency: float = 1.0, **more: Any) -> TriedTrial:
    state = "failed" if score is None else "finished"
    told = {"changes": {"train.max_length": number}, "metrics": {"accuracy": score or 0.0}, "seconds": 1.0} | more
    return TriedTrial.model_validate(
        {"number": number, "state": state, "score": score, "costs": {"latency_ms": latency}} | told
    )


def report(trials: list[TriedTrial], tolerance: float = 0.0) -> SearchReport:
    aims = objectives(Search(objectives=("latency_ms",), tolerance=tolerance), "accuracy")
    best = aims.chosen(trials)
    assert best is not None
    fixed: Any = {"method": "random", "primary": "accuracy", "higher_is_better": True, "importance": {}}
    counts: Any = {"rows": 100, "most": 9, "reached": False}
    return SearchReport(trials=tuple(trials), best=best.number, **fixed, **counts, **told_of(aims, trials))


FOUR = [trial(1, 0.90, 8.0), trial(2, 0.89, 2.0), trial(3, None), trial(4, 0.88, 4.0)]


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"objectives": ["latency"]}, "unknown metric 'latency' (did you mean 'latency_ms'?)"),
        ({"objectives": ["accuracy_ms"]}, "unknown metric"),
        ({"objectives": ["calibration_error"]}, "unknown metric of evaluate.metrics, or cost, 'calibration_error'"),
        ({"objectives": ["latency_ms", "latency_ms"]}, "names an objective twice"),
        ({"objectives": ["latency_ms", "accuracy"]}, "accuracy is the primary metric: it comes first"),
        ({"objectives": "latency_ms"}, "search.objectives"),
        ({"objectives": BOTH, "prune": "asha"}, "is asha, which does not go with search.objectives"),
        ({"objectives": BOTH, "prune": "median"}, "search.prune: is median"),
        ({"objectives": BOTH, "tolerance": -0.1}, "search.tolerance"),
        ({"objectives": BOTH, "tolerance": True}, "search.tolerance"),
        ({"tolerance": 0.01}, "search.objectives names nothing to gain by it"),
        ({"stop_when": {"latency_ms": 5}}, "unknown metric of evaluate.metrics, or objective, 'latency_ms'"),
        ({"stop_when": {"latency": 5}}, "unknown metric 'latency'"),
    ],
)
def test_objectives_that_cannot_be_are_refused_where_they_stand(tmp_path: Path, search: object, said: str) -> None:
    with pytest.raises(SpecError) as error:
        loaded(tmp_path, search)
    assert said in error.value.what
    assert "desk.yaml:" in error.value.what


def test_with_objectives_nothing_is_pruned_and_the_primary_metric_may_be_named_first(tmp_path: Path) -> None:
    spec = loaded(tmp_path, {"objectives": BOTH, "stop_when": {"latency_ms": 5}}).spec
    primary = spec.evaluate.metrics[0]
    assert spec.search is not None and (spec.search.prune, spec.search.objectives) == ("none", tuple(BOTH))
    assert "weighing latency_ms, size_mb too" in spec.search.text
    named = loaded(tmp_path, {"objectives": [primary, *BOTH], "stop_when": {"latency_ms": 5}}).spec
    assert named == spec == type(spec).model_validate_json(spec.model_dump_json())
    alone = loaded(tmp_path, {"objectives": [primary]}).spec.search
    assert alone is not None and (alone.prune, alone.objectives) == ("asha", ())


# --- what is tried ----------------------------------------------------------------------------------------------------


def played(search: Search, count: int) -> list[TriedTrial]:
    """A search in which long texts are better, and slower."""
    trials: list[TriedTrial] = []
    for number in range(1, count + 1):
        found = NextTrial(search, 17, trials, higher_is_better=True)
        length = float(found.changes.get("train.max_length", 64))
        score = None if number == 3 else 1 - 1 / length
        metrics = {} if score is None else {"f1_macro": score, "accuracy": score / 2}
        trials.append(trial(number, score, length / 10, changes=found.changes, metrics=metrics))
    return trials


@pytest.mark.parametrize("method", ["random", "bayesian", "grid"])
@pytest.mark.parametrize("beside", [("latency_ms",), ("latency_ms", "accuracy")])
def test_the_same_measurements_before_give_the_same_next_trial(method: str, beside: tuple[str, ...]) -> None:
    """As after a kill: the records that are left hold what was measured."""
    space = SPACE if method != "grid" else {"train.max_length": SPACE["train.max_length"]}
    search = Search.model_validate({"method": method, "space": space, "trials": 9, "objectives": beside})
    whole = played(search, 5)
    for count in (1, 4):
        record = [TriedTrial.from_bytes(one.to_bytes()) for one in whole[:count]]
        assert NextTrial(search, 17, record, higher_is_better=True).changes == whole[count].changes


def test_a_model_that_others_are_timed_beside_is_trained_before_them(tmp_path: Path) -> None:
    def first(objectives: list[str]) -> int:
        space = {"train.batch_size": [8, 16], "train.warmup": {"low": 0.0, "high": 0.5}}
        run = open_run(loaded(tmp_path, {"method": "random", "space": space, "objectives": objectives}), actor="")
        return len(generation(run, (), 3))

    assert (first(["latency_ms"]), first(["size_mb"])) == (1, 3)


@pytest.mark.parametrize("conditional", [False, True])
def test_what_was_measured_moves_a_bayesian_search(conditional: bool) -> None:
    """A Gaussian process, and TPE where a key has conditions: both take the second objective into account."""
    rate = {"low": 1e-5, "high": 1e-2, "scale": "log"}
    space = {"train.learning_rate": rate, "train.dropout": {"low": 0.0, "high": 0.5}}
    if conditional:
        space |= {
            "train.batch_size": [8, 16],
            "train.warmup": {"low": 0.0, "high": 0.5, "when": {"train.batch_size": 8}},
        }
    search = Search.model_validate({"space": space, "trials": 20, "objectives": ["latency_ms"]})
    found = []
    for sign in (1, -1):
        trials: list[TriedTrial] = []
        for number in range(1, 8):
            changes = NextTrial(search, 17, trials, higher_is_better=True).changes
            dropout = float(changes.get("train.dropout", 0.1))
            trials.append(trial(number, 0.5, 1 + sign * dropout, changes=changes))
        found.append([one.changes for one in trials])
    assert found[0][:4] == found[1][:4] and found[0] != found[1]


# --- which is chosen --------------------------------------------------------------------------------------------------


def test_a_tolerance_gives_up_that_much_of_the_score_and_no_more() -> None:
    assert report(FOUR).best == 1
    assert report(FOUR, 0.009).best == 1
    assert report(FOUR, 0.01).best == 2
    assert report(FOUR).front == report(FOUR, 0.5).front == (1, 2)


def test_ties_go_to_the_next_objective_and_then_to_the_earliest() -> None:
    assert report([trial(1, 0.9, 8.0), trial(2, 0.9, 2.0), trial(3, 0.9, 2.0)]).best == 2
    assert report([trial(1, 0.9, 8.0), trial(2, 0.9, 2.0), trial(3, 0.9, 2.0)]).front == (2, 3)


def test_lower_can_be_better_in_the_primary_metric_too() -> None:
    aims = objectives(Search(objectives=("latency_ms",), tolerance=0.1), "log_loss")
    trials = [trial(1, 0.5, 8.0), trial(2, 0.4, 8.0), trial(3, 0.45, 2.0)]
    assert aims.front(trials) == (2, 3)
    assert (best := aims.chosen(trials)) is not None and best.number == 3


@given(st.lists(st.tuples(st.none() | st.integers(0, 3), st.integers(1, 3)), max_size=8))
def test_without_objectives_the_best_score_is_chosen_as_ever(found: list[tuple[int | None, int]]) -> None:
    trials = [trial(place + 1, None if score is None else score / 4, cost) for place, (score, cost) in enumerate(found)]
    aims = objectives(Search(), "accuracy")
    assert aims.chosen(trials) == best_of(trials, higher_is_better=True)
    assert told_of(aims, trials) == {} and aims.costs == ()


def test_an_objective_can_be_what_a_search_stops_at() -> None:
    one = trial(1, 0.9, 4.0)
    assert reached(one, {"latency_ms": 4.0}) and reached(one, {"latency_ms": 5, "accuracy": 0.9})
    assert not reached(one, {"latency_ms": 3.9}) and not reached(one, {"latency_ms": 5, "accuracy": 0.91})


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_the_pages_show_the_front_and_what_was_given_up(tmp_path: Path) -> None:
    found = report(FOUR, 0.01)
    assert front_columns(found) == ("trial", "values", "accuracy", "median latency", "came to")
    assert [(row[0], *row[2:]) for row in front_rows(found)] == [
        ("1", "90.0%", "8 ms", ""),
        ("2", "89.0%", "2 ms", "chosen"),
    ]
    assert front_sentence(found) == (
        "2 trials are on the Pareto front of accuracy and median latency; the chosen one gives up 1.0 points of accuracy "
        "against trial 1, for median latency 2 ms instead of 8 ms."
    )
    page = search_page(found)
    assert "The Pareto front" in page and "gives up" in page
    html = render_report(replace(report_input(tmp_path), search=found))
    assert "<h3>Several objectives</h3>" in html and "Accuracy over median latency in ms" in html
    drawn = front_chart(found)
    assert drawn is not None and (len(drawn.front), len(drawn.others)) == (1, 1)
    chosen, first = drawn.chosen, drawn.front[0]
    assert chosen[0] < first[0] and chosen[1] > first[1]  # faster and worse, in pixels
    assert drawn.line == f"{chosen[0]},{chosen[1]} {first[0]},{chosen[1]} {first[0]},{first[1]}"


def test_a_lineage_says_which_search_chose_the_options_and_an_older_one_nothing(tmp_path: Path) -> None:
    from contender.reporting.report import lineage

    told = report(FOUR, 0.01).lineage
    assert told == {
        **{"method": "random", "trials": 4, "chosen": 2},
        **{"metric": "accuracy", "score": 0.89, "set": "validation"},
    }
    before = report_input(tmp_path)
    assert "Options chosen by" not in dict(lineage(before))
    after = replace(
        before, release=before.release.model_copy(update={"lineage": before.release.lineage | {"search": told}})
    )
    assert dict(lineage(after))["Options chosen by"] == "trial 2 of 4, random search: accuracy 89.0% on validation"


def test_one_objective_has_no_front(tmp_path: Path) -> None:
    plain = report(FOUR).model_copy(update={"objectives": (), "front": ()})
    assert front_chart(plain) is None and front_rows(plain) == [] and front_sentence(plain) == ""
    assert "Pareto" not in search_page(plain)
    assert "Several objectives" not in render_report(replace(report_input(tmp_path), search=plain))


def test_a_front_of_one_trial_is_drawn(tmp_path: Path) -> None:
    found = report([trial(1, 0.9, 4.0)])
    assert "1 trial is on the Pareto front" in front_sentence(found)
    assert "Several objectives" in render_report(replace(report_input(tmp_path), search=found))
