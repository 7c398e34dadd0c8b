"""A released tagger: sentences to a tag for each word. Whoever evaluates it and whoever serves it run this code."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contender.data.jsonlists import texts_of
from contender.errors import ModelError, UsageError
from contender.evaluation.tags import entities
from contender.kinds._classifier import BATCH, LoadedClassifier, OnRows, ReleasedClassifier, check_call, pad
from contender.kinds._windows import Window, windows

if TYPE_CHECKING:
    import numpy as np

    from contender.records import ReleaseManifest

AUTO = "AutoModelForTokenClassification"
OUTSIDE = "O"
WORD = re.compile(r"\w+|[^\w\s]")  # of a text that nobody split: letters and digits, or one sign


@dataclass(frozen=True)
class Entity:
    """Words `first` to `last` are an entity of a type; `score`: the lowest probability of their tags.

    `text` is theirs, with spaces between the words. Where a text was given, characters `start` to before `end` of it; else None.
    """

    type: str
    first: int
    last: int
    score: float
    text: str
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True)
class Tagged:
    """One answer: the words, a tag for each and its probability, and the entities that the tags make, in their order."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    scores: tuple[float, ...]
    entities: tuple[Entity, ...]


class Tagger(LoadedClassifier):
    """The model in `folder`, as LoadedClassifier has it."""

    def __init__(self, folder: Path, tokenizer: Any, device: str | None = None) -> None:
        super().__init__(folder, AUTO, device)
        self._tokenizer = tokenizer
        self._tokenizing = threading.Lock()
        self._outside = self.names.index(OUTSIDE) if OUTSIDE in self.names else 0

    def tag(
        self, sentences: Sequence[Sequence[str]], batch_size: int, told: OnRows | None = None
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each sentence the places of its tags in `names` (words,) int64, and their probabilities (words,) float32.

        A word that the tokenizer has no token for is outside of any entity, and nobody doubts it. `told` gets how many are done.
        """
        import numpy as np

        with self._tokenizing:
            found = list(windows(self._tokenizer, sentences, self._tokenizer.model_max_length))
        tags = [np.full(len(words), self._outside, np.int64) for words in sentences]
        scores = [np.ones(len(words), np.float32) for words in sentences]
        order = sorted(range(len(found)), key=lambda place: -len(found[place]))
        for start in range(0, len(order), batch_size):
            batch = [found[place] for place in order[start : start + batch_size]]
            probabilities = self.batch_probabilities(pad(self._tokenizer, [window.inputs for window in batch]))
            for window, answer in zip(batch, self._unpadded(batch, probabilities), strict=True):
                own = answer[list(window.words)]
                words = list(window.words.values())
                tags[window.sentence][words] = own.argmax(axis=-1)
                scores[window.sentence][words] = own.max(axis=-1)
            if told:
                told(len(sentences) * min(start + batch_size, len(order)) // len(order))
        return list(zip(tags, scores, strict=True))

    def _unpadded(self, batch: Sequence[Window], values: np.ndarray) -> list[np.ndarray]:
        """Of values (windows, width, …) those of each window's own tokens."""
        if self._tokenizer.padding_side == "right":
            return [own[: len(window)] for window, own in zip(batch, values, strict=True)]
        return [own[len(own) - len(window) :] for window, own in zip(batch, values, strict=True)]


class TokenClassifier(ReleasedClassifier):
    """A release that answers, as `contender.kinds.base.Model` says, with `Tagged`.

    Inputs are lists of words, texts, or rows that hold either in the column of the words, the words also as JSON.
    """

    def __init__(self, manifest: ReleaseManifest, tagger: Tagger) -> None:
        super().__init__(manifest, tagger)
        self._tagger = tagger

    def predict(self, inputs: Sequence[Any], *, batch_size: int = BATCH) -> list[Tagged]:
        import numpy as np

        check_call(inputs, batch_size)
        given = [self._example(place, one) for place, one in enumerate(inputs)]
        answers = self._tagger.tag([words for words, _ in given], batch_size)
        if not all(np.isfinite(scores).all() for _, scores in answers):
            raise ModelError(
                f"release {self.manifest.release} gave probabilities that are no numbers",
                "Its weights hold infinities or NaN, or the device overflows: serve another release.",
            )
        return [
            _tagged(words, places, [self.labels[tag] for tag in tags], scores.tolist())
            for (words, places), (tags, scores) in zip(given, answers, strict=True)
        ]

    def warm_up(self) -> None:
        for inputs in ([["warm", "up"]], [["warm", "up"] * 100], [["warm", "up"]] * 8):
            self.predict(inputs)

    def _example(self, place: int, given: Any) -> tuple[list[str], list[tuple[int, int]] | None]:
        """The words of one input, and which characters they are where it is a text."""
        column = self.manifest.columns.get("tokens", "tokens")
        value = given.get(column) if isinstance(given, Mapping) else given
        if isinstance(given, Mapping) and isinstance(value, str) and (words := texts_of(value)) is not None:
            value = words
        if isinstance(value, str):
            found = list(WORD.finditer(value))
            return [word.group() for word in found], [word.span() for word in found]
        if isinstance(value, Sequence) and all(isinstance(word, str) for word in value):
            return list(value), None
        where = f" in column {column!r}" if isinstance(given, Mapping) else ""
        raise UsageError(
            f"input {place} has neither words nor a text{where}: it is of type {type(value).__name__}",
            f"Give lists of words, texts, or rows with either in column {column!r}.",
        )


def _tagged(words: list[str], places: list[tuple[int, int]] | None, tags: list[str], scores: list[float]) -> Tagged:
    found = [
        Entity(
            type=kind,
            first=first,
            last=last,
            score=min(scores[first : last + 1]),
            text=" ".join(words[first : last + 1]),
            start=places[first][0] if places else None,
            end=places[last][1] if places else None,
        )
        for kind, first, last in sorted(entities(json.dumps(tags)), key=lambda entity: entity[1])
    ]
    return Tagged(tuple(words), tuple(tags), tuple(scores), tuple(found))
