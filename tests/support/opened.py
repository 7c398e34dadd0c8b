"""A run of a small pipeline that looks for new data, on a registry in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from contender.registry import Registry
from contender.run import Run, open_run
from contender.spec import Pipeline, Spec
from contender.store import MemoryStore


def opened(folder: Path, store: MemoryStore | None = None, **new_data: Any) -> Run:
    spec = Spec.model_validate(
        {
            "name": "desk",
            "task": "text-classification",
            "data": {"source": "d/"},
            "model": {"base": "b"},
            "triggers": {"new_data": {"settle": 0, **new_data}},
        }
    )
    pipeline = Pipeline(spec=spec, folder=str(folder), suite_name="s", suite={})
    return replace(open_run(pipeline, "tests"), registry=Registry(store or MemoryStore(), "desk"))
