"""Where a run is killed: every point has a name, a place among the stages, and one exact moment of one process.

A point on a file names the last path that the product gives it, not the temporary one before: how a file gets there may change.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Process = Literal["run", "train", "gate"]
Victim = Literal["process", "parent", "tree"]

BEFORE, AFTER = 0, 1
STAGES = (
    *("look", "snapshot", "gate", "split", "monitor", "train", "release"),
    *("evaluate", "judge", "publish", "promote", "decide"),
)
KEY = r"[0-9a-f]{16,64}"


@dataclass(frozen=True)
class Fault:
    """One exact moment, as `fuse/sitecustomize.py` understands it; `later` is a number of further events of the same thread."""

    process: Process
    event: str
    path: str
    later: int = BEFORE
    occurrence: int = 1
    victim: Victim = "tree"


@dataclass(frozen=True)
class Point:
    """A kill point: its name, the stage that it lies in, and the fault; `champion`: only reached where there is one."""

    name: str
    stage: str
    fault: Fault
    champion: bool = False
    bare: bool = False  # only reached where the registry holds no split yet

    @property
    def order(self) -> int:
        return STAGES.index(self.stage)

    @property
    def leaves_checkpoint(self) -> bool:
        """Whether the next run finds a checkpoint of a training that is not finished."""
        at_a_late_step = self.fault.process == "train" and self.fault.occurrence > 1
        return (at_a_late_step or "old checkpoint" in self.name) and self.fault.victim == "tree"

    def told(self, marker: str, checkpoints: str) -> dict[str, object]:
        return asdict(self.fault) | {"marker": marker, "checkpoints": checkpoints}


def _run(event: str, path: str, later: int = BEFORE, occurrence: int = 1, victim: Victim = "tree") -> Fault:
    return Fault("run", event, path, later, occurrence, victim)


def _train(event: str, path: str, later: int = BEFORE, occurrence: int = 1, victim: Victim = "tree") -> Fault:
    return Fault("train", event, path, later, occurrence, victim)


def _whole_stage(folder: str, stage: str, champion: bool = False) -> list[Point]:
    """The points that every stage of the workspace has."""
    partial, final = rf"stages/{folder}/\.{KEY}\.partial", rf"stages/{folder}/{KEY}"
    moments = {
        "begun": _run("os.mkdir", rf"{partial}$", AFTER),
        "filled, no manifest": _run("os.rename", rf"{partial}/stage\.json$"),
        "manifest, not in place": _run("os.rename", rf"{partial} -> .*{final}$"),
        "in place": _run("os.rename", rf"{partial} -> .*{final}$", AFTER),
    }
    return [Point(f"{folder}: {name}", stage, fault, champion) for name, fault in moments.items()]


def _created(name: str, stage: str, path: str, champion: bool = False) -> list[Point]:
    """Before and after an object of the registry appears."""
    return [
        Point(f"before {name}", stage, _run("os.link", path, BEFORE), champion),
        Point(f"after {name}", stage, _run("os.link", path, AFTER), champion),
    ]


CHECKPOINT = r"checkpoints/\.\d{8}-\d+"
JOB = rf"jobs/{KEY}"

POINTS: tuple[Point, ...] = (
    Point("look: digests not yet remembered", "look", _run("os.rename", r"/files\.json$")),
    Point("look: digests remembered", "look", _run("os.rename", r"/files\.json$", AFTER)),
    *_whole_stage("snapshot", "snapshot"),
    *_whole_stage("gate", "gate"),
    Point("gate: its own process, at work", "gate", Fault("gate", "call", r"quality/docs\.py:write_docs$")),
    Point(
        "gate: its own process alone",
        "gate",
        Fault("gate", "call", r"quality/docs\.py:write_docs$", victim="process"),
    ),
    Point("gate: its parent alone", "gate", Fault("gate", "call", r"quality/docs\.py:write_docs$", victim="parent")),
    Point("before the split is frozen", "split", _run("os.link", r"/split/00000001\.json$"), bare=True),
    Point("after the split is frozen", "split", _run("os.link", r"/split/00000001\.json$", AFTER), bare=True),
    *_whole_stage("split", "split"),
    # --- monitor: the champion is fetched here first
    *_whole_stage("monitor", "monitor", champion=True),
    *_created("the new rows' outcomes", "monitor", r"/observed/[^/]+\.parquet$", champion=True),
    *_created("the observation", "monitor", r"/monitoring/00000001\.json$", champion=True),
    # --- train
    Point("train: job written, no process", "train", _run("os.rename", rf"{JOB}/job\.json$", AFTER)),
    Point("train: process starts", "train", _train("open", rf"{JOB}/lock$", AFTER)),
    Point("train: tokenising", "train", _train("os.rename", rf"{JOB}/prepared/train-[^/]*$")),
    Point("train: first step", "train", _train("call", r"training/trainer\.py:training_step$")),
    Point("train: step 13", "train", _train("return", r"training/trainer\.py:training_step$", occurrence=13)),
    Point("train: checkpoint begun", "train", _train("os.mkdir", rf"{CHECKPOINT}$", AFTER, 2)),
    Point(
        "train: checkpoint with weights only", "train", _train("os.rename", rf"{CHECKPOINT}/model\.safetensors$", 1, 2)
    ),
    Point("train: checkpoint without manifest", "train", _train("os.rename", rf"{CHECKPOINT}/checkpoint\.json$", 0, 2)),
    Point("train: checkpoint not in place", "train", _train("os.rename", rf"{CHECKPOINT} -> .*/\d{{8}}$", 0, 2)),
    Point("train: checkpoint in place", "train", _train("os.rename", rf"{CHECKPOINT} -> .*/\d{{8}}$", 1, 2)),
    Point(
        "train: old checkpoint half removed", "train", _train("os.remove", r"^(rng|scheduler|optimizer)[^/]*$", AFTER)
    ),
    Point("train: epoch's end, best not kept", "train", _train("os.rename", r"/best/model\.safetensors$")),
    Point("train: epoch's end, best kept", "train", _train("os.rename", r"/best/model\.safetensors$", AFTER, 1)),
    Point("train: model begun", "train", _train("call", r"training/saving\.py:save_model_files$")),
    Point("train: model half written", "train", _train("call", r"training/saving\.py:_drop_traces$")),
    Point("train: model written, not told", "train", _train("return", r"training/finetune\.py:finetune$")),
    Point(
        "train: process alone, at a step", "train", _train("return", r"trainer\.py:training_step$", 0, 17, "process")
    ),
    Point("train: process alone, in a checkpoint", "train", _train("os.rename", rf"{CHECKPOINT}/c", 0, 3, "process")),
    Point("train: parent alone, at a step", "train", _train("return", r"trainer\.py:training_step$", 0, 17, "parent")),
    Point("train: parent alone, in a checkpoint", "train", _train("os.rename", rf"{CHECKPOINT}/c", 0, 3, "parent")),
    *_whole_stage("train", "train"),
    Point("after train, job not removed", "train", _run("shutil.rmtree", rf"{JOB}$")),
    Point("after train, job half removed", "train", _run("shutil.rmtree", rf"{JOB}$", 6)),
    # --- release
    Point("release: keys written", "release", _run("return", r"data/trainkeys\.py:train_keys_file$")),
    Point("release: upload begun", "release", _run("os.rename", r"releases/[^/]+/model/[^/]+$", 0, 1)),
    Point("release: mid-upload", "release", _run("os.rename", r"releases/[^/]+/model/[^/]+$", AFTER, 2)),
    *_created("the release's manifest", "release", r"releases/[^/]+/manifest\.json$"),
    # --- evaluate
    *_whole_stage("fetch", "evaluate"),
    # Fetched by threads of their own, whose last event may be the opening of a file.
    Point("fetch: model half fetched", "evaluate", _run("return", r"store/transfer\.py:receive$", occurrence=2)),
    *_whole_stage("predict", "evaluate"),
    *_whole_stage("evaluate", "evaluate"),
    # --- judge
    *_created("the ledger's look", "judge", r"ledger/test/00000001\.json$", champion=True),
    Point("judge: outcomes read", "judge", _run("call", r"judging/judge\.py:judge$")),
    Point("judge: verdict reached", "judge", _run("return", r"judging/judge\.py:judge$")),
    # --- publish
    Point("publish: report drawn, nowhere kept", "publish", _run("call", r"registry/evaluations\.py:save$")),
    *_created("the evaluation's report", "publish", r"evaluations/.*/report\.html$"),
    *_created("the evaluation's manifest", "publish", r"evaluations/.*/manifest\.json$"),
    Point("publish: report not in the workspace", "publish", _run("os.rename", r"/reports/[^/]+\.html$")),
    Point("publish: report in the workspace", "publish", _run("os.rename", r"/reports/[^/]+\.html$", AFTER)),
    # --- promote, decide
    *_created("the alias entry", "promote", r"aliases/production/\d{8}\.json$"),
    Point("before the alias's copy", "promote", _run("os.rename", r"aliases/production\.json$")),
    Point("after the alias's copy", "promote", _run("os.rename", r"aliases/production\.json$", AFTER)),
    *_created("the files that are decided on", "decide", r"/snapshots/[^/]+\.parquet$"),
    *_created("the decision", "decide", r"/decisions/[^/]+\.json$"),
    Point("after the decision, no document", "decide", _run("call", r"deployments/results\.py:show_result$")),
)
BY_NAME = {point.name: point for point in POINTS}
