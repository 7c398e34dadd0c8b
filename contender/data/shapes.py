"""What data is for: which task its files and columns look like, and which columns play the parts. For `contender init`."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contender.data.chatrows import ChatRows, Layout, layout_of
from contender.data.chats import MESSAGES, fault_of
from contender.data.examples import BESIDE
from contender.data.formats import MEDIA, Media, format_of, is_media
from contender.data.places import Place, locate
from contender.data.rowfile import read_batches
from contender.data.streams import Hashed, gzip_errors, unpacked
from contender.data.tagged import label_lists, tagged_columns
from contender.data.values import as_text
from contender.records import Record
from contender.text import NAME_LENGTH, shorten

DISTINCT = 2_000  # a column with more values than this is no label
LOOKED_AT = 100  # rows
TEXT_NAMES = (
    *("text", "body", "content", "message", "comment", "sentence", "question", "utterance"),
    *("review", "tweet", "query", "description", "title"),
)
LABEL_NAMES = (
    *("label", "intent", "category", "class", "target", "sentiment", "topic", "tag", "type", "y"),
    *("outcome", "fraud", "churn", "income"),
)
SUMMARY_NAMES = ("summary", "tldr", "highlights")
_CODES = (
    "ar bg bn cs da de el en es et fa fi fr he hi hr hu it ja ko lt lv ms nl pl pt ro ru sk sl sr sv th tr uk ur vi zh"
)
_ENGLISH_NAMES = (
    "arabic chinese dutch english french german italian japanese korean polish portuguese russian spanish turkish"
)
LANGUAGES = frozenset([*_CODES.split(), *_ENGLISH_NAMES.split()])
# Characters of a text that is rather summarised than translated, and how many times shorter its summary is, where names do not say it:
# a Chinese sentence, too, has a third of the characters of an English one.
LONG, SHORTER = 400, 2


class ColumnProfile(Record):
    """One column: how many different values it has (None: more than are counted), and its mean length in characters."""

    name: str
    kind: str
    distinct: int | None
    nulls: int
    mean_length: float

    def shortened(self) -> ColumnProfile:
        return self.model_copy(update={"name": shorten(self.name, NAME_LENGTH)})

    def repeats(self, rows: int) -> bool:
        """Whether its values come again and again, as labels do."""
        return self.distinct is not None and self.distinct * 5 <= rows


@dataclass(frozen=True)
class Shape:
    """A task, and the columns of its example and of what is answered; None where no column looks like it."""

    task: str
    text: str | None
    label: str | None
    layout: Layout | None = None  # of conversations


def medium_of(source: str, base: Path, profile: str | None) -> Media | None:
    """What a source without tables holds; None where it has tables, or neither pictures nor sounds."""
    for medium in MEDIA:
        place = locate(source, base, profile, medium)
        found = [(file.path, format_of(file.path, medium)) for file in place.list()[0]]
        if any(form is not None and form.is_table for _, form in found):
            return None
        if any(is_media(path, medium) for path, _ in found):
            return medium
        archive = next((path for path, form in found if form is not None), None)
        if archive is not None and _in_archive(place, archive, medium):
            return medium
    return None


def _in_archive(place: Place, path: str, medium: Media) -> bool:
    from contender.data.mediarows import members_in

    form = format_of(path, medium)
    assert form is not None
    with tempfile.TemporaryDirectory(prefix="contender-") as folder, place.open(path) as stream, gzip_errors(path):
        hashed = Hashed(stream)
        return members_in(unpacked(hashed, form.gzipped), form, path, hashed, medium, Path(folder)) > 0


def shape_of(rows: Path, columns: Sequence[ColumnProfile], count: int, medium: Media | None) -> Shape:
    """The task that the `count` rows of a row file look like. `medium`: what its files are, where they are no tables."""
    if medium is not None:
        return Shape(f"{medium}-classification", medium, "label")
    if tagged := tagged_columns(rows):
        return Shape("token-classification", *tagged)
    label = _label_column(columns, None, count)
    for name, of in _paths(rows).items():
        return Shape(f"{of}-classification", name, _label_column(columns, name, count))
    if layout := _chat(rows, columns, count):
        return Shape("text-generation", layout.turns or layout.prompt, layout.answer, layout)
    if written := _written(columns, count):
        return written
    if labels := label_lists(rows):
        others = [column for column in columns if column.name != labels]
        return Shape("multi-label-classification", _text_column(others, count), labels)
    text = _text_column(columns, count)
    if text is None and label is not None:
        return Shape("tabular-classification", None, _table_label(columns, count))
    return Shape("text-classification", text, _label_column(columns, text, count))


def _paths(rows: Path) -> dict[str, Media]:
    """Columns of whose first values every one is the path of a picture, or of a sound."""
    batch = next(read_batches(rows), None)
    found: dict[str, Media] = {}
    if batch is None:
        return found
    for name in batch.schema.names:
        paths = as_text(batch.column(name).slice(0, LOOKED_AT)).drop_null().to_pylist()
        for medium in MEDIA:
            if name not in BESIDE and paths and all(is_media(path, medium) for path in paths):
                found[name] = medium
    return found


def _chat(rows: Path, columns: Sequence[ColumnProfile], count: int) -> Layout | None:
    """The layout of conversations, if the columns hold some: turns in a list, or answers that are no labels."""
    layout = layout_of([column.name for column in columns])
    if layout is None or any(column.name == layout.answer and column.repeats(count) for column in columns):
        return None
    batch = next(read_batches(rows), None)
    if layout.turns is None or batch is None:
        return layout
    cells = ChatRows({MESSAGES: MESSAGES}).of_table(batch.slice(0, LOOKED_AT), "")[0].column(MESSAGES)
    faults = [fault_of(cell) for cell in cells.drop_null().to_pylist()]
    return layout if faults and 2 * faults.count("no conversation") < len(faults) else None


def _written(columns: Sequence[ColumnProfile], count: int) -> Shape | None:
    """Two columns of text, one of them written from the other."""
    texts = {one.name.lower(): one for one in columns if one.kind == "string" and not one.repeats(count)}
    for name in SUMMARY_NAMES:
        others = [one for one in texts.values() if name in texts and one is not texts[name]]
        if others:
            longest = max(others, key=lambda one: one.mean_length)
            return Shape("summarization", longest.name, texts[name].name)
    if {"source", "target"} <= texts.keys():
        source, target = texts["source"], texts["target"]
        sums_up = source.mean_length >= max(LONG, SHORTER * target.mean_length)
        return Shape("summarization" if sums_up else "translation", source.name, target.name)
    spoken = [one for name, one in texts.items() if is_language(name)]
    return Shape("translation", spoken[0].name, spoken[1].name) if len(spoken) == 2 else None


def is_language(name: str) -> bool:
    """Whether a column is named for the language of its texts, such as en, de-AT or german."""
    return re.split("[-_]", name.lower())[0] in LANGUAGES


def _text_column(columns: Sequence[ColumnProfile], count: int) -> str | None:
    """The column named like a text, else the one with the longest values, if they are longer than a word and seldom the same."""
    candidates = [column for column in columns if column.kind == "string"]
    named = _named(candidates, TEXT_NAMES)
    longest = max(candidates, key=lambda column: column.mean_length, default=None)
    if named and longest and named.mean_length * 4 >= longest.mean_length:
        return named.name
    free = [column for column in candidates if column.mean_length >= 8 and not column.repeats(count)]
    return max(free, key=lambda column: column.mean_length).name if free else None


def _label_column(columns: Sequence[ColumnProfile], text: str | None, count: int) -> str | None:
    """The column named like a label, else the one with the fewest values, two or more, that come again and again."""
    candidates = _label_like(columns, text, count)
    if named := _named(candidates, LABEL_NAMES):
        return named.name
    best = min(candidates, key=lambda column: column.distinct or 0, default=None)
    return best.name if best and best.repeats(count) else None


def _table_label(columns: Sequence[ColumnProfile], count: int) -> str | None:
    """As `_label_column`; where several columns have the fewest values the last of them, since that is where tables keep it."""
    return _label_column([*reversed(columns)], None, count)


def _label_like(columns: Sequence[ColumnProfile], text: str | None, count: int) -> list[ColumnProfile]:
    most = max(2, min(DISTINCT, count // 2))
    return [one for one in columns if one.name != text and one.distinct and 2 <= one.distinct <= most]


def _named(columns: Sequence[ColumnProfile], names: Sequence[str]) -> ColumnProfile | None:
    """The column whose name has the earliest of `names` as a word, and the fewest others: "sms_text" has "text", "context" does not."""
    parts = {column.name: re.split(r"[^a-z0-9]+", column.name.lower()) for column in columns}
    for name in names:
        if having := [column for column in columns if name in parts[column.name]]:
            return min(having, key=lambda column: len(parts[column.name]))
    return None
