"""What a report is given beside the verdict: nothing of it decides, so nothing of it that is damaged or fails stops a promotion."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from desk import PIPELINE

from contender import publishing
from contender.errors import Interrupted, ModelError, StoreUnavailable
from contender.loading import load_pipeline
from contender.progress import Note, listening
from contender.records import AliasEntry, Decision
from contender.registry.layout import sealed
from contender.run import Run, decision_key, open_run
from contender.stages import latency


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "desk.yaml").write_text(PIPELINE.format(base="a/b"))
    return open_run(load_pipeline(tmp_path / "desk.yaml"), actor="")


def contest(n: int) -> Any:
    """A verdict that was judged against entry n."""
    return SimpleNamespace(
        snapshot=SimpleNamespace(digest="5" * 64),
        champion=SimpleNamespace(n=n, manifest=None),
        challenger=None,
        split=None,
    )


def decided(run: Run, key: str, day: int) -> None:
    run.registry.decide(
        Decision(
            key=key, pipeline="desk", outcome="kept", message="m", spec_digest="s", snapshot="s", rows=1,
            judged_against=0, seconds=1.0, actor="a", at=f"2026-11-2{day}T10:00:00.000+00:00",
        )
    )  # fmt: skip


def test_the_history_ends_before_this_verdict_and_is_told_where_it_is_damaged(run: Run, tmp_path: Path) -> None:
    one = contest(n=2)
    for day, key in enumerate(("a", "b", decision_key(run, one.snapshot, 2)), 1):
        decided(run, key, day)
    for n in (1, 2, 3):  # the third: this verdict's own, which an earlier attempt wrote
        path = tmp_path / ".contender" / "registry" / "desk" / "aliases" / "production" / f"{n:08}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        entry = AliasEntry(n=n, release="r-0", digest="d", reason="r", actor="a", writer="w", at="2026-11-22")
        path.write_bytes(sealed(entry))
    damaged = tmp_path / ".contender" / "registry" / "desk" / "decisions" / "a.json"
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes().replace(b'"kept"', b'"lost"'))
    notes: list[Note] = []
    with listening(notes.append):
        history = publishing._history(run, one)
    assert [decision.key for decision in history.decisions] == ["b"]
    assert [entry.n for entry in history.entries] == [1, 2]
    (note,) = notes
    assert note.kind == "warned" and "a.json" in note.text and "the history is drawn without it" in note.text


@pytest.mark.parametrize("error", [ModelError("no weights"), RuntimeError("CUDA out of memory"), MemoryError()])
def test_a_report_without_latency_is_better_than_no_report(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def failing(*_: Any, **asked: Any) -> None:
        assert asked == {"glance": True}
        raise error

    monkeypatch.setattr(latency, "measure_latency", failing)
    notes: list[Note] = []
    with listening(notes.append):
        assert publishing._latency(run, contest(0), "test") == {}
    assert notes[0].kind == "warned" and "the report has no latency" in notes[0].text


@pytest.mark.parametrize("error", [Interrupted("stopped"), StoreUnavailable("away")])
def test_what_must_end_or_repeat_a_run_still_does(run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(latency, "measure_latency", failing)
    with pytest.raises(type(error)):
        publishing._latency(run, contest(0), "test")
