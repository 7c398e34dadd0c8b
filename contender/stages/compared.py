"""What is measured of every base that is compared: how sure its score is, and what serving it takes."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

from contender.errors import UsageError
from contender.evaluation.scope import with_scope
from contender.records import SplitReport
from contender.run import Run
from contender.selectionspec import Selection
from contender.stages.blind import ON
from contender.stages.compress import unreleased
from contender.stages.latency import timed
from contender.stages.model import serving
from contender.training.devices import computing_on
from contender.workspace import Staged

FEWEST_FOR_BOUNDS = 20  # rows
RESAMPLES = 1000


def selection_of(run: Run) -> Selection:
    """What the spec says of it; UsageError where it names one base."""
    if run.pipeline.spec.selection is None:
        raise UsageError("the spec names one base, and there is nothing to select", "Name several under model.base.")
    return run.pipeline.spec.selection


def measured(run: Run, outcomes: Path, rows: Staged[SplitReport], model: Path) -> dict[str, Any]:
    """Bounds of the score, and what serving the model takes."""
    import pyarrow.parquet as pq

    table = with_scope(pq.read_table(outcomes), run.pipeline.spec.evaluate.out_of_scope)
    latency, device = _latency(run, rows, model)
    found: dict[str, Any] = {}
    files = list(model.glob("*.safetensors"))
    primary = run.pipeline.spec.evaluate.metrics[0]
    if run.pipeline.spec.model.asked:
        from contender.evaluation.metrics import compute

        asked = asked_rows(rows.folder / f"{ON}.arrow", selection_of(run).api_rows)
        found["asked_score"] = compute(table.take(asked), [primary])[primary]
    return {
        **found,
        **bounds_of(primary, table),
        "rows": table.num_rows,
        "latency_ms": latency,
        "device": device,
        "megabytes": sum(path.stat().st_size for path in files) / 1e6,
        "parameters": sum(map(_parameters, files)),
    }


def asked_rows(rows: Path, most: int) -> Any:
    """(most,) int64: which rows of a row file bases of api: are asked, by the hash of their keys alone."""
    import numpy as np

    from contender.data.fractions import mixed
    from contender.data.setfile import KEY
    from contender.evaluation.evaluate import read_columns

    order = np.argsort(mixed(read_columns(rows, [KEY]).column(0).to_numpy()), kind="stable")
    return np.sort(order[:most])


def bounds_of(metric: str, outcomes: Any) -> dict[str, float]:
    """`low` and `high` of a metric at 95%, from how rows differ; {} where there are too few of them."""
    from contender.evaluation.metrics import metric as metric_named
    from contender.evaluation.outcomes import from_table
    from contender.judging.resampling import bootstrap

    if outcomes.num_rows < FEWEST_FOR_BOUNDS:
        return {}
    keys = outcomes.column("key").to_numpy()
    low, high = bootstrap(metric, from_table(outcomes), keys=keys, resamples=RESAMPLES).bounds(0.025)
    if (low, high) == metric_named(metric).span:  # every row is right, or every one wrong: how rows differ says nothing
        return {}
    return {"low": low, "high": high}


def _latency(run: Run, rows: Staged[SplitReport], model: Path) -> tuple[float, str]:
    """Median milliseconds of one prediction, and what it was measured on."""
    from contender.evaluation.latency import GLANCE, summarise, timings_table

    device, _ = serving()
    manifest = unreleased(run, rows, "compared")
    with run.hold_device() as environment, computing_on(environment):
        times = timed([manifest], [model], rows.folder / f"{ON}.arrow", GLANCE, device)
    return summarise(timings_table(times), device).challenger_median.ms, device


def _parameters(weights: Path) -> int:
    """Numbers in a safetensors file, by its header."""
    with weights.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header = json.loads(stream.read(length))
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
