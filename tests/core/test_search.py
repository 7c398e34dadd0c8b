"""The search: what a space may say, what is tried next, what is stopped early, and that trials depend on nothing but those before."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports import report_input
from searches import SPACE, loaded

from contender.errors import SpecError
from contender.loading import load_pipeline
from contender.names import TASKS
from contender.plan import run_stages
from contender.reporting.report import render_report
from contender.reporting.search import search_chart
from contender.searching import Point, SearchReport, TriedTrial, best_of, best_so_far, leaderboard, reached
from contender.searchspec import Search
from contender.showing.search import search_page
from contender.spec import Spec
from contender.study import NextTrial, falls_behind, importance, looks

pytestmark = pytest.mark.usefixtures("one_torch_thread")  # Gaussian processes of a few points, thousands of times

# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"space": {"train.epoch": [1]}}, "did you mean 'train.epochs'"),
        ({"space": {"train.seed": [1, 2]}}, "unknown key that can be searched 'train.seed'"),
        ({"space": {"data.split.test": [0.1]}}, "unknown key that can be searched"),
        ({"space": {}}, "search.space: is empty"),
        ({"space": {"train.epochs": []}}, "at least 1 item"),
        ({"space": {"train.epochs": 3}}, "search.space"),
        ({"space": {"train.epochs": {}}}, "takes either values, or low and high"),
        ({"space": {"train.epochs": {"low": 5, "high": 1}}}, "low is less than high"),
        ({"space": {"train.epochs": {"low": 1}}}, "takes low and high"),
        ({"space": {"train.epochs": {"values": [1], "low": 1, "high": 2}}}, "takes either"),
        ({"space": {"train.epochs": {"values": [1, 2], "step": 1}}}, "step and scale are for low and high"),
        ({"space": {"train.epochs": [2, 2]}}, "names a value twice"),
        ({"space": {"train.learning_rate": {"low": 0, "high": 1, "scale": "log"}}}, "low is above 0"),
        ({"space": {"train.learning_rate": {"low": -1.0, "high": 1.0}}}, "-1.0: Input should be greater than 0"),
        ({"space": {"train.dropout": [0.1, 2.0]}}, "2.0: Input should be less than 1"),
        ({"space": {"model.method": ["full", "lorra"]}}, "'lorra'"),
        ({"space": {"train.augment": ["light"]}}, "reads no pictures"),
        ({"space": {"model.lora.r": {"values": [4], "when": {"model.method": "lora"}}}}, "unknown key of the space"),
        (
            {"space": SPACE | {"model.lora.r": {"values": [4], "when": {"model.method": "head"}}}},
            "model.method is never 'head'",
        ),
        ({"method": "grid", "space": {"train.learning_rate": {"low": 0.1, "high": 0.2}}}, "is a range, and a grid"),
        ({"method": "grid", "space": {"train.batch_size": {"low": 1, "high": 20000}}}, "20,000 combinations"),
        ({"trials": 1}, "search.trials"),
        ({"method": "luck"}, "search.method"),
        ({"stop_when": {"f1_micro_typo": 1}}, "unknown metric"),
        ({"stop_when": {"calibration_error": 0.1}}, "unknown metric of evaluate.metrics"),
        ({"tries": 3}, "search.tries"),
    ],
)
def test_a_search_that_cannot_be_is_refused_where_it_stands(tmp_path: Path, search: object, said: str) -> None:
    with pytest.raises(SpecError) as error:
        loaded(tmp_path, search)
    assert said in error.value.what
    assert "desk.yaml:" in error.value.what


def test_a_search_needs_validation_rows(tmp_path: Path) -> None:
    loaded(tmp_path, {})
    with pytest.raises(SpecError, match="validation is 0"):
        load_pipeline(tmp_path / "desk.yaml", ("data.split.validation=0",))


@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_task_has_a_space_of_its_own(task: str) -> None:
    facts = TASKS[task]
    spaces = {}
    for method in facts.methods:
        model = {"base": "b", "method": method, "init": facts.inits[0]}
        spec = Spec.model_validate(
            {"name": "n", "task": task, "data": {"source": "x/"}, "model": model, "search": {"trials": 3}}
        )
        assert spec.search is not None
        spaces[method] = spec.search.space
        assert spec.search.space["train.batch_size"].values == facts.batch_sizes
        assert ("train.augment" in spec.search.space) == (facts.media is not None and method == "full")
    if "head" in spaces:
        assert (
            spaces["head"]["train.learning_rate"].high == 10 * 1e-2 > (spaces["full"]["train.learning_rate"].high or 1)
        )


def test_without_a_search_nothing_is_searched_and_the_decisions_stand(tmp_path: Path) -> None:
    searching = loaded(tmp_path, {})
    text = (tmp_path / "desk.yaml").read_text().partition("search:")[0]
    (tmp_path / "desk.yaml").write_text(text)
    plain = load_pipeline(tmp_path / "desk.yaml")
    assert "search" in run_stages(searching) and "search" not in run_stages(plain)
    assert plain.digest != searching.digest


def test_a_spec_comes_back_whole_with_other_values(tmp_path: Path) -> None:
    spec = loaded(tmp_path, {"space": SPACE}).spec
    assert Spec.model_validate(json.loads(spec.model_dump_json())) == spec
    other = spec.with_changes({"train.epochs": 2, "model.method": "lora", "model.lora.r": 4})
    assert (other.train.epochs, other.model.method, other.model.lora.r, other.search) == (2, "lora", 4, None)
    assert spec.with_changes({}).train == spec.train


# --- what is tried ----------------------------------------------------------------------------------------------------


def test_a_grid_holds_every_combination_that_differs_once() -> None:
    space = {"train.epochs": {"low": 1, "high": 5, "step": 2}} | {k: SPACE[k] for k in ("model.method", "model.lora.r")}
    search = Search.model_validate({"method": "grid", "space": space})
    found = search.combinations()
    assert search.most == len(found) + 1 == 3 * (1 + 2) + 1
    assert len({json.dumps(one, sort_keys=True) for one in found}) == len(found)
    assert all(("model.lora.r" in one) == (one["model.method"] == "lora") for one in found)
    fewer = search.model_copy(update={"trials": 4})
    assert fewer.most == 4 and "at most 4 trainings" in fewer.text


def test_a_step_reaches_its_end() -> None:
    search = Search.model_validate({"space": {"train.dropout": {"low": 0.1, "high": 0.3, "step": 0.1}}})
    assert search.space["train.dropout"].listed == pytest.approx((0.1, 0.2, 0.3))


def score_of(changes: dict[str, Any]) -> float:
    """A made-up landscape with one peak."""
    import math

    rate = float(changes.get("train.learning_rate", 1e-5))
    return 1 / (1 + (math.log10(rate) + 3) ** 2) - (0.1 if changes.get("model.method") == "lora" else 0)


def played(search: Search, count: int, seed: int = 17) -> list[TriedTrial]:
    """A search over the landscape, each trial asked of a study of its own."""
    trials: list[TriedTrial] = []
    for _ in range(count):
        trial = NextTrial(search, seed, trials, higher_is_better=True)
        score = score_of(trial.changes)
        points = [Point(epoch=epoch, score=score * epoch / 3) for epoch in (1, 2, 3)]
        seen, state = [], "finished"
        for point in points:
            seen.append(point)
            if trial.is_hopeless(point.epoch, point.score, 3):
                state = "pruned"
                break
        trials.append(
            TriedTrial.model_validate(
                {
                    **{"number": trial.number, "changes": trial.changes, "state": state, "curve": seen},
                    **{"score": score if state == "finished" else None, "seconds": 1.0},
                }
            )
        )
    return trials


@pytest.mark.parametrize("method", ["random", "bayesian", "grid"])
@pytest.mark.parametrize("prune", ["asha", "median", "none"])
def test_the_same_trials_before_give_the_same_next_one(method: str, prune: str) -> None:
    space = SPACE if method != "grid" else {k: v for k, v in SPACE.items() if k != "train.learning_rate"}
    search = Search.model_validate({"method": method, "prune": prune, "space": space, "trials": 6})
    whole = played(search, 6)
    assert whole[0].changes == {}
    for count in (1, 3, 5):  # as after a kill: in another process nothing but the records is left
        record = [TriedTrial.from_bytes(one.to_bytes()) for one in whole[:count]]
        assert NextTrial(search, 17, record, higher_is_better=True).changes == whole[count].changes
    if method == "random":
        assert played(search, 3, seed=18)[1].changes != whole[1].changes


def generations(search: Search, size: int, scores: Callable[[dict[str, Any]], float], count: int) -> list[TriedTrial]:
    """A search in generations of `size`, whose trials end in any order: none of a generation is asked for what another came to."""
    trials: list[TriedTrial] = []
    while len(trials) < count:
        beside: list[dict[str, Any]] = []
        for _ in range(min(size, count - len(trials))):
            beside.append(NextTrial(search, 17, trials, higher_is_better=True, beside=beside).changes)
        trials += [
            TriedTrial(number=number, changes=changes, state="finished", score=scores(changes), seconds=1.0)
            for number, changes in enumerate(beside, start=len(trials) + 1)
        ]
    return trials


GRID = {key: SPACE[key] for key in ("train.batch_size", "model.method", "model.lora.r")}


@pytest.mark.parametrize("method", ["random", "bayesian", "grid"])
@pytest.mark.parametrize("prune", ["asha", "none"])
def test_a_generation_holds_different_trials_that_are_the_same_again(method: str, prune: str) -> None:
    space = GRID if method == "grid" else {k: SPACE[k] for k in ("train.learning_rate", "train.batch_size")}
    count = 7 if method == "grid" else 12
    search = Search.model_validate({"method": method, "prune": prune, "space": space, "trials": count})
    found = [trial.changes for trial in generations(search, 3, score_of, count)]
    assert found[0] == {}, "the spec as it stands is tried first, also where others are beside it"
    assert len({json.dumps(one, sort_keys=True) for one in found}) == count
    assert found == [trial.changes for trial in generations(search, 3, score_of, count)]
    alone = [trial.changes for trial in generations(search, 1, score_of, count)]
    assert (found == alone) == (method != "bayesian"), "what learns from trials learns later; what does not is the same"


@pytest.mark.parametrize("prune", ["asha", "none"])
def test_within_a_generation_nothing_depends_on_what_its_trials_come_to(prune: str) -> None:
    space = {k: SPACE[k] for k in ("train.learning_rate", "train.batch_size")}
    search = Search.model_validate({"prune": prune, "space": space, "trials": 8})
    before = generations(search, 4, score_of, 4)
    one = generations(search, 4, lambda changes: score_of(changes) if changes in [b.changes for b in before] else 0, 8)
    other = generations(search, 4, score_of, 8)
    assert [trial.changes for trial in one] == [trial.changes for trial in other]
    assert len({trial.score for trial in one[4:]}) == 1 < len({trial.score for trial in other[4:]})


def test_a_trial_is_stopped_by_earlier_generations_alone() -> None:
    search = Search.model_validate({"method": "random", "space": SPACE, "trials": 4})
    best = TriedTrial(number=1, changes={}, state="finished", score=1.0, seconds=1.0, curve=(Point(epoch=1, score=1),))
    beside = NextTrial(search, 17, [], higher_is_better=True, beside=[{}])
    assert (beside.number, beside.is_hopeless(1, 0.1, 3)) == (2, False)
    assert NextTrial(search, 17, [best], higher_is_better=True).is_hopeless(1, 0.1, 3)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(["random", "bayesian"]), st.integers(0, 1000), st.integers(1, 5))
def test_every_proposal_lies_in_the_space_and_keeps_its_conditions(method: str, seed: int, count: int) -> None:
    search = Search.model_validate({"method": method, "space": SPACE, "prune": "none"})
    for trial in played(search, count, seed)[1:]:
        found = trial.changes
        assert 1e-5 <= float(found["train.learning_rate"]) <= 1e-2
        assert found["train.batch_size"] in (8, 16)
        assert ("model.lora.r" in found) == (found["model.method"] == "lora")


@pytest.mark.slow
def test_a_model_of_the_trials_finds_the_peak_better_than_chance() -> None:
    def best(method: str, seed: int) -> float:
        space = {"train.learning_rate": SPACE["train.learning_rate"]}
        search = Search.model_validate({"method": method, "space": space, "prune": "none", "trials": 8})
        return max(trial.score or 0 for trial in played(search, 8, seed))

    wins = sum(best("bayesian", seed) > best("random", seed) for seed in range(4))
    assert wins >= 3


# --- what is stopped --------------------------------------------------------------------------------------------------


def test_asha_keeps_the_best_third_and_whoever_comes_first() -> None:
    assert not falls_behind(0.1, [])
    assert falls_behind(0.1, [0.2])
    assert not falls_behind(0.2, [0.1])
    assert not falls_behind(0.2, [0.2])
    others = [0.1, 0.2, 0.3, 0.4, 0.5]
    assert [falls_behind(score, others) for score in (0.35, 0.45, 0.55)] == [True, False, False]


@pytest.mark.parametrize(
    ("epochs", "found"), [(0.5, [1]), (1, [1]), (3, [1]), (5, [2]), (9, [3]), (26, [9]), (27, [9]), (81, [9, 27]), (243, [9, 27, 81])]
)  # fmt: skip
def test_what_has_not_had_a_third_of_its_epochs_is_looked_at_only_in_long_trainings(
    epochs: float, found: list[int]
) -> None:
    assert looks(epochs) == found


@pytest.mark.parametrize("prune", ["asha", "median"])
def test_nothing_is_stopped_before_the_first_look(prune: str) -> None:
    search = Search.model_validate({"method": "random", "space": SPACE, "prune": prune, "trials": 20})
    curve = tuple(Point(epoch=epoch, score=epoch / 9) for epoch in range(1, 10))
    told = {"state": "finished", "score": 1.0, "seconds": 1.0, "curve": curve}
    values = [NextTrial(search, 17, [], True, [{}] * number).changes for number in range(1, 8)]
    others = [TriedTrial.model_validate({"number": n, "changes": one, **told}) for n, one in enumerate(values, 1)]
    trial = NextTrial(search, 17, others, higher_is_better=True)
    assert [trial.is_hopeless(epoch, 0.0, 9) for epoch in (1, 2, 3)] == [False, False, True]


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=20), st.floats(0, 1), st.floats(0, 1))
def test_whoever_is_better_is_stopped_no_sooner(others: list[float], one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert falls_behind(low, others) or not falls_behind(high, others)


@pytest.mark.parametrize("prune", ["asha", "median", "none"])
def test_only_hopeless_trials_are_stopped(prune: str) -> None:
    search = Search.model_validate({"method": "random", "space": SPACE, "prune": prune, "trials": 20})
    trials = played(search, 20)
    stopped = [trial for trial in trials if trial.state == "pruned"]
    assert bool(stopped) == (prune != "none")
    best = best_of(trials, higher_is_better=True)
    assert best is not None and all(score_of(dict(one.changes)) <= (best.score or 0) for one in stopped)


# --- what it came to --------------------------------------------------------------------------------------------------


def report(trials: list[TriedTrial], primary: str = "accuracy") -> SearchReport:
    best = best_of(trials, higher_is_better=True)
    search = Search.model_validate({"space": SPACE})
    return SearchReport(
        method="bayesian",
        primary=primary,
        higher_is_better=True,
        rows=100,
        most=20,
        trials=tuple(trials),
        best=best.number if best else 1,
        reached=False,
        importance=importance(search, trials, higher_is_better=True),
    )


def test_the_leaderboard_has_the_best_first_and_the_history_never_falls() -> None:
    trials = played(Search.model_validate({"space": SPACE, "prune": "asha", "method": "random"}), 15)
    trials.append(
        TriedTrial(number=16, changes={"train.batch_size": 8}, state="failed", seconds=0.0, message="it broke")
    )
    found = report(trials)
    rows = leaderboard(found)
    assert rows[0][0] == f"{found.best}" and rows[0][3] == "chosen"
    assert rows[-1][3] == "it broke" and len(rows) == 16
    history = best_so_far(found)
    assert history == sorted(history) and len(history) == 16
    assert "as the spec stands" in {row[1] for row in rows}
    assert found.chosen.text in found.sentence
    page = search_page(found)
    assert "Which options are best" in page and "it broke" in page


def test_the_learning_rate_is_what_moves_a_score_that_only_it_moves() -> None:
    space = {key: SPACE[key] for key in ("train.learning_rate", "train.batch_size")}
    search = Search.model_validate({"method": "random", "space": space, "prune": "none", "trials": 30})
    trials = played(search, 30)
    found = importance(search, trials, higher_is_better=True)
    assert found["train.learning_rate"] > 0.8
    assert importance(search, trials[:3], higher_is_better=True) == {}


def test_of_equal_trials_the_first_is_chosen_and_lower_can_be_better() -> None:
    one = TriedTrial(number=1, changes={}, state="finished", score=0.5, seconds=1.0)
    others = [one.model_copy(update={"number": n, "score": score}) for n, score in ((2, 0.5), (3, 0.4))]
    best, lowest = best_of([one, *others], higher_is_better=True), best_of([one, *others], higher_is_better=False)
    assert best == one and lowest == others[1]
    assert best_of([one.model_copy(update={"score": None, "state": "failed"})], higher_is_better=True) is None


def test_an_objective_is_met_by_all_of_its_metrics() -> None:
    trial = TriedTrial(
        number=1, changes={}, state="finished", score=0.9, seconds=1.0, metrics={"accuracy": 0.9, "log_loss": 0.3}
    )
    assert reached(trial, {"accuracy": 0.9})
    assert not reached(trial, {"accuracy": 0.91})
    assert reached(trial, {"accuracy": 0.9, "log_loss": 0.3})
    assert not reached(trial, {"accuracy": 0.9, "log_loss": 0.2})
    assert not reached(trial, {})


def test_the_report_draws_the_search_and_shows_no_markup_of_a_value(tmp_path: Path) -> None:
    trials = played(Search.model_validate({"space": SPACE, "method": "random"}), 6)
    evil = trials[1].model_copy(update={"state": "failed", "score": None, "message": "<script>alert(1)</script>"})
    found = report([trials[0], evil, *trials[2:]])
    html = render_report(replace(report_input(tmp_path), search=found))
    assert 'id="search"' in html and "<script" not in html and "&lt;script" in html
    drawn = search_chart(found)
    assert drawn is not None and len(drawn.points) + len(drawn.ended) == 6
    assert 'id="search"' not in render_report(report_input(tmp_path))


def test_trials_that_only_learn_otherwise_share_prepared_rows() -> None:
    from contender.training.options import Job, TrainOptions
    from contender.training.prepare import OF_LEARNING, job_digest, preparation_digest

    def job(**options: Any) -> Job:
        made = TrainOptions(**options)
        told = {
            "task": "text-classification",
            "base": "b",
            "base_digest": "d",
            "method": "head",
            "columns": {},
            "labels": (),
        }
        return Job(**told, options=made, primary_metric="accuracy", train="t", validation="v", output="o")

    assert set(TrainOptions.model_fields) >= OF_LEARNING
    assert preparation_digest(job(learning_rate=0.1, batch_size=8)) == preparation_digest(job())
    assert preparation_digest(job(max_length=64)) != preparation_digest(job())
    assert job_digest(job(learning_rate=0.1)) != job_digest(job())
