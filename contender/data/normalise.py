"""The form under which two texts count as the same, and its salted hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from unicodedata import normalize

NORMALISER = 1  # revision: a change here moves rows between sets, so it needs a new number and a new split


def normalised(text: str) -> str:
    """Compatibility forms unified (NFKC), case folded, runs of white space made one space, none at the ends."""
    if not text.isascii():
        # Folding can leave what NFKC would compose, and composing can leave what folds again: twice reaches the fixed point.
        text = normalize("NFKC", normalize("NFKC", normalize("NFKC", text).casefold()).casefold())
        return " ".join(text.split())
    return " ".join(text.lower().split())


def seed_of(salt: str, purpose: str) -> int:
    """A 64-bit seed for one purpose, such as keys or texts, of one pipeline."""
    return int.from_bytes(hashlib.sha256(f"{purpose}\0{salt}".encode()).digest()[:8], "little")


def hashes(texts: Iterable[str], seed: int) -> list[int]:
    """Salted 64-bit hashes of the normalised texts."""
    return plain_hashes(map(normalised, texts), seed)


def plain_hashes(texts: Iterable[str], seed: int) -> list[int]:
    """Salted 64-bit hashes of the texts as they are."""
    from xxhash import xxh64_intdigest

    return [xxh64_intdigest(text.encode("utf-8", "surrogatepass"), seed) for text in texts]
