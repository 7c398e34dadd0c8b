"""Where a release came from: everything that is needed to say what made it, and nothing that tells of the machine's owner.

What many people may read holds no absolute paths, hosts, login names or secrets.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contender import __version__
from contender.plan import REVISIONS
from contender.records import QualityReport, ReleaseManifest, Snapshot, SplitReport, TrainReport, digest
from contender.shareable import shareable
from contender.spec import Pipeline

if TYPE_CHECKING:
    from contender.compression import Compression
    from contender.models import ResolvedBase
    from contender.searching import SearchReport
    from contender.selecting import SelectionReport

GIT_SECONDS = 5.0
NOT_OF_THE_MODEL = {"name", "workspace", "stores", "concurrency", "resources", "report", "schedule", "triggers"}

NOT_OF_LINEAGE: Any = {"training": {"curve", "hardware", "versions"}}  # of a compression


def lineage(
    pipeline: Pipeline,
    snapshot: Snapshot,
    quality: QualityReport,
    split: SplitReport,
    training: TrainReport,
    base: ResolvedBase,
    parent: str | None,
    compressed: Compression | None = None,
    search: SearchReport | None = None,
    selection: SelectionReport | None = None,
) -> dict[str, Any]:
    """The lineage of a release's manifest; its data files lie beside it, since they can be many."""
    spec = pipeline.spec
    return {
        "snapshot": snapshot.digest,
        "files": len(snapshot.source.files),
        "split": split.digests,
        "rows": split.rows,
        "label_shares": quality.label_shares,
        "base": shareable(base.name),
        "base_digest": base.digest,
        "base_revision": base.revision,
        "init": spec.model.init,
        "method": spec.model.method,
        "train": spec.train.model_dump(mode="json")
        | {name: getattr(training, name) for name in ("learning_rate", "head_learning_rate")},
        "seed": spec.train.seed,
        "spec": shareable_spec(pipeline),
        "spec_digest": pipeline.digest,
        "code": {"contender": __version__, "revisions": REVISIONS} | _commit(Path(pipeline.folder)),
        "versions": training.versions | {"contender": __version__},
        "hardware": training.hardware,
        "precision": training.precision,
        "parent": parent,
        **({"compared": compared(selection)} if selection else {}),
        **({"search": search.lineage} if search else {}),
        **({"compress": compressed.model_dump(mode="json", exclude=NOT_OF_LINEAGE)} if compressed else {}),
    }


def compared(selection: SelectionReport) -> list[dict[str, Any]]:
    """The bases that were to choose from: their names, and what each came to on validation."""
    return [base.model_dump(mode="json", include={"name", "way", "score"}) for base in selection.bases]


def is_quantised(release: ReleaseManifest | None) -> bool:
    """Whether its weights are int8, so that it answers on CPUs alone."""
    return release is not None and (release.lineage.get("compress") or {}).get("quantize") is not None


def shareable_spec(pipeline: Pipeline) -> dict[str, Any]:
    """The spec's part that a model and its promotion depend on, with places as `shareable` leaves them."""
    fields = pipeline.spec.model_dump(mode="json", exclude=NOT_OF_THE_MODEL)
    for key in ("to", "signing_key"):
        fields["promote"].pop(key)
    data = fields["data"]
    data["source"] = shareable(data["source"])
    data["golden"] = {name: shareable(place) for name, place in data["golden"].items()}
    if fields["compress"]["distill"]:
        fields["compress"]["distill"]["to"] = shareable(fields["compress"]["distill"]["to"])
    bases = [shareable(base) for base in pipeline.spec.model.bases]
    fields["model"]["base"] = bases if len(bases) > 1 else bases[0]
    fields["quality"]["suite"] = {"name": shareable(pipeline.suite_name), "digest": digest(pipeline.suite)}
    return fields


def _commit(folder: Path) -> dict[str, Any]:
    """Commit of the pipeline's own git repository, and whether its folder differs from it; nothing where there is none."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=GIT_SECONDS)
        return done.stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "modified": bool(git("status", "--porcelain", "--", "*.yaml"))}
    except (OSError, subprocess.SubprocessError):
        return {}
