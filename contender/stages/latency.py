"""How long the challenger's answers take beside the champion's, on the machine that evaluates them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from contender.kinds import kind
from contender.names import TASKS
from contender.plan import stage_key
from contender.records import ReleaseManifest, SplitReport
from contender.run import Run
from contender.stages.lineage import is_quantised
from contender.stages.model import fetch_release, serving
from contender.stages.telling import staged
from contender.training.devices import computing_on, hardware
from contender.workspace import Staged

if TYPE_CHECKING:
    import pyarrow as pa

    from contender.evaluation.latency import Latency, Quantile

TIMINGS = (
    "timings.parquet"  # milliseconds, one row for each example; columns challenger and, where there is one, champion
)


def measure_latency(
    run: Run,
    challenger: ReleaseManifest,
    champion: ReleaseManifest | None,
    split: Staged[SplitReport],
    name: str,
    glance: bool = False,
) -> Staged[Latency]:
    """Timings of both releases on examples of one set, one at a time; TIMINGS in its folder holds each of them.

    `glance`: no guard judges by it, and it may take some seconds at most. DataError where the set has no rows, ModelError where a release
    cannot be loaded.
    """
    from contender.evaluation import latency

    releases = [challenger, *([champion] if champion else [])]
    quantised = any(map(is_quantised, releases))  # then on CPUs alone, and what is compared is timed beside it
    device, dtype = serving(quantised)
    count, seconds = latency.GLANCE if glance else (latency.EXAMPLES, latency.SECONDS)
    key = stage_key(
        run.pipeline,
        "latency",
        challenger=challenger.digest,
        champion=champion.digest if champion else None,
        set=split.record.digests[name],
        device=device,
        dtype=dtype,
        effort=[count, seconds],
    )

    def compute(folder: Path) -> Latency:
        import pyarrow.parquet as pq
        import torch

        folders = [fetch_release(run, release) for release in releases]
        rows = split.folder / f"{name}.arrow"
        with run.hold_device() as environment, computing_on(environment):
            times = timed(releases, folders, rows, (count, seconds), device)
            on = hardware(torch.device(device))
        timings = latency.timings_table(times)
        pq.write_table(timings, folder / TIMINGS, compression="zstd")
        return latency.summarise(timings, device, hardware=on)

    return staged(run, "latency", key, latency.Latency, compute, latency_text)


def timed(
    models: Sequence[ReleaseManifest], folders: Sequence[Path], rows: Path, effort: tuple[int, float], device: str
) -> dict[int, list[float]]:
    """Milliseconds of each answer of the models in `folders` to rows of a row file, by their place, in turn on the same rows.

    effort: examples and seconds at most. DataError where the file has no rows, ModelError where a model cannot be loaded.
    """
    from contender.evaluation import latency

    of = kind(models[0].kind)
    examples = latency.draw_examples(rows, of.inputs(models[0]), models, effort[0])
    if TASKS[of.task].media:
        from contender.data.media import with_bytes

        examples = [with_bytes(own, rows) for own in examples]
    loaded = [kind(one.kind).load(place, one, device) for one, place in zip(models, folders, strict=True)]
    return latency.time_models(loaded, examples, effort[1])


def read_timings(folder: Path) -> pa.Table:
    """The milliseconds that `measure_latency` kept."""
    import pyarrow.parquet as pq

    return pq.read_table(folder / TIMINGS)


def latency_text(found: Latency) -> str:
    """The measure in one line: median and 95th percentile of both, and their ratio."""
    over = f"over {found.examples:,} example{'' if found.examples == 1 else 's'}"
    ours = f"median {_shown(found.challenger_median)}, p95 {_shown(found.challenger_p95)}"
    if found.champion_median is None or found.champion_p95 is None or found.ratio is None:
        return f"{ours}, {over}"
    theirs = f"champion {_shown(found.champion_median)}, p95 {_shown(found.champion_p95)}"
    if found.ratio_low is None or found.ratio_high is None:
        return f"{ours}; {theirs}, {over}: too few to compare"
    return f"{ours}; {theirs}; ratio {found.ratio:.2f} ({found.ratio_low:.2f} to {found.ratio_high:.2f}), {over}"


def _shown(quantile: Quantile) -> str:
    from contender.evaluation.latency import milliseconds

    return f"{milliseconds(quantile.ms)} ms"
