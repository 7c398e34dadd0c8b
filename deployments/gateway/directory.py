"""Which pipelines take webhooks: the deployments of `retrain` on the Prefect server whose spec says so. No YAML is read."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterTags,
    FlowFilter,
    FlowFilterName,
)
from prefect.client.schemas.responses import DeploymentResponse
from pydantic import ValidationError

from contender.spec import Pipeline
from contender.triggers import Webhook
from deployments.declared import TAG
from deployments.gateway.limits import Rates
from deployments.gateway.watching import Metrics, line, tell_operator
from tasks.waiting import not_begun

FLOW = "retrain"
REFRESH_SECONDS = 4.0
PAGE = 200  # the most that a Prefect server gives at once


@dataclass(frozen=True, eq=False)
class Hook:
    """A pipeline that takes webhooks, as it is deployed now."""

    name: str
    deployment_id: UUID
    pipeline: Pipeline
    webhook: Webhook
    rates: Rates
    given: dict[str, Any]  # the deployment's parameter, to notice a change by


class Directory:
    """The hooks, as of the last time that Prefect answered."""

    def __init__(self, metrics: Metrics) -> None:
        self.hooks: dict[str, Hook] = {}
        self.known = asyncio.Event()  # whether Prefect has ever answered
        self.fresh = False
        self._told = False  # the operator, that Prefect does not answer
        self._metrics = metrics
        self._unusable: dict[str, dict[str, Any]] = {}

    async def keep_fresh(self, client: PrefectClient) -> None:
        """Looks again every few seconds, for ever."""
        while True:
            await self.refresh(client)
            await asyncio.sleep(REFRESH_SECONDS)

    async def refresh(self, client: PrefectClient) -> None:
        """Looks once; what was known stays where Prefect does not answer."""
        try:
            found = await _deployments(client)
            self.hooks = {one.name: hook for one in found if (hook := self._hook(one)) is not None}
            waiting = not_begun(hook.deployment_id for hook in self.hooks.values())
            self._metrics.waiting.set(await client.count_flow_runs(flow_run_filter=waiting) if self.hooks else 0)
        except (httpx.HTTPError, RuntimeError, ValueError) as error:
            if not self._told:
                self._told = True
                tell_operator(
                    "Prefect does not answer; its deployments stay as they were known", why=type(error).__name__
                )
            self.fresh = False
            return
        self._metrics.pipelines.set(len(self.hooks))
        self._told = False
        if not self.fresh:
            line(logging.INFO, "Prefect answers", pipelines=len(self.hooks))
        self.fresh = True
        self.known.set()

    def _hook(self, deployment: DeploymentResponse) -> Hook | None:
        given = deployment.parameters.get("spec")
        before = self.hooks.get(deployment.name)
        if before is not None and before.given == given and before.deployment_id == deployment.id:
            return before
        try:
            pipeline = Pipeline.model_validate(given)
            if pipeline.spec.name != deployment.name:
                raise ValueError(f"its pipeline is named {pipeline.spec.name}")
        except ValueError as error:
            self._leave_out(deployment, given, error)
            return None
        webhook = pipeline.spec.triggers.webhook
        if webhook is None:
            return None
        kept = before is not None and before.webhook.per_minute == webhook.per_minute
        rates = before.rates if before is not None and kept else Rates(webhook.per_minute)
        return Hook(deployment.name, deployment.id, pipeline, webhook, rates, deployment.parameters["spec"])

    def _leave_out(self, deployment: DeploymentResponse, given: Any, error: ValueError) -> None:
        if self._unusable.get(deployment.name) != given:
            faults = len(error.errors()) if isinstance(error, ValidationError) else error
            tell_operator("a deployment is left out", deployment=deployment.name, why=f"{faults} faults in its spec")
            self._unusable[deployment.name] = given


async def _deployments(client: PrefectClient) -> list[DeploymentResponse]:
    found: list[DeploymentResponse] = []
    while True:
        page = await client.read_deployments(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW])),
            deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG])),
            limit=PAGE,
            offset=len(found),
        )
        found += page
        if len(page) < PAGE:
            return found
