"""Names that a spec may use, known without importing what they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Of one label of a closed set for each example; of how well one of them, the positive class, is told from the others; of the one that
# means none of the others; of any number of labels of a closed set; of tags, one for each word; of texts.
LABEL_METRICS = ("accuracy", "precision", "recall", "f1_macro", "f1_weighted", "log_loss", "calibration_error")
RANKING_METRICS = ("average_precision", "roc_auc", "recall_at_p50", "recall_at_p80", "recall_at_p90", "recall_at_p95")
SCOPE_METRICS = ("in_scope_accuracy", "out_of_scope_recall", "out_of_scope_precision")
MULTI_LABEL_METRICS = ("f1_micro", "f1_macro_labels", "precision_micro", "recall_micro")
TAG_METRICS = ("entity_f1", "entity_precision", "entity_recall", "token_accuracy")
TEXT_METRICS = ("bleu", "bleu_char", "chrf", "rouge1", "rouge2", "rougeL")
# Of answers in a conversation.
CHAT_METRICS = ("perplexity", "exact_match", "win_rate")
METRIC_NAMES = (
    *LABEL_METRICS,
    *RANKING_METRICS,
    *SCOPE_METRICS,
    *MULTI_LABEL_METRICS,
    *TAG_METRICS,
    *TEXT_METRICS,
    *CHAT_METRICS,
)
# What a search may weigh beside metrics → its unit; of all the lower is the better.
COSTS = {"latency_ms": "ms", "size_mb": "MB", "train_seconds": "s"}
# Metrics without an upper bound; every other one is a share, between 0 and 1.
UNBOUNDED_METRICS = ("log_loss", "perplexity")

# What a base model that is a release begins with; its NAME follows. And one that is an architecture of our own, without weights.
RELEASE_BASE = "contender:"
BUILTIN = "builtin:"
API = "api:"  # one that is only asked, over the OpenAI-compatible protocol: api:URL#model

# What a configuration calls the int8 of our own making.
INT8_METHOD = "contender-int8"

# Trainings of `contender noise`: a hundred know the deviation within 15%, and nobody waits for more.
FEWEST_RUNS, MOST_RUNS, DEFAULT_RUNS = 2, 100, 5

# Trainings of `contender curve`: for each of the fractions of the training rows one with each seed.
FEWEST_SEEDS, MOST_SEEDS, DEFAULT_SEEDS = 2, 20, 3
DEFAULT_FRACTIONS = (0.1, 0.2, 0.5, 1.0)

Labels = Literal["one", "list", "set", "none"]


@dataclass(frozen=True)
class Task:
    """What is known of a kind of task without importing it.

    `example` is the role that identifies an example: no held-out row is there twice, rows with a held-out one's leave training, and it
    decides the split by default. None: all columns but the target together, which are all read then. `labels`: whether the target is
    one label of a closed set, a JSON list of them in their order, any number of them whose order says nothing (set), or anything
    (none). `words`: whether examples are text, of which near-duplicates are found. `explains`: whether answers can be explained by
    what of the example spoke for them. `writes`: whether an answer is text that the model writes, by model.generation.
    `compresses`: the keys of `compress` that gain something. `batch_sizes`: that a search tries where a spec does not say what to try.
    """

    roles: tuple[str, ...]
    example: str | None
    target: str
    labels: Labels
    metrics: tuple[str, ...]
    default_metrics: tuple[str, ...]
    methods: tuple[str, ...]
    inits: tuple[str, ...]
    words: bool
    explains: bool
    writes: bool = False
    beams: int | None = None  # where a spec says nothing of them
    base: str | None = None  # what `model.base` is where a spec names none
    media: Literal["image", "audio"] | None = None  # its examples are files: the role of the same name holds them
    parts: tuple[
        str, ...
    ] = ()  # columns that together may stand for the example: data.columns names them instead of its role
    compresses: tuple[Literal["quantize", "distill"], ...] = ()
    batch_sizes: tuple[int, ...] = (16, 32, 64)


PATH = "path"  # the column that says where a picture or a sound came from
PROMPT, ANSWER, SYSTEM = "prompt", "answer", "system"  # parts of a conversation that may be columns of their own
EXAMPLE = "example"  # the split key of tasks whose examples are no single column


def _of_media(medium: Literal["image", "audio"]) -> Task:
    """One label for each file of a medium."""
    return Task(
        roles=(medium, "label"),
        example=medium,
        target="label",
        labels="one",
        metrics=LABEL_METRICS,
        default_metrics=("accuracy", "f1_macro"),
        methods=("full", "head"),
        inits=("pretrained", "scratch"),
        words=False,
        explains=False,
        media=medium,
        compresses=("distill",),
    )


def _writing(example: str, target: str, default_metrics: tuple[str, ...]) -> Task:
    """A text is read, and another one written."""
    return Task(
        roles=(example, target),
        example=example,
        target=target,
        labels="none",
        metrics=("accuracy", *TEXT_METRICS),
        default_metrics=default_metrics,
        methods=("full", "lora"),
        inits=("pretrained", "scratch"),
        words=True,
        explains=False,
        writes=True,
    )


# Hugging Face task names. Each has a module of its name in contender/kinds/.
TASKS: dict[str, Task] = {
    "text-classification": Task(
        roles=("text", "label"),
        example="text",
        target="label",
        labels="one",
        metrics=(*LABEL_METRICS, *SCOPE_METRICS),
        default_metrics=("accuracy", "f1_macro"),
        methods=("full", "lora", "head"),
        inits=("pretrained", "scratch"),
        words=True,
        explains=True,
        compresses=("quantize", "distill"),
    ),
    "multi-label-classification": Task(
        roles=("text", "labels"),
        example="text",
        target="labels",
        labels="set",
        metrics=(*MULTI_LABEL_METRICS, "accuracy"),
        default_metrics=("f1_micro", "f1_macro_labels", "accuracy"),
        methods=("full", "lora", "head"),
        inits=("pretrained", "scratch"),
        words=True,
        explains=False,
    ),
    "token-classification": Task(
        roles=("tokens", "tags"),
        example="tokens",
        target="tags",
        labels="list",
        metrics=(*TAG_METRICS, "accuracy"),
        default_metrics=("entity_f1", "token_accuracy"),
        methods=("full", "lora"),
        inits=("pretrained",),
        words=True,
        explains=False,
        compresses=("quantize",),
    ),
    "image-classification": _of_media("image"),
    "audio-classification": _of_media("audio"),
    "tabular-classification": Task(
        roles=("label",),
        example=None,
        target="label",
        labels="one",
        metrics=(*LABEL_METRICS, *RANKING_METRICS),
        default_metrics=("average_precision", "roc_auc", "accuracy"),
        methods=("full",),
        inits=("scratch",),
        words=False,
        explains=False,
        base="builtin:tabular",
        batch_sizes=(64, 256, 1024),
    ),
    "translation": _writing("source", "target", ("chrf", "bleu")),
    "summarization": _writing("text", "summary", ("rouge1", "rouge2", "rougeL")),
    "text-generation": Task(
        roles=("messages",),
        example="messages",
        target="messages",
        labels="none",
        metrics=(*CHAT_METRICS, *TEXT_METRICS),
        default_metrics=("perplexity", "exact_match"),
        methods=("full", "lora", "qlora"),
        inits=("pretrained", "scratch"),
        words=True,
        explains=False,
        writes=True,
        beams=1,
        parts=(PROMPT, ANSWER, SYSTEM),
    ),
}


def labelled(task: str) -> bool:
    """Whether every row of such a task has one label of a closed set; a release of a kind that is not known here has none."""
    return task in TASKS and TASKS[task].labels == "one"


def multi_labelled(task: str) -> bool:
    """Whether every row of such a task has any number of labels of a closed set."""
    return task in TASKS and TASKS[task].labels == "set"
