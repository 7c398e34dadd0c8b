"""`contender deploy`: pipelines as deployments of an existing Prefect server, scheduled, watched, continued by themselves where they crash.

What the YAML says is what is there afterwards: fields and schedules are changed in place, and what a pipeline no longer has is removed,
be it a schedule, its watcher, or the deployments under the name that the same file gave it before. Nothing is written where nothing
differs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from contender.canonical import Record
from contender.errors import StoreUnavailable, UsageError
from contender.loading import load_pipeline
from contender.places import local_places
from contender.spec import Pipeline
from contender.text import shorten
from contender.upcoming import NextStarts, next_starts
from deployments.declared import RETRAIN, TAG, WATCH, Declared, declared, origin
from deployments.environment import chosen_api
from deployments.notifying import missing_blocks
from deployments.paging import everything

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.events.schemas.automations import Automation, AutomationCore

POOL_TYPE = "process"
ORIGIN = "contender.origin"  # a label: what Prefect keeps beside a deployment and sets when one is made


class Deployed(Record):
    """What `deploy` made or found for one pipeline."""

    pipeline: str
    deployment: str
    id: str
    pool: str
    automations: tuple[str, ...]
    schedules: tuple[NextStarts, ...]
    watch: str | None
    watch_id: str | None
    watch_seconds: float | None
    warnings: tuple[str, ...]
    removed: tuple[str, ...]
    changed: bool


@dataclass(frozen=True)
class Plan:
    """What one pipeline's deployments are to be."""

    pipeline: Pipeline
    pool: str
    origin: str
    deployments: tuple[Declared, ...]

    @property
    def name(self) -> str:
        return self.pipeline.spec.name


@dataclass
class Made:
    """What is there now: the deployments' ids by entrypoint, the names of what watches over the runs, whether anything changed."""

    ids: dict[str, UUID]
    automations: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    changed: bool = False


def deploy(paths: Sequence[Path], pool: str, *, elsewhere: bool = False) -> list[Deployed]:
    """Creates or updates the deployments of each pipeline; nothing is touched where one of them, the server or the pool is wrong.

    `elsewhere`: the pool's workers do not share this machine's folders; of pools of other types than process that is taken for granted.
    """
    pipelines = load_pipelines(paths)
    if chosen_api(os.environ) is None:
        raise UsageError(
            "no Prefect server is chosen, and the background one ends itself when it is idle",
            "Set PREFECT_API_URL to a server that stays, such as that of: prefect server start",
        )
    from prefect.client.orchestration import get_client

    from deployments.embedded import about_the_server

    with about_the_server(), refusals_told(), get_client(sync_client=True) as client:
        kind = _type_of_pool(client, pool)
        if elsewhere or kind != POOL_TYPE:
            refuse_local_places(pipelines, f"the workers of the {kind} pool {pool!r} are on other machines")
        plans = [Plan(one, pool, origin(path), tuple(declared(one, pool))) for path, one in pipelines.items()]
        made = [_make(client, plan) for plan in plans]
        # Last, so that a name that passed from one file to another is the other's by then.
        removed = [_remove_what_is_gone(client, plan) for plan in plans]
        return [_told(*each) for each in zip(plans, made, removed, strict=True)]


@contextmanager
def refusals_told() -> Iterator[None]:
    """What the server does not take, such as job variables that its pool has no place for, and where it fails, as errors that say so."""
    from prefect.exceptions import PrefectHTTPStatusError

    try:
        yield
    except PrefectHTTPStatusError as error:
        status, said = error.response.status_code, shorten(error.response.text, 500)
        if status in (400, 409, 422):
            raise UsageError(
                f"the Prefect server refuses it: {said}",
                "Look at the work pool's base job template: a run's environment goes into its variable env.",
            ) from error
        if status >= 500:
            raise StoreUnavailable(
                f"the Prefect server fails with {status} at {error.request.url.path}: {said}",
                "Its log says why. Where it is about planning runs: Prefect 3.8 cannot with SQLAlchemy 2.1; install sqlalchemy<2.1 there.",
            ) from error
        raise


def load_pipelines(paths: Sequence[Path]) -> dict[Path, Pipeline]:
    """The pipelines by their files; UsageError where two have the same name."""
    pipelines = [load_pipeline(path) for path in paths]
    names = [pipeline.spec.name for pipeline in pipelines]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{names.count(name)} of these pipelines are named {name!r}", "A deployment has one.")
    return dict(zip(paths, pipelines, strict=True))


def refuse_local_places(pipelines: dict[Path, Pipeline], why: str) -> None:
    """UsageError that names every key, of every pipeline, that only this machine could follow."""
    found = [f"{path}: {key} is {value}" for path, one in pipelines.items() for key, value in local_places(one).items()]
    if found:
        raise UsageError(
            "\n".join([f"{why}, and do not see what lies on this one:", *found]),
            "Allowed: s3://bucket/prefix for data, workspace and registry; a hub id or package:NAME for model.base; env:NAME for "
            "secrets. Or use a pool of type process on this machine.",
        )


def _type_of_pool(client: SyncPrefectClient, pool: str) -> str:
    from prefect.exceptions import ObjectNotFound

    try:
        return str(client.read_work_pool(pool).type)
    except ObjectNotFound:
        advice = f"Make it: prefect work-pool create --type {POOL_TYPE} {pool}"
        raise UsageError(f"the Prefect server has no work pool {pool!r}", advice) from None


def _make(client: SyncPrefectClient, plan: Plan) -> Made:
    from deployments.automations import automations, watch_automations

    made = Made({})
    for one in plan.deployments:
        made.ids[one.entrypoint], changed = _upsert(client, one, plan.origin)
        made.changed |= changed
    known = list(automations(made.ids[RETRAIN], plan.name))
    wanted = known if plan.pipeline.spec.resources.max_recoveries > 0 else []
    made.warnings = tuple(missing_blocks(client, plan.pipeline))
    made.automations = tuple(one.name for one in wanted)
    made.changed |= _automate(client, known, wanted)
    if WATCH in made.ids:
        watched = list(watch_automations(made.ids[WATCH], plan.name))
        made.changed |= _automate(client, watched, watched)
    return made


def _upsert(client: SyncPrefectClient, one: Declared, mark: str) -> tuple[UUID, bool]:
    """The deployment, made or brought up to date, and whether that changed anything."""
    from prefect.client.schemas.actions import DeploymentUpdate
    from prefect.exceptions import ObjectNotFound

    from deployments.schedules import as_made_by_hand, bring_up_to_date

    try:
        found = client.read_deployment_by_name(one.full_name)
    except ObjectNotFound:
        return _create(client, one, mark), True
    if found.labels.get(ORIGIN) != mark:
        # Labels are set only when a deployment is made. Making it again keeps its id and all that is not said, except schedules.
        return _create(client, one, mark, as_made_by_hand(found.schedules, one.schedules)), True
    changed = differs(found, one.fields)
    if changed:
        client.update_deployment(found.id, DeploymentUpdate(**one.fields))
    changed |= bring_up_to_date(client, found.id, found.schedules, one.schedules)
    if changed and not found.paused:
        _schedule_now(client, found.id)
    return found.id, changed


def _create(client: SyncPrefectClient, one: Declared, mark: str, more: Sequence[Any] = ()) -> UUID:
    from prefect.client.schemas.actions import DeploymentCreate

    made = DeploymentCreate(
        name=one.name,
        flow_id=client.create_flow(one.flow),
        labels={ORIGIN: mark},
        schedules=[*one.schedules, *more],
        **one.fields,
    )
    answer = client.request("POST", "/deployments/", json=made.model_dump(mode="json", exclude_unset=True))
    deployment_id = UUID(answer.json()["id"])
    if not answer.json().get("paused"):
        _schedule_now(client, deployment_id)
    return deployment_id


def _schedule_now(client: SyncPrefectClient, deployment_id: UUID) -> None:
    """A change takes the runs to come away, and the server would make new ones within a minute: a start due by then would be lost."""
    client.request("POST", "/deployments/{id}/schedule", path_params={"id": deployment_id}, json={})


def differs(found: DeploymentResponse, fields: dict[str, Any]) -> bool:
    limit = found.global_concurrency_limit

    def there(name: str) -> Any:
        return getattr(found, name) if name != "concurrency_limit" else limit.limit if limit else None

    return any(there(name) != value for name, value in fields.items())


def _remove_what_is_gone(client: SyncPrefectClient, plan: Plan) -> tuple[str, ...]:
    """Removes what the same file was deployed as before, in the same pool, and a watcher that the pipeline no longer has."""
    wanted = {(one.entrypoint, one.name) for one in plan.deployments}
    gone = []
    for found in _all_deployments(client):
        known = (str(found.entrypoint), found.name)
        ours = known[0] in (RETRAIN, WATCH) and found.work_pool_name == plan.pool
        of_this_file = ours and found.labels.get(ORIGIN) == plan.origin
        if known not in wanted and (of_this_file or known == (WATCH, plan.name)):
            client.delete_resource_owned_automations(f"prefect.deployment.{found.id}")
            client.delete_deployment(found.id)
            gone.append(f"{known[0].rpartition('.')[2]}/{found.name}")
    return tuple(sorted(gone))


def _all_deployments(client: SyncPrefectClient) -> list[DeploymentResponse]:
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    return everything(client.read_deployments, deployment_filter=tagged)


def _told(plan: Plan, made: Made, removed: tuple[str, ...]) -> Deployed:
    watcher, looks = made.ids.get(WATCH), plan.pipeline.spec.triggers.new_data
    return Deployed(
        pipeline=plan.name,
        deployment=f"retrain/{plan.name}",
        id=str(made.ids[RETRAIN]),
        pool=plan.pool,
        automations=made.automations,
        schedules=next_starts(plan.pipeline, datetime.now(UTC)),
        watch=f"watch/{plan.name}" if watcher else None,
        watch_id=str(watcher) if watcher else None,
        watch_seconds=looks.every if looks else None,
        warnings=made.warnings,
        removed=removed,
        changed=made.changed or bool(removed),
    )


def _automate(client: SyncPrefectClient, known: Sequence[AutomationCore], wanted: Sequence[AutomationCore]) -> bool:
    """Whether any of the known automations changed. One that fits is left alone: a new trigger forgets what runs it watches."""
    changed = False
    for one in known:
        same = client.read_automations_by_name(one.name)
        fitting = [found for found in same if one in wanted and _fits(found, one)][:1]
        if one in wanted and not fitting:
            client.create_automation(one)
            changed = True
        for found in same:
            if found not in fitting:
                client.delete_automation(found.id)
                changed = True
    return changed


def _fits(found: Automation, wanted: AutomationCore) -> bool:
    def shape(one: Any) -> Any:
        kept = one.model_dump(mode="json", include={"name", "description", "enabled", "trigger", "actions"})
        kept["trigger"] = {
            key: sorted(v) if isinstance(v, list) else v for key, v in kept["trigger"].items() if key != "id"
        }
        return kept

    return bool(shape(found) == shape(wanted))
