"""Tiny models and data for the tests of training: seconds each, and real in every part."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from tiny import COLOURS, FILLER

from contender.models import resolve_base
from contender.training.options import Job, LoraOptions, TrainOptions


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tiny models gain nothing from more, and lose a hundredfold where another process wants the cores.

    A training in this process leaves it as it was: without denormal numbers, Hypothesis refuses to make floats.
    """
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


Row = tuple[str, str]


def coloured(count: int, seed: int = 0) -> list[Row]:
    """Texts whose label is the one colour that they name."""
    dice = random.Random(seed)
    rows = []
    for number in range(count):
        colour = COLOURS[number % len(COLOURS)]
        words = dice.sample(FILLER, dice.randint(1, 20 if number % 50 == 0 else 6))
        words.insert(dice.randrange(len(words) + 1), colour)
        rows.append((" ".join(words), colour))
    return rows


def write_rows(path: Path, rows: Iterable[Row]) -> Path:
    """A row file as the split writes it."""
    rows = list(rows)
    table = pa.table(
        {
            "text": pa.array([text for text, _ in rows], pa.string()),
            "label": pa.array([label for _, label in rows], pa.string()),
            "_key": pa.array(range(len(rows)), pa.uint64()),
        }
    )
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=100)
    return path


MakeJob = Callable[..., Job]


@pytest.fixture
def rows_file(tmp_path: Path) -> Callable[[str, Iterable[Row]], Path]:
    return lambda name, rows: write_rows(tmp_path / name, rows)


@pytest.fixture
def coloured_rows() -> Callable[..., list[Row]]:
    return coloured


@pytest.fixture
def make_job(tmp_path: Path, tiny_base: Path) -> MakeJob:
    """A job on coloured texts; every part can be replaced, and `options` are TrainOptions."""

    def make(
        train: list[Row] | None = None,
        validation: list[Row] | None = None,
        labels: tuple[str, ...] = tuple(sorted(COLOURS)),
        base: str | Path | None = None,
        method: str = "full",
        output: str = "model",
        init: str = "pretrained",
        config: dict[str, object] | None = None,
        lora: dict[str, object] | None = None,
        **options: object,
    ) -> Job:
        resolved = resolve_base(str(base or tiny_base), tmp_path, weights=init == "pretrained")
        settings = {"epochs": 4, "batch_size": 8, "learning_rate": 5e-3, "precision": "fp32"}
        settings |= {"head_learning_rate": 5e-3, **options}  # a random base teaches its head nothing
        return Job(
            task="text-classification",
            base=resolved.path,
            base_digest=resolved.digest,
            init=init,
            config=config or {},
            method=method,
            lora=LoraOptions.model_validate(lora or {}),
            columns={"text": "body", "label": "intent"},
            labels=labels,
            options=TrainOptions.model_validate(settings),
            primary_metric="accuracy",
            train=str(write_rows(tmp_path / "train.arrow", coloured(150) if train is None else train)),
            validation=str(
                write_rows(tmp_path / "validation.arrow", coloured(45, 1) if validation is None else validation)
            ),
            output=str(tmp_path / output),
        )

    return make
