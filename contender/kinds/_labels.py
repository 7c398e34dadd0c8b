"""What the kinds that answer with one label of a closed set have in common: loss, outcomes, and the scores that choose a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from contender.errors import DataError
from contender.evaluation.scope import with_scope
from contender.kinds._classifier import softmax
from contender.kinds._loaded import encoder_names
from contender.kinds.base import Defaults
from contender.training.options import Job

if TYPE_CHECKING:
    import datasets
    import numpy as np
    import pyarrow as pa


class Classification(Defaults):
    """A kind whose model gives logits `(rows, labels)`."""

    def above_encoder(self, model: Any) -> set[str]:
        return {name for name, _ in model.named_parameters()} - encoder_names(model)

    def loss(self, job: Job, train: datasets.Dataset) -> Callable[..., Any]:
        import torch
        from torch.nn.functional import cross_entropy

        weights = balanced(train["labels"][:], len(job.labels)) if job.options.class_weights == "balanced" else None
        table = None if weights is None else torch.tensor(weights, dtype=torch.float32)

        def mean_loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
            logits = outputs.logits.float()
            weight = None if table is None else table.to(logits.device)
            smoothing = job.options.label_smoothing
            total = cross_entropy(logits, labels, weight=weight, label_smoothing=smoothing, reduction="sum")
            return total / (labels.shape[0] if num_items_in_batch is None else num_items_in_batch)

        return mean_loss

    def scores(
        self, kept: np.ndarray, label_ids: np.ndarray, labels: Sequence[str], names: Sequence[str]
    ) -> dict[str, float]:
        from contender.evaluation.metrics import compute

        return compute(_on_validation(kept, label_ids, labels), names)

    def scorer(self, job: Job) -> Callable[..., dict[str, float]]:
        from contender.evaluation.metrics import compute

        def found(kept: np.ndarray, label_ids: np.ndarray) -> dict[str, float]:
            outcomes = _on_validation(kept, label_ids, job.labels)
            return compute(with_scope(outcomes, job.out_of_scope), [job.primary_metric])

        return found


def _on_validation(kept: np.ndarray, label_ids: np.ndarray, labels: Sequence[str]) -> pa.Table:
    import numpy as np

    truth = [labels[index] for index in label_ids]
    return outcomes_of(np.arange(len(truth), dtype=np.uint64), truth, softmax(kept), labels)


def label_ids(found: Sequence[str], labels: Mapping[str, int]) -> list[int]:
    """The classes of some rows' labels."""
    try:
        return [labels[label] for label in found]
    except KeyError as error:
        raise DataError(
            f"the label {error.args[0]!r} is not among the labels of the job", "Split the data again."
        ) from None


def outcomes_of(keys: np.ndarray, truth: Sequence[str], probabilities: np.ndarray, names: Sequence[str]) -> pa.Table:
    """Outcomes of rows, all columns but `row`; probabilities `(rows, labels)`."""
    import numpy as np
    import pyarrow as pa

    index = {name: position for position, name in enumerate(names)}
    best = probabilities.argmax(axis=-1)
    rows = np.arange(len(truth))
    true = np.array([index.get(label, -1) for label in truth], np.int64)
    p_label = np.where(true >= 0, probabilities[rows, np.maximum(true, 0)], np.float32(0))
    return pa.table(
        {
            "key": pa.array(keys, pa.uint64()),
            "label": pa.array(list(truth), pa.string()),
            "prediction": pa.array([names[position] for position in best], pa.string()),
            "p_label": pa.array(p_label.astype(np.float32)),
            "confidence": pa.array(probabilities[rows, best].astype(np.float32)),
        }
    )


def no_outcomes() -> pa.Table:
    """Outcomes of no rows."""
    import pyarrow as pa

    strings = {"label": pa.string(), "prediction": pa.string()}
    figures = {"p_label": pa.float32(), "confidence": pa.float32(), "row": pa.int64()}
    return pa.schema({"key": pa.uint64(), **strings, **figures}).empty_table()


def balanced(ids: Sequence[int], classes: int) -> list[float]:
    """Weights in inverse proportion to rows, of mean 1 over the rows; 1 for a class without rows."""
    import numpy as np

    counts = np.bincount(np.asarray(ids), minlength=classes)
    present = int((counts > 0).sum())
    return [len(ids) / (present * int(count)) if count else 1.0 for count in counts]
