"""CoNLL files: a word and its tags on each line, a blank line behind each sentence. One row for each sentence.

    Empire      B-location
    State       I-location           tokens ["Empire", "State", "rose"]    tags ["B-location", "I-location", "O"]
    rose        O

The first column is `tokens` and the last `tags`; those between them, such as parts of speech in CoNLL-2003, are `column_2` and so on.
Each is a JSON list of text. Columns are set apart by tabs where a line has one, else by spaces. `-DOCSTART-` ends a sentence and is
left out; so are lines in front of a sentence that begin with `# ` and whose last column is no tag of an entity. Where a line of a
sentence has other columns than the file's first one, the sentence is a row of nulls with the reason in `_fault`.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from contender.data.delimited import shortened, text_batch
from contender.data.streams import HEAD, as_utf8
from contender.errors import DataError

SENTENCES, BYTES = 16_384, 8 << 20  # in memory at a time
SENTENCE = 16 << 20  # bytes; a longer one is a file without blank lines
DOCUMENT = "-DOCSTART-"
COMMENT = "# "
ENTITY_TAG = re.compile(r"O|[BIES](-.+)?")
ADVICE = "Write a word and its tag on each line, and a blank line behind each sentence."


def read_conll(stream: Any, name: str) -> Iterator[pa.RecordBatch]:
    """Record batches of the sentences in a CoNLL file; DataError where it holds none that can be read, or one without an end."""
    lines = io.BufferedReader(as_utf8(stream, "utf-8", name)[1], HEAD)
    columns: list[str] = []
    rows: list[list[str | None]] = []
    faults: dict[int, str] = {}
    size = total = faulty = 0
    for sentence, length in _sentences(lines, name):
        columns = columns or _columns(sentence[0], name)
        size += length
        if fault := _fault(sentence, len(columns)):
            faults[len(rows)] = fault
            rows.append([None] * len(columns))
        else:
            rows.append([json.dumps(column, ensure_ascii=False) for column in zip(*sentence, strict=True)])
        if len(rows) >= SENTENCES or size >= BYTES:
            total, faulty = total + len(rows), faulty + len(faults)
            yield text_batch(rows, faults, columns)
            rows, faults, size = [], {}, 0
    if total + len(rows) and total + len(rows) == faulty + len(faults):
        last = next(reversed(faults.values()), "see its lines")
        raise DataError(f"{name}: none of its {total + len(rows):,} sentences can be read: {last}", ADVICE)
    if rows:
        yield text_batch(rows, faults, columns)


def _sentences(lines: io.BufferedReader, name: str) -> Iterator[tuple[list[list[str]], int]]:
    """The cells of each sentence's lines, and its length in bytes."""
    held: list[list[str]] = []
    size = 0
    while line := lines.readline(SENTENCE + 1):
        size += len(line)
        if size > SENTENCE:
            raise DataError(f"{name}: a sentence is longer than 16 MiB", "Write a blank line behind each sentence.")
        text = line.decode("utf-8", "replace").strip(" \t\r\n")
        cells = re.split(r"\t" if "\t" in text else " +", text)
        if text and cells[0] != DOCUMENT:
            if held or not _is_comment(text, cells[-1]):
                held.append(cells)
            continue
        if held:
            yield held, size
        held, size = [], 0
    if held:
        yield held, size


def _is_comment(text: str, last: str) -> bool:
    return text.startswith(COMMENT) and not ENTITY_TAG.fullmatch(last)


def _columns(first: list[str], name: str) -> list[str]:
    if len(first) < 2:
        raise DataError(f"{name}: {shortened('a word without a tag, on its first line', first[0])}", ADVICE)
    return ["tokens", *(f"column_{place}" for place in range(2, len(first))), "tags"]


def _fault(sentence: list[list[str]], columns: int) -> str:
    for cells in sentence:
        if len(cells) != columns or not all(cells):
            have = f"{sum(map(bool, cells))} columns" if len(cells) != 1 else "1 column"
            return shortened(f"a line has {have} where the first has {columns}", " ".join(cells))
    return ""
