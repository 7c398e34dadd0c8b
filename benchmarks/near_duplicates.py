"""Near-duplicates of held-out rows: how many a threshold removes from real data, how many are missed, and what looking costs.

    python benchmarks/near_duplicates.py FILE…          csv with a column `text`, or tab-separated with the text first
    python benchmarks/near_duplicates.py --cost [rows]  default: 300000, about 60 characters each, 15% of them held out

FILE: rows are dealt as the split deals them; every pair is compared exactly beside it, so keep files below some 20,000 rows.
--cost: random texts, no two alike; then texts from one template, which differ in numbers only and share almost every band.
"""

from __future__ import annotations

import csv
import random
import resource
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from contender.data.near import HeldTexts, NearDuplicates, bands_of
from contender.data.normalise import normalised, plain_hashes, seed_of

THRESHOLDS = (0.7, 0.8, 0.85, 0.9, 0.95)
SHOWN = 4  # pairs of each band of similarity
WORDS = [f"word{n}" for n in range(3_000)]


def texts_of(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as lines:
        if path.suffix == ".csv":
            return [normalised(row["text"]) for row in csv.DictReader(lines)]
        return [normalised(line.split("\t")[0]) for line in lines]


def dealt(texts: list[str]) -> tuple[list[str], list[str]]:
    """(held-out, other) texts, each once."""
    texts = list(dict.fromkeys(texts))
    shares = np.array(plain_hashes(texts, seed_of("s", "key")), np.uint64) / 2.0**64
    return [t for t, s in zip(texts, shares, strict=True) if s < 0.15], [
        t for t, s in zip(texts, shares, strict=True) if s >= 0.15
    ]


def most_similar(held: list[str], others: list[str]) -> Iterator[tuple[float, str, str]]:
    """(similarity, text, its most similar held-out text) of each, compared with every one of them."""
    sets = [{text[n : n + 3] for n in range(max(1, len(text) - 2))} for text in held]
    sizes, where = np.array([len(one) for one in sets]), defaultdict(list)
    for place, one in enumerate(sets):
        for shingle in one:
            where[shingle].append(place)
    places = {shingle: np.array(found) for shingle, found in where.items()}
    for text in others:
        own = {text[n : n + 3] for n in range(max(1, len(text) - 2))}
        common = np.zeros(len(held), int)
        for shingle in own & places.keys():
            common[places[shingle]] += 1
        similarity = common / (len(own) + sizes - common)
        best = int(similarity.argmax())
        yield float(similarity[best]), text, held[best]


def found(held: list[str], others: list[str], threshold: float) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        kept = HeldTexts(Path(folder, "held"))
        kept.add(np.array(plain_hashes(held, 0), np.uint64), held)
        near = NearDuplicates(kept.finish(), threshold).among(np.array(plain_hashes(others, 0), np.uint64), others)
        kept.close()
    return near


def removed(path: Path, out: Console) -> None:
    held, others = dealt(texts_of(path))
    pairs = list(most_similar(held, others))
    table = Table("threshold", "bands", "removed", "share", "of them missed", title=f"{path.parent.name}/{path.name}")
    for threshold in THRESHOLDS:
        exactly = np.array([similarity >= threshold for similarity, *_ in pairs])
        near = found(held, others, threshold)
        assert not (near & ~exactly).any()
        missed = f"{(exactly & ~near).sum()} of {exactly.sum()}"
        bands = "{} of {}".format(*bands_of(threshold))
        table.add_row(str(threshold), bands, f"{near.sum():,}", f"{near.mean():.2%}", missed)
    out.print(f"{len(held):,} held-out texts, {len(others):,} others", table)
    for low, high in zip(THRESHOLDS, (*THRESHOLDS[1:], 1.01), strict=True):
        these = [pair for pair in pairs if low <= pair[0] < high]
        for similarity, one, other in random.Random(1).sample(these, min(SHOWN, len(these))):
            out.print(f"{similarity:.3f}  {one[:110]}\n       {other[:110]}", highlight=False, markup=False)


def cost(rows: int, out: Console) -> None:
    chance = random.Random(1)
    kinds = {
        "random": [" ".join(chance.choices(WORDS, k=7)) + f" {n}" for n in range(rows)],
        "one template": [
            f"ticket {n}: the parcel of order {chance.randrange(10**6)} is late again" for n in range(rows)
        ],
    }
    table = Table(
        "texts", "characters", "index, s", "B/text", "look, s", "rows/s", "peak, MiB", title="processor seconds"
    )
    for kind, texts in kinds.items():
        held, others = dealt(texts)
        with tempfile.TemporaryDirectory() as folder:
            kept = HeldTexts(Path(folder, "held"))
            kept.add(np.array(plain_hashes(held, 0), np.uint64), held)
            before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
            index = NearDuplicates(kept.finish(), 0.85)
            built = time.process_time()
            near = sum(
                int(index.among(np.array(plain_hashes(part, 0), np.uint64), part).sum())
                for part in (others[n : n + 65_536] for n in range(0, len(others), 65_536))
            )
            looked = time.process_time() - built
            kept.close()
        size = 8 * index.bands + 28
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        figures = [f"{built - started:.1f}", str(size), f"{looked:.1f}", f"{len(others) / looked:,.0f}", f"{grown:.0f}"]
        table.add_row(f"{kind} ({near:,} near)", f"{sum(map(len, texts)) / rows:.0f}", *figures)
    out.print(table)


if __name__ == "__main__":
    console = Console(width=140)
    if sys.argv[1:2] == ["--cost"]:
        cost(int((sys.argv[2:] or ["300000"])[0]), console)
    else:
        for name in sys.argv[1:]:
            removed(Path(name), console)
