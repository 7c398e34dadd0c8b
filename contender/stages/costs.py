"""What a trial's model costs: the time that an answer of it takes, its size, and the time that it was trained for.

Minutes lie between two trials, and in some of them a machine has other work: the same model took 42 ms, and another time 64 ms. So each is
timed in turn with the first one's model, and its latency is that one's times the median of the ratios.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence

from contender.records import SplitReport, TrainReport
from contender.registry.releases import model_files
from contender.run import Run
from contender.searching import TriedTrial
from contender.stages.compress import unreleased
from contender.stages.model import serving
from contender.stages.timing import time_apart
from contender.workspace import Staged

EFFORT = (200, 5.0)  # examples, and seconds


def yardstick(trials: Sequence[TriedTrial]) -> TriedTrial | None:
    """The trial whose model others are timed beside: the first that finished; None before."""
    return next((trial for trial in trials if trial.model is not None), None)


def costs_of(
    run: Run,
    model: Staged[TrainReport],
    split: Staged[SplitReport],
    on: str,
    names: Collection[str],
    before: Sequence[TriedTrial],
) -> dict[str, float]:
    """Those of the costs that are named: the median latency in milliseconds, of rows of a set one at a time, megabytes, and seconds.

    `before`: the trials before this one.
    """
    measures = {
        "latency_ms": lambda: _latency(run, model, split, on, yardstick(before)),
        "size_mb": lambda: sum(file.size for file in model_files(model.folder / "model")) / 1e6,
        "train_seconds": lambda: model.record.seconds,
    }
    return {name: measures[name]() for name in names}


def _latency(
    run: Run, model: Staged[TrainReport], split: Staged[SplitReport], on: str, first: TriedTrial | None
) -> float:
    from contender.evaluation.latency import summarise, timings_table

    device, _ = serving()
    folders, rows = [model.folder / "model"], split.folder / f"{on}.arrow"
    beside = run.workspace.stage_folder("train", first.model) / "model" if first and first.model else None
    if beside is not None and beside.is_dir():
        folders.append(beside)
    timed = [unreleased(run, split, "trained")] * len(folders)
    with run.hold_device() as environment:
        times = time_apart(timed, folders, rows, EFFORT, device, os.environ | environment)
    found = summarise(timings_table(times), device)
    return (
        found.challenger_median.ms if first is None or found.ratio is None else first.costs["latency_ms"] * found.ratio
    )
