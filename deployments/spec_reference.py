"""docs/spec.md: every key of the spec with its type, default, meaning and what it changes, written from the schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from contender.plan import CONSUMERS
from contender.spec import json_schema

EXAMPLES = Path(__file__).resolve().parent.parent / "docs" / "_site" / "examples"

PAGE = re.compile(r"docs/([\w-]+)\.md")  # how the schema, which stands alone, names a page

HEAD = """\
# The spec, key by key

Written by `make schema` from the code; `contender schema` prints the [JSON Schema](spec.schema.json) for editors. Four keys are required:
`name`, `task`, `data.source` and, where the task has no model of its own to begin with, `model.base`. Relative paths start from the
YAML's folder. A key that is not listed here is an error that names the nearest one. Every section begins with an example; lines `---`
part examples that cannot stand in one file.

## What a key changes

*Changes* says what reads a key. Of the stages in this list the ones that read it run again when it is edited, and those that read their
output; everything else is found in the workspace. So an edited floor judges again, and trains nothing.

| changes | is |
| --- | --- |
"""

# What a key can change, in the order of a run.
MEANINGS = {
    "snapshot": "stage: the source's files are read",
    "gate": "stage: the quality gate",
    "split": "stage: which row trains, validates and tests",
    "train": "stage: a model is trained; a new release, unless its bytes are the same",
    "selection": "stage: several bases are compared first; those compared already are found",
    "search": "stage: trainings with other options are tried first; those tried already are found",
    "cross-validate": "stage: trainings on parts of the rows; those done already are found",
    "compress": "stage: the trained model is made smaller; a new release",
    "release": "stage: what stands in the release's manifest",
    "evaluate": "stage: champion and challenger answer the held-out rows",
    "rate": "stage: what the spec says of answers that are there; no model answers again",
    "monitor": "stage: the champion is tried on new rows",
    "judge": "the verdict: the same outcomes are judged again",
    "registry": "where releases and decisions are, and under which name",
    "alias": "which alias moves",
    "signature": "who signs releases from now on",
    "writer": "how a promotion is written",
    "stores": "with which credentials stores are reached",
    "workspace": "where intermediates are kept",
    "turn": "what a second run at the same time does",
    "recovery": "how often a dead run is continued",
    "checkpoints": "how much a crash of a training costs",
    "side by side": "how many trials run at the same time; with search.method bayesian also which ones",
    "report": "what the report shows",
    "links": "what people click to see a report",
    "budget": "when a training stops and waits",
    "api key": "with which credentials bases of api: are asked",
    "cost": "how device-hours are priced",
    "schedule": "when runs start by the clock",
    "new data": "when new data starts a run",
    "degradation": "when a champion that became worse starts a run",
    "webhook": "who may start a run over HTTP",
    "notification": "who is told of what",
}


def spec_reference() -> str:
    """The page, as Markdown."""
    schema = json_schema()
    sections: dict[str, list[tuple[str, dict[str, Any], bool]]] = {}
    for entry in _keys(schema, schema, ""):
        name, dot, _ = entry[0].partition(".")
        of_its_own = dot or "properties" in _values(schema, entry[1])
        sections.setdefault(name if of_its_own else "pipeline", []).append(entry)
    legend = [f"| {name} | {meaning} |" for name, meaning in MEANINGS.items()]
    parts = [_section(schema, name, entries) for name, entries in sections.items()]
    return "\n".join([HEAD + "\n".join(legend), "", *parts])


def spec_keys() -> list[str]:
    """Every key of the spec that holds a value, dotted."""
    schema = json_schema()
    return [dotted for dotted, _, _ in _keys(schema, schema, "")]


def consumers(dotted: str) -> frozenset[str]:
    """What reads a key: its own entry in `CONSUMERS`, or its nearest parent's."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        found = CONSUMERS.get(".".join(parts[:length]))
        if found is not None:
            return found
    raise KeyError(dotted)


def _section(schema: dict[str, Any], name: str, entries: Iterable[tuple[str, dict[str, Any], bool]]) -> str:
    example = (EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8").rstrip("\n")
    title = "The pipeline itself" if name == "pipeline" else f"`{name}`"
    lines = [f"## {title}", "", "```yaml", example, "```", ""]
    lines += ["| key | type | default | meaning | changes |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([*lines, *(_row(schema, *entry) for entry in entries), ""])


def _values(schema: dict[str, Any], field: dict[str, Any]) -> dict[str, Any]:
    """What each name of a mapping whose names are the user's stands for; {} where it is no such mapping."""
    values: Any = field.get("additionalProperties") or next(iter(field.get("patternProperties", {}).values()), {})
    return _resolve(schema, values) if isinstance(values, dict) else {}


def _keys(schema: dict[str, Any], node: dict[str, Any], prefix: str) -> list[tuple[str, dict[str, Any], bool]]:
    found = []
    for name, field in node.get("properties", {}).items():
        target = _resolve(schema, field)
        dotted = f"{prefix}{name}"
        if "properties" in target:
            found += _keys(schema, target, f"{dotted}.")
        else:
            found.append((dotted, field, name in node.get("required", ())))
    return found


def _row(schema: dict[str, Any], dotted: str, field: dict[str, Any], required: bool) -> str:
    cells = (
        f"`{dotted}`",
        _type(schema, field),
        "**required**" if required else _default(field.get("default")),
        PAGE.sub(r"[\1](\1.md)", field.get("description", "")),
        ", ".join(name for name in MEANINGS if name in consumers(dotted)),
    )
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _default(value: Any) -> str:
    return "none" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"


def _resolve(schema: dict[str, Any], field: dict[str, Any]) -> dict[str, Any]:
    options = (*field.get("allOf", ()), *field.get("anyOf", ()))
    reference = field.get("$ref") or next((option["$ref"] for option in options if "$ref" in option), None)
    if reference is None:
        return field
    target: dict[str, Any] = schema["$defs"][str(reference).rpartition("/")[2]]
    return target


def _type(schema: dict[str, Any], field: dict[str, Any]) -> str:
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if "anyOf" in field:
        return " or ".join(_type(schema, option) for option in field["anyOf"] if option.get("type") != "null")
    if field.get("type") == "object":
        inner = _values(schema, field)
        if "properties" in inner:
            keys = ", ".join(f"{name}: {_type(schema, value)}" for name, value in inner["properties"].items())
            return f"name → {{{keys}}}"
        return f"name → {_type(schema, inner)}" if inner else "mapping"
    if field.get("type") == "array":
        return f"list of {_type(schema, field['items'])}" if field.get("items") else "list"
    return str(field.get("type") or _resolve(schema, field).get("title", "").lower()) + _limits(field)


def _limits(field: dict[str, Any]) -> str:
    """What the schema allows of a number, as an interval."""
    low = field.get("minimum", field.get("exclusiveMinimum"))
    high = field.get("maximum", field.get("exclusiveMaximum"))
    if high is not None and low is not None:
        return f", {'above ' if 'exclusiveMinimum' in field else ''}{low:,} to {'below ' if 'exclusiveMaximum' in field else ''}{high:,}"
    if low is not None:
        return f", {'above' if 'exclusiveMinimum' in field else 'from'} {low:,}{'' if 'exclusiveMinimum' in field else ' on'}"
    return ""
