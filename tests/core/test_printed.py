"""What a child prints is handed on line by line, and no child fills a log."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from contender import printed
from contender.printed import LINE_BYTES, LINES, Printed


@pytest.fixture
def log(tmp_path: Path) -> Iterator[IO[bytes]]:
    with (tmp_path / "job.log").open("ab+") as stream:
        yield stream


def add(log: IO[bytes], text: bytes) -> None:
    os.write(log.fileno(), text)


def test_whole_lines_are_told_as_they_come_and_the_rest_at_the_end(
    log: IO[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(printed, "LOOK_SECONDS", 0.0)
    add(log, b"of an earlier attempt\n")
    told: list[str] = []
    lines = Printed(log, told.append)
    add(log, b"one\ntw")
    lines.look()
    assert told == ["one"]
    add(log, b"o\n\n  \nthree")
    lines.look()
    assert told == ["one", "two"]
    lines.end()
    assert told == ["one", "two", "three"]
    lines.end()
    assert told == ["one", "two", "three"]


def test_a_child_that_shares_the_position_goes_on_writing_at_the_end(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb+") as stream:
        lines = Printed(stream, lambda line: None)
        add(stream, b"one\n")
        lines.end()
        add(stream, b"two\n")
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"


def test_of_a_bar_its_end_is_told_and_bytes_that_are_no_text_are_shown_as_such(log: IO[bytes]) -> None:
    told: list[str] = []
    lines = Printed(log, told.append)
    add(log, b" 10%|#   |\r100%|####|\r\n\xff\xfe\n")
    lines.end()
    assert told == ["100%|####|", "\ufffd\ufffd"]


@pytest.mark.parametrize("text", [b"x\n" * 100_000, b"y" * (32 << 20), (b"z" * 1_000_000 + b"\n") * 32])
def test_a_child_that_prints_without_end_is_cut(log: IO[bytes], text: bytes) -> None:
    told: list[str] = []
    lines = Printed(log, told.append)
    add(log, text)
    lines.end()
    add(log, b"more\n")
    lines.end()
    assert told[-1] == "(it printed more, which is not shown here)"
    assert told.count(told[-1]) == 1 and len(told) <= LINES + 1
    assert all(len(line) <= LINE_BYTES for line in told)
