"""Runs a flow in this process: against the Prefect server of the environment, or the background one that the first run starts."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar, cast

from contender import stopping
from contender.errors import ContenderError, StoreUnavailable, UsageError, internal
from contender.plan import curve_stages, noise_stages, run_stages
from contender.progress import Note, listening
from contender.run import RunResult, outcome_of
from contender.spec import Pipeline
from contender.stages.curve import CurveResult
from contender.stages.measuring import Measured
from contender.stages.noise import NoiseResult
from deployments.environment import without_heartbeats
from deployments.loudness import Loudness
from deployments.runview import RunView, library_warnings
from deployments.server import ServerInfo, chosen_api, client_environment, ensure_server, wait_until_ready
from deployments.terminal import console, say

TRIGGER = "command line"


Result = TypeVar("Result", bound=RunResult | Measured)


def run_flow(pipeline: Pipeline, actor: str, loudness: Loudness = Loudness.NORMAL) -> RunResult:
    """One run of `flows.retrain`; raises the run's error, mapped to ours, where it did not come to a result."""

    def start() -> Any:
        from flows.retrain import retrain

        return retrain(pipeline, trigger=TRIGGER, actor=actor, return_state=True)

    return _come_to(start, RunResult, run_stages(pipeline), loudness)


def run_noise(pipeline: Pipeline, runs: int, actor: str, loudness: Loudness = Loudness.NORMAL) -> NoiseResult:
    """One run of `flows.noise`; errors as in `run_flow`."""

    def start() -> Any:
        from flows.noise import noise

        return noise(pipeline, runs, trigger=TRIGGER, actor=actor, return_state=True)

    return _come_to(start, NoiseResult, noise_stages(runs), loudness)


def run_curve(
    pipeline: Pipeline, fractions: tuple[float, ...], seeds: int, actor: str, loudness: Loudness = Loudness.NORMAL
) -> CurveResult:
    """One run of `flows.curve`; errors as in `run_flow`."""

    def start() -> Any:
        from flows.curve import curve

        return curve(pipeline, fractions, seeds, trigger=TRIGGER, actor=actor, return_state=True)

    return _come_to(start, CurveResult, curve_stages(fractions, seeds), loudness)


def _come_to(start: Callable[[], Any], kind: type[Result], plan: Sequence[str], loudness: Loudness) -> Result:
    """What a flow comes to; `start` imports and calls it, once the environment names its server, and gives its final state."""
    out = console(quiet=loudness == Loudness.QUIET)
    info = ensure_server(wait=False) if chosen_api(os.environ) is None else None
    if info is not None:
        os.environ.update(client_environment(info))
        if info.started:
            out.print(
                f"started a Prefect server in the background; its UI: contender up   ({info.ui_url})", markup=False
            )
    if loudness < Loudness.DEBUG:
        # Stages are drawn by RunView; the run's log is in the Prefect UI. Prefect's console lines would tear the drawing.
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        # Its own machinery has another handler, and prints whole events that a server did not take.
        os.environ.setdefault("PREFECT_INTERNAL_LOGGING_LEVEL", "CRITICAL")
        logging.raiseExceptions = (
            False  # else Prefect prints what its server did not take of the log, in the middle of all
        )
    view = RunView(out, plan, loudness)
    with view.shown():
        return _listened(start, kind, view, info, loudness)


def _listened(
    start: Callable[[], Any], kind: type[Result], view: RunView, info: ServerInfo | None, loudness: Loudness
) -> Result:
    """The same, once it is shown."""
    view(Note("start", "started", "the Prefect server"))
    from flows.states import results_kept

    if info is not None:
        wait_until_ready(info)
    stopping.check()
    warnings = library_warnings(view.out) if loudness == Loudness.VERBOSE else nullcontext()
    # A process that a person watches needs no heartbeat; its thread would hold up the end by a second.
    with warnings, listening(view), without_heartbeats(), results_kept() as came_to:
        try:
            value = start().result(raise_on_failure=False)
        except KeyboardInterrupt:
            value = stopping.interrupted()
        except Exception as error:  # noqa: BLE001 - mapped below, whatever it is
            value = error
        ours = None if isinstance(value, kind) else _ours(value, embedded=info is not None)
        view.ended(value.outcome if ours is None else outcome_of(ours))
    if ours is None:
        return cast(Result, value)
    last = came_to[-1] if came_to else None
    if isinstance(last, kind) and isinstance(ours, StoreUnavailable):
        # The registry holds the truth, and what was decided stands there.
        say(view.out, f"! {ours.what}: its UI does not know how this run ended", "yellow")
        return last
    raise ours


def _ours(value: Any, embedded: bool) -> ContenderError:
    """The run's error as one of ours. `embedded`: its server is the background one."""
    if isinstance(value, ContenderError):
        return value
    if stopping.asked():
        return stopping.interrupted()  # a second Ctrl-C breaks whatever goes on
    if _is_about_the_server(value):
        return _no_answer(value, embedded)
    return internal(value if isinstance(value, BaseException) else TypeError(f"the flow ended with {value!r}"))


@contextmanager
def about_the_server() -> Iterator[None]:
    """Turns what Prefect's client raises, where its server does not answer or refuses, into errors that say so."""
    import httpx

    try:
        yield
    except httpx.HTTPStatusError as error:
        if error.response.status_code not in (401, 403):
            raise
        raise UsageError(
            f"the Prefect server at {_server()} answers {error.response.status_code}: it does not know you",
            "Set PREFECT_API_AUTH_STRING, or PREFECT_API_KEY, to what it wants.",
        ) from error
    except Exception as error:
        if not _is_about_the_server(error):
            raise
        raise _no_answer(error) from error


def _no_answer(error: Any, embedded: bool = False) -> StoreUnavailable:
    return StoreUnavailable(
        f"the Prefect server at {_server()} does not answer: {error}",
        "The same command starts it again and continues: finished stages are kept."
        if embedded
        else "Start it, or unset PREFECT_API_URL to use the embedded one.",
    )


def _server() -> str:
    return os.environ.get("PREFECT_API_URL", "the active profile")


def _is_about_the_server(error: Any) -> bool:
    """Whether Prefect's client could not reach its server; Prefect wraps that in a RuntimeError, in some places only."""
    import httpx

    seen: list[Any] = []
    while error is not None and error not in seen:
        if isinstance(error, httpx.TransportError) or str(error).startswith("Failed to reach API"):
            return True
        seen.append(error)
        error = getattr(error, "__cause__", None) or getattr(error, "__context__", None)
    return False
