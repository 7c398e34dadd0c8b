from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from contender.errors import UsageError
from contender.sidebyside import side_by_side
from contender.training.checkpoints import Checkpoints
from contender.training.dataset import derive
from contender.training.devices import cpu_cores, memory_bytes
from contender.training.options import Attempt
from contender.training.sampling import BucketSampler, LongestFirstSampler, width

lengths = st.lists(st.integers(1, 200), min_size=1, max_size=300).map(np.array)


@given(lengths=lengths, batch=st.integers(1, 40), seed=st.integers(0, 9), epoch=st.integers(0, 9))
def test_every_epoch_sees_every_row_once_in_an_order_of_seed_and_epoch_alone(lengths, batch, seed, epoch):
    order = list(BucketSampler(lengths, batch, seed, lambda: epoch))
    assert sorted(order) == list(range(len(lengths)))
    assert order == list(BucketSampler(lengths, batch, seed, lambda: epoch))


@given(lengths=lengths, batch=st.integers(1, 40))
def test_batches_hold_rows_of_like_length(lengths, batch):
    order = list(BucketSampler(lengths, batch, 1, lambda: 0))
    batches = [lengths[order[start : start + batch]] for start in range(0, len(order), batch)]
    mixed = [b for b in batches if width(b.min()) != width(b.max())]
    assert len(mixed) < max(1, len({width(length) for length in lengths}))


def test_the_order_differs_between_epochs_and_seeds():
    orders = {tuple(BucketSampler(np.full(100, 5), 8, seed, lambda e=epoch: e)) for seed in (1, 2) for epoch in (0, 1)}
    assert len(orders) == 4


def test_evaluation_begins_with_the_longest():
    assert list(LongestFirstSampler(np.array([3, 9, 5, 9]))) == [1, 3, 2, 0]


@pytest.mark.parametrize(("length", "padded"), [(0, 8), (1, 8), (8, 8), (9, 16)])
def test_widths_are_multiples_of_eight(length, padded):
    assert width(length) == padded


def put(text: str):
    return lambda folder: (folder / "state").write_text(text)


def test_the_newest_whole_checkpoint_is_found_and_two_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, "job")
    assert checkpoints.latest() is None
    for step in (1, 20, 300):
        checkpoints.write(step, put(str(step)), seconds=0.5)
    folder, manifest = checkpoints.latest()
    assert (manifest.step, (folder / "state").read_text()) == (300, "300")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000020", "00000300"]


def damage_nothing_written(folder: Path) -> None:
    (folder / "checkpoint.json").unlink()


def damage_cut(folder: Path) -> None:
    (folder / "state").write_text("")


def damage_missing(folder: Path) -> None:
    (folder / "state").unlink()


def damage_manifest(folder: Path) -> None:
    (folder / "checkpoint.json").write_text("{")


@pytest.mark.parametrize("damage", [damage_nothing_written, damage_cut, damage_missing, damage_manifest])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, damage):
    checkpoints = Checkpoints(tmp_path, "job")
    checkpoints.write(1, put("one"), seconds=0)
    damage(checkpoints.write(2, put("two"), seconds=0))
    assert checkpoints.latest()[1].step == 1


def test_a_checkpoint_of_another_job_is_never_read(tmp_path):
    Checkpoints(tmp_path, "other").write(1, put("one"), seconds=0)
    assert Checkpoints(tmp_path, "job").latest() is None


def test_a_failed_write_leaves_no_checkpoint(tmp_path):
    def fail(folder: Path) -> None:
        (folder / "state").write_text("half")
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        Checkpoints(tmp_path, "job").write(1, fail, seconds=0)
    assert list(tmp_path.iterdir()) == []


def test_a_cpu_quota_caps_the_threads_and_a_setting_of_the_user_wins(tmp_path, monkeypatch):
    quota = tmp_path / "cpu.max"
    quota.write_text("100000 100000\n")
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert cpu_cores(quota) == 1
    quota.write_text("max 100000\n")
    assert cpu_cores(quota) >= 1
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert cpu_cores(quota) == 7


def test_precision_is_what_was_asked_for_else_what_a_step_shows(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTENDER_CACHE", str(tmp_path))
    import torch

    from contender.training import precision
    from contender.training.precision import choose_precision

    cpu, now = torch.device("cpu"), [0.0]
    monkeypatch.setattr(precision.time, "perf_counter", lambda: now[0])  # a busy machine tells nothing

    def slow_bf16(bf16):
        now[0] += 0.004 if bf16 else 0.001

    def fast_bf16(bf16):
        now[0] += 0.001 if bf16 else 0.004

    assert choose_precision("bf16", cpu, 1000, slow_bf16, {"step": "slow_bf16"}) == ("bf16", "asked for")
    assert choose_precision("auto", cpu, 1000, slow_bf16, {"step": "slow_bf16"})[0] == "fp32"
    assert choose_precision("auto", cpu, 1000, fast_bf16, {"step": "fast_bf16"})[0] == "bf16"
    assert choose_precision("auto", cpu, 5, fast_bf16, {"step": "fast_bf16"})[0] == "fp32"
    with pytest.raises(UsageError, match="fp16 needs a CUDA device"):
        choose_precision("fp16", cpu, 1000, fast_bf16, {"step": "fast_bf16"})


def test_on_a_gpu_the_faster_precision_is_measured_too_and_one_that_does_not_fit_is_not_taken(tmp_path, monkeypatch):
    import torch

    from contender.training import precision

    gpus, bf16_works, now = ["A"], [True], [0.0]
    monkeypatch.setenv("CONTENDER_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16_works[0])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: gpus[0])
    monkeypatch.setattr(precision.time, "perf_counter", lambda: now[0])

    def step(seconds: dict[bool, float], holds: int = 2) -> Callable[[bool], None]:
        def one(bf16: bool) -> None:
            if not bf16 and holds < 2:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            now[0] += seconds[bf16]

        return one

    def chosen(one: Callable[[bool], None], steps: int = 1000) -> tuple[str, str]:
        return precision.choose_precision("auto", torch.device("cuda:0"), steps, one, {"base": "b"})

    small, large = step({True: 0.017, False: 0.012}), step({True: 0.038, False: 0.197})
    assert chosen(small) == ("fp32", "measured: 17 ms a step in bf16, 12 ms in fp32")
    assert chosen(large) == ("fp32", "measured: 17 ms a step in bf16, 12 ms in fp32, on this machine before")
    gpus[0] = "another GPU of this machine"
    assert chosen(large) == ("bf16", "measured: 38 ms a step in bf16, 197 ms in fp32")
    gpus[0] = "a small one"
    assert chosen(step({True: 0.017, False: 0.012}, holds=1))[0] == "bf16"
    assert chosen(small, steps=5)[0] == "bf16"
    bf16_works[0] = False
    assert chosen(large)[0] == "fp32"


def test_losses_are_read_where_they_are_told_and_not_at_every_step():
    """To read one waits for a GPU."""
    from contender.child import Voice
    from contender.training.monitor import Monitor, Stop

    reads: list[int] = []
    monitor = Monitor(Voice(None), Stop())
    monitor.plan(0, 1000)
    monitor.phase("training")
    monitor.begin()
    for step in range(1, 1001):
        monitor.stepped(step, 0.0, 8, lambda step=step: reads.append(step) or [2.0, 4.0])
    assert len(reads) < 50 and reads[-1] == 1000
    assert monitor._speed()["loss"] == 3.0


def test_a_measured_precision_is_remembered_and_a_damaged_memory_is_measured_anew(tmp_path, monkeypatch):
    import torch

    from contender.training.precision import choose_precision

    monkeypatch.setenv("CONTENDER_CACHE", str(tmp_path))
    cpu, steps = torch.device("cpu"), []
    choose = lambda base: choose_precision("auto", cpu, 1000, steps.append, {"base": base})  # noqa: E731
    first, measured = choose("a"), len(steps)
    assert choose("a") == (first[0], f"{first[1]}, on this machine before")
    assert len(steps) == measured > 0
    choose("b")
    assert len(steps) == 2 * measured
    for kept in (tmp_path / "precision").iterdir():
        kept.write_text("{")
    choose("a")
    assert len(steps) == 3 * measured


def test_training_used_rows_alone_gives_the_weights_of_training_all(tiny_base):
    import torch
    from transformers import AutoModelForSequenceClassification

    from contender.training.embedding import UsedRows, restore_rows, use_rows

    def trained(compact: bool) -> dict[str, torch.Tensor]:
        torch.manual_seed(3)
        model = AutoModelForSequenceClassification.from_pretrained(str(tiny_base), num_labels=3)
        model.eval()
        if compact:
            use_rows(model, np.arange(2, 60))
            assert isinstance(model.get_input_embeddings(), UsedRows)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0)
        for step in range(3):
            ids = torch.arange(2, 58).reshape(8, 7).roll(step)
            model(input_ids=ids, labels=torch.arange(8) % 3).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        restore_rows(model)
        return model.state_dict()

    whole, compact = trained(False), trained(True)
    assert whole.keys() == compact.keys()
    assert all(torch.allclose(whole[name], compact[name], atol=1e-6) for name in whole)


def test_what_stands_above_the_encoder_learns_at_a_rate_of_its_own(tiny_base, make_job, tmp_path):
    """Down to the optimizer of a real job: every parameter once, decay as it was, the pooler with the classifier."""
    from contender.kinds import kind
    from contender.training.rates import set_rates

    model = kind("text-classification").load_model(tiny_base, ("a", "b", "c"))
    head = kind("text-classification").above_encoder(model)
    assert head == {"bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"}
    named = dict(model.named_parameters())
    decayed = [value for name, value in named.items() if not name.endswith("bias")]
    other = [value for name, value in named.items() if name.endswith("bias")]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": other, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-4)
    set_rates(optimizer, named, dict.fromkeys(head, 1e-2))
    found = {
        id(value): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for value in group["params"]
    }
    assert len(found) == len(named) == sum(len(group["params"]) for group in optimizer.param_groups)
    for name, value in named.items():
        assert found[id(value)] == (1e-2 if name in head else 1e-4, 0.0 if name.endswith("bias") else 0.1), name


@pytest.mark.parametrize(
    ("asked", "used"),
    [({"head_learning_rate": "auto"}, 1e-2), ({"learning_rate": 1e-4, "head_learning_rate": "auto"}, 5e-4), ({}, 5e-3)],
)
def test_the_rate_above_the_encoder_is_told(make_job, tmp_path, asked, used):
    from contender.child import Voice
    from contender.training.finetune import finetune
    from contender.training.monitor import Monitor, Stop

    report = finetune(make_job(epochs=1, **asked), tmp_path / "job", Monitor(Voice(None), Stop()), Attempt())
    assert report.head_learning_rate == pytest.approx(used)


def test_of_jobs_side_by_side_one_makes_the_rows_that_they_share(tmp_path):
    rows, begun = datasets.Dataset.from_dict({"text": ["a", "b"]}), threading.Event()
    made: list[str] = []

    def change(chunk):
        made.append(threading.current_thread().name)
        begun.set()
        time.sleep(0.3)  # the other one is here by then
        return {"length": [len(text) for text in chunk["text"]]}

    def job() -> list[int]:
        return derive(rows, tmp_path / "prepared" / "train.arrow", change)["length"][:]

    def second() -> list[int]:
        assert begun.wait(20)
        return job()

    assert side_by_side([job, second], 2) == [[1, 1], [1, 1]]
    assert len(made) == 1


def test_the_memory_is_the_machines_or_what_its_group_may_have(tmp_path):
    limit = tmp_path / "memory.max"
    machine = memory_bytes(limit)
    assert machine > 1 << 28
    limit.write_text("max\n")
    assert memory_bytes(limit) == machine
    limit.write_text("1000000\n")
    assert memory_bytes(limit) == 1_000_000
