"""Which options there are is a promise, and those that contradict each other are refused."""

from __future__ import annotations

import argparse
import os

import pytest

from deployments.arguments import actor_of
from deployments.cli import main, parser

VERBOSE = {"run", "noise", "curve", "judge", "history", "releases"}
QUIET = {"run", "noise", "curve", "judge", "pull", "verify"}


def test_how_much_is_told_is_an_option_where_it_makes_a_difference() -> None:
    (commands,) = (action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    taken = {
        option: {name for name, one in commands.choices.items() if option in one._option_string_actions}
        for option in ("--quiet", "--verbose", "--debug", "--json")
    }
    assert taken["--quiet"] == QUIET and taken["--verbose"] == VERBOSE
    assert taken["--debug"] == taken["--json"] == set(commands.choices) > VERBOSE


@pytest.mark.parametrize("other", ["--verbose", "--debug"])
def test_quiet_contradicts_the_louder_ones(other: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "nowhere.yaml", "--quiet", other]) == 2
    shown = capsys.readouterr().err
    assert f"--quiet and {other} contradict each other" in shown and "Give one of them" in shown


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (b"jo", "jo"),
        (b"\xff", "\\udcff"),
        ("\x1b[2J\x9bx\u202e\n".encode(), "\\x1b[2J\\x9bx\\u202e\\n"),
        (b"", "command line"),
    ],
)
def test_who_asks_is_kept_in_words_that_show_and_are_text(
    typed: bytes, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONTENDER_ACTOR", raising=False)
    assert actor_of(argparse.Namespace(actor=os.fsdecode(typed)), "command line") == kept
    monkeypatch.setenv("CONTENDER_ACTOR", os.fsdecode(typed))
    assert actor_of(argparse.Namespace(), "command line") == kept
