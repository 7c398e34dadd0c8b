"""JSON lines, and lists of objects: parsed piece by piece, so that neither a long file nor one broken line is in the way.

A line that is no object becomes a row of nulls with the reason in `_fault`, as a faulty row of a csv file does. A list in which
something is broken has no such seams: it is refused as a whole.
"""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from contender.data.delimited import FAULT, check_names, shortened
from contender.data.streams import HEAD, as_utf8
from contender.data.values import from_python, without_surrogates
from contender.errors import DataError

CHUNK_ROWS = 16_384
CHUNK_BYTES = 8 << 20
OBJECT = 64 << 20  # bytes or characters of one object
SPACE = " \t\r\n"


def read_json_lines(stream: Any, name: str) -> Iterator[pa.RecordBatch]:
    """Record batches of the objects in a JSON lines file, blank lines left out."""
    head, whole = as_utf8(stream, "utf-8", name)
    if head.lstrip()[:1] == b"[" and not head.lstrip()[1:2].strip().startswith(b"]"):
        raise DataError(f"{name} holds a JSON list, not one object per line", "Name the file .json.")
    yield from _lines(io.BufferedReader(whole, HEAD), name)


def _lines(stream: Any, name: str) -> Iterator[pa.RecordBatch]:
    rows: list[dict[str, Any]] = []
    faults: dict[int, str] = {}
    size = total = faulty = 0
    while line := stream.readline(OBJECT):
        if len(line) == OBJECT:
            raise DataError(f"{name}: a line is longer than 64 MiB", "Write one object per line.")
        if line.isspace():
            continue
        text = line.decode("utf-8", "replace")
        try:
            row = json.loads(text)
            fault = "" if isinstance(row, dict) else "not an object"
        except (ValueError, RecursionError) as error:
            row, fault = {}, f"not JSON ({error})"
        if fault:
            faults[len(rows)] = shortened(fault, text)
        rows.append({} if fault else row)
        size += len(line)
        if len(rows) >= CHUNK_ROWS or size >= CHUNK_BYTES:
            total, faulty = total + len(rows), faulty + len(faults)
            yield _batch(rows, faults, name)
            rows, faults, size = [], {}, 0
    if total + len(rows) and total + len(rows) == faulty + len(faults):
        raise DataError(
            f"{name}: none of its {total + len(rows):,} lines is a JSON object; the last is {next(reversed(faults.values()), '')}",
            "Write one object per line: jsonl; or one list of objects: json.",
        )
    if rows:
        yield _batch(rows, faults, name)


def read_json(stream: Any, name: str) -> Iterator[pa.RecordBatch]:
    """Record batches of a list of objects; of JSON lines where the file begins with an object, as many writers name them .json."""
    head, whole = as_utf8(stream, "utf-8", name)
    first = head.lstrip()[:1]
    if first == b"{":
        yield from _lines(io.BufferedReader(whole, HEAD), name)
        return
    if not head:
        return
    if first != b"[":
        raise DataError(f"{name} is neither a JSON list of objects nor JSON lines", "Write a list of objects.")
    rows: list[dict[str, Any]] = []
    size = 0
    for row, length in _Objects(whole, name):
        rows.append(row)
        size += length
        if len(rows) >= CHUNK_ROWS or size >= CHUNK_BYTES:
            yield _batch(rows, {}, name)
            rows, size = [], 0
    if rows:
        yield _batch(rows, {}, name)


class _Objects:
    """The objects of a list, and their lengths in characters, read as the list goes on."""

    def __init__(self, stream: Any, name: str) -> None:
        self._stream = stream
        self._name = name
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._parse = json.JSONDecoder().raw_decode
        self._text = ""
        self._at = 0
        self._past = 0  # characters before self._text
        self._ended = False

    def __iter__(self) -> Iterator[tuple[dict[str, Any], int]]:
        self._expect("[")
        if self._next() == "]":
            self._at += 1
        else:
            while True:
                yield self._object()
                if self._expect(",]") == "]":
                    break
        if self._next():
            raise self._broken("something follows the end of the list")

    def _object(self) -> tuple[dict[str, Any], int]:
        if self._next() != "{":
            raise self._broken("an object should begin here")
        step = HEAD
        while True:
            try:
                value, end = self._parse(self._text, self._at)
            except (json.JSONDecodeError, RecursionError) as error:
                # The object may go on behind what was read so far; twice as much each time keeps the work linear.
                if self._ended or isinstance(error, RecursionError) or len(self._text) - self._at > OBJECT:
                    raise self._broken(getattr(error, "msg", "nested too deep")) from error
                self._more(step)
                step *= 2
            else:
                length, self._at = end - self._at, end
                return value, length

    def _expect(self, characters: str) -> str:
        found = self._next()
        if not found or found not in characters:
            raise self._broken(f"{' or '.join(characters)} is missing here")
        self._at += 1
        return found

    def _next(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in SPACE:
                self._at += 1
            if self._at < len(self._text) or self._ended:
                return self._text[self._at : self._at + 1]
            self._more(HEAD)

    def _more(self, size: int) -> None:
        data = self._stream.read(size)
        self._ended = not data
        self._past += self._at
        self._text = self._text[self._at :] + self._decode(data, final=not data)
        self._at = 0

    def _broken(self, why: str) -> DataError:
        return DataError(
            f"{self._name} is no valid list of JSON objects: {why} (character {self._past + self._at + 1:,})",
            "Correct the file, or write one object per line: there one broken line is set apart.",
        )


def _batch(rows: list[dict[str, Any]], faults: dict[int, str], file: str) -> pa.RecordBatch:
    names = {key: without_surrogates(key) for row in rows for key in row}
    check_names(list(names.values()), file)
    columns = {name: from_python([row.get(key) for row in rows]) for key, name in names.items()}
    if faults:
        columns[FAULT] = pa.array([faults.get(row) for row in range(len(rows))], pa.string())
    if not columns:
        columns = {FAULT: pa.array(["an empty object"] * len(rows), pa.string())}
    return pa.record_batch(list(columns.values()), names=list(columns))
