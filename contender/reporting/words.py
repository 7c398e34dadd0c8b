"""The text of a row as a report may show it, and, word by word, what made a model give it its answer.

What is shown is what redaction leaves, character for character: words are found in the row, and then masked.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from contender.attribution import Attribution, Span
from contender.reporting.data import Examples
from contender.text import ACTING, E_MAIL, LOOKED_AT, masked_word, redact, shorten

FULL_LENGTH = 2_000  # characters of a row under examples: full
LEVELS = 4  # strengths that can be told apart
FAINTEST = 1 / 8  # of the strongest word's weight: less is not marked
NAMED, NAMED_SHARE = 5, 0.03  # words that a sentence names for either side, and the least share of all that one has
# Han, kana: scripts without spaces, in which every character is a word; what modifies one stays with it.
ALONE = "\u3005\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
PART = re.compile(f"[{ALONE}][\u0300-\u036f\u3099\u309a\ufe00-\ufe0f\U000e0100-\U000e01ef]*|[^{ALONE}]+")


@dataclass(frozen=True)
class Word:
    """A piece of a shown text, blanks among them; `share` of all weights, below zero where it spoke against the answer."""

    text: str
    share: float = 0.0
    level: int = 0

    @property
    def style(self) -> str:
        """The class of its mark: for1 to for4, against1 to against4, or none."""
        return f"{'for' if self.share > 0 else 'against'}{self.level}" if self.level else ""


@dataclass(frozen=True)
class Reading:
    """A text as a model read it: all that is shown of it, and what spoke most for and against its answer.

    unseen: the share of the weights that lies in what is not shown. gap: what the weights miss of the score, as a share of them.
    """

    answer: str
    words: tuple[Word, ...]
    towards: tuple[Word, ...]
    against: tuple[Word, ...]
    unseen: float
    gap: float


def shown_text(text: str, examples: Examples) -> str:
    return redact(text) if examples == "redacted" else shorten(text, FULL_LENGTH)


def read(text: str, examples: Examples, found: Attribution) -> Reading:
    """The shown text of a row, as the attribution says that it was read."""
    letters = _by_character(text, found.spans)
    pieces = [(shown, math.fsum(letters[start:end])) for start, end, shown in _pieces(text, examples)]
    weights = [*(one for _, one in pieces), math.fsum(letters[LOOKED_AT:])]
    total, most = math.fsum(map(abs, weights)), max(map(abs, weights))
    words = tuple(
        Word(shown, one / total, _level(one / most)) if one else Word(shown)
        for shown, one in _cut(pieces, shown_text(text, examples))
    )
    seen = math.fsum(abs(word.share) for word in words)
    return Reading(
        answer=found.answer,
        words=words,
        towards=_strongest(words, 1),
        against=_strongest(words, -1),
        unseen=max(0.0, 1.0 - seen) if total else 0.0,
        gap=found.gap,
    )


def _by_character(text: str, spans: Sequence[Span]) -> list[float]:
    """Each token's weight spread over its characters: tokens need not end where words do."""
    weights = [0.0] * min(len(text), max((span.end for span in spans), default=0))
    for span in spans:
        places = [place for place in range(span.start, min(span.end, len(weights))) if not text[place].isspace()]
        for place in places:
            weights[place] += span.weight / len(places)
    return weights


def _pieces(text: str, examples: Examples) -> Iterator[tuple[int, int, str]]:
    """Where each word and each blank stands in the row, and how it is shown. An address is one word."""
    for found in re.finditer(r"\s+|\S+", text[:LOOKED_AT]):
        start, word = found.start(), found[0]
        shown = masked_word(word) if examples == "redacted" else word
        if shown == E_MAIL:
            yield start, found.end(), shown
            continue
        for part in PART.finditer(word):
            yield start + part.start(), start + part.end(), shown[part.start() : part.end()]


def _cut(pieces: Sequence[tuple[str, float]], shown: str) -> Iterator[tuple[str, float]]:
    """The pieces as far as they are shown; where the text was cut the rest of it is one, and has the weight of what it begins."""
    at = 0
    for piece, weight in pieces:
        if not shown.startswith(piece, at):
            rest = shown[at:]
            yield rest, weight if len(rest) > 1 and piece.startswith(rest[:-1]) else 0.0
            return
        yield piece, weight
        at += len(piece)
    if at < len(shown):
        yield shown[at:], 0.0


def _level(strength: float) -> int:
    """0 to LEVELS, of a weight relative to the strongest of its text."""
    return math.ceil(min(abs(strength), 1.0) * LEVELS) if abs(strength) >= FAINTEST else 0


def _strongest(words: Sequence[Word], sign: int) -> tuple[Word, ...]:
    """The words of one side that a sentence should name, without what would act; one that stands there twice is named once."""
    shares: dict[str, float] = defaultdict(float)
    for word in words:
        shares[ACTING.sub("", word.text) or word.text] += word.share
    ranked = sorted(shares.items(), key=lambda entry: -sign * entry[1])
    return tuple(Word(text, share) for text, share in ranked[:NAMED] if sign * share >= NAMED_SHARE)
