"""Whether data is sentences of words with a tag for each, or has lists of labels, and in which columns: for `contender init`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from contender.data.conll import ENTITY_TAG
from contender.data.jsonlists import label_counts, texts_of
from contender.data.rowfile import read_batches
from contender.data.values import as_text

WORDS, TAGS = ("tokens", "words"), ("tags", "ner_tags", "ner", "labels", "label")
LABEL_LISTS = ("labels", "label", "tags", "topics", "categories", "intents")
LOOKED_AT = 100  # rows


def tagged_columns(rows: Path) -> tuple[str, str] | None:
    """The columns of the words and of their tags, by the first rows: lists of one length, the tags O or of an entity in each."""
    lists = {name: found for name, found in _lists(rows).items() if all(found)}
    tags = [
        name
        for name, found in lists.items()
        if found and all(ENTITY_TAG.fullmatch(tag) for texts in found for tag in texts or ())
    ]
    if not tags:
        return None
    tag = min(tags, key=lambda name: TAGS.index(name) if name in TAGS else len(TAGS))
    words = [
        name
        for name, found in lists.items()
        if name not in tags and [len(texts or ()) for texts in found] == [len(texts or ()) for texts in lists[tag]]
    ]
    words.sort(key=lambda name: WORDS.index(name) if name in WORDS else len(WORDS))
    return (words[0], tag) if words else None


def label_lists(rows: Path) -> str | None:
    """The column of lists of labels, by its name and the first rows: some of the lists may be empty, but not all."""
    lists = {name: found for name, found in _lists(rows).items() if None not in found and any(found)}
    return next((name for name in LABEL_LISTS if name in lists), None)


def _lists(rows: Path) -> dict[str, list[list[str] | None]]:
    """Of each column the lists of text in the first rows; None for what is none."""
    batch = next(read_batches(rows), None)
    if batch is None or not batch.num_rows:
        return {}
    first = batch.slice(0, LOOKED_AT)
    return {
        name: [texts_of(cell) for cell in as_text(first.column(name)).drop_null().to_pylist()]
        for name in first.schema.names
    }


def label_figures(rows: Path, column: str) -> dict[str, int]:
    """How many rows have each label, the commonest first."""
    counts: Counter[str] = Counter()
    for batch in read_batches(rows):
        counts.update(label_counts(as_text(batch.column(column)), "set"))
    return dict(counts.most_common())


def tag_figures(rows: Path, words: str, tags: str) -> tuple[dict[str, int], list[int]]:
    """How many words have each tag, the commonest first, and how many words each sentence has."""
    counts: Counter[str] = Counter()
    lengths: list[int] = []
    for batch in read_batches(rows):
        for cell in as_text(batch.column(tags)).to_pylist():
            counts.update(texts_of(cell) or ())
        lengths += [len(texts_of(cell) or ()) for cell in as_text(batch.column(words)).drop_null().to_pylist()]
    return dict(counts.most_common()), lengths
