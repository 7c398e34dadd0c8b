"""Multi-label classification: one text in, any number of labels out, each yes or no by itself; the model is a text classifier's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contender.data.jsonlists import texts_of, written
from contender.errors import DataError, ModelError
from contender.kinds._classifier import BATCH, Classifier, TextClassifier, encode
from contender.kinds._labels import label_ids
from contender.kinds.base import Defaults, Labelled
from contender.kinds.text_classification import WINDOW, TextClassification
from contender.training.devices import wait_passively
from contender.training.options import Job

if TYPE_CHECKING:
    import datasets
    import numpy as np
    import pyarrow as pa

    from contender.attribution import Attribution
    from contender.records import ReleaseManifest

# A text has each label whose probability reaches this: where the loss, which is of probabilities, is as small as it can be, a half
# makes the fewest mistakes over single labels. Kept in config.json, so that whoever loads the files can answer alike.
THRESHOLD = 0.5


class MultiLabelClassification(TextClassification):
    """The kind `multi-label-classification`."""

    task = "multi-label-classification"
    revision = 1
    problem = "multi_label_classification"

    def load_model(self, base: Path, labels: Sequence[str], changes: Mapping[str, Any] = {}) -> Any:
        return _with_threshold(super().load_model(base, labels, changes))

    def new_model(self, base: Path, labels: Sequence[str], changes: Mapping[str, Any]) -> Any:
        return _with_threshold(super().new_model(base, labels, changes))

    def prepare(
        self, processor: Any, batch: Mapping[str, Sequence[Any]], labels: Mapping[str, int], max_length: int
    ) -> dict[str, list[Any]]:
        """`labels` of a row: 1 at the place of each that it has, 0 elsewhere."""
        encoded = encode(processor, list(batch["text"]), max_length)
        targets = [[0] * len(labels) for _ in batch["labels"]]
        for target, cell in zip(targets, batch["labels"], strict=True):
            for place in label_ids(_set_of(cell), labels):
                target[place] = 1
        return {**encoded, "labels": targets, "length": [len(tokens) for tokens in encoded["input_ids"]]}

    def loss(self, job: Job, train: datasets.Dataset) -> Callable[..., Any]:
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

        weights = _balanced(train, len(job.labels)) if job.options.class_weights == "balanced" else None
        table = None if weights is None else torch.tensor(weights, dtype=torch.float32)

        def mean_loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
            """Over rows and labels alike."""
            logits = outputs.logits.float()
            smoothing = job.options.label_smoothing
            targets = labels.float() * (1 - smoothing) + smoothing / 2
            weight = None if table is None else table.to(logits.device)
            total = cross_entropy(logits, targets, pos_weight=weight, reduction="sum")
            return total / (labels.numel() if num_items_in_batch is None else num_items_in_batch)

        return mean_loss

    def scores(
        self, kept: np.ndarray, label_ids: np.ndarray, labels: Sequence[str], names: Sequence[str]
    ) -> dict[str, float]:
        from contender.evaluation.metrics import compute

        truth = [_written(row, labels) for row in label_ids == 1]
        return compute(_outcomes(range(len(truth)), truth, sigmoid(kept), labels, THRESHOLD), names)

    def scorer(self, job: Job) -> Callable[..., dict[str, float]]:
        return Defaults.scorer(self, job)

    def predict(
        self, model: Path, rows: Path, *, batch_size: int = BATCH, on_rows: Callable[[int], None] | None = None
    ) -> pa.Table:
        """A release's outcomes on a row file, one row each, in the file's order.

        Columns: key uint64, label and prediction strings (labels in JSON, in order), confidence float32 (the lowest probability of
        what is said of any label), row int64. Reads nothing but `model` and `rows`; the same files give the same table on one machine.
        """
        import numpy as np
        import pyarrow as pa

        data = self.rows_of(rows)
        classifier = self._classifier(model)
        tables = [_outcomes([], [], np.empty((0, len(classifier.names))), classifier.names, classifier.threshold)]
        for start in range(0, len(data), WINDOW):
            window = data[start : start + WINDOW]
            told = (lambda done, start=start: on_rows(start + done)) if on_rows else None
            probabilities = classifier.probabilities(window["text"], batch_size, told)
            truth = [written(_set_of(cell)) for cell in window["labels"]]
            tables.append(_outcomes(window["_key"], truth, probabilities, classifier.names, classifier.threshold))
        table = pa.concat_tables(tables)
        return table.append_column("row", pa.array(range(len(table)), pa.int64()))

    def explain(
        self, model: Path, rows: Path, answers: Mapping[int, str], *, on_rows: Callable[[int], None] | None = None
    ) -> list[Attribution]:
        raise ModelError(f"answers of {self.task} cannot be explained", "Its metrics and verdict are as they are.")

    def load(self, folder: Path, manifest: ReleaseManifest, device: str | None = None) -> MultiLabelClassifier:
        return MultiLabelClassifier(manifest, self._classifier(folder, device))

    def _classifier(self, folder: Path, device: str | None = None) -> LabelsClassifier:
        wait_passively()
        return LabelsClassifier(folder, self.load_processor(folder), device)


class LabelsClassifier(Classifier):
    """Its probabilities are of each label by itself."""

    def __init__(self, folder: Path, tokenizer: Any, device: str | None = None) -> None:
        super().__init__(folder, tokenizer, device)
        self.threshold = float(self._model.config.threshold)

    def _of_logits(self, logits: np.ndarray) -> np.ndarray:
        return sigmoid(logits)


class MultiLabelClassifier(TextClassifier):
    """A release that answers with `Labelled`; inputs are texts, or rows that hold the text's column."""

    def _answer(self, scores: dict[str, float]) -> Labelled:
        has = (label for label, score in scores.items() if score >= self._classifier.threshold)
        return Labelled(tuple(sorted(has)), scores)


KIND = MultiLabelClassification()


def sigmoid(logits: np.ndarray) -> np.ndarray:
    import numpy as np
    from scipy.special import expit

    return np.asarray(expit(logits.astype(np.float64)), np.float32)


def _with_threshold(model: Any) -> Any:
    model.config.threshold = THRESHOLD
    return model


def _set_of(cell: str) -> list[str]:
    labels = texts_of(cell)
    if labels is None:
        raise DataError(f"a row has no list of labels but {cell[:80]!r}", "Split the data again.")
    return labels


def _written(has: np.ndarray, names: Sequence[str]) -> str:
    return written(name for name, own in zip(names, has.tolist(), strict=True) if own)


def _balanced(train: datasets.Dataset, labels: int) -> list[float]:
    """For each label how many rows are without it for one that has it; 1 for one that no row has."""
    import numpy as np

    chunks = [chunk.flatten().to_numpy() for chunk in train.data.column("labels").chunks]
    targets = np.concatenate([np.empty(0, np.int64), *chunks]).reshape(-1, labels)
    counts = targets.sum(axis=0)
    return [(len(targets) - int(count)) / int(count) if count else 1.0 for count in counts]


def _outcomes(
    keys: Sequence[int], truth: Sequence[str], probabilities: np.ndarray, names: Sequence[str], threshold: float
) -> pa.Table:
    """Outcomes of rows, all columns but `row`; probabilities `(rows, labels)`."""
    import numpy as np
    import pyarrow as pa

    has = probabilities >= threshold
    sure = np.where(has, probabilities, 1 - probabilities).min(axis=-1, initial=1.0)
    return pa.table(
        {
            "key": pa.array(keys, pa.uint64()),
            "label": pa.array(truth, pa.string()),
            "prediction": pa.array([_written(row, names) for row in has], pa.string()),
            "confidence": pa.array(sure.astype(np.float32)),
        }
    )
