"""A smaller model learns from a trained one: what it learns, and that it is the same however often the training was interrupted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from tiny import COLOURS
from torch.nn.functional import cross_entropy

from contender.files import describe_files
from contender.kinds.text_classification import KIND
from contender.store import LocalStore
from contender.training.distilling import ANSWERS, carrying, distilling, with_answers
from contender.training.launcher import Attempts, CheckpointOptions, run_job
from contender.training.options import Job, Teacher


class Outputs:
    def __init__(self, logits: torch.Tensor) -> None:
        self.logits = logits


def teacher(folder: Path, **softness: float) -> Teacher:
    return Teacher(folder=str(folder), digest="d", **({"temperature": 2.0, "alpha": 0.5} | softness))


@pytest.fixture
def wise(make_job: Callable[..., Job], tiny_base: Path, tmp_path: Path) -> Path:
    """A model that was not trained and has answers of its own."""
    torch.manual_seed(3)
    model = KIND.load_model(tiny_base, sorted(COLOURS))
    model.classifier.weight.data.mul_(50)
    model.save_pretrained(tmp_path / "wise")
    KIND.load_processor(tiny_base).save_pretrained(tmp_path / "wise")
    return tmp_path / "wise"


def answers_of(job: Job, wise: Path, path: Path, at_once: int = 64) -> datasets.Dataset:
    rows = datasets.Dataset.from_file(job.train)
    told: list[torch.Tensor] = []
    found = with_answers(job, teacher(wise), KIND, rows, rows, path, "cpu", at_once, lambda: told.append(torch.rand(1)))
    assert bool(told) is not path.with_suffix(".known").exists()
    path.with_suffix(".known").touch()
    return found


def test_the_loss_is_hintons_and_counts_rows_and_not_numbers() -> None:
    torch.manual_seed(0)
    ours, theirs, ids = torch.randn(5, 3), torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    labels = torch.cat([ids.float().unsqueeze(1), theirs], dim=1)

    def hard(outputs: Any, labels: Any, count: Any = None) -> Any:
        return cross_entropy(outputs.logits, labels, reduction="sum") / (len(labels) if count is None else count)

    loss = distilling(teacher(Path(), temperature=3.0, alpha=0.25), hard)
    wanted, found = (theirs / 3).softmax(-1), (ours / 3).softmax(-1)
    divergence = (wanted * (wanted / found).log()).sum(-1).mean()
    expected = 0.25 * 9 * divergence + 0.75 * cross_entropy(ours, ids)
    assert torch.isclose(loss(Outputs(ours), labels), expected)
    counted = (labels != -100).sum()  # as the Trainer counts the items of a step
    assert torch.isclose(loss(Outputs(ours), labels, counted), expected)
    assert torch.isclose(loss(Outputs(ours), ids), cross_entropy(ours, ids)), "validation has no teacher"


def test_answers_follow_their_rows_and_are_computed_once(make_job: Any, wise: Path, tmp_path: Path) -> None:
    job = make_job()
    found = answers_of(job, wise, tmp_path / "answers.arrow")
    again = answers_of(job, wise, tmp_path / "answers.arrow")
    model, tokenizer = KIND.load_model(wise, job.labels).eval(), KIND.load_processor(wise)
    for row in (0, 7, 149):
        with torch.inference_mode():
            alone = model(**tokenizer(found[row]["text"], return_tensors="pt")).logits[0].numpy()
        assert np.allclose(found[row][ANSWERS], alone, atol=1e-4)
        assert again[row][ANSWERS] == found[row][ANSWERS]
    assert found.num_rows == 150


def test_answers_draw_nothing_that_the_training_would_draw(make_job: Any, wise: Path, tmp_path: Path) -> None:
    job = make_job()
    torch.manual_seed(1)
    answers_of(job, wise, tmp_path / "answers.arrow")
    first = torch.rand(1)
    torch.manual_seed(1)
    answers_of(job, wise, tmp_path / "answers.arrow")
    assert torch.equal(first, torch.rand(1))


def test_a_batch_carries_the_answers_behind_the_class() -> None:
    def collate(examples: Any) -> dict[str, Any]:
        return {"labels": torch.tensor([one["labels"] for one in examples])}

    batch = carrying(collate)([{"labels": 2, ANSWERS: [1.0, 2.0]}, {"labels": 0, ANSWERS: [3.0, 4.0]}])
    assert batch["labels"].tolist() == [[2.0, 1.0, 2.0], [0.0, 3.0, 4.0]]
    assert carrying(collate)([{"labels": 1}])["labels"].tolist() == [1]


def run(job: Job, folder: Path, **options: Any) -> None:
    run_job(job, folder / "job", Attempts(LocalStore(folder), "k"), **options)


@pytest.mark.slow
def test_a_student_takes_over_what_only_its_teacher_says(make_job: Any, wise: Path, tmp_path: Path) -> None:
    """With alpha 1 the labels say nothing: the student ends as its teacher answers, right or wrong."""
    job = make_job(epochs=5, validation=[]).model_copy(update={"teacher": teacher(wise, alpha=1.0)})
    run(job, tmp_path)
    rows = datasets.Dataset.from_file(job.train)["text"][:]
    theirs, ours = (KIND._classifier(folder).probabilities(rows, 64) for folder in (wise, Path(job.output)))
    assert (theirs.argmax(-1) == ours.argmax(-1)).mean() > 0.95
    assert np.abs(theirs - ours).mean() < 0.1, "also how sure it is"


@pytest.mark.slow
def test_a_distillation_that_was_killed_ends_with_the_same_bytes(make_job: Any, wise: Path, tmp_path: Path) -> None:
    job = make_job(epochs=3).model_copy(update={"teacher": teacher(wise)})
    run(job, tmp_path / "calm")
    calm = describe_files(Path(job.output))
    killed: list[int] = []

    def kill(progress: Any) -> None:
        import os
        import signal

        import psutil

        if progress.checkpoint and not killed:
            killed.append(progress.checkpoint)
            for child in psutil.Process().children():
                with suppress(psutil.Error):  # another child of this process may just have ended
                    if "contender.training.job" in child.cmdline():
                        os.kill(child.pid, signal.SIGKILL)

    shutil.rmtree(job.output)
    run(job, tmp_path / "killed", checkpoint=CheckpointOptions(steps=15), max_recoveries=1, on_progress=kill)
    assert killed
    assert describe_files(Path(job.output)) == calm


@pytest.mark.slow
def test_a_student_learns_in_parts_of_a_step_too(make_job: Any, wise: Path, tmp_path: Path) -> None:
    """What the Trainer counts over several parts of a step is divided by the rows of all of them."""
    from contender.training.finetune import finetune
    from contender.training.monitor import Monitor, Stop
    from contender.training.options import Attempt

    class Quiet:
        def say(self, **_: Any) -> None: ...

    losses = []
    for at_once in (8, 4):
        job = make_job(epochs=1, output=f"model-{at_once}").model_copy(update={"teacher": teacher(wise)})
        folder = tmp_path / f"job-{at_once}"
        folder.mkdir()
        report = finetune(job, folder, Monitor(Quiet(), Stop()), Attempt(micro_batch_size=at_once))  # type: ignore[arg-type]
        losses.append(next(point.loss for point in report.curve if point.loss is not None))
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
