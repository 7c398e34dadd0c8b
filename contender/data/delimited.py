"""csv and tsv: Arrow's parser where it certainly reads what is meant, a careful one where it may not.

Arrow's parser is fast, and lenient: a quote that is never closed swallows rows. So its rows are taken only while no cell holds a
line end and every row has its cells; a file with anything else is read again by the careful parser, which gives the same rows
for the same bytes and sets faulty lines apart. A faulty row has no cells: every value is null, so the gate's "not null"
quarantines it, and the column `_fault` says what is wrong and how the line begins.

In tab-separated files quotes are quotes only where all of them balance; else they are plain characters, as most writers of such
files mean them.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from contender.data.streams import HEAD, as_utf8
from contender.data.values import decoded
from contender.errors import DataError
from contender.text import NAME_LENGTH, listed, shorten

BLOCK = 1 << 20  # bytes that Arrow parses at a time; it reads a few blocks ahead
CELL = 64 << 20  # characters; a larger cell is a quote that nobody closed
CHUNK_ROWS = 16_384
CHUNK_CHARACTERS = 8 << 20
QUOTE_FAULTS = 1_000  # each costs a second look at the lines behind it
FAULT = "_fault"
RESERVED = ("_file", "_row", "_key", FAULT)
FAULT_TEXT = 200  # characters of a faulty line that are kept


class ReadAgain(Exception):
    """The file must be read once more, from its start, by the parser that `how` names: careful, or unquoted."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


@dataclass(frozen=True)
class Dialect:
    """How one file is written: its delimiter, whether its first line names the columns, its encoding, its name for messages."""

    delimiter: str
    header: bool | tuple[str, ...]
    encoding: str
    name: str


def read_delimited(stream: Any, dialect: Dialect, how: str = "fast") -> Iterator[pa.RecordBatch]:
    """Record batches of text columns, with `_fault` where a row is faulty. ReadAgain asks for another parser, before or in between."""
    head, whole = as_utf8(stream, dialect.encoding, dialect.name)
    if how == "fast" and len(head) >= HEAD and len(dialect.delimiter.encode()) == 1:
        yield from _fast(whole, head, dialect)
        return
    quoted = how != "unquoted"
    rows = _records(io.TextIOWrapper(io.BufferedReader(whole, HEAD), "utf-8", "replace", newline=""), dialect, quoted)
    names, first = _names(rows, dialect)
    if names:
        yield text_batch([], {}, names)  # what the columns are called is known, and judged, before any row
        yield from _batches(_with(first, rows), names, dialect)


def _fast(whole: Any, head: bytes, dialect: Dialect) -> Iterator[pa.RecordBatch]:
    start = _records(io.StringIO(head.decode("utf-8", "replace"), newline=""), dialect, quoted=True)
    try:
        names, _ = _names(start, dialect)
    except DataError as error:
        raise ReadAgain("careful") from error  # what was read ahead may end inside of the first record
    yield text_batch([], {}, names)
    quoted = dialect.delimiter != "\t"
    try:
        reader = pacsv.open_csv(
            io.BufferedReader(whole, BLOCK),
            read_options=pacsv.ReadOptions(block_size=BLOCK, column_names=None if dialect.header is True else names),
            parse_options=pacsv.ParseOptions(
                delimiter=dialect.delimiter, quote_char='"' if quoted else False, newlines_in_values=quoted
            ),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.binary()), strings_can_be_null=False
            ),
        )
        if dialect.header is True and reader.schema.names != _raw_header(head, dialect):
            raise ReadAgain("careful")
        for batch in reader:
            if any(_is_odd(column, quoted) for column in batch.columns):
                raise ReadAgain("careful")
            yield pa.record_batch([decoded(column) for column in batch.columns], names=names)
    except pa.ArrowInvalid as error:
        raise ReadAgain("careful") from error


def _is_odd(column: pa.Array, quoted: bool) -> bool:
    """Whether a cell may be something else than Arrow's parser took it for."""
    if not pa.types.is_binary(column.type):
        return True
    if quoted:
        return bool(pc.any(pc.match_substring_regex(column, r"[\r\n]")).as_py())
    return bool(pc.any(pc.starts_with(column, '"')).as_py())


def _raw_header(head: bytes, dialect: Dialect) -> list[str]:
    return next(_records(io.StringIO(head.decode("utf-8", "replace"), newline=""), dialect, quoted=True)).cells or []


class _Record(NamedTuple):
    """One record: its cells, or why it has none and the text that it came from."""

    cells: list[str] | None
    fault: str = ""


def _records(text: io.TextIOBase, dialect: Dialect, quoted: bool) -> Iterator[_Record]:
    """Every record of the text, blank lines left out.

    Where a quote is opened and closed by no rule, its line alone is faulty and reading goes on with the next line, so that an
    unclosed quote costs one row and not all rows behind it.
    """
    csv.field_size_limit(CELL)
    lines = _Lines(text)
    faults = 0
    while True:
        reader = csv.reader(
            lines,
            delimiter=dialect.delimiter,
            strict=quoted,
            quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        )
        try:
            for cells in reader:
                lines.held.clear()
                if cells:
                    yield _Record(cells)
            return
        except csv.Error:
            if dialect.delimiter == "\t" and quoted:
                raise ReadAgain("unquoted") from None
            faults += 1
            if faults > QUOTE_FAULTS:
                raise DataError(
                    f"{dialect.name}: quotes do not balance in more than {QUOTE_FAULTS:,} places",
                    'Write quotes inside of quoted cells twice (""), or write the file as jsonl.',
                ) from None
            yield _after_fault(lines, dialect)


def _after_fault(lines: _Lines, dialect: Dialect) -> _Record:
    """What the first line held is, and the lines behind it given back."""
    first, *others = lines.held
    lines.give_back(others)
    if not others and len(first) < CELL:
        # Text behind a closing quote, or a quote open at the end of the file: one line, so no other row is at stake.
        return _Record(next(csv.reader([first.rstrip("\r\n")], delimiter=dialect.delimiter)))
    return _Record(None, shortened("a quote is opened and not closed as it should be", first))


class _Lines:
    """Lines of a text, those of the current record held, so that a faulty record's can be given back."""

    def __init__(self, text: io.TextIOBase) -> None:
        self._text = text
        self._returned: list[str] = []
        self.held: list[str] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._returned.pop() if self._returned else self._text.readline(CELL + 1)
        if not line:
            raise StopIteration
        self.held.append(line)
        return line

    def give_back(self, lines: Sequence[str]) -> None:
        self._returned.extend(reversed(lines))
        self.held.clear()


def _names(rows: Iterator[_Record], dialect: Dialect) -> tuple[list[str], _Record | None]:
    """The columns' names, and the first row where it was read to count its cells."""
    first = next(rows, None)
    if dialect.header is not True:
        count = len(first.cells) if first and first.cells else 0
        names = list(dialect.header) if dialect.header else [f"column_{n}" for n in range(1, count + 1)]
        check_names(names, dialect.name)
        if count and count != len(names):
            raise DataError(
                f"{dialect.name}: data.csv.header names {len(names)} columns, the first row has {count} cells",
                f"Name {count} columns, or set data.csv.delimiter (now {dialect.delimiter!r}).",
            )
        return names, first
    if first is None:
        return [], None
    if first.cells is None:
        raise DataError(f"{dialect.name}: its first line is no header: {first.fault}", "Correct the file's first line.")
    names = [name or f"column_{n}" for n, name in enumerate(first.cells, 1)]
    check_names(names, dialect.name)
    return names, None


def check_names(names: Sequence[str], file: str) -> None:
    """DataError where two columns have one name, or one has a name that row files use themselves, or cannot hold."""
    if reserved := [name for name in names if name in RESERVED]:
        raise DataError(f"{file} has a column {reserved[0]}, a name that is taken", "Rename the column.")
    if cut := [
        name for name in names if "\0" in name
    ]:  # datasets ends a name there, and does not find its column again
        raise DataError(
            f"{file} has a column {shorten(cut[0], NAME_LENGTH)!r}, whose name holds a NUL", "Rename the column."
        )
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(
            f"{file} has more than one column named {listed(twice, 5)}",
            "Give every column its own name, or set data.csv.header: false where the first line is data.",
        )


def _with(first: _Record | None, rows: Iterator[_Record]) -> Iterator[_Record]:
    if first is not None:
        yield first
    yield from rows


def _batches(rows: Iterator[_Record], names: Sequence[str], dialect: Dialect) -> Iterator[pa.RecordBatch]:
    held: list[list[str | None]] = []
    faults: dict[int, str] = {}
    size = total = faulty = 0
    empty: list[str | None] = [None] * len(names)
    for record in rows:
        cells = record.cells
        if cells is None or len(cells) != len(names):
            faults[len(held)] = record.fault or _miscounted(cells or [], names, dialect)
            held.append(empty)
        else:
            held.append(cells)  # type: ignore[arg-type]
            size += sum(map(len, cells))
        if len(held) >= CHUNK_ROWS or size >= CHUNK_CHARACTERS:
            total, faulty = total + len(held), faulty + len(faults)
            yield text_batch(held, faults, names)
            held, faults, size = [], {}, 0
    total, faulty = total + len(held), faulty + len(faults)
    if total and total == faulty:
        last = next(reversed(faults.values()), "see its lines")
        raise DataError(
            f"{dialect.name}: none of its {total:,} rows can be read: {last}",
            f"Set data.csv.delimiter (now {dialect.delimiter!r}), or correct the file.",
        )
    if held:
        yield text_batch(held, faults, names)


def text_batch(rows: list[list[str | None]], faults: dict[int, str], names: Sequence[str]) -> pa.RecordBatch:
    """Rows of text cells; `faults`: row → what is wrong with it, its cells being null."""
    columns = zip(*rows, strict=True) if rows else [() for _ in names]
    arrays = [pa.array(column, pa.string()) for column in columns]
    if not faults:
        return pa.record_batch(arrays, names=list(names))
    said = pa.array([faults.get(row) for row in range(len(rows))], pa.string())
    return pa.record_batch([*arrays, said], names=[*names, FAULT])


def _miscounted(cells: Sequence[str], names: Sequence[str], dialect: Dialect) -> str:
    what = f"{len(cells)} {'cell' if len(cells) == 1 else 'cells'} where there are {len(names)} columns"
    return shortened(what, dialect.delimiter.join(cells))


def shortened(what: str, line: str) -> str:
    return f"{what}: {line[:FAULT_TEXT].rstrip()}{'…' if len(line) > FAULT_TEXT else ''}"
