"""The monitoring series: which rows are new to a champion, each scored once; how far they drifted; when a champion is too bad."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from desk import PIPELINE, tickets, write_tickets
from hypothesis import given, settings
from hypothesis import strategies as st
from interleave import AtOnce, explore
from rich.console import Console

from contender.contest import find_live
from contender.data.trainkeys import train_keys_file
from contender.errors import Damaged, StoreUnavailable
from contender.kinds import kind
from contender.loading import load_pipeline
from contender.monitoring import Observation, by_chance, degraded, distance, drift_of
from contender.progress import Note, listening
from contender.records import ReleaseDraft, ReleaseManifest, Snapshot, SplitReport
from contender.registry import TRAIN_KEYS, Registry
from contender.registry.observations import Observations
from contender.run import Run, open_run
from contender.stages.data import check_quality, frozen_split, look, split_rows, take_snapshot
from contender.stages.monitoring import degradation, is_monitored, measured, monitor, write_new_rows
from contender.store import MemoryStore, transfer
from contender.triggers import Degradation
from contender.workspace import Staged
from deployments.results import show_monitoring, sparkline

LABELS = ("blue", "green", "red")


# --- which rows are scored ---


@dataclass
class Watched:
    """A pipeline whose champions are models of chance, and whose rows are real."""

    folder: Path
    run: Run
    base: Path

    def drop(self, name: str, rows: list[tuple[str, str]]) -> None:
        write_tickets(self.folder / "tickets" / name, rows)

    def split(self) -> tuple[Snapshot, Staged[SplitReport]]:
        snapshot = take_snapshot(self.run, look(self.run))
        return snapshot.record, split_rows(self.run, snapshot, check_quality(self.run, snapshot, None))

    def promote(self, seed: int, lineage: dict[str, Any] | None = None) -> ReleaseManifest:
        """Another champion, which trained on what the split trains on now."""
        import torch

        folder = self.folder / f"model-{seed}"
        torch.manual_seed(seed)
        model = kind("text-classification").load_model(self.base, LABELS)
        model.save_pretrained(folder / "model")
        for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
            if (self.base / name).exists():
                shutil.copy(self.base / name, folder / "model")
        train_keys_file(self.split()[1].folder, folder / TRAIN_KEYS, frozen_split(self.run))
        shares = {"label_shares": dict.fromkeys(LABELS, 1 / 3)}
        draft = ReleaseDraft(
            kind="text-classification", columns={}, label_names=LABELS, lineage=shares if lineage is None else lineage
        )
        manifest = self.run.registry.stage(folder / "model", draft, {TRAIN_KEYS: folder / TRAIN_KEYS})
        live = self.run.registry.champion("production")
        self.run.registry.promote("production", live.n if live else 0, manifest, reason="tests", actor="tests")
        return manifest

    def monitor(self) -> Observation | None:
        return monitor(self.run, find_live(self.run), *self.split())

    @property
    def series(self) -> list[Observation]:
        return self.run.registry.monitoring.all()

    def texts(self, name: str = "train") -> set[str]:
        with pa.OSFile(str(self.split()[1].folder / f"{name}.arrow")) as source:
            return set(pa.ipc.open_stream(source).read_all().column("text").to_pylist())


@pytest.fixture
def watched(tmp_path: Path, tiny_base: Path, gate_here: None, monkeypatch: pytest.MonkeyPatch) -> Watched:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "tickets").mkdir()
    (tmp_path / "desk.yaml").write_text(PIPELINE.format(base=tiny_base))
    found = Watched(tmp_path, open_run(load_pipeline(tmp_path / "desk.yaml"), "tests"), tiny_base)
    found.drop("1.csv", tickets(120, seed=1))
    return found


def test_each_row_is_scored_once_whatever_file_it_comes_in(watched: Watched) -> None:
    assert watched.monitor() is None, "there is no champion"
    first = watched.promote(seed=1)
    assert watched.monitor() is None, "it trained on all of it"
    before = watched.texts()

    watched.drop("2.csv", tickets(90, seed=2))
    found = watched.monitor()
    assert found is not None and found.champion == first.release and found.n == 1
    assert found.rows == len(watched.texts() - before) > 0
    assert watched.monitor() == found and watched.series == [found], "a retry finds it"
    (watched.folder / "tickets" / "2.csv").rename(watched.folder / "tickets" / "renamed.csv")
    assert watched.monitor() is None and watched.series == [found], "a renamed file brings no new row"

    replaced = [*tickets(90, seed=2)[:40], *tickets(60, seed=3)]
    known = watched.texts()
    watched.drop("renamed.csv", [*replaced, *replaced])
    second = watched.monitor()
    assert second is not None and (second.n, second.rows) == (2, len(watched.texts() - known))
    both = [set(watched.run.registry.monitoring.outcomes(one).column("id").to_pylist()) for one in (found, second)]
    assert not both[0] & both[1] and [len(ids) for ids in both] == [found.rows, second.rows]

    watched.promote(seed=2)
    assert watched.monitor() is None, "the second champion trained on everything that is there"
    watched.drop("3.csv", tickets(30, seed=4))
    third = watched.monitor()
    assert (
        third is not None
        and third.champion != first.release
        and third.rows == len(watched.texts() - known - {text for text, _ in replaced} - before)
    )
    watched.run.registry.rollback("production", reason="tests", actor="tests")
    assert watched.monitor() is None, "another champion does not score the same rows again"


def test_a_row_that_repeats_in_another_batch_is_written_once(tmp_path: Path) -> None:
    schema = pa.schema({"text": pa.string(), "label": pa.string(), "_key": pa.uint64()})
    batches = [[("a", 1), ("b", 2)], [("A  ", 1), ("b", 3), ("c", 9)], [("c", 9), ("d", 4)]]
    with pa.OSFile(str(tmp_path / "train.arrow"), "wb") as sink, pa.ipc.new_stream(sink, schema) as to:
        for rows in batches:
            columns = [[text for text, _ in rows], ["x"] * len(rows), pa.array([key for _, key in rows], pa.uint64())]
            to.write_batch(pa.record_batch(columns, schema=schema))

    def written(trained: list[int], scored: Any) -> tuple[list[str], Any]:
        out = tmp_path / "new.arrow"
        ids = write_new_rows(tmp_path / "train.arrow", np.array(trained, np.uint64), scored, "salt", out)
        with pa.OSFile(str(out)) as source:
            return pa.ipc.open_stream(source).read_all().column("text").to_pylist(), ids

    nothing = np.empty(0, np.uint64)
    texts, ids = written([4, 9], nothing)
    assert texts == ["a", "b", "b"] and len(set(ids.tolist())) == 3, "the same text under another key is another row"
    assert written([4, 9], np.sort(ids[:2]))[0] == ["b"]
    assert written([], nothing)[0] == ["a", "b", "b", "c", "d"]
    assert written([1, 2, 3, 4, 9], nothing)[0] == []


def test_held_out_rows_and_those_of_the_validation_take_no_part(watched: Watched) -> None:
    watched.promote(seed=1)
    watched.drop("2.csv", tickets(150, seed=2))
    found = watched.monitor()
    assert found is not None
    snapshot, split = watched.split()
    assert found.rows < split.record.rows["train"] and split.record.rows["validation"] and split.record.rows["test"]
    assert found.snapshot == snapshot.digest and is_monitored(watched.run, find_live(watched.run), snapshot)
    assert found.rows <= sum(split.record.label_counts["train"].values())


def test_labels_that_the_champion_does_not_know_count_as_wrong(watched: Watched) -> None:
    watched.promote(seed=1)
    watched.drop("2.csv", [(text, "<b>mauve</b>") for text, _ in tickets(60, seed=2)])
    found = watched.monitor()
    assert found is not None and found.unknown_labels == found.rows and found.metrics["accuracy"] == 0.0
    assert found.drift is not None and found.drift.labels == 1.0 and found.drift.is_more_than_chance
    assert "mauve" not in found.sentence + str(found.row)
    assert set(watched.run.registry.monitoring.outcomes(found).column("label").to_pylist()) == {"<b>mauve</b>"}


def test_a_release_that_does_not_say_what_it_trained_on_is_not_scored(watched: Watched) -> None:
    manifest = watched.promote(seed=1)
    folder = watched.folder / "model-1" / "model"
    (folder / "vocab.txt").write_text((folder / "vocab.txt").read_text() + "\nmore")
    other = watched.run.registry.stage(folder, ReleaseDraft(kind="text-classification", columns={}, label_names=LABELS))
    watched.run.registry.promote("production", 1, other, reason="by hand", actor="tests")
    assert other.release != manifest.release
    watched.drop("2.csv", tickets(60, seed=2))
    notes: list[Note] = []
    with listening(notes.append):
        assert watched.monitor() is None
    assert any("does not say what it trained on" in note.text for note in notes if note.kind == "warned")
    assert watched.series == []


def test_damage_to_the_series_is_told_and_stops_nothing(watched: Watched) -> None:
    watched.promote(seed=1)
    watched.drop("2.csv", tickets(60, seed=2))
    assert watched.monitor() is not None
    watched.drop("3.csv", tickets(60, seed=3))
    (entry,) = (watched.folder / ".contender" / "registry" / "desk" / "monitoring").glob("*.json")
    entry.write_bytes(entry.read_bytes().replace(b'"rows":', b'"rows": '))
    notes: list[Note] = []
    with listening(notes.append):
        assert watched.monitor() is None
    assert [note.kind for note in notes if note.stage == "monitor"] == ["started", "warned"]
    found, damaged = watched.run.registry.monitoring.readable()
    assert found == [] and len(damaged) == 1 and "00000001.json has other content" in damaged[0]


def test_damage_to_the_champion_is_an_error_as_it_is_in_an_evaluation(watched: Watched) -> None:
    manifest = watched.promote(seed=1)
    watched.drop("2.csv", tickets(60, seed=2))
    weights = (
        watched.folder
        / ".contender"
        / "registry"
        / "desk"
        / "releases"
        / manifest.release
        / "model"
        / "model.safetensors"
    )
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(Damaged, match="safetensors"):
        watched.monitor()
    assert watched.series == []


# --- exactly once ---


def outcomes(ids: Any, right: float = 1.0, label: str = "a") -> pa.Table:
    """As many rows as ids, of which the first `right` share is predicted rightly."""
    ids = np.asarray(ids, np.uint64)
    good = np.arange(len(ids)) < round(right * len(ids))
    return pa.table(
        {
            "id": pa.array(ids),
            "key": pa.array(ids),
            "label": pa.array([label] * len(ids)),
            "prediction": pa.array([label if one else "z" for one in good]),
            "p_label": pa.array(np.where(good, 0.8, 0.1), pa.float32()),
            "confidence": pa.array(np.full(len(ids), 0.8), pa.float32()),
        }
    )


def observation(table: pa.Table, n: int, file: str, champion: str = "A", **changes: Any) -> Observation:
    return Observation(
        **{
            "n": n,
            "alias": "production",
            "alias_entry": 1,
            "champion": f"r-{champion}",
            "champion_digest": champion,
            "snapshot": "s",
            "rows": table.num_rows,
            "primary": "accuracy",
            "metrics": {"accuracy": 0.5},
            "unknown_labels": 0,
            "confidence": 0.8,
            "outcomes": file,
            "at": f"2026-11-22T14:00:00.{n:03}Z",
        }
        | changes
    )


def series_of(store: MemoryStore) -> Observations:
    return Registry(store, "desk").monitoring


def check_once(store: MemoryStore, scored: set[int]) -> None:
    found = series_of(store)
    ids = [number for one in found.all() for number in found.outcomes(one).column("id").to_pylist()]
    assert sorted(ids) == sorted(scored), "every row is in the series, and none twice"


def test_two_writers_at_once_score_each_row_once_in_every_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "ThreadPoolExecutor", AtOnce)
    acts = [
        lambda store: series_of(store).add(outcomes(range(0, 8)), observation),
        lambda store: series_of(store).add(outcomes(range(4, 12)), observation),
    ]
    orders, ends = 0, set()
    for store, results, schedule in explore(MemoryStore, acts, switches=3):
        assert not [one for one in results if isinstance(one, Exception)], (schedule, results)
        check_once(store, set(range(12)))
        ends.add(tuple(one.rows for one in results))
        orders += 1
    assert orders > 10 and ends == {(8, 4), (4, 8)}


def test_the_same_rows_by_two_writers_are_one_observation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "ThreadPoolExecutor", AtOnce)
    act = lambda store: series_of(store).add(outcomes(range(8)), observation)  # noqa: E731
    for store, results, _ in explore(MemoryStore, [act, act], switches=2):
        check_once(store, set(range(8)))
        told = [one for one in results if one is not None]
        assert told and all(one == series_of(store).all()[0] for one in told)


faults = st.one_of(
    st.tuples(st.sampled_from(["create", "get", "list"]), st.sampled_from(["unavailable", "lost_answer"])),
    st.just(("create", "late")),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.integers(0, 30), faults), max_size=20))
def test_whatever_fails_a_retry_scores_each_row_once(steps: list[int | tuple[str, str]]) -> None:
    store, scored = MemoryStore(), set[int]()
    for step in steps:
        if isinstance(step, tuple):
            store.fail(*step, 5)
            continue
        try:
            series_of(store).add(outcomes(range(step, step + 10)), observation)
        except StoreUnavailable:
            store.heal()
            series_of(store).add(outcomes(range(step, step + 10)), observation)
            store.land()  # what timed out, after the retry
        scored |= set(range(step, step + 10))
    store.heal()
    store.land()
    check_once(store, scored)


def test_a_writer_that_died_before_its_entry_leaves_nothing_that_counts() -> None:
    store = MemoryStore()
    store.fail("create", "unavailable", times=100, prefix="desk/monitoring/")
    with pytest.raises(StoreUnavailable):
        series_of(store).add(outcomes(range(5)), observation)
    assert len(list(store.list("desk/observed/"))) == 1 and series_of(store).all() == []
    store.heal()
    found = series_of(store).add(outcomes(range(5)), observation)
    assert found is not None and (found.n, found.rows) == (1, 5)
    check_once(store, set(range(5)))


def test_outcomes_that_were_changed_after_they_were_written_are_damage() -> None:
    store = MemoryStore()
    series_of(store).add(outcomes(range(5)), observation)
    (kept,) = [info.key for info in store.list("desk/observed/")]
    store.corrupt(kept, at=40)
    with pytest.raises(Damaged, match="observed/"):
        series_of(store).add(outcomes(range(9)), observation)
    store.delete(kept)
    with pytest.raises(Damaged, match="missing"):
        series_of(store).add(outcomes(range(9)), observation)


def test_an_observation_without_its_own_metric_is_refused() -> None:
    for changes in ({"primary": "perplexity"}, {"metrics": {"f1_macro": 1.0}}):
        with pytest.raises(ValueError, match="has no value of a metric"):
            observation(outcomes(range(3)), 1, "f", **changes)


# --- what an observation says ---


def test_the_distance_is_the_one_of_the_textbook() -> None:
    # p = (1/2, 1/2), q = (1, 0): m = (3/4, 1/4); JSD = 1/2 KL(p‖m) + 1/2 KL(q‖m), in bits; its root is the distance.
    halves = 0.5 * (0.5 * math.log2(0.5 / 0.75) + 0.5 * math.log2(0.5 / 0.25)) + 0.5 * math.log2(1 / 0.75)
    assert distance({"a": 0.5, "b": 0.5}, {"a": 1.0}) == pytest.approx(math.sqrt(halves))
    assert distance({"a": 1.0}, {"b": 1.0}) == 1.0
    assert distance({"a": 0.3, "b": 0.7}, {"b": 0.7, "a": 0.3}) == 0.0


def test_what_chance_gives_is_seldom_passed_where_nothing_drifted_and_falls_with_the_rows() -> None:
    shares = {"a": 0.5, "b": 0.3, "c": 0.2}
    limit = by_chance(shares, 200)
    dice = np.random.default_rng(5)
    samples = dice.multinomial(200, list(shares.values()), size=400) / 200
    passed = np.mean([distance(shares, dict(zip(shares, row, strict=True))) > limit for row in samples])
    assert passed == pytest.approx(0.05, abs=0.04)
    assert by_chance(shares, 20) > limit > by_chance(shares, 2_000) > 0
    assert not drift_of(shares, shares, shares, 200).is_more_than_chance
    assert drift_of(shares, {"a": 1.0}, shares, 200).is_more_than_chance


def manifest_of(**changes: Any) -> ReleaseManifest:
    lineage = {"label_shares": {"a": 0.5, "b": 0.5}}
    fields = {"kind": "text-classification", "columns": {}, "label_names": ("a", "b"), "lineage": lineage}
    return ReleaseManifest(**fields | {"release": "r-1", "digest": "d", "files": (), "created": "now"} | changes)


def test_metrics_bounds_and_drift_are_of_the_rows() -> None:
    from contender.judging.paired import clopper_pearson

    found = measured(outcomes(range(40), right=0.75), manifest_of(), ("accuracy", "log_loss"))
    assert found["metrics"]["accuracy"] == 0.75 and found["confidence"] == pytest.approx(0.8)
    assert found["bounds"] == pytest.approx(clopper_pearson(30, 40, 0.025))
    assert found["drift"].labels == pytest.approx(distance({"a": 0.5, "b": 0.5}, {"a": 1.0}))
    assert found["drift"].predictions == pytest.approx(distance({"a": 0.5, "b": 0.5}, {"a": 0.75, "z": 0.25}))
    few = measured(outcomes(range(19)), manifest_of(lineage={}), ("f1_macro",))
    assert (few["bounds"], few["drift"]) == (None, None), "too few rows, and a release that does not say"
    assert measured(outcomes(range(5), label="c"), manifest_of(), ("accuracy",))["unknown_labels"] == 5


# --- when a champion is too bad ---


def degrading(parts: list[tuple[str, pa.Table]], metric: str = "accuracy", **rule: Any) -> str | None:
    """Of a series with these champions and outcomes, for champion A."""
    series = [observation(table, n, f"{n}", champion) for n, (champion, table) in enumerate(parts, 1)]
    tables = {f"{n}": table for n, (_, table) in enumerate(parts, 1)}
    return degraded(Degradation(**rule), metric, "A", series, lambda one: tables[one.outcomes])


GOOD, BAD = outcomes(range(100), right=0.95), outcomes(range(100), right=0.5)


@pytest.mark.parametrize(
    ("parts", "metric", "rule", "found"),
    [
        ([("A", BAD)], "accuracy", {"bound": 0.8}, True),
        ([("A", GOOD)], "accuracy", {"bound": 0.8}, False),
        ([("A", GOOD)], "accuracy", {"bound": 0.95}, False),
        ([("A", BAD)], "accuracy", {"bound": 0.8, "min_rows": 101}, False),
        ([("A", BAD), ("A", BAD)], "accuracy", {"bound": 0.8, "min_rows": 101}, True),
        ([("B", BAD)], "accuracy", {"bound": 0.8}, False),
        ([("A", BAD), ("B", GOOD)], "accuracy", {"bound": 0.8}, True),
        ([("A", GOOD), ("B", BAD)], "accuracy", {"bound": 0.8}, False),
        ([("A", BAD), ("A", GOOD)], "accuracy", {"bound": 0.8}, False),
        ([("A", GOOD), ("A", BAD)], "accuracy", {"bound": 0.8}, True),
        ([("A", BAD), ("A", GOOD)], "accuracy", {"bound": 0.8, "min_rows": 150}, True),
        ([("A", BAD)], "log_loss", {"bound": 0.8}, True),
        ([("A", GOOD)], "log_loss", {"bound": 0.8}, False),
        ([("A", BAD)], "calibration_error", {"bound": 0.2}, True),
        ([("A", GOOD)], "calibration_error", {"bound": 0.2}, False),
        ([("A", BAD)], "f1_macro", {"bound": 0.9}, True),
        ([], "accuracy", {"bound": 0.8}, False),
    ],
)
def test_a_champion_is_held_to_its_bound_on_its_newest_rows(
    parts: list[tuple[str, pa.Table]], metric: str, rule: dict[str, Any], found: bool
) -> None:
    assert (degrading(parts, metric, **rule) is not None) == found


def test_the_reason_says_what_was_found_and_on_how_much() -> None:
    assert degrading([("A", BAD)], bound=0.8) == (
        "Accuracy of the champion r-A on the newest 100 labelled rows that were new to it is 50.0%, below the bound of 80.0%"
    )
    assert str(degrading([("A", BAD)], "log_loss", bound=0.8)).endswith("is 1.2629, above the bound of 0.8000")


def test_pooled_rows_are_measured_together_and_not_averaged() -> None:
    halves = [("A", outcomes(range(50), label="a")), ("A", outcomes(range(50), label="b"))]
    assert degrading(halves, "f1_macro", bound=0.99) is None
    mixed = [("A", outcomes(range(90), right=0.9)), ("A", outcomes(range(10), right=0.0))]
    assert "is 81.0%" in str(degrading(mixed, bound=0.9)), "81 of 100, where the mean of both is 45%"


def test_without_the_trigger_or_a_champion_nothing_is_due(watched: Watched) -> None:
    assert degradation(watched.run, find_live(watched.run)) is None
    watched.promote(seed=1)
    watched.drop("2.csv", [(text, "mauve") for text, _ in tickets(120, seed=2)])
    watched.monitor()
    assert degradation(watched.run, find_live(watched.run)) is None
    rule = ["triggers={new_data: {}, degradation: {bound: 0.5, min_rows: 20}}"]
    asked = open_run(load_pipeline(watched.folder / "desk.yaml", rule), "tests")
    assert "is 0.0%, below the bound of 50.0%" in str(degradation(asked, find_live(asked)))


# --- how it is shown ---


def test_the_newest_observations_are_drawn_and_listed_and_names_cannot_act() -> None:
    out = StringIO()
    series = [
        observation(outcomes(range(3)), n, "f", "\x1b[31mA", metrics={"accuracy": share})
        for n, share in enumerate([0.1] * 5 + [0.5, 0.7, 0.9] * 7, 1)
    ]
    show_monitoring(Console(file=out, no_color=True, width=200), series)
    first, _, *rows = out.getvalue().splitlines()
    assert first == "the champion on new rows (and 6 times before): " + "▄█" + "▁▄█" * 6
    assert len(rows) == 20 and "90.0%" in rows[-1] and "\x1b" not in out.getvalue()
    assert sparkline(series[:5]) == "█████", "nothing moved"
    show_monitoring(Console(file=(nothing := StringIO())), [])
    assert nothing.getvalue() == ""
