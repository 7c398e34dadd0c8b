"""What data looks like: its columns, which of them seem to hold text and label, how many rows, how long, how often repeated.

For `contender init`, which writes a pipeline from it. Every guess is shown to the user as a guess.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contender.data.formats import format_of
from contender.data.source import ReadOptions, ingest, peek
from contender.records import FileSet, Record
from contender.text import NAME_LENGTH, listed, shorten, shorten_keys

DISTINCT = 2_000  # a column with more values than this is no label
LABELS_KEPT = 1_000
SAMPLE = 1 << 20  # bytes of the first file, to guess how it is written
TEXT_NAMES = (
    *("text", "body", "content", "message", "comment", "sentence", "question", "utterance"),
    *("review", "tweet", "query", "description", "title"),
)
LABEL_NAMES = ("label", "intent", "category", "class", "target", "sentiment", "topic", "tag", "type", "y")
QUANTILES = (0.5, 0.95, 1.0)


class ColumnProfile(Record):
    """One column: how many different values it has (None: more than are counted), and its mean length in characters."""

    name: str
    kind: str
    distinct: int | None
    nulls: int
    mean_length: float

    def shortened(self) -> ColumnProfile:
        return self.model_copy(update={"name": shorten(self.name, NAME_LENGTH)})


class DataProfile(Record):
    """What `inspect` found; `text` and `label` are guesses, None where no column looks like one.

    Where `task` is token-classification they are lists, of words and of their tags: `labels` counts words, `text_length` too.
    """

    task: str = "text-classification"
    files: int
    skipped: int
    rows: int
    options: ReadOptions
    columns: tuple[ColumnProfile, ...]
    text: str | None
    label: str | None
    labels: dict[str, int] = {}
    text_length: dict[str, int] = {}
    repeated_texts: int = 0
    faulty_rows: int = 0

    @property
    def sentence(self) -> str:
        """The profile in one line."""
        files = f"{self.rows:,} rows in {self.files:,} {'file' if self.files == 1 else 'files'}"
        if self.task == "token-classification":
            return f"{files}, words in {listed([str(self.text)])}, {len(self.labels):,} tags in {listed([str(self.label)])}"
        labels = (
            f"{len(self.labels):,} labels in {listed([self.label])}"
            if self.label
            else "no column that looks like a label"
        )
        text = f"text in {listed([self.text])}" if self.text else "no column that looks like text"
        return f"{files}, {text}, {labels}"


def inspect(source: str, base: Path, profile: str | None = None) -> DataProfile:
    """Reads the whole source once, in bounded memory, and describes it; the errors are those of `peek` and `ingest`."""
    peeked = peek(source, ReadOptions(), base=base, profile=profile)
    options = _guess_options(source, peeked, base, profile)
    with tempfile.TemporaryDirectory(prefix="contender-") as folder:
        rows = Path(folder, "rows.arrow")
        read = ingest(source, peeked, options, rows, base=base, required=(), profile=profile)
        return _described(read, options, rows)


def _guess_options(source: str, peeked: FileSet, base: Path, profile: str | None) -> ReadOptions:
    """From the first csv or tsv file; what its name says already is left at its default."""
    from contender.data.dialects import guess_delimiter, guess_encoding, guess_header
    from contender.data.places import locate
    from contender.data.streams import Hashed, as_utf8, gzip_errors, unpacked

    forms = ((file, format_of(file.path)) for file in peeked.files)
    file, form = next(((file, form) for file, form in forms if form and form.name in ("csv", "tsv")), (None, None))
    if file is None or form is None:
        return ReadOptions()
    place = locate(source, base, profile)
    place.list()
    with place.open(file.path) as stream, gzip_errors(file.path):
        sample = unpacked(Hashed(stream), form.gzipped).read(SAMPLE)
    encoding = guess_encoding(sample, whole=len(sample) < SAMPLE)
    import io

    text = as_utf8(io.BytesIO(sample), encoding, file.path)[0].decode("utf-8", "replace")
    default = "\t" if form.name == "tsv" else ","
    delimiter = guess_delimiter(text, default)
    return ReadOptions(
        delimiter=None if delimiter == default else delimiter,
        header=guess_header(text, delimiter),
        encoding=encoding,
    )


def _described(read: FileSet, options: ReadOptions, rows: Path) -> DataProfile:
    from contender.data.delimited import FAULT
    from contender.data.rowfile import read_batches
    from contender.data.tagged import tag_figures, tagged_columns
    from contender.data.values import as_text

    tallies = {name: _Tally(name) for name in read.columns}
    faulty = 0
    for batch in read_batches(rows):
        for name, tally in tallies.items():
            column = batch.column(name)
            tally.add(as_text(column), str(column.type))
        if FAULT in batch.schema.names:
            faulty += batch.num_rows - batch.column(FAULT).null_count
    columns = tuple(tally.profile() for tally in tallies.values())
    tagged = tagged_columns(rows)
    text = tagged[0] if tagged else _text_column(columns)
    label = tagged[1] if tagged else _label_column(columns, text, read.rows)
    labels = dict(tallies[label].values.most_common(LABELS_KEPT)) if label else {}
    figures = _text_figures(rows, text) if text else {}
    if tagged:
        labels, lengths = tag_figures(rows, *tagged)
        figures |= {"task": "token-classification", "text_length": _quantiles(lengths)}
    return DataProfile(
        files=len(read.files),
        skipped=len(read.skipped),
        rows=read.rows,
        options=options,
        columns=tuple(column if column.name in (text, label) else column.shortened() for column in columns),
        text=text,
        label=label,
        labels=shorten_keys(labels),
        faulty_rows=faulty,
        **figures,
    )


class _Tally:
    """Counts over one column, in bounded memory."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kind = ""
        self.values: Counter[str] = Counter()
        self.nulls = self.rows = self.characters = 0
        self._counting = True

    def add(self, column: Any, kind: str) -> None:
        import pyarrow.compute as pc

        self.kind = kind
        self.nulls += column.null_count
        self.rows += len(column)
        self.characters += pc.sum(pc.utf8_length(column)).as_py() or 0
        if self._counting:
            for entry in pc.value_counts(column.drop_null()).to_pylist():
                self.values[entry["values"]] += entry["counts"]
            self._counting = len(self.values) <= DISTINCT

    def profile(self) -> ColumnProfile:
        return ColumnProfile(
            name=self.name,
            kind=self.kind,
            distinct=len(self.values) if self._counting else None,
            nulls=self.nulls,
            mean_length=round(self.characters / max(self.rows - self.nulls, 1), 1),
        )


def _text_column(columns: tuple[ColumnProfile, ...]) -> str | None:
    """The column named like a text, else the one with the longest values, if they are longer than a word."""
    candidates = [column for column in columns if column.kind == "string"]
    named = _named(candidates, TEXT_NAMES)
    longest = max(candidates, key=lambda column: column.mean_length, default=None)
    if named and longest and named.mean_length * 4 >= longest.mean_length:
        return named.name
    return longest.name if longest and longest.mean_length >= 8 else None


def _label_column(columns: tuple[ColumnProfile, ...], text: str | None, rows: int) -> str | None:
    """The column named like a label, else the one with the fewest values, two or more, that come again and again."""
    most = max(2, min(DISTINCT, rows // 2))
    candidates = [one for one in columns if one.name != text and one.distinct and 2 <= one.distinct <= most]
    if named := _named(candidates, LABEL_NAMES):
        return named.name
    best = min(candidates, key=lambda column: column.distinct or 0, default=None)
    return best.name if best and (best.distinct or 0) * 5 <= rows else None


def _named(columns: list[ColumnProfile], names: Sequence[str]) -> ColumnProfile | None:
    """The column whose name has the earliest of `names` as a word: "sms_text" has "text", "context" does not."""
    for name in names:
        for column in columns:
            if name in re.split(r"[^a-z0-9]+", column.name.lower()):
                return column
    return None


def _text_figures(rows: Path, text: str) -> dict[str, Any]:
    """Quantiles of the text's length in characters, and how many rows repeat an earlier text."""
    import numpy as np
    import pyarrow.compute as pc

    from contender.data.normalise import hashes
    from contender.data.rowfile import read_batches
    from contender.data.values import as_text

    lengths, texts = [np.empty(0, np.int32)], [np.empty(0, np.uint64)]
    for batch in read_batches(rows):
        column = as_text(batch.column(text)).drop_null()
        lengths.append(pc.utf8_length(column).to_numpy())
        texts.append(np.array(hashes(column.to_pylist(), 0), np.uint64))
    length, every = np.concatenate(lengths), np.concatenate(texts)
    return {"text_length": _quantiles(length), "repeated_texts": len(every) - len(np.unique(every))}


def _quantiles(lengths: Any) -> dict[str, int]:
    import numpy as np

    found = np.quantile(lengths, QUANTILES).astype(int).tolist() if len(lengths) else [0] * len(QUANTILES)
    return dict(zip(("median", "95%", "longest"), found, strict=True))
