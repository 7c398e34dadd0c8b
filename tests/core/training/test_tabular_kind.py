"""Tables: what the model learns, how its training resumes, and what its release answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pytest
from fitting import train

from contender.errors import DataError, UsageError
from contender.evaluation.metrics import compute
from contender.files import describe_files
from contender.kinds import kind
from contender.models import resolve_base
from contender.records import ReleaseManifest
from contender.training.monitor import Stopped
from contender.training.options import Job, TrainOptions

pytestmark = pytest.mark.slow

TASK = "tabular-classification"
FEATURES = ("age", "job", "same")


def write_table(path: Path, rows: int, seed: int) -> Path:
    """Rows whose label follows from a number that is missing now and then, or else from a category."""
    random = np.random.default_rng(seed)
    ages = random.integers(0, 100, rows)
    jobs = np.array(["clerk", "cook", "pilot"])[random.integers(0, 3, rows)]
    missing = random.random(rows) < 0.2
    rare = np.where(missing, jobs == "pilot", (ages > 80) | (jobs == "cook") & (ages < 20))
    table = pa.table(
        {
            "label": np.where(rare, "yes", "no").tolist(),
            "age": [None if gone else str(age) for age, gone in zip(ages, missing, strict=True)],
            "job": jobs.tolist(),
            "same": ["x"] * rows,
            "_key": pa.array(range(rows), pa.uint64()),
        }
    )
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return path


@pytest.fixture(scope="module")
def job_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Job]:
    folder = tmp_path_factory.mktemp("table")
    base = resolve_base("builtin:tabular", folder)
    rows = write_table(folder / "train.arrow", 600, 1), write_table(folder / "validation.arrow", 300, 2)

    def make(output: str = "model", **options: Any) -> Job:
        settings = {"epochs": 3, "batch_size": 16, "early_stopping": 0, "precision": "fp32", "learning_rate": 5e-3}
        return Job(
            task=TASK,
            base=base.path,
            base_digest=base.digest,
            method="full",
            columns={"label": "label"},
            labels=("no", "yes"),
            features=FEATURES,
            positive="yes",
            options=TrainOptions.model_validate(settings | options),
            primary_metric="average_precision",
            train=str(rows[0]),
            validation=str(rows[1]),
            output=str(folder / output),
        )

    return make


@pytest.fixture(scope="module")
def trained(job_of: Callable[..., Job], tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Any]:
    job = job_of(epochs=6)
    return job, train(job, tmp_path_factory.mktemp("job"))


def test_it_learns_from_numbers_categories_and_what_is_missing(trained: tuple[Job, Any]) -> None:
    job, report = trained
    assert report.best_metric > 0.95
    assert report.notes == ("not read, as all training rows hold the same: 'same'",)
    outcomes = kind(TASK).predict(Path(job.output), Path(job.validation))
    found = compute(outcomes, ["average_precision", "accuracy"])
    assert found["average_precision"] == pytest.approx(report.best_metric)
    assert found["accuracy"] > 0.9
    assert outcomes["row"].to_pylist() == outcomes["key"].to_pylist() == list(range(300))
    positive = [label == "yes" for label in outcomes["label"].to_pylist()]
    assert outcomes["positive"].to_pylist() == [float(one) for one in positive]


@pytest.mark.parametrize("stop_at", [7, 50])
def test_a_resumed_training_of_a_table_ends_with_the_same_files(
    job_of: Callable[..., Job], tmp_path: Path, stop_at: int
) -> None:
    whole, stopped = job_of(f"whole-{stop_at}", epochs=2), job_of(f"stopped-{stop_at}", epochs=2)
    train(whole, tmp_path / "job1")
    with pytest.raises(Stopped):
        train(stopped, tmp_path / "job2", stop_at)
    assert train(stopped, tmp_path / "job2").resumed_from_step == stop_at
    assert describe_files(Path(whole.output)) == describe_files(Path(stopped.output))


@pytest.mark.parametrize(
    ("config", "says"),
    [({"hidden": 8}, "did you mean 'hidden_size'"), ({"members": 0}, "members is 0"), ({"dropout": 2}, "dropout is 2")],
)
def test_sizes_of_the_model_are_those_that_it_has(
    job_of: Callable[..., Job], config: dict[str, Any], says: str
) -> None:
    job = job_of()
    rows = datasets.Dataset.from_file(job.train)
    encoder = kind(TASK).processor_for(job, rows)
    assert kind(TASK).model_for(job.model_copy(update={"config": {"members": 2}}), encoder).scales.shape[0] == 2
    with pytest.raises(UsageError, match=says):
        kind(TASK).model_for(job.model_copy(update={"config": config}), encoder)


def manifest(columns: dict[str, str]) -> ReleaseManifest:
    return ReleaseManifest.model_construct(
        release="r-1", kind=TASK, columns={"label": "outcome", **columns}, label_names=("no", "yes"), lineage={}
    )


def test_a_release_answers_rows_as_evaluation_does(trained: tuple[Job, Any]) -> None:
    folder = Path(trained[0].output)
    model = kind(TASK).load(folder, manifest({"age": "age", "job": "job"}), "cpu")
    model.warm_up()
    rows = [{"age": 95, "job": "clerk", "more": 1}, {"age": None, "job": "pilot"}, {"age": "50", "job": "never seen"}]
    answers = model.predict(rows)
    assert [answer.label for answer in answers] == ["yes", "yes", "no"]
    assert sum(answers[0].scores.values()) == pytest.approx(1, abs=1e-6)
    assert model.predict([rows[0]], batch_size=1)[0].score == pytest.approx(answers[0].score, abs=1e-6)
    assert model.predict([{"age": float("inf"), "job": "clerk"}])[0].label == "yes"
    assert kind(TASK).inputs(model.manifest) == ["age", "job"]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"job": "cook"}, "input 0 has no column 'age'; it has 'job'"),
        ({"age": "old", "job": "cook"}, "'old' in column 'age', where the model was trained on numbers"),
        ("age 5", "no row of a table: it is of type str"),
    ],
)
def test_an_input_that_is_no_row_of_the_table_is_refused(trained: tuple[Job, Any], row: Any, says: str) -> None:
    model = kind(TASK).load(Path(trained[0].output), manifest({"age": "age", "job": "job"}), "cpu")
    with pytest.raises(UsageError, match=says):
        model.predict([row])


def test_held_out_rows_without_a_column_of_the_model_are_refused(trained: tuple[Job, Any], tmp_path: Path) -> None:
    table = pa.table({"label": ["no"], "age": ["1"], "_key": pa.array([1], pa.uint64())})
    with pa.OSFile(str(tmp_path / "rows.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(DataError, match=r"rows.arrow has no column job"):
        kind(TASK).predict(Path(trained[0].output), tmp_path / "rows.arrow")


def test_transformers_loads_a_release_for_whoever_imports_contender(trained: tuple[Job, Any]) -> None:
    from transformers import AutoConfig, AutoModel

    assert AutoConfig.from_pretrained(trained[0].output).positive == "yes"
    assert type(AutoModel.from_pretrained(trained[0].output)).__name__ == "TabularModel"
