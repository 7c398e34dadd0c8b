"""The adapter of a training by LoRA, as a release keeps it beside the merged model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from contender.registry import ADAPTER

if TYPE_CHECKING:
    from contender.models import ResolvedBase

CONFIG = "adapter_config.json"


def adapter_files(trained: Path, base: ResolvedBase, scratch: Path) -> dict[str, Path]:
    """Name beside the release → file, for the adapter that lies in the folder of a training; {} where none does.

    Its configuration names the base where the hub has it, for whoever loads both at once; `scratch` takes that copy.
    """
    from contender.training.saving import adapter_folder, write_json

    found = {path.name: path for path in sorted(adapter_folder(trained / "model").glob("adapter_*"))}
    if found and base.revision is not None:
        config = json.loads(found[CONFIG].read_bytes())
        found[CONFIG] = scratch / CONFIG
        write_json(found[CONFIG], config | {"base_model_name_or_path": base.name, "revision": base.revision})
    return {f"{ADAPTER}{name}": path for name, path in found.items()}
