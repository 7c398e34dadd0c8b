from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from fitting import StopsAt, accuracy, train, weights

from contender.errors import DataError, ModelError, TrainingFailed, UsageError
from contender.files import describe_files
from contender.training.checkpoints import CheckpointManifest, Checkpoints
from contender.training.energy import Counter, Meter
from contender.training.monitor import Stopped
from contender.training.options import Attempt


def test_it_learns_and_the_model_answers_as_validation_said(make_job, tmp_path):
    job = make_job(epochs=8, early_stopping=0)
    report = train(job, tmp_path / "job")
    assert report.best_metric > 0.9
    assert accuracy(job) == pytest.approx(report.best_metric)
    assert report.steps == 8 * 19
    assert report.precision_reason == "asked for"
    assert len([point for point in report.curve if "accuracy" in point.metrics]) == 8


def test_two_trainings_give_the_same_files_wherever_they_run(make_job, tmp_path):
    one, other = make_job(output="one", epochs=1), make_job(output="elsewhere/other", epochs=1)
    train(one, tmp_path / "job1")
    train(other, tmp_path / "job2")
    files = describe_files(Path(one.output))
    assert files == describe_files(Path(other.output))
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {file.path for file in files}


# Inside the first epoch, at its last step, inside the second.
@pytest.mark.parametrize(
    ("method", "stop_at"),
    [
        ("full", 7),
        pytest.param("full", 19, marks=pytest.mark.slow),
        pytest.param("full", 30, marks=pytest.mark.slow),
        ("lora", 30),
    ],
)
def test_a_resumed_training_ends_with_the_same_files_as_an_undisturbed_one(make_job, tmp_path, method, stop_at):
    whole, stopped = (make_job(output=name, epochs=3, method=method) for name in ("whole", "stopped"))
    train(whole, tmp_path / "job1")
    with pytest.raises(Stopped) as stop:
        train(stopped, tmp_path / "job2", stop_at)
    assert stop.value.resumable
    report = train(stopped, tmp_path / "job2")
    assert report.resumed_from_step == stop_at
    assert report.steps == 57
    assert describe_files(Path(whole.output)) == describe_files(Path(stopped.output))


def test_the_energy_of_a_resumed_training_is_that_of_all_attempts_and_unknown_where_one_was_told_nothing(
    make_job, tmp_path, monkeypatch
):
    def told(device: object) -> Meter:
        begun = [0]

        class Drawing(Meter):  # a watt-hour behind each beginning
            def begin(self) -> None:
                super().begin()
                begun[0] += 1

        return Drawing("rapl", [Counter(lambda: begun[0], joules=3600.0)])

    monkeypatch.setattr("contender.training.finetune.meter_of", told)
    job, kept = make_job(epochs=1), Checkpoints(tmp_path / "job/checkpoints", "")
    with pytest.raises(Stopped):
        train(job, tmp_path / "job", 5)
    shutil.copytree(tmp_path / "job", tmp_path / "other")
    before = CheckpointManifest.from_bytes((kept.path(5) / "checkpoint.json").read_bytes()).joules
    report = train(job, tmp_path / "job")
    assert (before, report.energy_kwh, report.energy_source) == (3600.0, pytest.approx(0.002), "rapl")

    monkeypatch.setattr("contender.training.finetune.meter_of", lambda device: Meter())
    report = train(job, tmp_path / "other")
    assert (report.resumed_from_step, report.energy_kwh, report.energy_source) == (5, None, None)


def test_a_damaged_checkpoint_is_skipped_for_the_one_before(make_job, tmp_path):
    job = make_job(epochs=2)
    for step in (5, 12):
        with pytest.raises(Stopped):
            train(job, tmp_path / "job", step)
    damaged = tmp_path / "job/checkpoints/00000012/optimizer.pt"
    damaged.write_bytes(damaged.read_bytes()[:-10])
    assert train(job, tmp_path / "job").resumed_from_step == 5


def test_early_stopping_ends_the_training_and_the_best_model_is_the_one_written(make_job, tmp_path):
    job = make_job(epochs=40, early_stopping=2, learning_rate=1e-2)
    report = train(job, tmp_path / "job")
    assert report.stopped_early
    assert report.steps == report.best_step + 2 * 19
    assert accuracy(job) == pytest.approx(report.best_metric)


def test_nothing_of_the_machine_stays_in_the_model(make_job, tmp_path):
    job = make_job(epochs=1)
    train(job, tmp_path / "job")
    for path in Path(job.output).glob("*.json"):
        assert str(tmp_path) not in path.read_text()
        assert "/" not in json.dumps(json.loads(path.read_text()).get("_name_or_path", ""))
    assert not {"training_args.bin", "vocab.bin"} & {path.name for path in Path(job.output).iterdir()}
    tokenizer = json.loads((Path(job.output) / "tokenizer_config.json").read_text())
    assert "local_files_only" not in tokenizer
    assert tokenizer["model_max_length"] == 24  # the longest text has 21 words, a start and an end


def test_a_row_that_the_data_does_not_use_stays_as_it_was(make_job, tmp_path, tiny_base):
    job = make_job(epochs=1)
    train(job, tmp_path / "job")
    before = weights(tiny_base)["embeddings.word_embeddings.weight"]
    after = weights(job.output)["bert.embeddings.word_embeddings.weight"]
    assert after.shape == before.shape
    assert bool((before[-500:] == after[-500:]).all())
    assert not bool((before[5:8] == after[5:8]).any())


def test_the_head_method_changes_nothing_but_the_head(make_job, tmp_path, tiny_base):
    job = make_job(method="head", learning_rate="auto", epochs=8)
    report = train(job, tmp_path / "job")
    before, after = weights(tiny_base), weights(job.output)
    assert all(bool((value == after[f"bert.{name}"]).all()) for name, value in before.items())
    assert report.best_metric > 0.5  # a random base's features; chance is a third
    assert accuracy(job) == pytest.approx(report.best_metric)


def test_a_diverging_loss_fails_with_advice(make_job, tmp_path):
    with pytest.raises(TrainingFailed, match=r"the loss became .* at step") as failure:
        train(make_job(learning_rate=1e30, max_grad_norm=0), tmp_path / "job")
    assert "learning_rate" in failure.value.fix


@pytest.mark.parametrize(("checked", "says"), [(True, "answers on validation"), (False, "trained weights")])
def test_weights_that_the_last_step_broke_are_no_model(make_job, tmp_path, checked, says):
    rows = [("red", "red"), ("blue", "blue")]
    job = make_job(
        train=rows * 2,
        validation=rows if checked else [],
        labels=("blue", "red"),
        epochs=1,
        learning_rate=1e39,
        warmup=0,
        max_grad_norm=0,
    )
    with pytest.raises(TrainingFailed, match=says):
        train(job, tmp_path / "job")


def test_two_rows_are_enough_to_run(make_job, tmp_path):
    job = make_job(train=[("red", "red"), ("blue", "blue")], validation=[], labels=("blue", "red"))
    report = train(job, tmp_path / "job")
    assert report.steps == 4
    assert report.best_metric is None


@pytest.mark.parametrize(
    ("rows", "labels", "said"),
    [([("red", "red")] * 5, ("red",), "fewer than two labels: 'red'"), ([], ("blue", "red"), "no rows to train on")],
)
def test_data_that_cannot_train_a_classifier_is_refused(make_job, tmp_path, rows, labels, said):
    with pytest.raises(DataError, match=said):
        train(make_job(train=rows, labels=labels), tmp_path / "job")


OPTIONS = {
    "label_smoothing": 0.2,
    "class_weights": "balanced",
    "weight_decay": 0.9,
    "seed": 5,
    "warmup": 0.5,
    "max_grad_norm": 0.01,
    "max_length": 4,
    "batch_size": 5,
    "learning_rate": 1e-3,
    "precision": "bf16",
}
UNEVEN = {"train": [("red", "red")] * 40 + [("green word1 word2 word3", "green"), ("blue", "blue")], "validation": []}


@pytest.mark.slow
def test_every_option_has_an_effect_on_the_model(make_job, tmp_path):
    plain = make_job(output="plain", epochs=2, **UNEVEN)
    train(plain, tmp_path / "plain-job")
    for name, value in OPTIONS.items():
        changed = make_job(output=name, **UNEVEN, **({"epochs": 2} | {name: value}))
        train(changed, tmp_path / f"{name}-job")
        before, after = (weights(job.output)["bert.pooler.dense.weight"] for job in (plain, changed))
        assert not bool((before == after).all()), name


def test_a_length_beyond_the_base_is_refused(make_job, tmp_path):
    with pytest.raises(UsageError, match="max_length 65 is more than the 64 tokens"):
        train(make_job(max_length=65), tmp_path / "job")


def test_an_architecture_without_the_task_is_refused(make_job, tmp_path, tiny_base):
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in tiny_base.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config | {"model_type": "no-such-thing"}))
    with pytest.raises(ModelError, match="cannot be loaded"):
        train(make_job(base=broken), tmp_path / "job")


def test_checkpoints_by_steps_are_counted_and_their_cost_is_known(make_job, tmp_path):
    written = []

    class Hears(StopsAt):
        def saved(self, step: int) -> None:
            written.append(step)

    from contender.training.finetune import finetune

    job = make_job(epochs=2, early_stopping=0)
    (tmp_path / "job").mkdir()
    report = finetune(job, tmp_path / "job", Hears(None), Attempt.model_validate({"checkpoint": {"steps": 5}}))
    assert written == [5, 10, 15, 20, 25, 30, 35]
    assert report.checkpoints == 7
    assert 0 < report.figures()["checkpoint_share"] < 1
    assert report.checkpoint_seconds < report.seconds


def test_what_earlier_attempts_wrote_counts_too(make_job, tmp_path):
    job = make_job(epochs=2)
    with pytest.raises(Stopped):
        train(job, tmp_path / "job", 12, checkpoint={"steps": 5})
    report = train(job, tmp_path / "job", number=2)
    assert (report.checkpoints, report.attempt, report.resumed_from_step) == (3, 2, 12)


@pytest.mark.slow
def test_a_training_resumed_behind_its_best_epoch_in_another_folder_ends_with_the_same_files(make_job, tmp_path):
    options = {"epochs": 40, "early_stopping": 2, "learning_rate": 1e-2}
    whole, stopped = make_job(output="whole", **options), make_job(output="stopped", **options)
    undisturbed = train(whole, tmp_path / "job1")
    assert undisturbed.stopped_early
    with pytest.raises(Stopped):  # one evaluation behind the best one: half of the patience is used
        train(stopped, tmp_path / "job2", undisturbed.best_step + 19 + 5)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "job2/checkpoints").rename(elsewhere / "checkpoints")
    moved = make_job(output="moved", **options)
    report = train(moved, elsewhere)
    assert report.resumed_from_step > undisturbed.best_step
    assert (report.steps, report.best_step, report.best_metric) == (
        undisturbed.steps,
        undisturbed.best_step,
        undisturbed.best_metric,
    )
    assert describe_files(Path(whole.output)) == describe_files(Path(moved.output))


def test_smaller_parts_of_a_step_train_the_same_model_and_say_so(make_job, tmp_path):
    whole, parts = make_job(output="whole", epochs=2), make_job(output="parts", epochs=2)
    one, other = train(whole, tmp_path / "job1"), train(parts, tmp_path / "job2", micro_batch_size=2)
    assert (one.steps, one.micro_batch_size, one.notes) == (38, 8, ())
    assert (other.steps, other.micro_batch_size) == (38, 2)
    assert other.notes == ("memory held 2 examples at once; gradients were added up to steps of 8",)
    curves = [[point.loss for point in report.curve if point.loss is not None] for report in (one, other)]
    assert curves[0][0] == pytest.approx(curves[1][0], rel=0.2)  # dropout differs: other numbers are drawn
    assert other.best_metric == pytest.approx(one.best_metric, abs=0.1)


def test_a_checkpoint_continues_with_smaller_parts_of_a_step(make_job, tmp_path):
    job = make_job(epochs=2)
    with pytest.raises(Stopped):
        train(job, tmp_path / "job", 12)
    report = train(job, tmp_path / "job", micro_batch_size=4, number=2)
    assert (report.resumed_from_step, report.steps, report.micro_batch_size) == (12, 38, 4)


def test_a_model_with_batch_normalisation_is_told_that_its_statistics_change(make_job):
    from types import SimpleNamespace

    import torch

    from contender.training.finetune import _notes

    job = make_job(batch_size=8)
    prepared = SimpleNamespace(
        processor=None,
        train=SimpleNamespace(column_names=[]),
        trained=torch.nn.Sequential(torch.nn.Conv1d(1, 1, 1), torch.nn.BatchNorm1d(1)),
    )
    assert list(_notes(job, prepared, Attempt())) == []
    assert "statistics" in list(_notes(job, prepared, Attempt(micro_batch_size=2)))[1]


def test_deterministic_algorithms_are_asked_for(make_job, tmp_path):
    import torch

    try:
        train(make_job(epochs=1, deterministic=True), tmp_path / "job")
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
