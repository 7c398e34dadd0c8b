"""What a device drew, by its own counters: all of it, whatever else it did meanwhile. Many devices tell nothing.

GPUs of NVIDIA: the total that NVML tells, since Volta. Processors of Intel and AMD under Linux: the zones of powercap (RAPL), which
only root reads on most machines; a package's counter starts anew after some hundred kilojoules, less than an hour under load.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Source = Literal["nvml", "rapl"]

POWERCAP = Path("/sys/class/powercap")
ZONE = re.compile(r"intel-rapl:\d+(:\d+)?")
SAMPLE_SECONDS = 30.0  # far less than a counter takes to start anew


@dataclass(frozen=True)
class Counter:
    """One part of a device: `read()` in units of so many joules; from `wraps_at` on it counts from 0 again."""

    read: Callable[[], int]
    joules: float
    wraps_at: int | None = None

    def since(self, before: int, now: int) -> float:
        """Joules between two readings. ValueError where the counter went back and is none that wraps."""
        if now < before:
            if self.wraps_at is None:
                raise ValueError("the counter was reset")
            now += self.wraps_at
        return (now - before) * self.joules


class Meter:
    """Adds up counters from `begin` on. A counter that ends to tell makes the whole unknown, for a part would be no answer."""

    def __init__(self, source: Source | None = None, counters: Sequence[Counter] = ()) -> None:
        self.source = source if counters else None
        self._counters = tuple(counters)
        self.begin()

    def begin(self) -> None:
        self._joules, self._told = 0.0, time.monotonic()
        self._before = self._read()

    def sample(self) -> None:
        """To be called now and then, so that no turn of a counter is missed; costs nothing where it was just done."""
        if time.monotonic() - self._told >= SAMPLE_SECONDS:
            self._add()

    def joules(self) -> float | None:
        """Since `begin`; None where nothing tells."""
        self._add()
        return None if self._before is None else self._joules

    def _add(self) -> None:
        before, self._told = self._before, time.monotonic()
        self._before = now = self._read()
        if before is None or now is None:
            self._before = None
            return
        try:
            parts = zip(self._counters, before, now, strict=True)
            self._joules += sum(counter.since(old, new) for counter, old, new in parts)
        except ValueError:
            self._before = None

    def _read(self) -> list[int] | None:
        """None where there is no counter, or one of them does not answer: its driver went, or our right to read it."""
        try:
            return [counter.read() for counter in self._counters] or None
        except Exception:  # noqa: BLE001 - NVML's errors among them; what is measured beside a training never ends it
            return None


def meter_of(device: Any) -> Meter:
    """For a torch.device that computes; it tells nothing where the device does not."""
    if device.type == "cuda":
        import torch

        return Meter("nvml", nvml_counters(f"GPU-{torch.cuda.get_device_properties(device).uuid}"))
    return Meter("rapl", rapl_counters()) if device.type == "cpu" else Meter()


def nvml_counters(uuid: str, nvml: Any = None) -> list[Counter]:
    """The GPU's, by its UUID, the name that a run takes it by; none for a part of a GPU (MIG), an old one, or no driver."""
    import pynvml

    nvml = nvml or pynvml
    with suppress(nvml.NVMLError):
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
        return [Counter(lambda: int(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)), joules=1e-3)]
    return []


def rapl_counters(root: Path = POWERCAP) -> list[Counter]:
    """Every processor package, and the memory that hangs on one; none where a package may not be read.

    Other zones lie within a package (core, uncore) or around all of them (psys).
    """
    found = []
    with suppress(OSError, ValueError):
        for zone in sorted(path for path in root.glob("intel-rapl:*") if ZONE.fullmatch(path.name)):
            name = (zone / "name").read_text().strip()
            if name.startswith("package") or name == "dram":
                found.append(_rapl_counter(zone))
        return found
    return []


def _rapl_counter(zone: Path) -> Counter:
    def read() -> int:
        return int((zone / "energy_uj").read_text())

    read()  # most users may not
    return Counter(read, joules=1e-6, wraps_at=int((zone / "max_energy_range_uj").read_text()))
