"""Which number format trains fastest here: measured, because no flag of a CPU or GPU tells.

bf16 doubles the speed on CPUs with AMX and halves it on others. On a GPU a large model takes a fifth of the time in it, and a small
one half as much again: that one waits for kernels to be started, and autocast starts more of them. Parameters, moments and the saved
model are fp32 either way; only the arithmetic of forward and backward passes changes. What was measured is remembered for this
machine, since near the border a neighbour's load would decide, and two trainings of the same rows would end with other bytes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from contender.canonical import digest
from contender.errors import UsageError
from contender.files import write_durably
from contender.machine import cache_folder
from contender.records import Record
from contender.training.memory import is_out_of_memory
from contender.training.options import Precision

MEASURED_STEPS = 3
WORTH_MEASURING = 60  # steps: a shorter job would spend more on measuring than it could gain
CLEARLY_FASTER = 1.1  # a smaller gain is within the noise of a shared machine and not worth another rounding


class Measured(Record):
    """What a measurement came to."""

    precision: Precision
    reason: str


def choose_precision(
    asked: str, device: Any, steps: int, one_step: Callable[[bool], None], about: dict[str, Any]
) -> tuple[Precision, str]:
    """The precision to train in, and why. `one_step(bf16)` runs one forward and backward pass that changes nothing.

    `about` is what the speed of a step depends on, beside this machine: base, batch size, length.
    """
    import torch

    if asked == "fp16" and device.type != "cuda":
        raise UsageError(
            f"precision fp16 needs a CUDA device and this machine computes on {device.type}",
            "Set train.precision: auto.",
        )
    if asked != "auto":
        return _named(asked), "asked for"
    if device.type == "cuda":
        if not torch.cuda.is_bf16_supported(including_emulation=False):
            return "fp32", "this CUDA device has no bf16"
        if steps < WORTH_MEASURING:
            return "bf16", f"{steps} steps are too few to be worth a measurement, and bf16 takes less memory"
        return _once(about | {"gpu": torch.cuda.get_device_name(device)}, one_step)
    if device.type != "cpu":
        return "fp32", f"the only one that is dependable on {device.type}"
    if steps < WORTH_MEASURING:
        return "fp32", f"{steps} steps are too few to be worth a measurement"
    return _once(about, one_step)


def _named(asked: str) -> Precision:
    return "bf16" if asked == "bf16" else "fp16" if asked == "fp16" else "fp32"


def _once(about: dict[str, Any], one_step: Callable[[bool], None]) -> tuple[Precision, str]:
    """As measured on this machine before, or now."""
    import torch

    versions = {
        "torch": torch.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "cores": torch.get_num_threads(),
    }
    kept = cache_folder() / "precision" / f"{digest(about | versions)[:32]}.json"
    with suppress(OSError, ValueError):
        found = Measured.from_bytes(kept.read_bytes())
        return found.precision, f"{found.reason}, on this machine before"
    precision, reason = _measured(one_step)
    with suppress(OSError):  # a home that cannot be written costs a measurement a training
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_durably(kept, Measured(precision=precision, reason=reason).to_bytes())
    return precision, reason


def _measured(one_step: Callable[[bool], None]) -> tuple[Precision, str]:
    """Interleaved, so that a neighbour's load falls on both; the median, so that one hiccup decides nothing."""
    times: dict[bool, list[float]] = {True: [], False: []}
    for warm in (False, *([True] * MEASURED_STEPS)):
        for bf16, seconds in times.items():
            started = time.perf_counter()
            try:
                one_step(bf16)
            except RuntimeError as error:
                if bf16 or not is_out_of_memory(error):
                    raise
                return "bf16", "measured: a step in fp32 does not fit into memory"
            if warm:
                seconds.append(time.perf_counter() - started)
    whole, half = statistics.median(times[False]), statistics.median(times[True])
    sentence = f"measured: {half * 1000:.0f} ms a step in bf16, {whole * 1000:.0f} ms in fp32"
    return ("bf16", sentence) if whole > CLEARLY_FASTER * half else ("fp32", sentence)
