"""The automations of a deployment: what makes a run that died go on by itself. Prefect's server acts, so that no worker has to live.

| what happened | what the server sees | what it does |
| --- | --- | --- |
| the flow's process died | its worker reports Crashed, after Running | Recovering |
| | Recovering for ten seconds | AwaitingRetry: any worker of the pool takes the same flow run |
| its machine is gone | no heartbeat for three of their periods | Crashed, and so on as above |
| a machine went away before it began | Pending, and nothing more | AwaitingRetry |
| a machine went away while it was to cancel | Cancelling, and nothing more | Cancelled |

Recovering is a final state, too, and that is its use: a worker reports a killed process twice, seconds apart, and the second Crashed
would strand a run that waits, or break one that another worker has begun. The server refuses it for what has ended.

A run that crashed before it was ever Running is left: an environment that cannot import the flow would crash for ever. How often a
run is continued is counted by the run (`contender/recovery.py`), which knows how far it came. A false alarm does no harm: the server
refuses Crashed for a run that has ended, and an attempt that still lives ends when it sees the newer one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

HEARTBEAT_SECONDS = 30  # between two; Prefect takes no less
MISSED = timedelta(seconds=3 * HEARTBEAT_SECONDS)
SETTLED = timedelta(seconds=10)  # the second report comes after three; Prefect takes no less
UNSTARTED = timedelta(minutes=5)  # from a worker's claim to the first line of the flow; imports on a cold disk take one
LONGEST = timedelta(days=90)  # that an attempt may take and still be continued

RUN = "prefect.flow-run"
ANYTHING = {f"{RUN}.*"}  # final states have names of their own
RUNNING = {f"{RUN}.{name}" for name in ("Running", "Rerunning", "Retrying")}
CLAIMED = {f"{RUN}.{name}" for name in ("Pending", "Submitting", "InfrastructurePending")}


def automations(deployment_id: UUID, name: str) -> Iterator[AutomationCore]:
    """What the deployment needs, each with its own name, which begins with the deployment's."""

    def automation(does: str, why: str, trigger: dict[str, Any], change: ChangeFlowRunState) -> AutomationCore:
        return AutomationCore(
            name=f"{name}: {does}",
            description=why,
            trigger=EventTrigger(
                match={"prefect.resource.id": f"{RUN}.*"},
                match_related={
                    "prefect.resource.id": f"prefect.deployment.{deployment_id}",
                    "prefect.resource.role": "deployment",
                },
                for_each={"prefect.resource.id"},
                **trigger,
            ),
            actions=[change],
            owner_resource=f"prefect.deployment.{deployment_id}",  # goes with the deployment
        )

    again = {"state": StateType.SCHEDULED, "name": "AwaitingRetry"}
    yield automation(
        "recover a run that crashed",
        "Recovering, where a run was Running and then Crashed; once for each time that it was.",
        {"posture": Posture.Reactive, "after": RUNNING, "expect": {f"{RUN}.Crashed"}, "within": LONGEST},
        # By force: from one state of having crashed to another.
        ChangeFlowRunState(state=StateType.CRASHED, name="Recovering", message="to be continued soon", force=True),
    )
    yield automation(
        "continue a run that is recovering",
        "Any worker of the pool takes the same flow run, which goes on from what its workspace holds.",
        {"posture": Posture.Proactive, "after": {f"{RUN}.Recovering"}, "expect": ANYTHING, "within": SETTLED},
        ChangeFlowRunState(**again, message="to be continued from what exists"),
    )
    yield automation(
        "notice a run whose machine is gone",
        f"Crashed, where a running one sends no heartbeat for {MISSED.seconds} seconds.",
        {
            "posture": Posture.Proactive,
            "after": RUNNING | {f"{RUN}.heartbeat"},
            "expect": ANYTHING,
            "within": MISSED,
        },
        ChangeFlowRunState(state=StateType.CRASHED, name="Crashed", message="no heartbeat: its machine may be gone"),
    )
    yield automation(
        "start again what never began",
        "Another try, where a worker took the run and then nothing was heard of it.",
        {"posture": Posture.Proactive, "after": CLAIMED, "expect": ANYTHING, "within": UNSTARTED},
        ChangeFlowRunState(**again, message="a worker took it, and nothing was heard of it since"),
    )
    yield automation(
        "end a run that was being cancelled",
        "Cancelled, where the worker that was to cancel it is gone too.",
        {"posture": Posture.Proactive, "after": {f"{RUN}.Cancelling"}, "expect": ANYTHING, "within": UNSTARTED},
        ChangeFlowRunState(state=StateType.CANCELLED, name="Cancelled", message="cancelled; its worker is gone"),
    )
