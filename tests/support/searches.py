"""A pipeline with a search, and a space with a condition."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from desk import PIPELINE

from contender.loading import load_pipeline
from contender.spec import Pipeline

SPACE: dict[str, Any] = {
    "train.learning_rate": {"low": 1e-5, "high": 1e-2, "scale": "log"},
    "train.batch_size": [8, 16],
    "model.method": ["full", "lora"],
    "model.lora.r": {"values": [4, 8], "when": {"model.method": "lora"}},
}


def loaded(folder: Path, search: object) -> Pipeline:
    (folder / "tickets").mkdir(exist_ok=True)
    text = PIPELINE.format(base=folder) + f"search: {json.dumps(search)}\n"
    (folder / "desk.yaml").write_text(text)
    return load_pipeline(folder / "desk.yaml")
