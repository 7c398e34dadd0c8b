"""The automations of a deployment: what makes a run that died go on by itself. Prefect's server acts, so that no worker has to live.

| what happened | what the server sees | what it does |
| --- | --- | --- |
| the flow's process died | Crashed, as its worker reports it | after 10 s AwaitingRetry: any worker of the pool takes the same flow run |
| its machine is gone | no heartbeat for three of their periods | Crashed, and so on as above |
| a machine went away while it was to cancel | Cancelling, and nothing more for minutes | Cancelled |

Why ten seconds: a worker reports a killed process twice, three seconds apart. A final state refuses the second report; a run that waits
already would be stranded by it, and one that another worker has begun would be broken.

A run that crashed before it was ever Running is left, unless its machine went away: an environment that cannot import the flow would
crash for ever. How often a run is continued is counted by the run (`contender/recovery.py`), which knows how far it came. A false alarm
does no harm: the server refuses Crashed for a run that has ended, and an attempt that still lives ends when it sees the newer one.

A server that was just restarted, on a busy machine, was seen to act twice on one Crashed, a third of a second apart: AwaitingRetry after
AwaitingRetry, before a worker looks, changes nothing.

A server on SQLite that is busy drops an event where one of its triggers reads before it writes (`database is locked`), and with it all
that its other triggers would have done. So nothing but what continues a run looks at Crashed, and it writes first: the event that
opens its window is the one that it waits behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from uuid import UUID

from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from flows.states import LOOK_FAILED, LOOKS, NAMES
from tasks.waiting import WAITING

HEARTBEAT_SECONDS = 30  # between two; Prefect takes no less
MISSED = timedelta(seconds=3 * HEARTBEAT_SECONDS)
SETTLED = timedelta(seconds=10)  # Prefect takes no less
UNCANCELLED = timedelta(minutes=5)  # a worker gives a run 30 s to end
SILENT = "no heartbeat: its machine may be gone"

RUN = "prefect.flow-run"
ANYTHING = {f"{RUN}.*"}
CRASHED = {f"{RUN}.Crashed"}
HEARTBEAT = {f"{RUN}.heartbeat"}
# Prefect's names of PENDING and RUNNING states, and ours; then those of others that follow, and ours.
WORKING = ("Pending", "Submitting", "InfrastructurePending", "Running", WAITING, "Rerunning", "Retrying")
FOLLOWING = ("AwaitingRetry", "Scheduled", "Cancelling", "Cancelled", "Completed", "Failed")
AT_WORK = {f"{RUN}.{name}" for name in WORKING}
NOT_AT_WORK = {f"{RUN}.{name}" for name in (*FOLLOWING, *NAMES.values(), *LOOKS.values(), LOOK_FAILED)}


def automations(deployment_id: UUID, name: str) -> Iterator[AutomationCore]:
    """What `retrain/<name>` needs, each with its own name, which begins with the deployment's."""
    automation = partial(_automation, deployment_id, name)
    again = ChangeFlowRunState(
        state=StateType.SCHEDULED, name="AwaitingRetry", message="to be continued from what exists"
    )
    yield automation(
        "continue a run that crashed",
        "Any worker of the pool takes the same flow run, which goes on from what its workspace holds.",
        again,
        CRASHED,
        SETTLED,
        run_count="!0",
    )
    yield automation(
        "begin again what never began",
        "Another worker takes a run whose first one went away before it was Running.",
        again,
        CRASHED,
        SETTLED,
        run_count="0",
        state_message=SILENT,
    )
    yield _notice_silence(deployment_id, name)
    yield automation(
        "end a run that was being cancelled",
        "Cancelled, where the worker that was to cancel it is gone too.",
        ChangeFlowRunState(state=StateType.CANCELLED, name="Cancelled", message="cancelled; its worker is gone"),
        {f"{RUN}.Cancelling"},
        UNCANCELLED,
    )


def watch_automations(deployment_id: UUID, name: str) -> Iterator[AutomationCore]:
    """What `watch/<name>` needs. No look is continued, the next one sees the same; but one that never ends would hold the only place
    for looks for ever, where the server keeps its leases in memory and was restarted."""
    yield _notice_silence(deployment_id, f"{name} (watch)")


def _notice_silence(deployment_id: UUID, name: str) -> AutomationCore:
    return _automation(
        deployment_id,
        name,
        "notice a run whose machine is gone",
        f"Crashed, where a run at work sends no heartbeat for {MISSED.seconds} seconds.",
        ChangeFlowRunState(state=StateType.CRASHED, name="Crashed", message=SILENT),
        AT_WORK | HEARTBEAT,
        MISSED,
        expect=AT_WORK | HEARTBEAT | NOT_AT_WORK,
    )


def _automation(
    deployment_id: UUID,
    name: str,
    does: str,
    why: str,
    change: ChangeFlowRunState,
    after: set[str],
    within: timedelta,
    expect: set[str] = ANYTHING,
    **labels: str,
) -> AutomationCore:
    """Acts on a run of the deployment where nothing expected follows, within that time."""
    return AutomationCore(
        name=f"{name}: {does}",
        description=why,
        trigger=EventTrigger(
            posture=Posture.Proactive,
            match={"prefect.resource.id": f"{RUN}.*"}
            | {f"prefect.{label.replace('_', '-')}": value for label, value in labels.items()},
            match_related={
                "prefect.resource.id": f"prefect.deployment.{deployment_id}",
                "prefect.resource.role": "deployment",
            },
            for_each={"prefect.resource.id"},
            after=after,
            expect=expect,
            within=within,
        ),
        actions=[change],
        owner_resource=f"prefect.deployment.{deployment_id}",
    )
