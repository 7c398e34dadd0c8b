"""Sentences of words as a tagger reads them: tokens, and which of them stand for a word.

The first token of a word carries its tag. A sentence of more tokens than the model reads becomes windows that overlap by a quarter;
each word is tagged in the window that shows most on both sides of it, so that every word gets a tag, and none two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

OVERLAP = 4  # a window shares one in so many of its tokens with the next


@dataclass(frozen=True)
class Window:
    """`inputs`: what the model reads, by name; `words`: place of a token → the word of `sentence` that it stands for."""

    sentence: int
    inputs: dict[str, list[int]]
    words: dict[int, int]

    def __len__(self) -> int:
        return len(self.inputs["input_ids"])


def windows(tokenizer: Any, sentences: Sequence[Sequence[str]], max_length: int) -> Iterator[Window]:
    """The windows of each sentence that stand for a word, in order, of at most `max_length` tokens.

    A word for which the tokenizer has no token, such as a lone variation selector, is in none of them.
    """
    places = [place for place, words in enumerate(sentences) if words]
    if not places:
        return
    encoded = tokenizer(
        [list(sentences[place]) for place in places],
        is_split_into_words=True,
        truncation=False,
        return_attention_mask=False,
        verbose=False,
    )
    types = encoded.get("token_type_ids")
    names = ["input_ids", *(["token_type_ids"] if types and any(any(row) for row in types) else [])]
    for row, place in enumerate(places):
        whole = {name: encoded[name][row] for name in names}
        for inputs, words in _cut(whole, encoded.word_ids(row), max_length):
            if words:
                yield Window(place, inputs, words)


def _cut(
    whole: dict[str, list[int]], of_word: Sequence[int | None], max_length: int
) -> Iterator[tuple[dict[str, list[int]], dict[int, int]]]:
    """The inputs of each window, and place → word; every window has the special tokens that stand around the whole."""
    own = [place for place, word in enumerate(of_word) if word is not None]
    if not own:
        return
    before, after = own[0], own[-1] + 1
    firsts = [place for place in own if place == before or of_word[place] != of_word[place - 1]]
    room = max(max_length - before - (len(of_word) - after), 1)
    starts = _starts(before, after, room)
    # Between two windows the middle of what they share.
    bounds = [before, *((left + room + right) // 2 for left, right in pairwise(starts)), after]
    for start, low, high in zip(starts, bounds, bounds[1:], strict=False):
        end = min(start + room, after)
        inputs = {name: [*ids[:before], *ids[start:end], *ids[after:]] for name, ids in whole.items()}
        yield inputs, {place - start + before: int(of_word[place] or 0) for place in firsts if low <= place < high}


def _starts(before: int, after: int, room: int) -> list[int]:
    """Where the windows of tokens `before` to `after` begin; the last ends at the end."""
    if after - before <= room:
        return [before]
    step = max(room - room // OVERLAP, 1)
    return [*range(before, after - room, step), after - room]
