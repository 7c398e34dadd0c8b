"""What the tests of deployments share."""

from __future__ import annotations

import importlib.util
import secrets
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate

from contender.spec import Pipeline


@pytest.fixture
def client(prefect_server: object) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as opened:
        yield opened


@pytest.fixture
def pool(client: SyncPrefectClient) -> str:
    return client.create_work_pool(WorkPoolCreate(name=f"pool-{secrets.token_hex(4)}", type="process")).name


@pytest.fixture
def watch_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flow that looks for new data, or what takes its place where there is none."""
    if importlib.util.find_spec("flows.watch") is None:
        module = ModuleType("flows.watch")

        @flow(name="watch")
        def watch(spec: Pipeline) -> None:
            pass

        watch.fn.__module__ = "flows.watch"
        module.watch = watch  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "flows.watch", module)
