"""What the kinds that read pictures or sounds have in common: bytes that are read when a batch needs them, and never all at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from contender.data.media import VALUE, MediaFiles
from contender.data.mediafault import Unusable
from contender.errors import DataError, ModelError, UsageError
from contender.kinds._classifier import LoadedClassifier, ReleasedClassifier
from contender.kinds._labels import Classification, label_ids, no_outcomes, outcomes_of
from contender.kinds._loading import build, check_architecture, first_line, load_base, names_of
from contender.training.devices import cpu_cores, wait_passively
from contender.training.loading import quiet_loading
from contender.training.scratch import changed_config

if TYPE_CHECKING:
    import datasets
    import numpy as np
    import pyarrow as pa

    from contender.records import ReleaseManifest
    from contender.training.options import Job

BATCH = 64
FIXED_RATES = {"head": 1e-2, "scratch": 2e-3}  # peak learning rates of what starts from nothing


class MediaProcessor:
    """Bytes to what a model takes; several files are decoded at once, since Pillow and libsndfile leave other threads alone.

    `inner`: the base's own image processor or feature extractor. `media`: what values of rows are looked up in.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.media: MediaFiles | None = None
        self._pool: ThreadPoolExecutor | None = None

    def decode(self, data: bytes) -> Any:
        """One example, of its bytes; Unusable where it is none."""
        raise NotImplementedError

    def batch(self, examples: Sequence[Any]) -> dict[str, Any]:
        """Tensors `(examples, …)` of decoded examples."""
        raise NotImplementedError

    def of_values(self, values: Sequence[str]) -> dict[str, Any]:
        """Tensors of the examples that values of a row file stand for."""
        return self.batch(self.each(self.of_value, values))

    def each(self, work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """`work` on every item, several at once, in their order."""
        if len(items) == 1:
            return [work(items[0])]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(cpu_cores())
        return list(self._pool.map(work, items))

    def save_pretrained(self, folder: str) -> None:
        self.inner.save_pretrained(folder)

    def of_value(self, value: str) -> Any:
        """The example that a value of a row file stands for."""
        assert self.media is not None  # whoever has rows says where their media lie
        try:
            return self.decode(self.media.read(value))
        except Unusable as fault:
            raise DataError(f"{value} cannot be used: {fault}", "Take it out of the data.") from fault


class MediaClassification(Classification):
    """A kind of one medium; its module gives the processor, and says what transformers calls its models."""

    role: str  # its medium: the role of the files
    auto: str  # the class of transformers that loads its models
    rates: tuple[tuple[float, float], ...]  # parameters of a base → peak learning rate, rising

    def processor_of(self, base: Path) -> MediaProcessor:
        """Any error where the base has none."""
        raise NotImplementedError

    def sample(self) -> bytes:
        """A file of the medium."""
        raise NotImplementedError

    def set_up(self, job: Job, processor: Any, model: Any) -> None:
        processor.media = MediaFiles.beside(Path(job.train))

    def learning_rate(self, method: str, parameters: int) -> float:
        if method in FIXED_RATES:
            return FIXED_RATES[method]
        return next((rate for size, rate in reversed(self.rates) if parameters >= size), self.rates[0][1])

    def check_base(self, base: Path) -> None:
        check_architecture(self.auto, base, self.task, self._fits)
        self.load_processor(base)

    def load_processor(self, base: Path) -> MediaProcessor:
        try:
            with quiet_loading():
                return self.processor_of(base)
        except Exception as error:
            raise ModelError(
                f"the processor in {base} cannot be loaded: {first_line(error)}",
                "The folder must hold preprocessor_config.json.",
            ) from error

    def load_model(self, base: Path, labels: Sequence[str], changes: Mapping[str, Any] = {}) -> Any:
        return load_base(self.auto, base, self.task, self._fits, labels, **changes)[0]

    def new_model(self, base: Path, labels: Sequence[str], changes: Mapping[str, Any]) -> Any:
        config = changed_config(base, changes)
        config.update(names_of(labels))
        return build(self.auto, config, base, self.task, self._fits)

    @property
    def _fits(self) -> str:
        return f"a base whose architecture {self.auto} has"

    def warm_up(self, base: Path) -> None:
        wait_passively()
        import datasets  # noqa: F401
        import transformers

        self.load_processor(base)
        getattr(transformers, self.auto)

    def length(self, asked: int | Literal["auto"], processor: Any, model_config: Any, rows: datasets.Dataset) -> int:
        if asked != "auto":
            raise UsageError(
                f"train.max_length is {asked}, and counts tokens: {self.task} has none", "Take the key out of the spec."
            )
        return 0

    def prepare(
        self, processor: Any, batch: Mapping[str, Sequence[Any]], labels: Mapping[str, int], max_length: int
    ) -> dict[str, list[Any]]:
        values = list(batch[self.role])
        return {self.role: values, "labels": label_ids(batch["label"], labels), "length": [1] * len(values)}

    def collate(self, processor: Any, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        import torch

        batch: dict[str, Any] = processor.of_values([example[self.role] for example in examples])
        if "labels" in examples[0]:
            batch["labels"] = torch.tensor([example["labels"] for example in examples])
        return batch

    def predict(
        self, model: Path, rows: Path, *, batch_size: int = BATCH, on_rows: Callable[[int], None] | None = None
    ) -> pa.Table:
        """A release's outcomes on a row file, one row each, in the file's order, with the columns of text classification's.

        Reads nothing but `model`, `rows` and the media that these stand for.
        """
        import numpy as np
        import pyarrow as pa

        data = self.rows_of(rows)
        classifier = self._classifier(model)
        classifier.processor.media = MediaFiles.beside(rows)
        tables = []
        for start in range(0, len(data), batch_size):
            window = data[start : start + batch_size]
            probabilities = classifier.batch_probabilities(classifier.processor.of_values(window[self.role]))
            keys = np.asarray(window["_key"], np.uint64)
            table = outcomes_of(keys, window["label"], probabilities, classifier.names)
            tables.append(table.append_column("row", pa.array(range(start, start + len(table)), pa.int64())))
            if on_rows:
                on_rows(start + len(table))
        return pa.concat_tables(tables) if tables else no_outcomes()

    def load(self, folder: Path, manifest: ReleaseManifest, device: str | None = None) -> ReleasedMedia:
        return ReleasedMedia(manifest, self._classifier(folder, device), self.role, self.sample())

    def _classifier(self, folder: Path, device: str | None = None) -> MediaClassifier:
        return MediaClassifier(folder, self.auto, self.load_processor(folder), device)


class MediaClassifier(LoadedClassifier):
    """One that takes decoded pictures or sounds."""

    def __init__(self, folder: Path, auto: str, processor: MediaProcessor, device: str | None = None) -> None:
        super().__init__(folder, auto, device)
        self.processor = processor

    def probabilities(self, examples: Sequence[Any], batch_size: int) -> np.ndarray:
        """float32 (examples, labels), in their order."""
        import numpy as np

        starts = range(0, len(examples), batch_size)
        batches = (self.processor.batch(examples[start : start + batch_size]) for start in starts)
        return np.concatenate([self.batch_probabilities(batch) for batch in batches])


class ReleasedMedia(ReleasedClassifier):
    """Inputs are files: paths or bytes; or rows that hold one in the column of the role."""

    def __init__(self, manifest: ReleaseManifest, classifier: MediaClassifier, role: str, sample: bytes) -> None:
        super().__init__(manifest, classifier)
        self._role = role
        self._sample = sample

    def warm_up(self) -> None:
        for inputs in ([self._sample], [self._sample] * 8):
            self.predict(inputs)

    def _example(self, place: int, given: Any) -> Any:
        column = self.manifest.columns.get(self._role, self._role)
        found = given.get(column) if isinstance(given, Mapping) else given
        try:
            return self._classifier.processor.decode(self._bytes(place, found))
        except Unusable as fault:
            raise UsageError(f"input {place} cannot be used: {fault}", f"Give an {self._role} file.") from fault

    def _bytes(self, place: int, found: Any) -> bytes:
        advice = f"Give paths or bytes of {self._role} files, or rows with one in column {self._role!r}."
        if isinstance(found, bytes | bytearray | memoryview):
            return bytes(found)
        if isinstance(found, str | os.PathLike) and not (isinstance(found, str) and VALUE.fullmatch(found)):
            try:
                return Path(found).read_bytes()
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                raise UsageError(f"input {place}: cannot read {found}: {reason}", advice) from error
        raise UsageError(f"input {place} is no {self._role}: it is of type {type(found).__name__}", advice)
