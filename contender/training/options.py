"""What a training job is told and what it tells back: the values on both sides of the child process."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from contender.records import Record
from contender.section import Seconds
from contender.specrules import Fault
from contender.spending import JOULES_PER_KWH, amounts

Init = Literal["pretrained", "scratch"]
Method = Literal["full", "lora", "qlora", "head"]
EVALUATION_BATCH = 64  # examples at once on validation, at least
ADAPTING: tuple[Method, ...] = ("lora", "qlora")  # methods that train adapters beside the weights
Precision = Literal["fp32", "bf16", "fp16"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class TrainOptions(Record):
    """How a model is fine-tuned; every default is what a careful engineer would try first."""

    epochs: Positive = Field(default=5, description="passes over the training rows, at most; may be a fraction")
    batch_size: int = Field(default=32, ge=1, le=65536, description="examples per step; with packing, rows of several")
    learning_rate: Positive | Literal["auto"] = Field(
        default="auto", description="peak learning rate; auto: by kind, method and size of the base"
    )
    head_learning_rate: Positive | Literal["auto"] = Field(
        default="auto",
        description="peak learning rate of the layers above the encoder, which start from nothing; auto: five times learning_rate",
    )
    early_stopping: int = Field(
        default=2, ge=0, description="evaluations without a better metric before stopping; 0: never"
    )
    seed: int = Field(default=17, ge=0, lt=2**31, description="of everything that is drawn")
    weight_decay: float = Field(default=0.01, ge=0, allow_inf_nan=False, description="of AdamW")
    dropout: Annotated[float, Field(ge=0, lt=1)] | Literal["auto"] = Field(
        default="auto",
        description="probability of every dropout that the base's config.json has, and kept in the release's; auto: as the base has them",
    )
    layer_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="each layer learns at this factor of the rate of the one above it, the embeddings least; 1: all at learning_rate",
    )
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="probability that a target gives to all other labels together"
    )
    class_weights: Literal["none", "balanced"] = Field(
        default="none", description="balanced: a class counts in inverse proportion to its rows"
    )
    max_grad_norm: float = Field(default=1.0, ge=0, allow_inf_nan=False, description="0: gradients are not clipped")
    warmup: float = Field(default=0.06, ge=0, lt=1, description="share of the steps before the peak learning rate")
    max_length: Annotated[int, Field(ge=4)] | Literal["auto"] = Field(
        default="auto", description="tokens per example; auto: the base's limit, capped by the data's 99.9th percentile"
    )
    packing: bool = Field(
        default=False,
        description="for text-generation: several conversations share a row of max_length tokens, and none sees another",
    )
    augment: Literal["none", "light"] = Field(
        default="none",
        description="light: pictures are turned, moved, scaled and lit a little differently each time, sounds moved, scaled and masked; "
        "for image- and audio-classification by method full",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="auto: the faster one, by a measured step"
    )
    deterministic: bool = Field(
        default=False, description="also on a GPU the same bytes every time, by slower algorithms; a CPU needs it not"
    )

    def faults(self, method: Method, init: Init, config: Collection[str]) -> Iterator[Fault]:
        """What does not go together with a method, a start, and the keys of model.config."""
        if self.dropout != "auto":
            if method == "head":
                yield (
                    ("train", "dropout"),
                    f"is {self.dropout:g}, and method head trains one layer on features that are computed without dropout",
                )
            if named := sorted(filter(is_dropout, config)):
                yield ("train", "dropout"), f"is {self.dropout:g}, and model.config says {named[0]}: remove one of them"
        if self.layer_decay < 1:
            if method == "head":
                yield ("train", "layer_decay"), f"is {self.layer_decay:g}, and method head trains one layer alone"
            if init == "scratch":
                yield (
                    ("train", "layer_decay"),
                    f"is {self.layer_decay:g}: it keeps what lower layers have learnt, and with init: scratch they have learnt nothing",
                )


def is_dropout(name: str) -> bool:
    """Whether a configuration's key of this name is a dropout's probability; what drops whole layers or paths is none."""
    return "dropout" in name or name.endswith("pdrop")


class LoraOptions(Record):
    """The adapters of methods lora and qlora: of each layer that has one, two matrices, of `r` rows and of `r` columns."""

    r: int = Field(default=16, ge=1, le=1024, description="rank of the adapters")
    alpha: int = Field(
        default=32, ge=1, description="adapters count alpha / r; learning_rate: auto is for the default ratio"
    )
    dropout: float = Field(default=0.05, ge=0, lt=1, description="of what goes into an adapter, while it is trained")
    targets: Literal["auto"] | Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)] = Field(
        default="auto", description="ends of the names of linear layers, such as query; auto: all below the head"
    )


class GenerationOptions(Record):
    """How a model that writes texts searches for its answer; kept in the release, so that whoever loads it gets the same answers."""

    beams: int = Field(default=4, ge=1, le=64, description="answers that are followed side by side; 1: greedily")
    max_new_tokens: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default="auto", description="tokens of an answer, at most; auto: the 99.9th percentile of the training answers"
    )
    length_penalty: float = Field(
        default=1.0,
        ge=-10,
        le=10,
        description="with several beams: above 1 prefers longer answers, below 1 shorter ones",
    )
    no_repeat_ngram: int = Field(
        default=0, ge=0, le=32, description="no answer has the same run of so many tokens twice; 0: it may"
    )


class CheckpointOptions(Record):
    """How often a training keeps what it has done. What a crash can cost is what lies between two checkpoints."""

    every: Seconds = Field(
        default=120.0, description="30s, 2m, 1h; taken less often where checkpoints would cost more than 3% of the time"
    )
    steps: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="also after so many steps, whatever that costs"
    )


class Teacher(Record):
    """The model that a smaller one learns from."""

    folder: str
    digest: str = Field(description="of its files")
    temperature: float
    alpha: float


class Job(Record):
    """One training job, whole: what the child process reads from `job.json`."""

    task: str
    base: str = Field(description="folder of the base model")
    base_digest: str
    init: Init = "pretrained"
    config: dict[str, JsonValue] = Field(default={}, description="with init scratch, what differs from the base's")
    method: Method
    lora: LoraOptions = LoraOptions()
    columns: dict[str, str] = Field(description="role → column of the data; row files name columns by role")
    labels: tuple[str, ...] = Field(description="label names; their index is the class id")
    features: tuple[str, ...] = Field(default=(), description="of a table: the columns that are read")
    categorical: tuple[str, ...] = Field(default=(), description="of those: columns of numbers that are names")
    positive: str | None = Field(default=None, description="of a table: the label that rankings are measured by")
    out_of_scope: str | None = Field(
        default=None, description="where the primary metric needs it: the label that means none of the others"
    )
    options: TrainOptions
    generation: GenerationOptions = GenerationOptions()
    teacher: Teacher | None = Field(default=None, description="whose answers are learned beside the labels")
    primary_metric: str
    train: str = Field(description="row file")
    validation: str = Field(description="row file; may have no rows")
    output: str = Field(description="folder for the model's files")
    prepared: str | None = Field(
        default=None,
        description="folder that prepared rows are shared in by jobs on the same rows; None: the job's own",
    )


class Trial(Record):
    """A training that ends early and leaves no model: it was for its times alone."""

    epochs: int = Field(description="after which it ends, once `least_seconds` have passed in the training loop")
    steps: int = Field(description="after which it ends, once `most_seconds` have passed")
    least_seconds: float
    most_seconds: float


class Limits(Record):
    """What a training may use, over all attempts at it; None: no end."""

    seconds: float | None = Field(default=None, description="in the training loop")
    joules: float | None = Field(default=None, description="that the device draws there")
    ends_with_best: bool = Field(
        default=False, description="there it ends with the best model so far, where others stop with a checkpoint"
    )

    def shared_by(self, trainings: int) -> Limits:
        """Of each of so many at the same time, none of which knows what the others use."""
        parts = {
            name: found / trainings for name in ("seconds", "joules") if (found := getattr(self, name)) is not None
        }
        return self.model_copy(update=parts)

    def are_reached(self, seconds: float, joules: float | None) -> bool:
        """Whether it has used as much; `joules`: None where the device did not tell all the while, and that may be too much."""
        if self.joules is not None and (joules is None or joules >= self.joules):
            return True
        return self.seconds is not None and seconds >= self.seconds

    @property
    def text(self) -> str:
        return amounts(hours=self.seconds and self.seconds / 3600, kWh=self.joules and self.joules / JOULES_PER_KWH)


class Attempt(Record):
    """What the child is told beside the job: all that may differ between attempts at it."""

    number: int = 1
    micro_batch_size: int | None = Field(default=None, description="examples at once; None: a whole step's")
    checkpoint: CheckpointOptions = CheckpointOptions()
    limits: Limits = Limits()
    trial: Trial | None = None

    def at_once(self, job: Job, count: int | None = None) -> int:
        """Examples to compute on at once, where `count` (by default a step's) would be taken if memory held a step's."""
        step = job.options.batch_size
        return max(1, (count or step) * (self.micro_batch_size or step) // step)


class Evaluated(Record):
    """What validation said after an epoch."""

    epoch: float
    metrics: dict[str, float]


class Progress(Record):
    """Where a running job is; sent at least once a second while something moves."""

    step: int
    steps: int
    epoch: float
    loss: float | None = Field(default=None, description="mean over the last steps")
    examples_per_second: float | None = Field(default=None, description="over the last seconds")
    seconds_left: float | None = None
    metrics: dict[str, float] = Field(default={}, description="of the last evaluation on validation")
    evaluations: tuple[Evaluated, ...] = Field(
        default=(), description="right behind an evaluation: all so far, those of earlier attempts too; () otherwise"
    )
    checkpoint: int | None = Field(default=None, description="the step of a checkpoint that was written just now")
    seconds: float = Field(default=0.0, description="in the training loop, over all attempts")
    joules: float | None = Field(default=None, description="that the device drew there; None: it does not tell")
    phase: Literal["starting", "preparing", "measuring", "training", "evaluating", "saving"] = "training"
