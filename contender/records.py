"""The small immutable values that flow between stages; contender/canonical.py says how they become bytes and digests."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from contender.canonical import Record as Record
from contender.canonical import canonical_json as canonical_json
from contender.canonical import digest as digest
from contender.canonical import sha256_hex as sha256_hex
from contender.durations import Durations
from contender.verdict import Look as Look
from contender.verdict import RuleResult as RuleResult
from contender.verdict import Verdict as Verdict


class FileEntry(Record):
    """One file of a release, an evaluation or a stage: its path inside the folder, with forward slashes."""

    path: str
    size: int = Field(ge=0, description="bytes")
    sha256: str


# --- data -------------------------------------------------------------------------------------------------------------


class SourceFile(Record):
    """One file that a run read, relative to its source."""

    path: str
    size: int
    sha256: str
    rows: int | None = Field(default=None, description="known once the file was read as rows")
    left_out: int = Field(default=0, description="further rows, answers that people did not want")


class SkippedFile(Record):
    """One file that a run left out, and why."""

    path: str
    reason: str


class FileSet(Record):
    """The files of one source: the training data, or one golden set."""

    files: tuple[SourceFile, ...]
    skipped: tuple[SkippedFile, ...] = ()
    columns: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return sum(file.rows or 0 for file in self.files)

    @property
    def digest(self) -> str:
        """Of paths, sizes and contents, whatever order the files were listed in."""
        return digest(sorted([file.path, file.size, file.sha256] for file in self.files))


class Snapshot(Record):
    """What a run saw: the source and the golden sets."""

    source: FileSet
    golden: dict[str, FileSet] = {}

    @property
    def digest(self) -> str:
        return digest({"source": self.source.digest, "golden": {name: s.digest for name, s in self.golden.items()}})


# --- quality ----------------------------------------------------------------------------------------------------------

Severity = Literal["critical", "warning", "info"]


class ExpectationResult(Record):
    """One expectation's outcome on a snapshot, as Great Expectations reports it, merged over chunks."""

    expectation: str
    column: str | None
    kwargs: dict[str, Any] = {}
    severity: Severity
    success: bool
    applicable: bool = Field(default=True, description="false: nothing to compare with; success says nothing")
    checked: int = Field(description="rows looked at")
    unexpected: int = Field(default=0, description="rows that failed, for row expectations")
    observed: str = Field(default="", description="what was seen of a whole column; of rows, only labels and numbers")
    sentence: str = Field(default="", description="the expectation in plain words")

    @property
    def urgency(self) -> tuple[bool, int, bool, int]:
        """Sorts failing expectations first, critical ones before warnings, those that hit most rows first."""
        severity = ("critical", "warning", "info").index(self.severity)
        return self.success, severity, not self.unexpected, -self.unexpected


class QualityReport(Record):
    """What the quality gate found; `passed` is its verdict and `message` says why in one sentence."""

    suite: str
    passed: bool
    message: str
    rows: int
    quarantined: int
    quarantined_by_reason: dict[str, int] = {}
    results: tuple[ExpectationResult, ...]
    label_shares: dict[str, float] = Field(default={}, description="label → share among the admitted rows")

    @property
    def bad_fraction(self) -> float:
        return self.quarantined / self.rows if self.rows else 0.0


# --- split ------------------------------------------------------------------------------------------------------------


class SplitDefinition(Record):
    """How rows are dealt to train, validation and test; frozen per pipeline in the registry."""

    by: Literal["hash", "time"] = "hash"
    key: str = Field(description="the column whose normalised value decides; a role name such as 'text' or a column")
    test: float = Field(default=0.0, description="share of keys; seconds up to the newest row, for by: time")
    validation: float
    column: str | None = Field(default=None, description="of the time, for by: time")
    gap: float = Field(default=0.0, description="seconds before test whose rows are in no set, for by: time")
    salt: str = Field(description="tells the pipelines apart: a row may train one and test another")
    normaliser: int = Field(description="revision of the normalisation")


class SplitReport(Record):
    """Rows per set, what was removed, and each set's digest."""

    rows: dict[str, int] = Field(description="set → rows: train, validation, test, golden-<name>")
    digests: dict[str, str] = Field(description="set → sha256 over its keys, texts and labels in order")
    removed_leaks: int = Field(description="train or validation rows whose text equals a held-out row's")
    removed_near_duplicates: int = Field(default=0, description="train or validation rows with nearly the text of one")
    removed_duplicates: int = Field(description="held-out rows that repeat another held-out row")
    removed_conflicts: int = Field(default=0, description="held-out rows with another's key and text and not its label")
    removed_gap: int = Field(default=0, description="rows of the time between validation and test")
    begins: dict[str, float] = Field(
        default={},
        description="of a split by time: set → time after which its rows begin, and the newest row's; seconds since 1970",
    )
    labels: tuple[str, ...] = Field(description="label names, sorted; their index is the class id")
    label_counts: dict[str, dict[str, int]] = Field(description="set → label → rows")


# --- training ---------------------------------------------------------------------------------------------------------


class CurvePoint(Record):
    """One point of the learning curve."""

    step: int
    epoch: float
    loss: float | None = None
    learning_rate: float | None = None
    metrics: dict[str, float] = {}


class TrainReport(Record):
    """What a training job did. Figures that differ between identical trainings live here, never in `model/`."""

    steps: int
    epochs: float
    examples: int = Field(description="examples seen")
    seconds: float = Field(description="in the training loop")
    examples_per_second: float
    learning_rate: float = Field(description="the value used, also where the spec says auto")
    head_learning_rate: float | None = Field(default=None, description="of the layers above the encoder")
    batch_size: int
    precision: Literal["fp32", "bf16", "fp16"]
    precision_reason: str
    device: str
    best_metric: float | None = None
    best_step: int | None = None
    stopped_early: bool = False
    resumed_from_step: int = 0
    attempt: int = Field(default=1, description="number of the attempt that ended it")
    recoveries: int = Field(default=0, description="times that this run continued it by itself after its process died")
    micro_batch_size: int | None = Field(default=None, description="examples at once, where fewer than batch_size fit")
    checkpoints: int = Field(default=0, description="written, over all attempts")
    checkpoint_seconds: float = Field(default=0.0, description="that writing them took, part of `seconds`")
    devices: int = Field(default=1, description="that trained at once")
    energy_kwh: float | None = Field(
        default=None,
        description="that the device drew in the training loop, over all attempts, whatever else it did meanwhile; null: not told",
    )
    energy_source: Literal["nvml", "rapl"] | None = Field(default=None, description="the counter: of GPU, of processor")
    budget_spent: bool = Field(default=False, description="whether it ended where its budget did")
    notes: tuple[str, ...] = Field(default=(), description="what a reader of the result should know")
    curve: tuple[CurvePoint, ...] = ()
    durations: Durations = Field(default=Durations(), description="of the attempt that ended it")
    versions: dict[str, str] = {}
    hardware: dict[str, str] = Field(default={}, description="what it was trained on: processor, cores, memory, GPU")

    def figures(self) -> dict[str, Any]:
        """What a run's document says of its training: all but the curve, and the share of the time that checkpoints took."""
        told = self.model_dump(mode="json", exclude={"curve", "durations", "versions", "hardware"})
        return told | {"checkpoint_share": self.checkpoint_seconds / self.seconds if self.seconds else 0.0}


# --- registry ---------------------------------------------------------------------------------------------------------


class ReleaseDraft(Record):
    """What a release's manifest says beside its files."""

    kind: str = Field(description="the pipeline's task, a Hugging Face task name")
    columns: dict[str, str] = Field(description="role → column of the data")
    label_names: tuple[str, ...] = ()
    preparation: dict[str, Any] = Field(default={}, description="what prepares an example: maximum length, revision")
    lineage: dict[str, Any] = Field(default={}, description="snapshot, split, spec, base model, versions, seed, parent")


class ReleaseManifest(ReleaseDraft):
    """A release: the exact files that `from_pretrained` loads, and where they came from."""

    release: str = Field(description="r- and 16 hex of the digest")
    digest: str = Field(description="sha256 over the canonical list of (path, size, sha256)")
    files: tuple[FileEntry, ...]
    beside: tuple[FileEntry, ...] = Field(
        default=(), description="what lies beside `model/`: the hashed keys that it trained on, its data files"
    )
    created: str = Field(description="UTC, ISO 8601")


class AliasEntry(Record):
    """One entry of an alias's append-only log; the highest n names the live release."""

    n: int = Field(ge=1)
    action: Literal["promote", "rollback"] = "promote"
    release: str
    digest: str
    evaluation: str | None = None
    previous: str | None = Field(default=None, description="the release that was live before")
    reason: str
    actor: str
    writer: str = Field(description="random; tells whose write it was when the answer was lost")
    verdict: dict[str, Any] | None = None
    withdrawn: tuple[str, ...] = Field(
        default=(), description="releases that rollbacks left: no run promotes them again"
    )
    at: str = Field(description="UTC, ISO 8601")

    @property
    def decision(self) -> str | None:
        """Key of the decision that made it; a person's entry has none."""
        return (self.verdict or {}).get("decision")


class LedgerEntry(Record):
    """One look at a held-out set, written before outcomes are compared."""

    n: int = Field(ge=1)
    set: str
    set_digest: str
    challenger: str
    champion: str | None
    rule: str = Field(description="digest of the rule")
    generation: int = Field(
        ge=1, description="rows that were judged together for the first time; it has an alpha of its own"
    )
    look: int = Field(ge=1, description="number of the look at its generation")
    alpha: float = Field(description="the share of 1 − confidence that this look spends")
    added: str | None = Field(default=None, description="sha256 of the keys that this look takes into its generation")
    units: int = Field(description="keys of the generation, with this look's")
    judged: int = Field(description="keys that any look at the set ever judged, with this one")
    writer: str
    at: str


# --- evaluation and judging -------------------------------------------------------------------------------------------


class SetEvaluation(Record):
    """One model on one held-out set."""

    set: str
    set_digest: str
    rows: int
    metrics: dict[str, float]
    slices: dict[str, dict[str, dict[str, float]]] = Field(default={}, description="column → value → metric → value")


class Evaluation(Record):
    """Metrics of a release on held-out sets, beside a champion's on the same rows."""

    evaluation: str
    release: str
    champion: str | None
    device: str = Field(description="kind of device: cpu, cuda, mps")
    dtype: str
    challenger_sets: tuple[SetEvaluation, ...]
    champion_sets: tuple[SetEvaluation, ...] = ()


class EvaluationManifest(Record):
    """The files of an evaluation; written last."""

    evaluation: str
    release: str
    files: tuple[FileEntry, ...]
    created: str = Field(description="UTC, ISO 8601")


Outcome = Literal[
    "promoted",
    "kept",
    "inconclusive",
    "rejected_data",
    "up_to_date",
    "superseded",
    "skipped",
    "budget",
    "interrupted",
    "unknown",
    "invalid",
    "failed",
]


class Decision(Record):
    """The record that every finished run leaves."""

    key: str
    pipeline: str
    outcome: Outcome
    message: str
    spec_digest: str
    snapshot: str
    rows: int = Field(description="rows of the snapshot")
    judged_against: int
    release: str | None = None
    champion: str | None = None
    evaluation: str | None = None
    alias: str = "production"
    alias_entry: int | None = None
    metrics: dict[str, float] = {}
    verdict: Verdict | None = None
    quality: QualityReport | None = None
    split: SplitReport | None = None
    seconds: float
    actor: str
    at: str
