"""What metrics of generated texts have in common: statistics of one text and its references, which take long, counted once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from hashlib import blake2b
from typing import ClassVar

import numpy as np

from contender.data.references import references
from contender.evaluation.metrics import base
from contender.evaluation.outcomes import Array, Outcomes

KEPT = (
    1 << 16
)  # rows whose statistics are remembered, some 300 bytes each: slices, guards and the judge ask again and again

Row = tuple[float, ...]


class TextMetric(base.AdditiveMetric):
    """A metric of predicted texts against their references; a label is one reference, or a JSON list of several.

    A share between 0 and 1, as every score here: what sacreBLEU and papers print is a hundred times that.
    """

    span: ClassVar[tuple[float, float]] = (0.0, 1.0)
    known: ClassVar[dict[bytes, Row]]  # of this metric, or shared by those that count the same

    @abstractmethod
    def counted(self, prediction: str, wanted: Sequence[str]) -> Row:
        """What one row adds to the sums."""

    def statistics(self, outcomes: Outcomes) -> Array:
        size = len(outcomes.names)
        pairs = outcomes.labels.astype(np.int64) * size + outcomes.predictions
        distinct, of_row = np.unique(pairs, return_inverse=True)
        rows = [self._of(outcomes.names[pair // size], outcomes.names[pair % size]) for pair in distinct.tolist()]
        return np.asarray(rows, np.float64)[of_row]

    def _of(self, label: str, prediction: str) -> Row:
        key = _key(label, prediction)
        found = self.known.get(key)
        if found is None:
            found = self.counted(prediction, references(label))
            if len(self.known) >= KEPT:
                self.known.clear()
            self.known[key] = found
        return found


def share(part: Array, whole: Array) -> Array:
    """part / whole, 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros(np.broadcast_shapes(part.shape, whole.shape)), where=whole > 0)


def _key(label: str, prediction: str) -> bytes:
    parts = (text.encode("utf-8", "surrogatepass") for text in (label, prediction))
    return blake2b(b"\0".join(blake2b(part, digest_size=16).digest() for part in parts), digest_size=16).digest()
