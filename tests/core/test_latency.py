"""Latency: which of two models answers sooner, whatever the machine does meanwhile."""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from desk import PIPELINE, tickets
from scipy.stats import binom, norm

from contender.errors import DataError
from contender.evaluation.latency import (
    WARM_UP,
    Latency,
    draw_examples,
    p_above,
    p_slower,
    quantile,
    summarise,
    time_models,
    timings_table,
)
from contender.kinds import kind
from contender.loading import load_pipeline
from contender.records import ReleaseDraft, ReleaseManifest, SplitReport
from contender.run import Run, open_run
from contender.stages.latency import TIMINGS, measure_latency
from contender.stages.timing import time_apart
from contender.workspace import Staged

LABELS = ("blue", "green", "red")
pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture
def simulations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of measurements of models that do nothing: each would collect the garbage of the whole session first."""
    monkeypatch.setattr(gc, "collect", lambda: 0)


class Machine:
    """A clock, and a speed that changes from one answer to the next: it stays slow for a while, as one that others use does."""

    def __init__(self, seed: int) -> None:
        self.now = 0
        self._dice = random.Random(seed)
        self._slow = 1.0

    def work(self, milliseconds: float) -> None:
        if self._dice.random() < 0.05:
            self._slow = self._dice.choice([1.0, 1.0, 4.0, 20.0])
        pause = 1000.0 if self._dice.random() < 0.01 else 0.0
        self.now += int(1e6 * (milliseconds * self._slow * self._dice.uniform(0.9, 1.2) + pause))


class Timed:
    """A model that takes so many milliseconds of a machine."""

    device, labels = "cpu", LABELS

    def __init__(self, machine: Machine, milliseconds: float) -> None:
        self.machine, self.milliseconds = machine, milliseconds
        self.asked: list[str] = []

    def predict(self, inputs: Sequence[Any], *, batch_size: int = 64) -> list[Any]:
        assert (len(inputs), batch_size) == (1, 1), "one example at a time"
        assert gc.isenabled() == (len(self.asked) < WARM_UP), "no collection in what is timed"
        self.asked.append(inputs[0]["text"])
        self.machine.work(self.milliseconds)
        return []

    def warm_up(self) -> None:
        return


def simulated(machine: Machine | int, ours: float, theirs: float, **options: Any) -> Latency:
    machine = Machine(machine) if isinstance(machine, int) else machine
    models: Any = [Timed(machine, ours), Timed(machine, theirs)]
    rows = [{"text": f"{n}"} for n in range(200)]
    times = time_models(models, [rows, rows], clock=lambda: machine.now, **options)
    assert models[0].asked == models[1].asked
    return summarise(timings_table(times), "cpu")


@pytest.mark.usefixtures("simulations")
def test_a_slower_model_is_found_slower_on_a_machine_that_others_use() -> None:
    for seed in range(50):
        found = simulated(seed, ours=1.3, theirs=1.0)
        assert found.p_value is not None and found.p_value < 0.001
        assert found.ratio_low is not None and found.ratio_high is not None
        assert 1.0 < found.ratio_low <= 1.3 * 1.05 and found.ratio_high > 1.2
        faster = simulated(seed, ours=1.0, theirs=1.3)
        assert faster.p_value is not None and faster.p_value > 0.99


@pytest.mark.usefixtures("simulations")
def test_of_two_equal_models_none_is_found_slower_more_often_than_the_level() -> None:
    p_values = [simulated(seed, 1.0, 1.0).p_value or 0.0 for seed in range(400)]
    assert np.mean(np.array(p_values) <= 0.05) <= 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5
    covered = [simulated(seed, 1.2, 1.0) for seed in range(200)]
    hit = np.mean([(one.ratio_low or 0) <= 1.2 <= (one.ratio_high or 9) for one in covered])
    assert hit >= 0.95 - 3 * (0.05 * 0.95 / 200) ** 0.5


def test_whoever_comes_second_and_finds_the_caches_warm_gains_nothing_by_it() -> None:
    machine = Machine(0)
    last: list[str] = []

    class Caching(Timed):
        def predict(self, inputs: Sequence[Any], *, batch_size: int = 64) -> list[Any]:
            self.milliseconds = 0.7 if last == [inputs[0]["text"]] else 1.0
            last[:] = [inputs[0]["text"]]
            return super().predict(inputs, batch_size=batch_size)

    models: Any = [Caching(machine, 1.0), Caching(machine, 1.0)]
    rows = [{"text": f"{n}"} for n in range(200)]
    found = summarise(timings_table(time_models(models, [rows, rows], clock=lambda: machine.now)), "cpu")
    assert found.p_value is not None and 0.05 < found.p_value < 0.95


@pytest.mark.parametrize(("seconds", "examples"), [(0.0, 1), (0.02, 20), (0.1, 50), (0.004, 10), (9.0, 200)])
def test_it_ends_behind_a_whole_example_once_the_time_is_over(seconds: float, examples: int) -> None:
    """Of two models that take a millisecond each; it has patience for twenty examples, but not without end."""

    class Steady(Machine):
        def work(self, milliseconds: float) -> None:
            self.now += int(1e6 * milliseconds)

    assert simulated(Steady(0), 1.0, 1.0, seconds=seconds).examples == examples
    assert gc.isenabled()


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_the_bounds_of_a_quantile_hold_as_often_as_they_say_whatever_the_distribution(share: float) -> None:
    dice = np.random.default_rng(0)
    true = float(np.exp(norm.ppf(share)))
    bounds = [quantile(dice.lognormal(size=200), share) for _ in range(400)]
    below = np.mean([one.low is not None and one.low > true for one in bounds])
    above = np.mean([one.high is not None and one.high < true for one in bounds])
    assert max(below, above) <= 0.025 + 3 * (0.025 * 0.975 / 400) ** 0.5


def test_too_few_examples_have_no_bound_rather_than_a_wrong_one() -> None:
    few = quantile(np.arange(1.0, 21.0), 0.95)
    assert few.high is None and few.low is not None
    one = quantile(np.array([3.0]), 0.5)
    assert (one.ms, one.low, one.high) == (3.0, None, None)


def test_tests_of_a_limit_are_exact() -> None:
    values = np.arange(1.0, 101.0)
    assert p_above(values, 0.5, 40.0) == pytest.approx(binom.sf(59, 100, 0.5))
    assert p_above(values, 0.95, 1000.0) == 1.0
    assert p_above(values, 0.95, 85.0) == pytest.approx(binom.sf(14, 100, 0.05))
    assert p_slower(np.full(20, 2.0), np.full(20, 1.0)) == pytest.approx(0.5**20)
    assert p_slower(np.full(20, 2.0), np.full(20, 1.0), times=2.0) == 1.0, "equal says nothing"


def write_rows(path: Path, rows: list[dict[str, str]], keep: int | None = None) -> None:
    table = pa.Table.from_pylist(rows)[slice(keep)]
    path.parent.mkdir()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table)


# --- with real models -------------------------------------------------------------------------------------------------


def save_model(folder: Path, base: Path, layers: int) -> Path:
    """The tiny base with a head for LABELS and so many layers."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    labels = dict(enumerate(LABELS))
    config = AutoConfig.from_pretrained(
        base, num_hidden_layers=layers, id2label=labels, label2id={name: n for n, name in labels.items()}
    )
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    kind("text-classification").load_processor(base).save_pretrained(folder)
    return folder


@pytest.fixture
def run(tmp_path: Path, tiny_base: Path) -> Run:
    (tmp_path / "desk.yaml").write_text(PIPELINE.format(base=tiny_base))
    return open_run(load_pipeline(tmp_path / "desk.yaml"), actor="")


@pytest.fixture
def split(tmp_path: Path) -> Staged[SplitReport]:
    rows = [{"text": text, "label": label} for text, label in tickets(150, seed=1)]
    write_rows(tmp_path / "split" / "test.arrow", rows)
    report = SplitReport(
        rows={"test": 150}, digests={"test": "d"}, removed_leaks=0, removed_duplicates=0, labels=LABELS, label_counts={}
    )
    return Staged("split", "k", report, tmp_path / "split", cached=False, seconds=0.0)


def released(run: Run, folder: Path, column: str = "body") -> ReleaseManifest:
    draft = ReleaseDraft(kind="text-classification", columns={"text": column, "label": "colour"}, label_names=LABELS)
    return run.registry.stage(folder, draft)


def test_a_release_with_more_layers_is_found_slower_and_one_with_the_same_is_not(
    run: Run, split: Staged[SplitReport], tmp_path: Path, tiny_base: Path
) -> None:
    small = released(run, save_model(tmp_path / "small", tiny_base, 2))
    large = released(run, save_model(tmp_path / "large", tiny_base, 8), column="text_of_another_name")
    twin = released(run, save_model(tmp_path / "twin", tiny_base, 2))
    assert twin.digest != small.digest

    slower = measure_latency(run, large, small, split, "test")
    # By how much depends on what else the machine does; that it is, and that equal ones are not, does not.
    assert slower.record.p_value is not None and slower.record.p_value < 1e-4
    assert slower.record.ratio_low is not None and slower.record.ratio_low > 1
    assert (slower.record.examples <= 150, slower.record.device) == (True, "cpu")
    assert slower.record.challenger_median.ms > (slower.record.champion_median or slower.record.challenger_median).ms

    equal = measure_latency(run, twin, small, split, "test")
    assert equal.record.p_value is not None and equal.record.p_value > 1e-4

    again = measure_latency(run, large, small, split, "test")
    assert (again.cached, again.record) == (True, slower.record)
    kept = pq.read_table(again.folder / TIMINGS)
    assert kept.schema == pa.schema({"challenger": pa.float64(), "champion": pa.float64()})
    assert summarise(kept, "cpu", hardware=again.record.hardware) == again.record, (
        "whoever keeps the timings can ask again"
    )


@pytest.mark.slow
def test_a_process_of_its_own_times_the_same_and_says_what_is_wrong(
    run: Run, split: Staged[SplitReport], tmp_path: Path, tiny_base: Path
) -> None:
    folders = [save_model(tmp_path / name, tiny_base, layers) for name, layers in (("small", 1), ("large", 8))]
    models, rows = [released(run, folder) for folder in folders], split.folder / "test.arrow"
    times = time_apart(models, folders, rows, (40, 20.0), "cpu", os.environ)
    assert [len(times[place]) for place in (0, 1)] == [40, 40]
    assert np.median(times[1]) > 1.5 * np.median(times[0])
    empty = tmp_path / "none" / "test.arrow"
    write_rows(empty, [{"text": "red", "label": "red"}], keep=0)
    with pytest.raises(DataError, match="has no rows to time a model on"):
        time_apart(models, folders, empty, (40, 20.0), "cpu", os.environ)


def test_little_work_is_done_on_one_thread_and_much_on_all(
    run: Run, tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    folder = save_model(tmp_path / "small", tiny_base, 2)
    model = kind("text-classification").load(folder, released(run, folder), "cpu")
    seen: list[int] = []
    model._classifier._model.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        model.predict(["red word1"])
        assert (seen, torch.get_num_threads()) == ([1], 2)
        monkeypatch.setattr("contender.kinds._classifier.LITTLE_WORK", 0.0)
        model.predict(["red word1"])
        assert (seen, torch.get_num_threads()) == ([1, 2], 2)
    finally:
        torch.set_num_threads(before)


def test_a_first_release_is_timed_alone(run: Run, split: Staged[SplitReport], tmp_path: Path, tiny_base: Path) -> None:
    alone = measure_latency(run, released(run, save_model(tmp_path / "m", tiny_base, 2)), None, split, "test").record
    assert (alone.ratio, alone.p_value, alone.champion_median) == (None, None, None)
    assert alone.challenger_p95.ms >= alone.challenger_median.ms > 0


def test_examples_are_drawn_the_same_every_time_and_named_as_each_release_names_them(
    run: Run, split: Staged[SplitReport], tmp_path: Path, tiny_base: Path
) -> None:
    folder = save_model(tmp_path / "m", tiny_base, 2)
    one = released(run, folder)
    other = one.model_copy(update={"columns": {"text": "message"}})
    rows = split.folder / "test.arrow"
    ours, theirs = draw_examples(rows, ["text"], [one, other], count=20)
    assert [example["body"] for example in ours] == [example["message"] for example in theirs]
    assert len({example["body"] for example in ours}) == 20
    assert draw_examples(rows, ["text"], [one], count=20) == [ours]
    write_rows(tmp_path / "none" / "test.arrow", [{"text": "x"}], keep=0)
    with pytest.raises(DataError, match="no rows"):
        draw_examples(tmp_path / "none" / "test.arrow", ["text"], [one])
