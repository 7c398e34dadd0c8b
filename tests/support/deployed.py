"""Pipelines on a real Prefect server, and what hangs on them there."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import pytest
from desk import PIPELINE
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import DeploymentSchedule

from deployments.cli import main


def pipeline_file(folder: Path, base: Path, more: str = "") -> Path:
    """A pipeline with a name of its own: the server is shared."""
    text = PIPELINE.format(base=base).replace("name: desk", f"name: desk-{secrets.token_hex(4)}")
    (folder / "desk.yaml").write_text(text + more)
    return folder / "desk.yaml"


def deploy(path: Path, pool: str, capsys: pytest.CaptureFixture[str], code: int = 0, *more: str) -> Any:
    capsys.readouterr()
    assert main(["deploy", str(path), "--pool", pool, "--json", *more]) == code
    return json.loads(capsys.readouterr().out)


def automations(client: SyncPrefectClient, name: str) -> dict[str, Any]:
    """What follows the deployment's name → the automation."""
    found = [one for one in client.read_automations(limit=200) if one.name.startswith(f"{name}: ")]
    assert len(found) == len({one.name for one in found}), "no automation is there twice"
    return {one.name.removeprefix(f"{name}: "): one for one in found}


def schedules(client: SyncPrefectClient, deployment_id: str) -> dict[str | None, DeploymentSchedule]:
    """Slug → the schedule, as the server has it."""
    found = client.read_deployment(deployment_id).schedules
    assert len(found) == len({one.slug for one in found})
    return {one.slug: one for one in found}
