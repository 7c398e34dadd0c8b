"""`pull` and `verify` as somebody who serves a model uses them: with rights to read, and a look at how far it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from desk import Ran

from contender.records import ReleaseDraft
from contender.registry import TRAIN_KEYS, Registry
from contender.store import LocalStore, Store
from deployments import terminal

DRAFT = ReleaseDraft(kind="text-classification", columns={"text": "body"})


def promoted(store: Store, folder: Path) -> str:
    """The release of two small files, with keys beside them, that `production` names in the store."""
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}")
    (folder / "model" / "model.safetensors").write_bytes(b"weights" * 100_000)
    (folder / "keys.parquet").write_bytes(b"keys")
    registry = Registry(store, "desk")
    manifest = registry.stage(folder / "model", DRAFT, {TRAIN_KEYS: folder / "keys.parquet"})
    registry.promote("production", 0, manifest, reason="first", actor="tests")
    return manifest.release


def test_progress_goes_to_stderr_and_the_document_stays_alone(
    command: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "QUIET_SECONDS", -1)
    release = promoted(LocalStore(tmp_path / "registry"), tmp_path)
    pulled = tmp_path / "pulled"
    for arguments, what in (
        (("pull", f"{tmp_path}/registry/desk", str(pulled)), f"pulling {release}"),
        (("verify", f"{tmp_path}/registry/desk"), f"verifying {release}"),
        (("verify", str(pulled)), f"verifying {pulled}"),
    ):
        ran = command(*arguments, "--json")
        assert (ran.code, ran.document["outcome"], ran.document["release"]) == (0, "done", release)
        lines = [line for line in ran.shown.splitlines() if line.startswith(f"  {what}: ")]
        assert lines and "1 of 1 MB" in lines[-1] and lines[-1].endswith("0 s left"), ran.shown
