"""A model as it is released: files that from_pretrained loads, the same for every training that did the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from contender.training.loading import quiet_loading

# Where the base was found, who loaded it and how: nothing of that belongs to what was trained.
TRACES = {"_name_or_path", "name_or_path", "local_files_only", "_commit_hash", "cache_dir", "token", "is_local"}


def save_model_files(model: Any, processor: Any, max_length: int, output: Path) -> None:
    """Writes weights, configuration and processor to `output`; a tokenizer cuts texts as the training did (`max_length`; 0: it has
    no length)."""
    if max_length:
        processor.model_max_length = max_length
    if (fast := getattr(processor, "backend_tokenizer", None)) is not None:
        fast.no_truncation()  # it keeps what its last call asked for, and a resumed job's last call is another
        fast.no_padding()
    shutil.rmtree(output, ignore_errors=True)  # a killed predecessor may have begun to write here
    with quiet_loading():
        model.save_pretrained(str(output))
        processor.save_pretrained(str(output))
    for path in sorted(output.glob("*.json")):
        _drop_traces(path)


def adapter_folder(model: Path) -> Path:
    """Where the adapter of the model in a folder lies: beside it."""
    return model.with_name(f"{model.name}-adapter")


def _drop_traces(path: Path) -> None:
    value = json.loads(path.read_bytes())
    if isinstance(value, dict) and TRACES & value.keys():
        write_json(path, {key: item for key, item in value.items() if key not in TRACES})


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
