"""Near-duplicates: which texts differ from a held-out one by so little that training on them is training on the test.

    text ──▶ shingles ──▶ sketch ──▶ bands ──▶ held-out texts that share a band ──▶ their exact similarity

Similarity is the Jaccard index of the two sets of SHINGLE characters in a row (of the normalised texts, spaces and punctuation
included). Three: one changed letter costs three shingles at most, so that a copy of forty characters with a slip stays above 0.85,
and the index of unrelated English does not pass 0.61, however long the texts are (docs/benchmarks.md). A shorter text is one shingle.

Candidates are found by MinHash sketches in bands (Broder 1997; Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, 3.4) and
compared exactly: nothing is removed by an estimate. What is missed: MISSED of the texts at the threshold itself and fewer above it;
and, where more than CROWD held-out texts share a band, such as texts from one template, those beyond the CROWD of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SHINGLE = 3  # characters
PERMUTATIONS = 160  # at most
MISSED = 0.001  # of the texts that are exactly as similar as the threshold
CROWD = 64  # held-out texts of one band, and candidates of one text, that are looked at
CHUNK_TEXTS, CHUNK_CHARACTERS = 4_096, 1 << 16  # sketched at once: arrays that a processor's cache holds
BLOCK = 1 << 20  # shingles compared at once, and kept of held-out texts
FILLER = "\n"  # fills the shingle of a shorter text: no normalised text holds one
SEED = 1  # of datasketch's permutations
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)

Array = np.ndarray[Any, Any]


def bands_of(threshold: float) -> tuple[int, int]:
    """(bands, length of one): the longest bands of which PERMUTATIONS miss at most MISSED of the pairs at the threshold.

    A pair of similarity s shares one of b bands of length r with probability 1 - (1 - s^r)^b.
    """
    best = (PERMUTATIONS, 1)
    for length in range(1, PERMUTATIONS + 1):
        bands = math.ceil(math.log(MISSED) / math.log1p(-(threshold**length)))
        if bands * length <= PERMUTATIONS:
            best = (bands, length)
    return best


def codes(texts: Sequence[str]) -> tuple[Array, Array]:
    """(shingles, where each text's begin): every shingle as one number that no other shingle has, in order; uint64, int64."""
    padded = [text.ljust(SHINGLE, FILLER) for text in texts]
    points = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    found = points[: len(points) - SHINGLE + 1]
    for place in range(1, SHINGLE):  # the 21 bits of a code point; three of them fit
        found = (found << np.uint64(21)) | points[place : len(points) - SHINGLE + 1 + place]
    counts = np.array([len(text) for text in padded]) - (SHINGLE - 1)
    across = np.repeat(np.arange(len(texts)) * (SHINGLE - 1), counts)  # so many shingles of two texts lie before
    return found[np.arange(counts.sum()) + across], np.cumsum(counts) - counts


def shingles(text: str) -> Array:
    """The set of a normalised text's shingles: uint64, sorted."""
    # Several times as fast as np.unique, whose hashing is slow where most values differ.
    found: Array = np.sort(codes([text])[0])
    return np.asarray(found[np.append(True, found[1:] != found[:-1])])


def mixed(values: Array) -> Array:
    """The finaliser of MurmurHash3, 32 bits wide, which datasketch gives values before it permutes them."""
    values = (values ^ (values >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    values = (values ^ (values >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return np.asarray(values ^ (values >> np.uint32(16)))


def hashed(found: Array) -> Array:
    """Shingles as uint32."""
    return np.asarray((found * MULTIPLIER) >> np.uint64(32), np.uint32)


class HeldTexts:
    """The normalised texts of held-out rows in a file, each once, ordered by their hash; in memory stay 24 bytes of each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream = path.open("w+b")
        self._hashes: list[Array] = []
        self._lengths: list[Array] = []
        self.starts = self.ends = np.empty(0, np.int64)

    def add(self, hashes: Array, texts: Sequence[str]) -> None:
        written = [self._stream.write(text.encode("utf-8", "surrogatepass")) for text in texts]
        self._hashes.append(hashes)
        self._lengths.append(np.array(written, np.int64))

    def finish(self) -> HeldTexts:
        ends = np.cumsum(np.concatenate([np.empty(0, np.int64), *self._lengths]))
        _, first = np.unique(np.concatenate([np.empty(0, np.uint64), *self._hashes]), return_index=True)
        self.ends = ends[first]
        self.starts = self.ends - np.concatenate([np.empty(0, np.int64), *self._lengths])[first]
        self._hashes, self._lengths = [], []
        return self

    def close(self) -> None:
        self._stream.close()
        self.path.unlink(missing_ok=True)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, place: int) -> str:
        if not 0 <= place < len(self):
            raise IndexError(place)
        self._stream.seek(int(self.starts[place]))
        return self._stream.read(int(self.ends[place] - self.starts[place])).decode("utf-8", "surrogatepass")


class NearDuplicates:
    """An index of held-out texts, and what is near one of them.

    In memory, of each held-out text: 8 bytes per band and 28 more, 172 in all at the default threshold. Nothing of the others.
    """

    def __init__(self, held: HeldTexts, threshold: float, on_texts: Callable[[int], None] | None = None) -> None:
        """Reads every held-out text; `on_texts` hears how many so far."""
        from datasketch import MinHash

        self.threshold = threshold
        self.bands, self._length = bands_of(threshold)
        self._scales, self._shifts = MinHash(self.bands * self._length, seed=SEED, scheme="affine32").permutations
        self._held = held
        self._sizes = np.empty(len(held), np.uint32)
        keys = np.empty((self.bands, len(held)), np.uint32)
        place = 0
        for chunk in _chunks(held):
            for number, text in enumerate(chunk, place):
                self._sizes[number] = len(shingles(text))
            keys[:, place : place + len(chunk)] = self._band_keys(chunk)
            place += len(chunk)
            if on_texts is not None:
                on_texts(place)
        # Stable: texts of one band stay in the order of their hashes, so that a crowd's first ones are the same in any order of rows.
        self._order = np.empty_like(keys)
        for band in range(self.bands):
            self._order[band] = np.argsort(keys[band], kind="stable")
            keys[band] = keys[band][self._order[band]]
        self._keys = keys
        self._kept: dict[int, Array] = {}
        self._kept_shingles = 0

    def among(self, hashes: Array, texts: Sequence[str]) -> Array:
        """Which texts are near-duplicates of a held-out one: bool (texts,). `hashes`: uint64, the same for the same text."""
        if not len(self._held) or not len(texts):
            return np.zeros(len(texts), bool)
        _, first, whose = np.unique(hashes, return_index=True, return_inverse=True)
        parts = [self._of(chunk) for chunk in _chunks([texts[place] for place in first])]
        return np.concatenate(parts)[whose]

    def _of(self, texts: Sequence[str]) -> Array:
        near = np.zeros(len(texts), bool)
        rows, places = self._candidates(self._band_keys(texts))
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        for row, candidates in zip(rows[starts], np.split(places, starts[1:]), strict=False):
            near[row] = self._confirmed(shingles(texts[row]), candidates)
        return near

    def _band_keys(self, texts: Sequence[str]) -> Array:
        """uint32 (bands, texts): texts that share a band have the same key in it."""
        sketches = self.sketches(texts)
        keys = np.zeros((self.bands, len(texts)), np.uint64)
        for place in range(self._length):
            keys = (keys ^ sketches[place :: self._length]) * MULTIPLIER
            keys ^= keys >> np.uint64(32)
        return keys.astype(np.uint32)

    def sketches(self, texts: Sequence[str]) -> Array:
        """uint32 (permutations, texts): the hash values of datasketch's MinHash, of many texts at once instead of one by one."""
        found, starts = codes(texts)
        values = mixed(hashed(found))
        sketches = np.empty((len(self._scales), len(texts)), np.uint32)
        for number, (scale, shift) in enumerate(zip(self._scales, self._shifts, strict=True)):
            sketches[number] = np.minimum.reduceat(values * scale + shift, starts)
        return sketches

    def _candidates(self, keys: Array) -> tuple[Array, Array]:
        """(rows, places of held-out texts) of pairs that share a band, by row, those that share most bands first."""
        pairs = []
        for band in range(self.bands):
            first = np.searchsorted(self._keys[band], keys[band])
            counts = np.minimum(np.searchsorted(self._keys[band], keys[band], side="right") - first, CROWD)
            within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            places = self._order[band][np.repeat(first, counts) + within].astype(np.int64)
            pairs.append((np.repeat(np.arange(len(counts)), counts) << 32) | places)
        found, shared = np.unique(np.concatenate(pairs), return_counts=True)
        rows, places = found >> 32, found & 0xFFFFFFFF
        order = np.lexsort((places, -shared, rows))
        rows, places = rows[order], places[order]
        rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
        return rows[rank < CROWD], places[rank < CROWD]

    def _confirmed(self, own: Array, candidates: Array) -> bool:
        """Whether one of the candidates is as similar as the threshold asks."""
        sizes = self._sizes[candidates].astype(np.int64)
        like = np.minimum(sizes, len(own)) >= self.threshold * np.maximum(sizes, len(own)) - 1e-6
        candidates, sizes = candidates[like], sizes[like]
        for block in _blocks(sizes):
            others = [self._shingles(int(place)) for place in candidates[block]]
            flat = np.concatenate(others)
            met = own[np.minimum(np.searchsorted(own, flat), len(own) - 1)] == flat
            common = np.add.reduceat(met.astype(np.int64), np.cumsum(sizes[block]) - sizes[block])
            if (common / (len(own) + sizes[block] - common) >= self.threshold).any():
                return True
        return False

    def _shingles(self, place: int) -> Array:
        found = self._kept.get(place)
        if found is None:
            found = shingles(self._held[place])
            if self._kept_shingles + len(found) > BLOCK:
                self._kept, self._kept_shingles = {}, 0
            self._kept[place] = found
            self._kept_shingles += len(found)
        return found


def _chunks(texts: HeldTexts | Sequence[str]) -> Iterator[list[str]]:
    """The texts in order, at most CHUNK_TEXTS and about CHUNK_CHARACTERS at once."""
    chunk: list[str] = []
    characters = 0
    for place in range(len(texts)):
        text = texts[place]
        if chunk and (len(chunk) == CHUNK_TEXTS or characters + len(text) > CHUNK_CHARACTERS):
            yield chunk
            chunk, characters = [], 0
        chunk.append(text)
        characters += len(text)
    if chunk:
        yield chunk


def _blocks(sizes: Array) -> Iterator[slice]:
    """Slices of about BLOCK shingles each."""
    bounds = np.flatnonzero(np.diff((np.cumsum(sizes) - sizes) // BLOCK, prepend=-1))
    yield from map(slice, bounds, np.append(bounds[1:], len(sizes)))  # of no sizes no slice
