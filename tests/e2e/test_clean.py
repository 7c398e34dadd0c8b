"""`contender clean` through the command line."""

from __future__ import annotations

import os
import time

import pytest
from desk import Desk, tickets


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


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("/",), "/ is no workspace"),
        (("nowhere.yaml",), "nowhere.yaml is no workspace"),
        ((".", "--older-than", "soon"), "--older-than 'soon' must be a number of seconds"),
        ((".", "--older-than=-1d"), "--older-than '-1d' must be"),
    ],
)
def test_wrong_places_are_refused(desk: Desk, arguments: tuple[str, ...], says: str) -> None:
    ran = desk.run("clean", *arguments, "--json")
    assert (ran.code, ran.document["outcome"]) == (2, "invalid")
    assert says in ran.document["error"]["what"]
