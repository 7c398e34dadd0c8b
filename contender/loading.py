"""From a YAML file to a pipeline: every fault at once, each with file:line:column, the value, and what is allowed.

What the design names but the code does not do yet stands in `PLANNED` and is refused as "not supported yet", never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError

from contender.errors import SpecError, known
from contender.names import METRIC_NAMES, PLANNED_TASKS
from contender.spec import Pipeline, Spec
from contender.yamlfile import Document, Key, load_yaml, parse_yaml

PLANNED: dict[str, str] = {
    "search": "hyperparameter search",
    "selection": "model selection",
    "schedule": "schedules",
    "triggers": "new-data and webhook triggers",
    "notify": "notifications",
    "concurrency": "queueing and skipping of concurrent runs",
    "resources": "device, recovery and budget settings",
    "compress": "compression",
    "data.split.by": "splits by time",
    "data.split.column": "splits by time",
    "promote.guards": "guards on slices, golden sets and latency",
    "promote.single_writer": "stores without conditional writes",
    "promote.versus_champion.on": "judging on another set than test",
    "train.layerwise_decay": "layer-wise learning-rate decay",
    "train.dropout": "dropout",
}

# Values that the design names, of keys that exist.
PLANNED_VALUES: dict[str, Callable[[Any], bool]] = {
    "task": lambda value: value in PLANNED_TASKS,
    "workspace": lambda value: str(value).startswith("s3://"),
    "model.base": lambda value: isinstance(value, list),
    "model.init": lambda value: value == "scratch",
    "model.method": lambda value: value == "lora",
    "evaluate.metrics": lambda value: (
        value[:1] in [[name] for name in METRIC_NAMES[1:]] if isinstance(value, list) else False
    ),
}


def load_pipeline(path: Path, overrides: tuple[str, ...] = ()) -> Pipeline:
    """Reads, validates and resolves a pipeline; `overrides` are `a.b=value`, the value in YAML. SpecError lists every fault."""
    from contender.quality.suites import default_suite, load_suite

    document = load_yaml(path)
    for override in overrides:
        _override(document, override)
    spec = validate(document)
    folder = path.resolve().parent
    suite_name = spec.quality.suite or default_suite(spec.task)
    return Pipeline(spec=spec, folder=str(folder), suite_name=suite_name, suite=load_suite(suite_name, folder))


def validate(document: Document) -> Spec:
    """The spec of a document, or a SpecError with all faults at once."""
    if not isinstance(document.value, dict):
        raise SpecError(f"{document.name}:1:1: the file holds no keys", "Start with: contender init DATA")
    faults = _planned_faults(document.value)
    planned = [path for path, _ in faults]
    try:
        spec = Spec.model_validate(_without(document.value, planned))
    except ValidationError as error:
        found = [_fault(document, entry) for entry in error.errors(include_url=False)]
        faults += [fault for fault in found if fault[0] not in planned]
    if faults:
        ordered = sorted(
            dict.fromkeys(faults), key=lambda fault: document.positions.get(_standing(document, fault[0]), (0, 0))
        )
        lines = [f"{document.where(path)}: {text}" for path, text in ordered]
        raise SpecError("\n".join(lines), "Every key is described in docs/spec.md and by: contender schema")
    return spec


def _planned_faults(value: dict[str, Any]) -> list[tuple[Key, str]]:
    faults: list[tuple[Key, str]] = []
    for dotted, what in PLANNED.items():
        path = tuple(dotted.split("."))
        if _get(value, path) is not ABSENT:
            faults.append((path, f"{dotted}: not supported yet ({what}); remove the key"))
    for dotted, planned in PLANNED_VALUES.items():
        path = tuple(dotted.split("."))
        found = _get(value, path)
        if found is not ABSENT and planned(found):
            faults.append((path, f"{dotted}: {_short(found)} is not supported yet{_allowed(path)}"))
    return faults


def _allowed(path: Key) -> str:
    if path == ("evaluate", "metrics"):
        return ": the first metric is the primary one, and must be accuracy"
    field = _model_at(path[:-1]).model_fields[str(path[-1])]
    options = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    return f"; allowed: {', '.join(options)}" if options else f"; it takes {field.description or 'one value'}"


ABSENT = object()


def _get(value: Any, path: Key) -> Any:
    for part in path:
        if not isinstance(value, dict) or part not in value:
            return ABSENT
        value = value[part]
    return value


def _without(value: Any, paths: list[Key], here: Key = ()) -> Any:
    if not isinstance(value, dict):
        return value
    return {k: _without(v, paths, (*here, k)) for k, v in value.items() if (*here, k) not in paths}


def _fault(document: Document, entry: Any) -> tuple[Key, str]:
    """One pydantic error as (path, sentence): the key, the value, what is allowed, the nearest known key."""
    path: Key = tuple(part for part in entry["loc"] if _is_key(document, part))
    dotted = ".".join(str(part) for part in path) or "the spec"
    if entry["type"] == "extra_forbidden":
        return path, known("key", dotted, _known_keys(path[:-1]))
    if entry["type"] == "missing":
        return path, f"{dotted} is required"
    message = re.sub(r"^(Value error, |Input )", "", entry["msg"])
    shown = "" if isinstance(entry["input"], dict) or "credentials" in message else f" (is {_short(entry['input'])})"
    return path, f"{dotted}{'' if message.startswith(dotted.rpartition('.')[2] + ':') else ':'} {message}{shown}"


def _is_key(document: Document, part: str | int) -> bool:
    """pydantic names the branches of a union in its paths; those are no keys of the file."""
    return isinstance(part, int) or not re.match(
        r"^(constrained-|function-|tuple\[|literal\[|bool$|str$|float$|int$|\[key\]$)", part
    )


def _known_keys(path: Key) -> list[str]:
    prefix = "".join(f"{part}." for part in path)
    return [f"{prefix}{name}" for name in _model_at(path).model_fields]


def _model_at(path: Key) -> Any:
    """The model of a section, by its path."""
    model: Any = Spec
    for part in path:
        model = model.model_fields[str(part)].annotation
    return model


def _standing(document: Document, path: Key) -> Key:
    while path and path not in document.positions:
        path = path[:-1]
    return path


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _override(document: Document, override: str) -> None:
    dotted, equals, text = override.partition("=")
    path: Key = tuple(dotted.split("."))
    if not equals or not all(path):
        raise SpecError(f"--set {override!r} is not of the form a.b=value", "For example: --set train.epochs=3")
    if not isinstance(document.value, dict):
        return
    node = document.value
    for part in path[:-1]:
        child = node.get(part)
        if not isinstance(child, dict):
            child = node[part] = {}
        node = child
    node[path[-1]] = parse_yaml(text, f"--set {dotted}").value
