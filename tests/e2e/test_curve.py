"""`contender curve` through the command line: what it measures, finds again and leaves, and what it refuses."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from desk import Desk, start, tickets, until

KEYS = {
    "pipeline", "outcome", "message", "snapshot", "curve", "seconds", "stages", "flow_run_id", "quarantine", "data_docs", "registry",
}  # fmt: skip
QUICK = ("--set", "train.epochs=2", "--seeds", "2", "--fractions", "0.3,0.45,0.6,1")


def stages(document, name: str) -> list[bool]:
    return [stage["cached"] for stage in document["stages"] if stage["name"] == name]


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_curve_is_drawn_on_validation_continues_where_it_was_stopped_and_leaves_nothing_to_judge_by(
    desk: Desk,
) -> None:
    desk.drop("1.csv", tickets(400, seed=1, wrong=0.2))
    promoted = desk.retrain(*QUICK[:2])
    assert promoted.code == 0, promoted.shown
    before = {path.relative_to(desk.registry) for path in desk.registry.rglob("*.json")}

    run = start(desk, *QUICK, command="curve")
    until(run, "rows, 1 of 8)")
    run.send_signal(signal.SIGINT)
    out, shown = run.communicate(timeout=60)
    stopped = json.loads(out)
    assert (run.returncode in (75, 130), stopped["outcome"], set(stopped)) == (True, "interrupted", KEYS | {"error"}), (
        shown
    )

    page = desk.folder / "curve.html"
    done = desk.run("curve", str(desk.pipeline), "--json", "--html", str(page), *QUICK)
    assert (done.code, done.document["outcome"], set(done.document)) == (0, "done", KEYS), done.shown
    found = done.document["curve"]
    assert stages(done.document, "fraction") == [True, True, True], "the whole is no part"
    trained = stages(done.document, "train")
    assert trained[0] and trained[6], (
        "the stopped one's, and the pipeline's own seed on all rows was trained by the run"
    )
    assert trained.count(False) == 6
    assert (found["set"], found["seeds"], found["primary"]) == ("validation", [17, 18], "accuracy")
    rows = [score["rows"] for score in found["scores"]]
    assert rows == sorted(set(rows)) and rows[-1] == found["rows"]
    for score in found["scores"]:
        assert score["low"] <= score["mean"] <= score["high"]
        assert score["mean"] == pytest.approx(sum(score["values"]) / 2)
    assert found["doubling"]["rows"] == 2 * found["rows"]
    assert done.document["message"].startswith("Would more data help? ") and done.document["message"] in done.shown
    assert "Would more data help?" in page.read_text()
    assert "2 (fit)" in done.shown and "●" in done.shown and "on validation: accuracy" in done.shown
    assert {path.relative_to(desk.registry) for path in desk.registry.rglob("*.json")} == before

    again = desk.run("curve", str(desk.pipeline), "--json", *QUICK)
    assert all(stage["cached"] for stage in again.document["stages"]), again.shown
    assert again.document["curve"] == found


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_bad_data_and_too_few_rows_are_refused_before_any_training(desk: Desk) -> None:
    desk.drop("1.csv", tickets(60, seed=1))
    few = desk.run("curve", str(desk.pipeline), "--json", "--fractions", "0.1,1")
    assert (few.code, few.document["outcome"], stages(few.document, "train")) == (2, "invalid", []), few.shown
    assert "the fraction 0.1 holds" in few.shown and "larger --fractions" in few.shown
    desk.drop("1.csv", [("", "red")] * 300 + tickets(100, seed=1))
    bad = desk.run("curve", str(desk.pipeline), "--json")
    assert (bad.code, bad.document["outcome"], bad.document["curve"]) == (4, "rejected_data", None), bad.shown
    assert "1.csv" in Path(bad.document["quarantine"]).read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--fractions=0,1",), "0 is no fraction"),
        (("--fractions=0.5,0.5",), "given twice"),
        (("--fractions=1,0.5",), "smaller than 1"),
        (("--fractions=",), "there are no fractions"),
        (("--fractions=half",), "'half' are no fractions"),
        (("--seeds=1",), "2 to 20"),
        (("--seeds=two",), "invalid int value"),
        (("--html=nowhere/page.html",), "there is no folder"),
        (("--set", "data.split.validation=0"), "data.split.validation is 0"),
    ],
)
def test_what_draws_no_curve_is_refused_at_once(desk: Desk, arguments: tuple[str, ...], said: str) -> None:
    refused = desk.run("curve", str(desk.pipeline), "--json", *arguments)
    assert (refused.code, refused.document["outcome"]) == (2, "invalid"), refused.shown
    assert said in refused.shown
    assert not (desk.folder / ".contender").exists()
