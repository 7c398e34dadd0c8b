"""Writes what is generated from the code: the JSON Schema and the reference of every key in docs/, and deployments/prefect.yaml."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from contender.plan import CONSUMERS
from contender.spec import json_schema


def pages() -> dict[str, str]:
    """File name in docs/ → content."""
    return {
        "spec.schema.json": json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n",
        "spec.md": _reference(),
    }


ROOT = Path(__file__).resolve().parent.parent


def prefect_file() -> str:
    """deployments/prefect.yaml: the ready pipelines, as `contender deploy --write` says them."""
    from deployments.prefectfile import prefect_yaml

    return prefect_yaml(sorted((ROOT / "pipelines").glob("**/*.yaml")), "contender", ROOT)


def _reference() -> str:
    schema = json_schema()
    rows = [_row(schema, *entry) for entry in _keys(schema, schema, "")]
    return "\n".join(
        [
            "# The spec, key by key",
            "",
            "Written by `make schema` from the code; `contender schema` prints the JSON Schema for editors.",
            "Relative paths start from the YAML's folder. *Changes* names the stages that run again when the key is edited;",
            "everything else is found in the workspace.",
            "",
            "| key | type | default | meaning | changes |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


def spec_keys() -> list[str]:
    """Every key of the spec that holds a value, dotted."""
    schema = json_schema()
    return [dotted for dotted, _, _ in _keys(schema, schema, "")]


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
    default = "required" if required else f"`{json.dumps(field.get('default'), ensure_ascii=False)}`"
    cells = (
        f"`{dotted}`",
        _type(schema, field),
        default,
        field.get("description", ""),
        ", ".join(sorted(consumers(dotted))),
    )
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def consumers(dotted: str) -> frozenset[str]:
    """What reads a key: its own entry in `CONSUMERS`, or its nearest parent's."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        found = CONSUMERS.get(".".join(parts[:length]))
        if found is not None:
            return found
    raise KeyError(dotted)


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
        inner = field.get("additionalProperties")
        return f"name → {_type(schema, inner)}" if isinstance(inner, dict) else "mapping"
    if field.get("type") == "array":
        return "list"
    return str(field.get("type") or _resolve(schema, field).get("title", "").lower())


def main() -> int:
    written = {f"docs/{name}": text for name, text in pages().items()} | {"deployments/prefect.yaml": prefect_file()}
    for name, text in written.items():
        (ROOT / name).write_text(text, encoding="utf-8")
        print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
