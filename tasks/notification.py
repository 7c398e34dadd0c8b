"""Policy of telling people: every receiver on its own, none waited for long, none a reason for a run to fail or to end otherwise.

A run tells once. An attempt at a deployed run marks that it tells, before it does, where the next attempt looks; one that died
between its decision and that mark is told of by the next attempt, which finds the decision and nothing else to do.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import copy_context
from functools import partial
from pathlib import Path

from prefect.exceptions import Abort
from prefect.logging import get_run_logger
from prefect.runtime import deployment, flow_run
from prefect.utilities.urls import url_for

from contender import stopping
from contender.errors import AlreadyExists, ContenderError, StoreError, StoreUnavailable, internal
from contender.links import report_link
from contender.notifications import receivers
from contender.plan import decision_prefix
from contender.progress import Note, tell
from contender.reporting.message import Around, Message, message_of, what_next
from contender.run import Run, RunResult, result_of
from contender.spec import Pipeline
from tasks.policy import stage_task
from tasks.receivers import NotSent, send

WAIT_SECONDS = 25.0  # that a run's end waits for its receivers, all of them together
STOPPED_SECONDS = 3.0  # the same, once somebody wants the run to stop
DELAYS = (1.0, 4.0)  # before a second and a third try, of what surely did not arrive
UNKNOWN = "it did not answer in time: it may have the message or not"


@partial(stage_task, patience=WAIT_SECONDS)
def notify(pipeline: Pipeline, message: Message, to: Sequence[str]) -> dict[str, str]:
    """Tells every receiver, and the run's log which of them it could not; receiver → why not, empty where it was told."""
    began = time.monotonic()
    told = send_to_all(pipeline, message, to)
    failed = {one: why for one, why in told.items() if why}
    with suppress(ContenderError):  # whoever wants the run to stop finds that it has ended
        for one, why in failed.items():
            tell(Note("notify", "warned", f"{one} was not notified: {why}"))
        if reached := [one for one in told if one not in failed]:
            seconds = time.monotonic() - began
            tell(Note("notify", "finished", f"told {', '.join(reached)}", seconds=seconds))
    return told


def tell_of(run: Run, result: RunResult) -> None:
    """Tells the receivers of a finished run what it came to."""
    if not run.pipeline.spec.notify:
        return
    try:
        result = _as_decided_before(run, result)
        if receivers(run.pipeline.spec.notify, result.outcome) and _is_first_to_tell(run):
            link = report_link(run, result)
            _tell(run.pipeline, result, report=(link.url or link.place) if link else "")
    except Exception as error:  # noqa: BLE001 - the run has ended, and stays what it is
        _not_told(error)


@contextmanager
def failures_told(pipeline: Pipeline) -> Iterator[None]:
    """Tells the receivers of an error that ends the flow run inside the block, and passes it on."""
    try:
        yield
    except Abort:
        raise  # another attempt goes on, and will tell
    except Exception as error:
        ours = error if isinstance(error, ContenderError) else internal(error)
        try:
            _tell(pipeline, result_of(pipeline, ours, flow_run.id))
        except Exception as another:  # noqa: BLE001 - the run's own error is the one to end with
            _not_told(another)
        raise


def send_to_all(pipeline: Pipeline, message: Message, to: Sequence[str]) -> dict[str, str]:
    """Sends to all at the same time; receiver → why it was not told, empty where it was."""
    told: dict[str, str] = {}
    folder = Path(pipeline.folder)

    def one(reference: str) -> None:
        told[reference] = _patiently(reference, folder, message)

    threads = []
    for reference in to:
        # Daemons: one that hangs is left behind. The context holds Prefect's settings, by which a block is found.
        thread = threading.Thread(target=copy_context().run, args=(one, reference), daemon=True)
        thread.start()
        threads.append(thread)
    _wait_for(threads)
    return {reference: told.get(reference, UNKNOWN) for reference in to}


def _patiently(reference: str, folder: Path, message: Message) -> str:
    failed: NotSent | None = None
    for delay in (0.0, *DELAYS):
        time.sleep(delay)
        failed = send(reference, folder, message)
        if failed is None or not failed.again:
            break
    return failed.why if failed else ""


def _wait_for(threads: Sequence[threading.Thread]) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while any(thread.is_alive() for thread in threads) and time.monotonic() < until:
        if stopping.asked():
            until = min(until, time.monotonic() + STOPPED_SECONDS)
        next(thread for thread in threads if thread.is_alive()).join(0.1)


def _tell(pipeline: Pipeline, result: RunResult, report: str = "") -> None:
    to = receivers(pipeline.spec.notify, result.outcome)
    if to:
        around = Around(
            trigger=str(flow_run.parameters.get("trigger", "")),
            run_link=url_for("flow-run", obj_id=flow_run.id) or "",  # not flow_run.ui_url: its route is an older UI's
            report=report,
            next=what_next(pipeline, result, deployed=deployment.id is not None),
        )
        notify(pipeline, message_of(pipeline, result, around), to)


def _as_decided_before(run: Run, result: RunResult) -> RunResult:
    """What this very flow run decided in an attempt that died right after, where this one found the decision and is up to date."""
    if result.outcome != "up_to_date" or not _was_continued() or run.actor != f"flow-run:{run.flow_run_id}":
        return result
    made = run.registry.decisions(decision_prefix(run.pipeline, str(result.snapshot)))
    own = [decision for decision in made if decision.actor == run.actor]
    if not own:
        return result
    last = max(own, key=lambda decision: decision.judged_against)
    return result.model_copy(update={"outcome": last.outcome, "message": last.message, "verdict": last.verdict})


def _was_continued() -> bool:
    return deployment.id is not None and (flow_run.run_count or 1) > 1


def _is_first_to_tell(run: Run) -> bool:
    """Whether no earlier attempt at this flow run began to tell. The mark goes with the run's attempts, when it has ended."""
    if deployment.id is None:
        return True
    try:
        # Two creates of the same bytes are one to a store, which settles lost answers so.
        run.workspace.records.create(f"runs/{run.flow_run_id}/told.json", secrets.token_hex(8).encode())
    except AlreadyExists:
        return False
    except (StoreError, StoreUnavailable):
        return True  # twice is better than never
    return True


def _not_told(error: Exception) -> None:
    get_run_logger().warning("nobody was notified: %s", type(error).__name__)
