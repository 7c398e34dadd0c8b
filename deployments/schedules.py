"""The schedules of a deployment: what the spec says, as Prefect's server takes it, brought up to date in place.

Ours are told by their slug, the schedule's name, and by the parameter `trigger`, which says the same; it names their runs. Whatever
else hangs on the deployment was made by a person, and stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import ValidationError

from contender.errors import UsageError
from contender.recurrence import BEGINNING
from contender.schedules import Schedule
from contender.spec import Pipeline
from contender.upcoming import anchor

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.objects import DeploymentSchedule

LOOKS = "looks"  # the slug of the one schedule that a watcher has


def timing(schedule: Schedule) -> Any:
    """When it starts, as Prefect takes it. An interval goes in UTC: in a zone of its own Prefect shifts it at a change of the clocks."""
    from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

    try:
        if schedule.cron is not None:
            return CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
        if schedule.rrule is not None:
            return RRuleSchedule(rrule=schedule.rrule, timezone=schedule.timezone)
    except ValidationError as error:
        said = "; ".join(entry["msg"] for entry in error.errors())
        raise UsageError(
            f"Prefect does not take the schedule {schedule.name}: {said}", "Write it another way."
        ) from None
    return IntervalSchedule(
        interval=timedelta(seconds=schedule.interval or 0), anchor_date=anchor(schedule), timezone="UTC"
    )


def trigger(name: str | None) -> str:
    """What a run of a schedule is called after its pipeline's name."""
    return f"schedule {name}"


def retrain_schedules(pipeline: Pipeline) -> list[DeploymentScheduleCreate]:
    from prefect.client.schemas.actions import DeploymentScheduleCreate

    return [
        DeploymentScheduleCreate(
            schedule=timing(one), active=not one.paused, slug=one.name, parameters={"trigger": trigger(one.name)}
        )
        for one in pipeline.spec.schedule
    ]


def watch_schedules(pipeline: Pipeline) -> list[DeploymentScheduleCreate]:
    """One look every so often; pipelines that look equally often do it at different moments, or all would start at once."""
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import IntervalSchedule

    looked_for = pipeline.spec.triggers.new_data
    if looked_for is None:
        return []
    offset = int(sha256(pipeline.spec.name.encode()).hexdigest()[:8], 16) % int(looked_for.every)
    counted_from = BEGINNING.replace(tzinfo=UTC) + timedelta(seconds=offset)
    every = IntervalSchedule(interval=timedelta(seconds=looked_for.every), anchor_date=counted_from, timezone="UTC")
    return [DeploymentScheduleCreate(schedule=every, slug=LOOKS)]


def bring_up_to_date(
    client: SyncPrefectClient,
    deployment_id: UUID,
    found: Sequence[DeploymentSchedule],
    wanted: Sequence[DeploymentScheduleCreate],
) -> bool:
    """Changes what differs, renames what only has another name, makes and removes the rest. Whether anything changed."""
    named = {one.slug: one for one in found if one.slug}
    slugs = {one.slug for one in wanted}
    left = [one for one in found if is_ours(one) and one.slug not in slugs]
    new, changed = [], False
    for one in wanted:
        same = named.get(one.slug or "") or _renamed(left, one)
        if same is None:
            new.append(one)
        elif _shape(same) != _shape(one):
            client.update_deployment_schedule(
                deployment_id, same.id, one.active, one.schedule, parameters=one.parameters, slug=one.slug
            )
            changed = True
    for gone in left:
        client.delete_deployment_schedule(deployment_id, gone.id)
    if new:
        client.create_deployment_schedules(deployment_id, new)
    return changed or bool(new) or bool(left)


def is_ours(schedule: DeploymentSchedule) -> bool:
    return schedule.slug is not None and schedule.parameters.get("trigger") == trigger(schedule.slug)


def as_made_by_hand(
    found: Sequence[DeploymentSchedule], wanted: Sequence[DeploymentScheduleCreate]
) -> list[DeploymentScheduleCreate]:
    """Those of a person, to be made again beside the wanted ones."""
    from prefect.client.schemas.actions import DeploymentScheduleCreate

    slugs = {one.slug for one in wanted}
    theirs = [one for one in found if not is_ours(one) and (one.slug is None or one.slug not in slugs)]
    kept = {"schedule", "active", "slug", "parameters", "max_scheduled_runs"}
    return [DeploymentScheduleCreate.model_validate(one.model_dump(include=kept)) for one in theirs]


def _renamed(left: list[DeploymentSchedule], wanted: DeploymentScheduleCreate) -> DeploymentSchedule | None:
    """One of ours that nobody wants under its name any more, and that starts at the same moments; it is taken out of `left`."""
    for place, one in enumerate(left):
        if _shape(one)["schedule"] == _shape(wanted)["schedule"]:
            return left.pop(place)
    return None


def _shape(schedule: DeploymentSchedule | DeploymentScheduleCreate) -> dict[str, Any]:
    return schedule.model_dump(mode="json", include={"schedule", "active", "slug", "parameters"})
