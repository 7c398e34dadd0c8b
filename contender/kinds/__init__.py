"""The kinds of task that Contender can train: one module each, found by its name.

A new kind is one new file here: a module named after its Hugging Face task, with `_` for `-`, that holds `KIND`, an object of the
protocol `contender.kinds.base.Kind`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

from contender.errors import UsageError, known

if TYPE_CHECKING:
    from contender.kinds.base import Kind


def tasks() -> tuple[str, ...]:
    """Every task that has a kind, sorted; imports none of them."""
    modules = (path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
    return tuple(sorted(module.replace("_", "-") for module in modules if module != "base"))


def kind(task: str) -> Kind:
    """The kind of a task; UsageError naming the known ones where there is none."""
    if task not in tasks():
        raise UsageError(known("task", task, tasks()))
    return cast("Kind", import_module(f"contender.kinds.{task.replace('-', '_')}").KIND)
