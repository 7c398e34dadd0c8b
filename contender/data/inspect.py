"""What data looks like: its columns, what they seem to be for (contender/data/shapes.py), how many rows, how long, how often repeated.

For `contender init`, which writes a pipeline from it. Every guess is shown to the user as a guess.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from contender.data.formats import format_of
from contender.data.shapes import DISTINCT, ColumnProfile, Shape, medium_of, shape_of
from contender.data.source import ReadOptions, ingest, peek
from contender.names import TASKS
from contender.records import FileSet, Record
from contender.text import listed, shorten_keys

LABELS_KEPT = 1_000
SAMPLE = 1 << 20  # bytes of the first file, to guess how it is written
QUANTILES = (0.5, 0.95, 1.0)
# Task → what its example and its answer are called in one line.
CALLED = {
    "token-classification": ("words", "tags"),
    "image-classification": ("pictures", "labels"),
    "audio-classification": ("sounds", "labels"),
    "translation": ("texts", "translations"),
    "summarization": ("texts", "summaries"),
}


class DataProfile(Record):
    """What `inspect` found; `text` and `label` are guesses, None where no column looks like one.

    Where `task` is token-classification they are lists, of words and of their tags: `labels` counts words, `text_length` too. In other
    tasks `text` is what their example is in, and `label` what is answered. `left_out`: answers that nobody wanted.
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
    left_out: int = 0

    @property
    def sentence(self) -> str:
        """The profile in one line."""
        found = f"{self.rows:,} rows in {self.files:,} {'file' if self.files == 1 else 'files'}"
        labels = (
            f"{len(self.labels):,} labels in {listed([self.label])}"
            if self.label
            else "no column that looks like a label"
        )
        if self.task == "text-generation":
            answers = f" with answers in {listed([self.label])}" if self.label else ""
            return f"{found}, conversations in {listed([str(self.text)])}{answers}"
        if self.task == "tabular-classification":
            return f"{found}, {labels}, {len(self.columns) - 1:,} columns beside it"
        if self.task in CALLED:
            example, answers = CALLED[self.task]
            counted = f"{len(self.labels):,} " if self.labels else ""
            return (
                f"{found}, {example} in {listed([str(self.text)])}, {counted}{answers} in {listed([str(self.label)])}"
            )
        text = f"text in {listed([self.text])}" if self.text else "no column that looks like text"
        return f"{found}, {text}, {labels}"


def inspect(source: str, base: Path, profile: str | None = None) -> DataProfile:
    """Reads the whole source once, in bounded memory, and describes it; the errors are those of `peek` and `ingest`."""
    medium = medium_of(source, base, profile)
    if medium is None:
        peeked = peek(source, ReadOptions(), base=base, profile=profile)
        options = _guess_options(source, peeked, base, profile)
    else:
        options = ReadOptions(media=medium, media_column=medium)
        peeked = peek(source, options, base=base, profile=profile)
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
    shape = shape_of(rows, columns, read.rows, options.media)
    named = (shape.text, shape.label)
    labels = dict(tallies[shape.label].values.most_common(LABELS_KEPT)) if shape.label else {}
    return DataProfile(
        **{
            "labels": shorten_keys(labels) if TASKS[shape.task].labels == "one" else {},
            **_figures(rows, shape),
        },
        task=shape.task,
        files=len(read.files),
        skipped=len(read.skipped),
        rows=read.rows,
        options=options,
        columns=tuple(column if column.name in named else column.shortened() for column in columns),
        text=shape.text,
        label=shape.label,
        faulty_rows=faulty,
    )


def _figures(rows: Path, shape: Shape) -> dict[str, Any]:
    """What is worth knowing of the examples of a task."""
    from contender.data.tagged import label_figures, tag_figures

    if shape.layout is not None:
        return _chat_figures(rows)
    if shape.text is None or not TASKS[shape.task].words:
        return {}
    figures = _text_figures(_texts_in(rows, shape.text))
    if shape.task == "multi-label-classification":
        figures |= {"labels": shorten_keys(label_figures(rows, str(shape.label)))}
    if shape.task == "token-classification":
        labels, lengths = tag_figures(rows, shape.text, str(shape.label))
        figures |= {"labels": shorten_keys(labels), "text_length": _quantiles(lengths)}
    return figures


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


def _texts_in(rows: Path, column: str) -> Iterator[list[str]]:
    from contender.data.rowfile import read_batches
    from contender.data.values import as_text

    for batch in read_batches(rows):
        yield as_text(batch.column(column)).drop_null().to_pylist()


def _chat_figures(rows: Path) -> dict[str, Any]:
    """Of what is said before the answers that somebody wanted, and how many others there are."""
    from contender.data.chatrows import ChatRows
    from contender.data.chats import MESSAGES, prompt_words
    from contender.data.rowfile import read_batches

    left_out = 0

    def prompts() -> Iterator[list[str]]:
        nonlocal left_out
        read = ChatRows({MESSAGES: MESSAGES})
        for batch in read_batches(rows):
            made, wanted = read.of_table(batch, "")
            cells = made.column(MESSAGES) if wanted is None else made.column(MESSAGES).filter(wanted)
            left_out += batch.num_rows - len(cells)
            yield list(map(prompt_words, cells.drop_null().to_pylist()))

    return {**_text_figures(prompts()), "left_out": left_out}


def _text_figures(every: Iterable[list[str]]) -> dict[str, Any]:
    """Quantiles of the texts' length in characters, and how many rows repeat an earlier text."""
    import numpy as np

    from contender.data.normalise import hashes

    lengths, texts = [np.empty(0, np.int32)], [np.empty(0, np.uint64)]
    for some in every:
        lengths.append(np.array(list(map(len, some)), np.int32))
        texts.append(np.array(hashes(some, 0), np.uint64))
    length, known = np.concatenate(lengths), np.concatenate(texts)
    return {"text_length": _quantiles(length), "repeated_texts": len(known) - len(np.unique(known))}


def _quantiles(lengths: Any) -> dict[str, int]:
    import numpy as np

    found = np.quantile(lengths, QUANTILES).astype(int).tolist() if len(lengths) else [0] * len(QUANTILES)
    return dict(zip(("median", "95%", "longest"), found, strict=True))
