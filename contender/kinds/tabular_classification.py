"""Classification of the rows of a table: columns of numbers and categories in, one label out, trained from scratch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from contender.errors import DataError, ModelError, UsageError, known
from contender.kinds import _table
from contender.kinds._classifier import BATCH, LoadedClassifier, ReleasedClassifier, softmax
from contender.kinds._labels import Classification, label_ids, outcomes_of
from contender.kinds._loading import first_line
from contender.text import listed
from contender.training.devices import wait_passively
from contender.training.dropout import dropouts
from contender.training.options import Job

if TYPE_CHECKING:
    import datasets
    import numpy as np
    import pyarrow as pa

    from contender.kinds._table import TableEncoder
    from contender.records import ReleaseManifest

# On adult, 5 epochs of batches of 256: 3e-3 reached 86.6, 2e-3 with twice the width 86.1; 1e-2 diverged now and then.
RATE = 3e-3
WINDOW = 8_192  # rows predicted at a time


class TabularClassification(Classification):
    """The kind `tabular-classification`."""

    task = "tabular-classification"
    revision = 1

    def inputs(self, manifest: ReleaseManifest) -> list[str]:
        return [name for name in manifest.columns if name != "label"]

    def learning_rate(self, method: str, parameters: int) -> float:
        return RATE

    def above_encoder(self, model: Any) -> set[str]:
        return set()  # all of it starts from nothing

    def processor_for(self, job: Job, rows: datasets.Dataset) -> TableEncoder:
        """The encoder of the job's features, fitted to its training rows."""
        return _table.fit({name: rows.data.column(name) for name in job.features}, job.categorical)

    def model_for(self, job: Job, processor: TableEncoder) -> Any:
        from contender.kinds._tabular_config import SIZES, TabularConfig
        from contender.kinds._tabular_model import TabularModel

        if unknown := [key for key in job.config if key not in SIZES]:
            raise UsageError(f"model.config: {known('key', unknown[0], SIZES)}", "These are the sizes of the model.")
        config = TabularConfig.from_pretrained(job.base)
        try:
            config.resize({**job.config, **dropouts(job)})
        except ValueError as error:
            raise UsageError(
                f"model.config: {error}", "Sizes are whole numbers of at least 1, dropout a share."
            ) from error
        config.update({"bins": processor.bins, "sizes": processor.sizes, "positive": job.positive})
        config.id2label = dict(enumerate(job.labels))
        config.label2id = {label: index for index, label in enumerate(job.labels)}
        return TabularModel(config)

    def load_processor(self, base: Path) -> TableEncoder:
        return _table.load(base)

    def load_model(self, base: Path, labels: Sequence[str], changes: Mapping[str, Any] = {}) -> Any:
        raise ModelError(f"{base} cannot be fine-tuned", f"{self.task} is trained from scratch: model.init: scratch.")

    def warm_up(self, base: Path) -> None:
        wait_passively()
        import datasets  # noqa: F401

        import contender.kinds._tabular_model  # noqa: F401

    def prepare(
        self, processor: TableEncoder, batch: Mapping[str, Sequence[Any]], labels: Mapping[str, int], max_length: int
    ) -> dict[str, Any]:
        rows = len(batch["label"])
        return {**processor.encode(batch), "labels": label_ids(batch["label"], labels), "length": [1] * rows}

    def collate(self, processor: TableEncoder, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        import numpy as np
        import torch

        kinds = {"numbers": np.float32, "categories": np.int64, "labels": np.int64}
        return {
            name: torch.from_numpy(np.array([example[name] for example in examples], kind))
            for name, kind in kinds.items()
            if name in examples[0]
        }

    def loss(self, job: Job, train: datasets.Dataset) -> Callable[..., Any]:
        """As of the other classifiers; in training of each member by itself."""
        of_logits = super().loss(job, train)

        def mean_loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
            if outputs.members is None:
                return of_logits(outputs, labels, num_items_in_batch)
            count = outputs.members.shape[1]
            rows = labels.shape[0] if num_items_in_batch is None else num_items_in_batch
            each = SimpleNamespace(logits=outputs.members.flatten(0, 1))
            return of_logits(each, labels.repeat_interleave(count), rows * count)

        return mean_loss

    def scorer(self, job: Job) -> Callable[..., dict[str, float]]:
        def scores(kept: np.ndarray, ids: np.ndarray) -> dict[str, float]:
            import numpy as np

            from contender.evaluation.metrics import compute

            truth = [job.labels[index] for index in ids]
            keys = np.arange(len(truth), dtype=np.uint64)
            return compute(_outcomes(keys, truth, softmax(kept), job.labels, str(job.positive)), [job.primary_metric])

        return scores

    def predict(
        self, model: Path, rows: Path, *, batch_size: int = BATCH, on_rows: Callable[[int], None] | None = None
    ) -> pa.Table:
        """Outcomes as of the other classifiers, and float64 `positive`, 1 for rows of the positive class, and `p_positive`."""
        import datasets
        import numpy as np
        import pyarrow as pa

        data = datasets.Dataset.from_file(str(rows))
        classifier = self._classifier(model)
        missing = {*classifier.columns, "label", "_key"} - set(data.column_names)
        if missing:
            raise DataError(
                f"{rows.name} has no column {', '.join(sorted(missing))}, which the model in {model.name} reads",
                "Bring data with the columns that it was trained on, or start a new pipeline under another name.",
            )
        tables = []
        for start in range(0, max(len(data), 1), WINDOW):
            window = data[start : start + WINDOW]
            keys = np.asarray(window["_key"], np.uint64)
            probabilities = classifier.of_columns(window, len(keys), max(batch_size, WINDOW))
            table = _outcomes(keys, window["label"], probabilities, classifier.names, classifier.positive)
            tables.append(table.append_column("row", pa.array(range(start, start + len(table)), pa.int64())))
            if on_rows:
                on_rows(start + len(table))
        return pa.concat_tables(tables)

    def load(self, folder: Path, manifest: ReleaseManifest, device: str | None = None) -> ReleasedTable:
        return ReleasedTable(manifest, self._classifier(folder, device))

    def _classifier(self, folder: Path, device: str | None = None) -> TableClassifier:
        wait_passively()
        return TableClassifier(folder, self.load_processor(folder), device)


class TableClassifier(LoadedClassifier):
    """One that reads rows of a table."""

    def __init__(self, folder: Path, encoder: TableEncoder, device: str | None = None) -> None:
        import contender.kinds._tabular_model  # noqa: F401 - registers the architecture

        super().__init__(folder, "AutoModel", device)
        self._encoder = encoder
        self.columns = [column.name for column in encoder.columns]
        self.positive = str(self._model.config.positive)

    def of_columns(self, columns: Mapping[str, Sequence[str | None]], rows: int, batch_size: int) -> np.ndarray:
        """float32 (rows, labels), of columns of text."""
        import numpy as np
        import torch

        if not rows:
            return np.empty((0, len(self.names)), np.float32)
        encoded = {name: torch.from_numpy(values) for name, values in self._encoder.encode(columns).items()}
        parts = (slice(start, start + batch_size) for start in range(0, rows, batch_size))
        return np.concatenate(
            [self.batch_probabilities({name: value[part] for name, value in encoded.items()}) for part in parts]
        )

    def probabilities(self, examples: Sequence[Mapping[str, str | None]], batch_size: int) -> np.ndarray:
        columns = {name: [example[name] for example in examples] for name in self.columns}
        return self.of_columns(columns, len(examples), batch_size)

    def is_number(self, name: str, value: str | None) -> bool:
        """Whether a cell can be read: any can as a category."""
        bad = _table.parsed([value])[1].any()
        return not bad or all(column.name != name for column in self._encoder.numbers)


class ReleasedTable(ReleasedClassifier):
    """A release that answers; inputs are rows: mappings from column to value, None where there is none."""

    _classifier: TableClassifier

    def warm_up(self) -> None:
        nothing = dict.fromkeys(self._classifier.columns)
        for inputs in ([nothing], [nothing] * 8):
            self.predict(inputs)

    def _example(self, place: int, given: Any) -> dict[str, str | None]:
        if not isinstance(given, Mapping):
            raise UsageError(
                f"input {place} is no row of a table: it is of type {type(given).__name__}",
                f"Give rows such as {{{self._classifier.columns[0]!r}: …}}.",
            )
        found = {}
        for name in self._classifier.columns:
            if name not in given:
                raise UsageError(
                    f"input {place} has no column {name!r}; it has {listed(map(str, given))}",
                    "Give every column that the model was trained on, None where there is no value.",
                )
            value = given[name]
            found[name] = None if value is None or (isinstance(value, float) and math.isnan(value)) else _text(value)
            if not self._classifier.is_number(name, found[name]):
                raise UsageError(
                    f"input {place} has {found[name]!r} in column {name!r}, where the model was trained on numbers",
                    "Give a number, or None.",
                )
        return found


def _text(value: Any) -> str:
    """A value as the row files have it."""
    import pyarrow as pa

    from contender.data.values import as_text

    if isinstance(value, str):
        return value
    try:
        return str(as_text(pa.array([value]))[0].as_py())
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise UsageError(
            f"a value of type {type(value).__name__} is no cell of a table: {first_line(error)}",
            "Give text or numbers.",
        ) from error


def _outcomes(
    keys: np.ndarray, truth: Sequence[str], probabilities: np.ndarray, names: Sequence[str], positive: str
) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    table = outcomes_of(keys, truth, probabilities, names)
    place = list(names).index(positive)
    is_positive = np.array([label == positive for label in truth], np.float64)
    table = table.append_column("positive", pa.array(is_positive, pa.float64()))
    return table.append_column("p_positive", pa.array(probabilities[:, place].astype(np.float64)))


KIND = TabularClassification()
