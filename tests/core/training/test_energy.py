"""What a device drew, by counters that wrap, refuse, vanish and are reset; and over the attempts at one training."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contender.training import energy
from contender.training.checkpoints import Checkpoints
from contender.training.energy import Counter, Meter, meter_of, nvml_counters, rapl_counters

RANGE = 262_143_328_850


def zone(root: Path, folder: str, name: str, microjoules: int) -> Path:
    path = root / folder
    path.mkdir(parents=True)
    (path / "name").write_text(f"{name}\n")
    (path / "energy_uj").write_text(f"{microjoules}\n")
    (path / "max_energy_range_uj").write_text(f"{RANGE}\n")
    return path / "energy_uj"


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, Path]:
    """Two packages, one with its parts, and the zones that must not be counted twice."""
    zones = {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:0:1": "dram",
        "intel-rapl:1": "package-1",
        "intel-rapl:2": "psys",
        "intel-rapl-mmio:0": "package-0",
    }
    return {folder: zone(tmp_path, folder, name, 1_000_000) for folder, name in zones.items()}


def test_packages_and_their_memory_are_added_up_once(machine, tmp_path):
    meter = Meter("rapl", rapl_counters(tmp_path))
    for file in machine.values():
        file.write_text("3000000\n")
    assert (meter.joules(), meter.source) == (pytest.approx(6.0), "rapl")
    meter.begin()
    assert meter.joules() == 0.0


def test_a_counter_that_began_anew_lost_nothing(machine, tmp_path):
    machine["intel-rapl:0"].write_text(f"{RANGE - 5_000_000}\n")
    meter = Meter("rapl", rapl_counters(tmp_path))
    machine["intel-rapl:0"].write_text("2000000\n")
    assert meter.joules() == pytest.approx(7.0)


@given(st.lists(st.integers(0, 99), min_size=1, max_size=30))
def test_whatever_is_drawn_between_two_readings_is_counted_through_every_turn(drawn):
    total = [40]
    meter = Meter("rapl", [Counter(lambda: total[0] % 100, joules=1.0, wraps_at=100)])
    for amount in drawn:
        total[0] += amount
        meter._add()
    assert meter.joules() == sum(drawn)


def test_a_sample_is_taken_before_a_counter_can_turn_and_no_oftener(machine, tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(energy.time, "monotonic", lambda: now[0])
    reads = [0]

    def read() -> int:
        reads[0] += 1
        return 5

    meter = Meter("rapl", [Counter(read, 1.0, 100)])
    for second in range(61):
        now[0] = float(second)
        meter.sample()
    assert reads[0] == 3, "at the start, after 30 and after 60 seconds"


def test_nothing_is_told_without_powercap_without_the_right_and_with_a_zone_that_is_damaged(machine, tmp_path):
    assert rapl_counters(tmp_path / "absent") == []
    assert Meter("rapl", []).joules() is None
    assert Meter("rapl", []).source is None
    machine["intel-rapl:1"].write_text("many\n")
    assert rapl_counters(tmp_path) == []
    machine["intel-rapl:1"].unlink()
    machine["intel-rapl:1"].mkdir()  # root may read everything: this is an OSError for root too
    assert rapl_counters(tmp_path) == [], "the other package alone would be half an answer"


@pytest.mark.parametrize("then", [lambda file: file.unlink(), lambda file: file.write_text("")])
def test_a_counter_that_goes_in_the_middle_makes_the_whole_unknown(machine, tmp_path, then):
    meter = Meter("rapl", rapl_counters(tmp_path))
    then(machine["intel-rapl:0:1"])
    assert meter.joules() is None
    machine["intel-rapl:0:1"].write_text("9000000")
    assert meter.joules() is None, "what passed meanwhile is known to nobody"


class NotSupported(Exception):
    pass


def driver(millijoules: list[int], fails: str = "") -> SimpleNamespace:
    """What pynvml has of functions, over a list that its reader may change; `fails` names the one that raises."""

    def call(name, value):
        def answer(*given):
            if name == fails:
                raise NotSupported(name)
            return value(*given)

        return answer

    return SimpleNamespace(
        NVMLError=NotSupported,
        nvmlInit=call("init", lambda: None),
        nvmlDeviceGetHandleByUUID=call("handle", lambda uuid: uuid),
        nvmlDeviceGetTotalEnergyConsumption=call("energy", lambda handle: millijoules[0] if handle == "GPU-1" else 0),
    )


def test_a_gpu_tells_millijoules():
    told = [5_000_000]
    meter = Meter("nvml", nvml_counters("GPU-1", driver(told)))
    told[0] += 7_500
    assert (meter.joules(), meter.source) == (pytest.approx(7.5), "nvml")
    told[0] = 3
    assert meter.joules() is None, "the driver was loaded anew"


@pytest.mark.parametrize("fails", ["init", "handle", "energy"])
def test_a_driver_that_knows_no_energy_ends_no_training(fails):
    assert Meter("nvml", nvml_counters("GPU-1", driver([1], fails))).joules() is None


def test_this_machine_is_asked_without_harm():
    assert nvml_counters("GPU-of-nobody") == []
    assert meter_of(SimpleNamespace(type="mps")).joules() is None
    assert meter_of(SimpleNamespace(type="cpu")).joules() is None or Path("/sys/class/powercap").exists()


def test_a_checkpoint_of_an_attempt_that_was_told_nothing_stays_so(tmp_path):
    checkpoints = Checkpoints(tmp_path, "job")
    checkpoints.write(5, lambda folder: (folder / "w").write_text("x"), seconds=3.0, joules=12.5)
    assert checkpoints.latest()[1].joules == 12.5
    checkpoints.write(6, lambda folder: (folder / "w").write_text("x"), seconds=4.0)
    assert checkpoints.latest()[1].joules is None
