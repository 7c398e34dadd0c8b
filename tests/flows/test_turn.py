"""The slot that one run of a pipeline holds across workers, on a real Prefect server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from uuid import uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.states import Completed, Running

from deployments.server import ServerInfo, client_environment, ensure_server, stop_server
from tasks.turn import Slot, name_state
from tasks.waiting import WAITING

HOLD = """
import sys, time
from tasks.turn import Slot
slot = Slot(sys.argv[1], sys.argv[2])
assert slot.take() and slot.lease
print("held", flush=True)
time.sleep(600)
"""


def seconds_until(true: Callable[[], bool], most: float) -> float:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < most, f"not within {most} s"
        time.sleep(0.5)
    return time.monotonic() - began


def held_elsewhere(name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-c", HOLD, name, str(uuid4())]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert holder.stdout
    assert holder.stdout.readline() == "held\n"
    return holder


@pytest.mark.usefixtures("prefect_server")
def test_a_slot_has_one_holder_and_is_free_when_it_is_given_back() -> None:
    name = f"pipeline:{uuid4()}"
    one, other = Slot(name, str(uuid4())), Slot(name, str(uuid4()))
    assert one.take()
    assert one.lease
    assert not other.take()
    one.release()
    assert other.take()
    other.release()


@pytest.mark.usefixtures("prefect_server")
def test_what_a_killed_holder_of_this_machine_left_is_given_back_at_once() -> None:
    name = f"pipeline:{uuid4()}"
    killed, next_one = Slot(name, str(uuid4())), Slot(name, str(uuid4()))
    assert killed.take()
    next_one.free(killed.lease)
    assert next_one.take()
    next_one.release()
    killed.release()


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_the_slot_of_a_holder_that_was_killed_elsewhere_is_free_within_two_minutes() -> None:
    name = f"pipeline:{uuid4()}"
    holder = held_elsewhere(name)
    slot = Slot(name, str(uuid4()))
    assert not slot.take()
    holder.kill()
    holder.communicate()
    took = seconds_until(slot.take, 120)
    print(f"free after {took:.0f} s")
    slot.release()


@pytest.mark.slow
def test_a_slot_outlives_a_restart_of_the_server_and_a_dead_holders_does_not_stay(tmp_path, monkeypatch) -> None:
    def use(info: ServerInfo) -> None:
        from prefect.context import refresh_global_settings_context

        for name, value in client_environment(info).items():
            monkeypatch.setenv(name, value)
        refresh_global_settings_context()

    info = ensure_server(tmp_path)
    use(info)
    try:
        name = f"pipeline:{uuid4()}"
        holder = held_elsewhere(name)
        slot = Slot(name, str(uuid4()))
        os.kill(info.pid, signal.SIGKILL)
        stop_server(tmp_path)
        use(ensure_server(tmp_path))
        assert not slot.take(), "a restarted server remembers who holds it"
        holder.kill()
        holder.communicate()
        took = seconds_until(slot.take, 120)
        print(f"free after {took:.0f} s")
        slot.release()
    finally:
        stop_server(tmp_path)


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(("now", "then"), [(Running(), "Waiting"), (Completed(name="Promoted"), "Promoted")])
def test_a_run_that_waits_says_so_and_one_that_another_process_has_ended_stays_ended(
    now: State, then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    @flow(name="retrain")
    def waits() -> None:
        """Only its run is looked at."""

    with get_client(sync_client=True) as client:
        run = client.create_flow_run(waits)
        client.set_flow_run_state(run.id, now, force=True)
        monkeypatch.setattr("tasks.turn.flow_run", SimpleNamespace(id=str(run.id)))
        name_state(WAITING)
        assert client.read_flow_run(run.id).state_name == then
