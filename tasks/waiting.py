"""Runs that have not looked at their data yet: whoever wants a pipeline looked at joins such a run instead of starting another.

A run has not looked while no worker has begun it, and while it waits for its turn behind another run of its pipeline: then it is
Running to Prefect, under a name of its own. A run of a schedule whose time has not come is none of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType

WAITING = "Waiting"  # the name of the Running state of a run that waits for its turn
# Prefect's names of SCHEDULED and PENDING states, and ours; its client cannot ask for types or a name.
NOT_BEGUN = (
    "Scheduled",
    "Late",
    "AwaitingRetry",
    "AwaitingConcurrencySlot",
    "Pending",
    "Submitting",
    "InfrastructurePending",
    WAITING,
)
SOON = timedelta(seconds=5)  # a schedule's run that is as near as this is joined, too


def not_begun(deployment_ids: Iterable[UUID]) -> FlowRunFilter:
    """A filter for the runs of these deployments that have not looked at their data yet."""
    return FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=list(deployment_ids)),
        state=FlowRunFilterState(name=FlowRunFilterStateName(any_=list(NOT_BEGUN))),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now(UTC) + SOON),
    )


def under_way(deployment_ids: Iterable[UUID]) -> FlowRunFilter:
    """A filter for the runs of these deployments that run. As long as nobody has the pipeline's turn they have not looked, either."""
    return FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=list(deployment_ids)),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])),
    )
