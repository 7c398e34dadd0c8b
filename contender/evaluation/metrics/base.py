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

from contender.evaluation.outcomes import Outcomes, from_arrays

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
    """A metric that is a function of outcomes.

    `compute(predictions=…, references=…)` is evaluate's own way in, for any caller. `score(outcomes)` is the same number from
    outcomes that are prepared already, without copying a million rows through evaluate's buffer.
    """

    description: ClassVar[str]
    citation: ClassVar[str] = ""
    # The metric's input in evaluate's words → the outcome column that it is.
    inputs: ClassVar[dict[str, str]] = {"predictions": "prediction", "references": "label"}

    def __init__(self, **options: Any) -> None:
        # In memory and under an id of its own: evaluate's cache files and their locks race between processes.
        super().__init__(**({"experiment_id": uuid.uuid4().hex} | options | {"keep_in_memory": True}))

    @property
    def key(self) -> str:
        """The name under which `compute` returns the value; the module's own name."""
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def score(self, outcomes: Outcomes) -> float:
        """The metric's value."""

    def _info(self) -> Any:
        from datasets import Features, Value

        kinds = {"prediction": "string", "label": "string", "p_label": "float32", "confidence": "float32"}
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
