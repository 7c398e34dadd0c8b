"""`contender noise` through the command line: what it measures, finds again and leaves, and what it must leave alone."""

from __future__ import annotations

import json
import signal
import statistics
from pathlib import Path

import pytest
from desk import Desk, start, tickets, until

from contender.noise import NoiseReport
from contender.registry import Registry
from contender.store import LocalStore

KEYS = {
    "pipeline", "outcome", "message", "snapshot", "noise", "seconds", "stages", "flow_run_id", "quarantine", "data_docs", "registry",
}  # fmt: skip
QUICK = ("--set", "train.epochs=2")  # unfinished models differ by their seeds


def measure(desk: Desk, *more: str):
    return desk.run("noise", str(desk.pipeline), "--json", *more)


def files(desk: Desk) -> set[str]:
    return {path.relative_to(desk.registry).as_posix() for path in desk.registry.rglob("*.json")}


def stages(document, name: str) -> list[bool]:
    return [stage["cached"] for stage in document["stages"] if stage["name"] == name]


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_the_spread_over_seeds_is_measured_kept_and_found_again(desk: Desk) -> None:
    desk.drop("1.csv", tickets(240, seed=1, wrong=0.3))
    promoted = desk.retrain(*QUICK)
    assert promoted.code == 0, promoted.shown
    before = files(desk)

    first = measure(desk, "--runs", "3", *QUICK)
    assert (first.code, first.document["outcome"], set(first.document)) == (0, "done", KEYS), first.shown
    found = first.document["noise"]
    assert found["seeds"] == [17, 18, 19]
    assert stages(first.document, "train") == [True, False, False], "the pipeline's own seed was trained by the run"
    assert stages(first.document, "noise")[0], "and what it predicts by the evaluation of its release"
    for metric in ("accuracy", "f1_macro"):
        spread = found["spreads"][metric]
        assert spread["sd"] == pytest.approx(statistics.stdev(spread["values"]))
        assert spread["values"][0] == promoted.document["metrics"][metric]
        assert spread["low"] <= spread["mean"] <= spread["high"]
    assert len(set(found["models"])) == 3
    assert first.document["message"].startswith("Seeds alone move accuracy by ")
    assert first.document["message"] in first.shown
    assert "seed 18 (2 of 3) on test: accuracy" in first.shown

    assert files(desk) - before == {f"desk/noise/{found['key']}.json"}, "no release, look, decision or alias entry"
    again = measure(desk, "--runs", "3", *QUICK)
    assert all(stage["cached"] for stage in again.document["stages"]), again.shown
    assert again.document["noise"] == found

    more = measure(desk, "--runs", "4", *QUICK)
    assert stages(more.document, "train") == [True, True, True, False]
    kept, faults = Registry(LocalStore(desk.registry), "desk").newest_noise()
    assert (kept, faults) == (NoiseReport.model_validate(more.document["noise"]), [])


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_head_that_every_seed_fits_alike_is_reported_as_it_is(desk: Desk) -> None:
    """Its loss is convex: what differs is the start, and the order of the rows."""
    desk.drop("1.csv", tickets(240, seed=1, wrong=0.3))
    found = measure(desk, "--runs", "2", "--set", "model.method=head").document
    models, values = set(found["noise"]["models"]), set(found["noise"]["spreads"]["accuracy"]["values"])
    starts = {
        (True, True): "All 2 seeds end in the same model",
        (False, True): "The 2 seeds end in 2 different models that all have the same accuracy",
        (False, False): "Seeds alone move accuracy by ",
    }
    assert found["message"].startswith(starts[len(models) == 1, len(values) == 1])


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_what_was_measured_is_drawn_where_releases_are_compared(desk: Desk) -> None:
    desk.drop("1.csv", tickets(240, seed=1, wrong=0.3))
    first = desk.retrain(*QUICK)
    assert measure(desk, "--runs", "3", *QUICK).code == 0
    desk.drop("2.csv", tickets(600, seed=2))
    second = desk.retrain()
    assert 'class="seed-band"' in Path(second.document["report"]).read_text(), second.shown
    page = desk.folder / "diff.html"
    releases = (f"desk@{first.document['release']}", str(second.document["release"]))
    compared = desk.run("diff", *releases, "--html", str(page), "--json")
    assert compared.code == 0, compared.shown
    assert [one["noise"] > 0 for one in compared.document["metrics"]] == [True, True]
    assert "the seed alone" in compared.shown and "Seeds alone move accuracy" in compared.shown
    assert 'class="seed-band"' in page.read_text()

    (record,) = (desk.registry / "desk" / "noise").iterdir()
    record.write_bytes(record.read_bytes().replace(b"accuracy", b"accurate"))
    damaged = desk.run("diff", *releases, "--json")
    assert (damaged.code, damaged.document["noise"]) == (0, None)
    assert "has other content than its sha256 says" in damaged.shown


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_measurement_that_was_stopped_continues_with_the_next_seed(desk: Desk) -> None:
    desk.drop("1.csv", tickets(240, seed=1, wrong=0.3))
    run = start(desk, "--runs", "2", *QUICK, command="noise")
    until(run, "(1 of 2)")
    run.send_signal(signal.SIGINT)
    out, shown = run.communicate(timeout=60)
    stopped = json.loads(out)
    assert (run.returncode in (75, 130), stopped["outcome"], set(stopped)) == (True, "interrupted", KEYS | {"error"}), (
        shown
    )
    assert "Traceback" not in shown
    assert stages(stopped, "noise") == [False]
    again = measure(desk, "--runs", "2", *QUICK)
    assert again.code == 0, again.shown
    assert stages(again.document, "train") == [True, False]


@pytest.mark.usefixtures("prefect_server")
def test_bad_data_is_refused_and_leaves_no_decision(desk: Desk) -> None:
    desk.drop("1.csv", [("", "red")] * 300 + tickets(100, seed=1))
    done = measure(desk)
    assert (done.code, done.document["outcome"], done.document["noise"]) == (4, "rejected_data", None), done.shown
    assert "1.csv" in Path(done.document["quarantine"]).read_text()
    assert not [name for name in files(desk) if "/decisions/" in name or "/noise/" in name]


@pytest.mark.parametrize("runs", ["1", "0", "-3", "101", "1000000000", "two"])
def test_a_number_of_runs_that_shows_no_spread_is_refused_at_once(desk: Desk, runs: str) -> None:
    refused = measure(desk, f"--runs={runs}")
    assert (refused.code, refused.document["outcome"]) == (2, "invalid")
    assert runs == "two" or "2 to 100" in refused.shown
    assert not (desk.folder / ".contender").exists()
