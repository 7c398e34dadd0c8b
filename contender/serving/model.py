"""From a folder that `contender pull` wrote to a model that answers as the release was evaluated."""

from __future__ import annotations

import os
from pathlib import Path

from contender.errors import Damaged, ModelError, known
from contender.files import expanded
from contender.kinds import kind, tasks
from contender.kinds.base import Model
from contender.registry import folder_manifest, verify_folder


def load(folder: str | os.PathLike[str], *, verify: bool = True, device: str | None = None) -> Model:
    """The release in `folder`, loaded by its own manifest; what it answers is what its evaluation saw.

    `verify` checks every file against its sha256 first; whoever has just pulled the folder can leave it out. `device` is a name of
    torch's (cpu, cuda:1), by default CUDA, else MPS, else the CPU.

    Raises UsageError for a folder that no pull wrote and for a device that there is not, Damaged for files that are not the
    release's, and ModelError for a kind that this version does not know or a model that cannot be loaded.
    """
    place = Path(expanded(os.fspath(folder)))
    manifest = verify_folder(place) if verify else folder_manifest(place)
    if manifest.kind not in tasks():
        raise ModelError(
            f"{place} holds a release of another kind than this version loads: {known('kind', manifest.kind, tasks())}",
            "Update Contender, or load the folder with the library that its config.json names.",
        )
    model = kind(manifest.kind).load(place, manifest, device)
    if folder_manifest(place) != manifest:
        raise Damaged(f"another release was pulled into {place} while it was loaded", "Load it again.")
    return model
