"""What the metric modules have in common: an `evaluate.Metric` that needs no network, no cache folder and no lock.

`evaluate` itself imports transformers' pipelines, which costs 4 to 6 seconds; only `evaluate.module` is needed here, which costs
10 milliseconds beside `datasets`.
"""

from __future__ import annotations

import sys
import threading
import uuid
from abc import ABCMeta, abstractmethod
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from contender.evaluation.metrics import METRICS
from contender.evaluation.outcomes import Array, Outcomes, PerClass, from_arrays

if TYPE_CHECKING:
    from types import ModuleType

_importing = threading.Lock()


def evaluate_module() -> ModuleType:
    """`evaluate.module`, without running `evaluate/__init__.py` where nobody has yet.

    The package stands unexecuted in `sys.modules` during this import only: a later `import evaluate` runs as ever and finds
    the same `evaluate.module`, so that there is one `Metric` class.
    """
    with _importing:
        spec = find_spec("evaluate")
        if "evaluate" in sys.modules or spec is None:
            return import_module("evaluate.module")
        sys.modules["evaluate"] = module_from_spec(spec)
        try:
            return import_module("evaluate.module")
        finally:
            del sys.modules["evaluate"]


_module = evaluate_module()


class OutcomeMetric(_module.Metric, metaclass=ABCMeta):  # type: ignore[misc, name-defined]
    """A metric that is a function of outcomes and of the weight of each row.

    `compute(predictions=…, references=…)` is evaluate's own way in, for any caller. `score(outcomes)` is the same number from
    outcomes that are prepared already, without copying a million rows through evaluate's buffer.
    """

    description: ClassVar[str]
    citation: ClassVar[str] = ""
    # The metric's input in evaluate's words → the outcome column that it is.
    inputs: ClassVar[dict[str, str]] = {"predictions": "prediction", "references": "label"}
    span: ClassVar[tuple[float, float]] = (-np.inf, np.inf)  # the least and the largest value there can be

    def __init__(self, **options: Any) -> None:
        # In memory and under an id of its own: evaluate's cache files and their locks race between processes.
        super().__init__(**({"experiment_id": uuid.uuid4().hex} | options | {"keep_in_memory": True}))

    @property
    def key(self) -> str:
        """The name under which `compute` returns the value; the module's own name."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def higher_is_better(self) -> bool:
        """As the list of metrics says; a metric that is not in it says it itself, or more is better."""
        return self.key not in METRICS or METRICS[self.key].higher_is_better

    @abstractmethod
    def value(self, outcomes: Outcomes, weights: Array) -> Array:
        """The metric (resamples,) with each row counted as often as weights (resamples, rows) say.

        A class that no counted row has as its label or its prediction is treated as if it were not there.
        UsageError where a column that the metric needs is missing.
        """

    def cells(self, outcomes: Outcomes) -> Array | None:
        """Codes (rows,) int64: rows of one code may change places and the metric stays; None where rows are hardly ever alike."""
        return None

    def check_comparable(self, ours: Outcomes, theirs: Outcomes) -> None:
        """UsageError where the values of two models on the same rows say nothing of which is better."""

    def score(self, outcomes: Outcomes) -> float:
        """The metric's value: every row counted once."""
        return float(self.value(outcomes, np.ones((1, outcomes.rows)))[0])

    def _info(self) -> Any:
        from datasets import Features, Value

        kinds = {name: "string" if name in ("prediction", "label") else "float32" for name in self.inputs.values()}
        return import_module("evaluate.info").MetricInfo(
            description=self.description,
            citation=self.citation,
            inputs_description="\nOne entry per row: "
            + ", ".join(f"{name} ({kinds[of]})" for name, of in self.inputs.items()),
            features=Features({name: Value(kinds[of]) for name, of in self.inputs.items()}),
        )

    def _compute(self, **given: Any) -> dict[str, float]:
        value = self.score(from_arrays(**{self.inputs[name]: list(column) for name, column in given.items()}))
        return {self.key: value}

    def _build_data_dir(self) -> str:
        # evaluate makes its cache folder here, also for a metric that keeps everything in memory, and fails in a read-only home.
        return str(self._data_dir_root)


class AdditiveMetric(OutcomeMetric):
    """A metric that is a function of sums over rows, so that resampling needs only the sums."""

    @abstractmethod
    def statistics(self, outcomes: Outcomes) -> Any:
        """What each row adds to the sums: (rows, s) float64, an array or scipy's csr_array."""

    @abstractmethod
    def from_sums(self, sums: Array) -> Array:
        """The metric (…) of sums (…, s)."""

    def value(self, outcomes: Outcomes, weights: Array) -> Array:
        return self.from_sums(weights @ self.statistics(outcomes))

    def score(self, outcomes: Outcomes) -> float:
        return float(self.from_sums(self.statistics(outcomes).sum(axis=0)))


class ClassMetric(AdditiveMetric):
    """A metric of how often each class is a label, is predicted, and is predicted rightly."""

    span: ClassVar[tuple[float, float]] = (0.0, 1.0)

    @abstractmethod
    def from_counts(self, counts: PerClass) -> Array:
        """The metric (…) of counts (…, classes)."""

    def statistics(self, outcomes: Outcomes) -> Any:
        size = len(outcomes.names)
        hits = one_hot(outcomes.labels, size, outcomes.right)
        return beside(hits, one_hot(outcomes.predictions, size), one_hot(outcomes.labels, size))

    def from_sums(self, sums: Array) -> Array:
        return self.from_counts(PerClass(*np.split(sums, 3, axis=-1)))

    def cells(self, outcomes: Outcomes) -> Array | None:
        return outcomes.labels.astype(np.int64) * len(outcomes.names) + outcomes.predictions

    def score(self, outcomes: Outcomes) -> float:
        return float(self.from_counts(outcomes.per_class))


def one_hot(codes: Array, size: int, values: Array | None = None) -> Any:
    """csr_array (rows, size): in each row the value, or 1, at the row's code."""
    from scipy.sparse import csr_array

    rows = len(codes)
    filled = np.ones(rows) if values is None else values.astype(np.float64)
    return csr_array((filled, codes, np.arange(rows + 1)), shape=(rows, size))


def beside(*columns: Any) -> Any:
    """csr_array of arrays (rows, …), one beside the other."""
    from scipy.sparse import hstack

    return hstack(columns, format="csr")
