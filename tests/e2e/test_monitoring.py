"""The champion on rows that are new to it, without a run: scored once, and what says that a run is due."""

from __future__ import annotations

import pytest
from desk import COLOURS, Desk, tickets

from contender.loading import load_pipeline
from contender.progress import Note, listening
from contender.run import open_run
from flows.monitored import score_new_rows
from tasks.snapshot import look

TURNED = dict(zip(COLOURS, (*COLOURS[1:], COLOURS[0]), strict=True))


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_labels_that_turned_are_noticed_without_a_run_and_the_run_finds_what_was_scored(desk: Desk) -> None:
    desk.drop("1.csv", tickets(600, seed=1))
    assert desk.retrain().document["outcome"] == "promoted"
    rule = "triggers={new_data: {min_rows: 100000}, degradation: {bound: 0.8, min_rows: 60}}"
    pipeline = load_pipeline(desk.pipeline, [rule])

    def watched() -> tuple[str | None, str | None]:
        run = open_run(pipeline, "tests")
        found = score_new_rows(run, look(run))
        return found.degraded, found.refused

    assert watched() == (None, None), "nothing is new"
    desk.drop("2.csv", tickets(60, seed=2))
    assert watched() == (None, None), "few rows, and the champion is right about them"
    turned = [(text, TURNED[label]) for text, label in tickets(150, seed=3)]
    desk.drop("3.csv", turned)
    why, refused = watched()
    assert refused is None and why is not None and "below the bound of 80.0%" in why
    notes: list[Note] = []
    with listening(notes.append):
        assert watched() == (why, None)
    assert not [note for note in notes if note.stage == "monitor"], "what the series has is not read again"

    ran = desk.retrain("--set", rule)
    scored = ran.document["monitoring"]
    assert scored["n"] == 2 and scored["metrics"]["accuracy"] < 0.2
    assert {stage["name"] for stage in ran.document["stages"] if stage["cached"]} >= {"snapshot", "gate", "split"}
    if ran.document["outcome"] == "promoted":
        assert watched() == (None, None), "the series of another champion is not held against this one"

    desk.drop("4.csv", [("", "red")] * 900)
    why, refused = watched()
    assert refused is not None and len(desk.run("history", "desk", "--json").document["monitoring"]) == 2
