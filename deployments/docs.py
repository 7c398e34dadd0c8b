"""Writes what is generated from the code: the JSON Schema and the references of docs/, and deployments/prefect.yaml."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from contender.spec import json_schema
from deployments.cli_reference import cli_reference
from deployments.spec_reference import spec_reference

ROOT = Path(__file__).resolve().parent.parent


def pages() -> dict[str, str]:
    """File name in docs/ → content."""
    return {
        "spec.schema.json": json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n",
        "spec.md": spec_reference(),
        "cli.md": cli_reference(),
    }


def prefect_file() -> str:
    """deployments/prefect.yaml: the ready pipelines, as `contender deploy --write` says them."""
    from deployments.prefectfile import prefect_yaml

    return prefect_yaml(sorted((ROOT / "pipelines").glob("**/*.yaml")), "contender", ROOT)


def main() -> int:
    written = {f"docs/{name}": text for name, text in pages().items()} | {"deployments/prefect.yaml": prefect_file()}
    for name, text in written.items():
        (ROOT / name).write_text(text, encoding="utf-8")
        print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
