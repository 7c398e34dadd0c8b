"""A search through the command line: what it leaves, what it does not repeat, and that it never sees a held-out row."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from desk import Desk, Ran, start, tickets, until

from contender.loading import load_pipeline
from contender.records import TrainReport
from contender.run import open_run
from contender.stages.base import find_base
from contender.stages.costs import costs_of
from contender.stages.data import check_quality, look, split_rows, take_snapshot
from contender.stages.search import conclude_search, is_over, try_next

SPACE = {"train.learning_rate": {"low": 1e-5, "high": 1e-2, "scale": "log"}, "train.batch_size": [8, 16]}
COSTS = ["latency_ms", "size_mb", "train_seconds"]
SEARCH = ("--set", "train.epochs=3", "--set", f"search={json.dumps({'method': 'random', 'trials': 4, 'space': SPACE})}")


def trials(document: dict[str, Any]) -> list[dict[str, Any]]:
    """What must be the same in every run of the same search: all but how long it took."""
    timed = ("seconds", "energy_kwh")
    return [{key: value for key, value in trial.items() if key not in timed} for trial in document["search"]["trials"]]


def written(desk: Desk) -> dict[str, int]:
    """Trial → which writing of its record."""
    found = (desk.folder / ".contender" / "stages" / "trial").glob("[!.]*/trial.json")
    return {path.parent.name: path.stat().st_ino for path in found}


@pytest.fixture(scope="module")
def remembered() -> list[Ran]:
    return []


@pytest.fixture
def undisturbed(
    desk: Desk, prefect_server: object, tmp_path_factory: pytest.TempPathFactory, remembered: list[Ran]
) -> tuple[Desk, Ran]:
    """Another desk, whose search nothing disturbed, and what that said; searched once for all tests that want it."""
    other = Desk(tmp_path_factory.getbasetemp() / "undisturbed", desk.run)
    if not remembered:
        shutil.copytree(desk.folder, other.folder)
        other.drop("1.csv", tickets(240, seed=1))
        remembered.append(other.retrain(*SEARCH))
    return other, remembered[0]


@pytest.mark.slow
def test_the_best_trial_is_released_and_none_is_repeated(undisturbed: tuple[Desk, Ran]) -> None:
    desk, ran = undisturbed
    assert (ran.code, ran.document["outcome"]) == (0, "promoted"), ran.shown
    found = ran.document["search"]
    scores = [trial["score"] for trial in found["trials"] if trial["score"] is not None]
    chosen = found["trials"][found["best"] - 1]
    assert len(found["trials"]) == 4 and found["trials"][0]["changes"] == {}
    assert chosen["score"] == max(scores) and f"Trial {found['best']} of 4" in ran.shown
    stages = {stage["name"]: stage for stage in ran.document["stages"]}
    assert stages["train"]["cached"] and stages["train"]["key"] == chosen["model"]
    rate = chosen["changes"].get("train.learning_rate", 5e-3)
    assert ran.document["training"]["learning_rate"] == pytest.approx(rate)
    page = Path(ran.document["report"]).read_text()
    assert 'id="search"' in page and "best so far" in page
    (manifest,) = desk.registry.glob("desk/releases/*/manifest.json")
    lineage = json.loads(manifest.read_text())["lineage"]
    assert lineage["train"]["learning_rate"] == pytest.approx(rate)

    before = written(desk)
    again = desk.retrain(*SEARCH, "--set", "promote.floors.accuracy=0.1")
    assert again.document["outcome"] != "up_to_date"
    assert trials(again.document) == trials(ran.document) and written(desk) == before


@pytest.mark.slow
def test_a_killed_search_goes_on_with_the_trial_that_it_was_at(desk: Desk, undisturbed: tuple[Desk, Ran]) -> None:
    desk.drop("1.csv", tickets(240, seed=1))
    run = start(desk, *SEARCH)
    until(run, "✓ split")
    while len(written(desk)) < 2:
        assert run.poll() is None
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait(60)
    before = written(desk)
    assert len(before) >= 2
    done = desk.retrain(*SEARCH)
    assert done.code == 0, done.shown
    after = written(desk)
    assert {key: after[key] for key in before} == before, "what was finished is not done again"
    assert len(after) == 4
    assert trials(undisturbed[1].document) == trials(done.document)


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_search_at_its_budget_ends_with_its_best_trial_and_goes_on_once_that_is_raised(desk: Desk) -> None:
    desk.drop("1.csv", tickets(240, seed=1))
    waits = desk.retrain(*SEARCH, "--set", "resources.budget.hours=1e-9")
    assert (waits.code, waits.document["outcome"]) == (5, "budget"), waits.shown
    ends = ("--set", "resources.budget.when_spent=judge")
    ended = desk.retrain(*SEARCH, *ends, "--set", "resources.budget.hours=1e-9")
    assert ended.document["outcome"] in ("promoted", "kept", "inconclusive"), ended.shown
    (trial,) = ended.document["search"]["trials"]
    assert ended.document["search"]["budget_spent"] and trial["budget_spent"] and trial["score"] is not None
    assert ended.document["training"]["budget_spent"] and "budget is spent after 1 of 4 trials" in ended.shown
    more = desk.retrain(*SEARCH, *ends, "--set", "resources.budget.hours=1")
    assert more.document["outcome"] != "up_to_date", more.shown
    found = more.document["search"]
    assert len(found["trials"]) == 4 and not found["budget_spent"] and not found["trials"][0]["budget_spent"]
    assert not more.document["training"]["budget_spent"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("prefect_server")
def test_what_was_measured_decides_is_not_measured_again_and_a_champion_is_searched_around(desk: Desk) -> None:
    desk.drop("1.csv", tickets(240, seed=1))
    aims = (f"search.objectives={json.dumps(COSTS)}", "search.tolerance=1.0", "search.trials=3")
    several = [word for one in aims for word in ("--set", one)]
    ran = desk.retrain(*SEARCH, *several)
    assert (ran.code, ran.document["outcome"]) == (0, "promoted"), ran.shown
    found = ran.document["search"]
    assert found["objectives"] == ["accuracy", *COSTS] and all(one["state"] == "finished" for one in found["trials"])
    fastest = min(found["trials"], key=lambda one: one["costs"]["latency_ms"])
    assert found["best"] == fastest["number"] and found["best"] in found["front"]
    assert "Several objectives" in Path(ran.document["report"]).read_text()
    (manifest,) = desk.registry.glob("desk/releases/*/manifest.json")
    told = json.loads(manifest.read_text())["lineage"]["search"]
    assert (told["chosen"], told["trials"], told["score"]) == (found["best"], 3, fastest["score"])

    before = written(desk)
    again = desk.retrain(*SEARCH, *several, "--set", "promote.floors.accuracy=0.1")
    assert trials(again.document) == trials(ran.document) and written(desk) == before

    around = desk.retrain(*SEARCH, *several, "--set", "search.around=champion")
    assert around.code in (0, 3), around.shown
    narrow, later = around.document["search"]["around"], around.document["search"]["trials"]
    assert narrow["release"] == ran.document["release"]
    assert narrow["values"].items() <= fastest["changes"].items() | {
        ("train.learning_rate", 5e-3),
        ("train.batch_size", 16),
    }
    assert (later[1]["changes"] == narrow["values"]) == narrow["tried"] == bool(fastest["changes"])
    low, high = narrow["ranges"]["train.learning_rate"]
    assert all(low <= one["changes"]["train.learning_rate"] <= high for one in later[1:])


@pytest.mark.slow
def test_a_search_reads_no_held_out_row(desk: Desk) -> None:
    """Everything but train and validation is gone from the disk before the first trial."""
    desk.drop("1.csv", tickets(240, seed=1))
    settings = (*SEARCH[1::2], f"search.objectives={json.dumps(COSTS)}", "search.trials=2")
    pipeline = load_pipeline(desk.pipeline, settings)
    run = open_run(pipeline, actor="")
    base, snapshot = find_base(run), take_snapshot(run, look(run))
    split = split_rows(run, snapshot, check_quality(run, snapshot, None))
    held_out = sorted(path for path in split.folder.iterdir() if "test" in path.name or "golden" in path.name)
    assert held_out
    for path in held_out:
        path.unlink()
    (snapshot.folder / "source.arrow").unlink()
    tried: list[Any] = []
    while not is_over(run, tried):
        tried.append(try_next(run, (base,), split, tried))
    assert conclude_search(run, split, tried, 1.0).best >= 1
    assert all(set(one.costs) == set(COSTS) and all(cost > 0 for cost in one.costs.values()) for one in tried)

    # Latencies are the first model's times a ratio, which a busy machine does not move: here it is beside itself.
    model = run.workspace.stage("train", tried[0].model, TrainReport, lambda _: pytest.fail("it is kept"), share=False)
    slow = tried[0].model_copy(update={"costs": {"latency_ms": 1e6}})
    assert costs_of(run, model, split, "validation", ["latency_ms"], [slow])["latency_ms"] == pytest.approx(
        1e6, rel=0.5
    )
