"""What a kind of task must give so that the training job and the evaluation can run it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from contender.errors import DataError, ModelError
from contender.names import TASKS
from contender.training.dropout import dropouts

if TYPE_CHECKING:
    import datasets
    import numpy as np
    import pyarrow as pa

    from contender.attribution import Attribution
    from contender.records import ReleaseManifest
    from contender.training.options import Job


@dataclass(frozen=True)
class Prediction:
    """One answer: every label with its score, the highest first; the scores of an answer sum to 1."""

    scores: dict[str, float]

    @property
    def label(self) -> str:
        return next(iter(self.scores))

    @property
    def score(self) -> float:
        return next(iter(self.scores.values()))


@dataclass(frozen=True)
class Labelled:
    """One answer of any number of labels: those that it has, in order; every label with its own probability, the highest first."""

    labels: tuple[str, ...]
    scores: dict[str, float]


class Model(Protocol):
    """A release in memory that answers, as its manifest says. Several threads may ask at once."""

    manifest: ReleaseManifest
    device: str
    labels: tuple[str, ...]

    def predict(self, inputs: Sequence[str | Mapping[str, Any]], *, batch_size: int = 64) -> Sequence[Any]:
        """One answer for each input, in their order: an example by itself, or a row of the columns that it was trained on.

        A classifier answers with a `Prediction`, one of any number of labels with `Labelled`, a kind that writes text with that text.
        `batch_size`: inputs computed at a time. UsageError for what is no input, ModelError where the answer is no number.
        """

    def warm_up(self) -> None:
        """Answers one input alone, then several at once, so that the first request does not pay for what a device does once: it loads
        a kernel when it is first asked for, and has others for one than for several."""


class Kind(Protocol):
    """One task. Light to import: torch and transformers are imported inside the methods.

    What must be known of it without importing it stands in contender.names.TASKS. `Defaults` has what many kinds share.
    """

    task: str
    revision: int  # raised when the same rows and options would give another model
    chooses_by_loss: (
        bool  # the best checkpoint is that of the lowest loss on validation, not of the best primary metric
    )
    compact_embeddings: bool  # only the rows of the input embedding that the data uses are trained

    def inputs(self, manifest: ReleaseManifest) -> list[str]:
        """The columns of a row file that a release answers from."""

    def learning_rate(self, method: str, parameters: int) -> float:
        """The peak learning rate for `learning_rate: auto`, for a base of so many parameters; `method` is `scratch` for a model that
        starts from nothing."""

    def above_encoder(self, model: Any) -> set[str]:
        """Names of the parameters that turn the encoder's output into an answer: they start from nothing, and learn faster."""

    def processor_for(self, job: Job, rows: datasets.Dataset) -> Any:
        """The processor of a training: its base's, or one that is made from the training rows."""

    def model_for(self, job: Job, processor: Any) -> Any:
        """The model that a training begins with, in fp32."""

    def check_base(self, base: Path) -> None:
        """ModelError unless the base has what a model of this kind is made of; reads no weights."""

    def load_processor(self, base: Path) -> Any:
        """What turns an example into tensors: a tokenizer, an image processor; ModelError where the base has none."""

    def load_model(self, base: Path, labels: Sequence[str], changes: Mapping[str, Any] = {}) -> Any:
        """The base with a fresh head for `labels` (none where the task has none), in fp32, its configuration with `changes`; what is
        new is drawn from torch's global generator."""

    def new_model(self, base: Path, labels: Sequence[str], changes: Mapping[str, Any]) -> Any:
        """A model as the base's configuration with `changes` describes it, for `labels`, in fp32, every weight drawn from torch's
        global generator; the base's own weights are not read. ModelError where the kind or the architecture has no such start."""

    def set_up(self, job: Job, processor: Any, model: Any) -> None:
        """Before the rows of a job are prepared: what processor and model must know of it besides the rows."""

    def warm_up(self, base: Path) -> None:
        """Imports what `predict` needs for releases of this base: seconds that can pass while something else is waited for."""

    def length(self, asked: int | Literal["auto"], processor: Any, model_config: Any, rows: datasets.Dataset) -> int:
        """The length that examples are cut to, kept in the release; 0 where they have none. UsageError for one beyond the base."""

    def prepare(
        self, processor: Any, batch: Mapping[str, Sequence[Any]], labels: Mapping[str, int], max_length: int
    ) -> dict[str, list[Any]]:
        """Rows to model inputs: columns of equal length, `length` (which batches are made by) and `labels` among them."""

    def collate(self, processor: Any, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Prepared examples to one batch of tensors."""

    def loss(self, job: Job, train: datasets.Dataset) -> Callable[..., Any]:
        """`(outputs, labels, num_items_in_batch) → scalar`, as the Trainer's compute_loss_func."""

    def kept(self, logits: Any, labels: Any) -> Any:
        """What of a validation batch's logits is kept for `scores`: of a sequence of vocabularies, the answers alone."""

    def scores(
        self, kept: np.ndarray, label_ids: np.ndarray, labels: Sequence[str], names: Sequence[str]
    ) -> dict[str, float]:
        """The named metrics of one pass over validation, unless it `chooses_by_loss`; kept (rows, …), label_ids (rows, …)."""

    def scorer(self, job: Job) -> Callable[..., dict[str, float]]:
        """`(kept, label_ids) → metrics` of one pass over validation, the job's primary metric among them."""

    def predict(
        self, model: Path, rows: Path, *, batch_size: int = 64, on_rows: Callable[[int], None] | None = None
    ) -> pa.Table:
        """A release's outcomes on a row file, one row each, in the file's order."""

    def explain(
        self, model: Path, rows: Path, answers: Mapping[int, str], *, on_rows: Callable[[int], None] | None = None
    ) -> list[Attribution]:
        """What of some rows spoke for the label that the release in `model` gave them; `answers`: row → that label.

        In the order of the rows; one is left out where the model does not give that answer again, or nothing explains it. The same
        files give the same on one machine. ModelError where no answer of such a model can be explained.
        """

    def load(self, folder: Path, manifest: ReleaseManifest, device: str | None = None) -> Model:
        """The release in `folder`, on the best device where none is named: what `predict` runs, for whoever serves it.

        ModelError where it cannot be loaded, Damaged where manifest and files disagree, UsageError for a device that there is not.
        """


class Defaults:
    """What most kinds have in common."""

    task: str
    chooses_by_loss = False
    compact_embeddings = False

    def inputs(self, manifest: ReleaseManifest) -> list[str]:
        """The columns with a role, less the one that is answered."""
        facts = TASKS[self.task]
        return [role for role in facts.roles if role != facts.target or role == facts.example]

    def processor_for(self, job: Job, rows: datasets.Dataset) -> Any:
        return cast("Kind", self).load_processor(Path(job.base))

    def model_for(self, job: Job, processor: Any) -> Any:
        kind, base, changes = cast("Kind", self), Path(job.base), dropouts(job)
        return (
            kind.load_model(base, job.labels, changes)
            if job.init == "pretrained"
            else kind.new_model(base, job.labels, {**job.config, **changes})
        )

    def new_model(self, base: Path, labels: Sequence[str], changes: Mapping[str, Any]) -> Any:
        raise ModelError(f"{self.task} has no model that starts from nothing", "Set model.init: pretrained.")

    def check_base(self, base: Path) -> None:
        cast("Kind", self).load_processor(base)

    def set_up(self, job: Job, processor: Any, model: Any) -> None:
        return None

    def scorer(self, job: Job) -> Callable[..., dict[str, float]]:
        kind = cast("Kind", self)
        return lambda kept, label_ids: kind.scores(kept, label_ids, job.labels, [job.primary_metric])

    def rows_of(self, rows: Path) -> datasets.Dataset:
        """The rows of a set's file, memory-mapped; DataError where it has no column of a role."""
        import datasets

        data = datasets.Dataset.from_file(str(rows))
        missing = {*TASKS[self.task].roles, "_key"} - set(data.column_names)
        if missing:
            raise DataError(f"{rows.name} has no column {', '.join(sorted(missing))}", "Split the data again.")
        return data

    def kept(self, logits: Any, labels: Any) -> Any:
        return logits

    def length(self, asked: int | Literal["auto"], processor: Any, model_config: Any, rows: datasets.Dataset) -> int:
        return 0

    def explain(
        self, model: Path, rows: Path, answers: Mapping[int, str], *, on_rows: Callable[[int], None] | None = None
    ) -> list[Attribution]:
        raise ModelError(f"answers of {self.task} cannot be explained", "Its metrics and verdict are as they are.")
