"""What must hold between two runs, and in the end."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fault_lab import Desk, Left, what_is_left

from contender.files import describe_files
from contender.records import TrainReport
from contender.training.checkpoints import CheckpointManifest
from contender.workspace import MANIFEST, StageManifest

# files.json is there or not by how long the data has rested, and holds nothing but digests. A claim that a kill left delays a gc by a
# day, and `staged` tells that a release was staged again.
BESIDE = re.compile(r"^\.contender/files\.json$|/releases/[^/]+/(claims/[0-9a-f]{32}\.json|staged)$")
# What no finished run leaves, the undisturbed one that it is compared with included.
NEEDLESS = re.compile(
    r"/\.contender-|\.partial(/|$)|\.old(/|$)|^\.contender/(jobs/|records/jobs/.*\.json$|tmp|\.)|keys-[^/]*\.parquet$"
)
IN_DOCUMENT = ("snapshot", "gate", "split", "monitor", "train", "evaluate")


@dataclass(frozen=True)
class State:
    """What the workspace holds between two runs: (stage, key) → which writing of it, and the training's newest checkpoint."""

    finished: dict[tuple[str, str], tuple[int, float]]
    checkpoint: int
    resumed_from: dict[
        str, int
    ]  # key → step, of every training that is finished: a champion's lies beside its challenger's

    @property
    def reached(self) -> str:
        stages = {stage for stage, _ in self.finished}
        if "train" not in stages and self.checkpoint:
            return f"step {self.checkpoint}"
        order = ("snapshot", "gate", "split", "fetch", "monitor", "train", "predict", "evaluate")
        return next((stage for stage in reversed(order) if stage in stages), "the start")


def observed(desk: Desk) -> State:
    """Looks with its own eyes: whole by the manifest's sha256s, not by what the workspace says of itself."""
    finished, resumed_from = {}, {}
    for path in sorted((desk.workspace / "stages").glob(f"*/[!.]*/{MANIFEST}")):
        manifest = StageManifest.from_bytes(path.read_bytes())
        if describe_files(path.parent, leave_out={MANIFEST}) == manifest.files:
            finished[manifest.stage, manifest.key] = (
                path.stat().st_ino,
                manifest.seconds,
            )  # its time of change is that of its last use
            if manifest.stage == "train":
                resumed_from[manifest.key] = TrainReport.from_bytes(manifest.record.encode()).resumed_from_step
    return State(finished, max(whole_checkpoints(desk.workspace), default=0), resumed_from)


def whole_checkpoints(workspace: Path) -> dict[int, Path]:
    """Step → folder, of every checkpoint whose bytes are those that its manifest names."""
    found = {}
    for path in (workspace / "jobs").glob("*/checkpoints/[0-9]*/checkpoint.json"):
        manifest = CheckpointManifest.from_bytes(path.read_bytes())
        if describe_files(path.parent, leave_out={path.name}) == manifest.files:
            found[manifest.step] = path.parent
    return found


def state_faults(before: State, after: State, child_alone: dict[str, Any] | None, settled: bool) -> list[str]:
    """A finished stage is not touched again, and a training goes on from the newest whole checkpoint."""
    faults = [
        f"{stage} {key[:12]} was finished, and is {'done again' if (stage, key) in after.finished else 'gone'}"
        for (stage, key), writing in before.finished.items()
        if after.finished.get((stage, key)) != writing
    ]
    for began in [step for key, step in after.resumed_from.items() if key not in before.resumed_from]:
        expected = before.checkpoint
        if child_alone:  # where the run itself started another, from what there was then
            steps = [
                int(Path(place).parent.name)
                for place in child_alone["checkpoints"]
                if Path(place).parent.name.isdigit()
            ]
            expected = max([expected, *steps])
        if began != expected and (settled or began < expected):
            faults.append(f"training began at step {began}, the newest whole checkpoint was of step {expected}")
    return faults


def document_faults(before: State, document: dict[str, Any]) -> list[str]:
    """The last run's own word: promoted, or up to date where it was all decided, and what was finished is `cached`."""
    if document.get("outcome") not in ("promoted", "up_to_date"):
        return [f"the last run ended {document.get('outcome')}: {document.get('message')}"]
    stages = {(stage["name"], stage["key"]): stage["cached"] for stage in document["stages"]}
    return [
        f"{stage} {key[:12]} was finished, and its document says that it was done again"
        for stage, key in before.finished
        if stage in IN_DOCUMENT and stages.get((stage, key)) is False
    ]


def compared(expected: Left, desk: Desk) -> list[str]:
    """Everything that is left in the end is what an undisturbed run leaves: not less, not more, not other bytes."""
    found = what_is_left(desk)
    faults = []
    if found.models != expected.models:
        faults.append(f"the models differ: {_difference(expected.models, found.models)}")
    for what in ("alias", "decisions", "looks", "series"):
        wanted, there = getattr(expected, what), getattr(found, what)
        if wanted != there:
            faults.append(f"{what}: {there} instead of {wanted}")
    for release in found.models:
        desk.registry.verify(release)
    faults += [f"nobody needs: {path}" for path in sorted(found.paths) if NEEDLESS.search(path)][:20]
    faults += [f"left over: {path}" for path in sorted(found.paths - expected.paths) if not BESIDE.search(path)][:20]
    faults += [f"missing: {path}" for path in sorted(expected.paths - found.paths) if not BESIDE.search(path)][:20]
    return faults


def _difference(expected: dict[str, dict[str, str]], found: dict[str, dict[str, str]]) -> str:
    if expected.keys() != found.keys():
        return f"releases {sorted(found)} instead of {sorted(expected)}"
    return ", ".join(f"{r}/{path}" for r in found for path in found[r] if found[r][path] != expected[r].get(path))
