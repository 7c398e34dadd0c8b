"""`contender clean` through the command line."""

from __future__ import annotations

import os
import time

import pytest
from desk import Desk, tickets


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_cleaned_workspace_still_knows_what_was_decided(desk: Desk) -> None:
    desk.drop("1.csv", tickets(120, seed=1))
    assert desk.retrain().document["outcome"] == "promoted"
    root = desk.folder / ".contender"
    assert desk.run("clean", str(desk.pipeline), "--json").document["found"] == []
    for path in root.rglob("*"):
        os.utime(path, (time.time() - 30 * 86400,) * 2)
    told = desk.run("clean", str(desk.pipeline), "--json")
    assert told.document["bytes"] > 0
    assert "nothing was removed" in told.shown
    assert {stage.name for stage in (root / "stages").iterdir() if any(stage.iterdir())} >= {"train", "split"}
    done = desk.run("clean", str(root), "--delete", "--json")
    assert (done.code, done.document["bytes"]) == (0, told.document["bytes"])
    assert not any(path.is_file() for path in (root / "stages").rglob("*"))
    assert desk.retrain().document["outcome"] == "up_to_date"
    assert desk.run("verify", "desk").code == 0


def test_a_pipeline_that_never_ran_has_nothing_to_clean(desk: Desk) -> None:
    ran = desk.run("clean", str(desk.pipeline), "--json")
    assert (ran.code, ran.document["outcome"]) == (2, "invalid")
    assert "desk.yaml has no workspace on this machine yet" in ran.document["error"]["what"]


@pytest.mark.parametrize(
    ("age", "says"),
    [
        ("7d", ["nothing in it is unused for 7d"]),
        ("0", ["nothing to remove", "used within the last hour stays"]),
        ("60s", ["nothing to remove", "used within the last hour stays"]),
    ],
)
def test_a_clean_workspace_is_said_in_words(desk: Desk, age: str, says: list[str]) -> None:
    (desk.folder / ".contender" / "stages").mkdir(parents=True)
    ran = desk.run("clean", str(desk.folder / ".contender"), "--older-than", age, "--json")
    assert (ran.code, ran.document["found"]) == (0, [])
    assert all(said in ran.shown for said in says) and "MB" not in ran.shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("/",), "/ is no workspace"),
        (("nowhere.yaml",), "nowhere.yaml does not exist"),
        (("s3://bucket/work",), "s3://bucket/work is no folder of this machine"),
        ((".", "--older-than", "soon"), "--older-than 'soon' must be a number of seconds"),
        ((".", "--older-than=-1d"), "--older-than '-1d' must be"),
    ],
)
def test_wrong_places_are_refused(desk: Desk, arguments: tuple[str, ...], says: str) -> None:
    ran = desk.run("clean", *arguments, "--json")
    assert (ran.code, ran.document["outcome"]) == (2, "invalid")
    assert says in ran.document["error"]["what"]
