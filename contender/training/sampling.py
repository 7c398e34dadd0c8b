"""The order in which examples are trained on: batches of like length, so that little is computed on padding.

Batches of few distinct widths also spare the CPU kernels a compilation per shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from torch.utils.data import Sampler

WIDTH = 8  # tokens: batches are padded to a multiple of it, which vector units and tensor cores like


def width(length: int) -> int:
    """The padded width of a batch whose longest example has `length` tokens."""
    return -(-max(length, 1) // WIDTH) * WIDTH


class BucketSampler(Sampler[int]):  # type: ignore[misc]  # torch is not followed
    """Rows so ordered that consecutive `batch_size` of them are of like length; the order of the batches is random.

    The order is a function of seed and epoch alone, so that a resumed run sees the batches that an undisturbed one would.
    """

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int, epoch: Callable[[], int]) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        random = np.random.default_rng((self.seed, self.epoch()))
        shuffled = random.permutation(len(self.lengths))
        order = shuffled[np.argsort(-(-self.lengths[shuffled] // WIDTH), kind="stable")]
        # The batch that is not full must stay last, or all after it would be cut across the buckets.
        starts = np.arange(0, len(order), self.batch_size)
        full = len(order) // self.batch_size
        starts[:full] = random.permutation(starts[:full])
        return (int(row) for start in starts for row in order[start : start + self.batch_size])


class LongestFirstSampler(Sampler[int]):  # type: ignore[misc]
    """Rows by falling length, for evaluation: a batch that does not fit memory fails first and not last."""

    def __init__(self, lengths: np.ndarray) -> None:
        self.order = np.argsort(-lengths, kind="stable")

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[int]:
        return (int(row) for row in self.order)
