"""Why the models gave the answers that a report shows: computed from the staged bytes, like the answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from contender.attribution import Attribution, Attributions
from contender.kinds import kind
from contender.plan import stage_key
from contender.records import Record, ReleaseManifest, SplitReport
from contender.run import Run
from contender.stages.model import fetch_release, serving
from contender.stages.telling import rows_told, staged
from contender.training.devices import computing_on
from contender.workspace import Staged

ATTRIBUTIONS = "attributions.json"  # the record Attributions
Answers = Mapping[int, str]  # row → the label that the model gave it


class Explained(Record):
    """How many rows were explained, of how many; ATTRIBUTIONS lies beside it."""

    asked: int
    explained: int


def explain(
    run: Run,
    challenger: tuple[ReleaseManifest, Answers],
    champion: tuple[ReleaseManifest, Answers] | None,
    split: Staged[SplitReport],
    name: str,
) -> Attributions:
    """Attributions of rows of one held-out set. ModelError where answers of such a model cannot be explained."""
    device, dtype = serving()
    models = {"challenger": challenger} | ({"champion": champion} if champion else {})
    key = stage_key(
        run.pipeline,
        "explain",
        models={role: [release.digest, sorted(answers.items())] for role, (release, answers) in models.items()},
        set=split.record.digests[name],
        device=device,
        dtype=dtype,
    )

    def compute(folder: Path) -> Explained:
        rows = split.folder / f"{name}.arrow"
        folders = {role: fetch_release(run, release) for role, (release, _) in models.items()}
        found: dict[str, tuple[Attribution, ...]] = {}
        with run.hold_device() as environment, computing_on(environment):
            for role, (release, answers) in models.items():
                told = rows_told("explain", f"{release.release} on {name}", len(answers))
                found[role] = tuple(kind(release.kind).explain(folders[role], rows, answers, on_rows=told))
        (folder / ATTRIBUTIONS).write_bytes(Attributions(**found).to_bytes())
        return Explained(
            asked=sum(len(answers) for _, answers in models.values()), explained=sum(map(len, found.values()))
        )

    done = staged(run, "explain", key, Explained, compute, _told)
    return Attributions.from_bytes((done.folder / ATTRIBUTIONS).read_bytes())


def _told(found: Explained) -> str:
    short = f" of {found.asked:,}" if found.explained < found.asked else ""
    return f"{found.explained:,}{short} answers to errors worth reading, word by word"
