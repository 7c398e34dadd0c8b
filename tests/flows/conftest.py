"""What the tests of flows and deployments share."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from desk import PIPELINE, tickets, write_tickets
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate

from contender.loading import load_pipeline
from contender.spec import Pipeline
from contender.store import MemoryStore


@pytest.fixture
def client(prefect_server: object) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as opened:
        yield opened


@pytest.fixture
def pool(client: SyncPrefectClient) -> str:
    return client.create_work_pool(WorkPoolCreate(name=f"pool-{secrets.token_hex(4)}", type="process")).name


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore.named(f"flows-{secrets.token_hex(4)}")


@pytest.fixture
def desk_pipeline(
    tmp_path: Path, tiny_base: Path, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Pipeline]:
    """Makes a pipeline over one drop of tickets, so many of them wrong, whose registry is in memory."""

    def make(*overrides: str, wrong: float) -> Pipeline:
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        (tmp_path / "tickets").mkdir()
        write_tickets(tmp_path / "tickets" / "1.csv", tickets(240, seed=1, wrong=wrong))
        (tmp_path / "desk.yaml").write_text(PIPELINE.format(base=tiny_base))
        loaded = load_pipeline(tmp_path / "desk.yaml", overrides)
        promote = loaded.spec.promote.model_copy(update={"to": store.url})
        return loaded.model_copy(update={"spec": loaded.spec.model_copy(update={"promote": promote})})

    return make


@pytest.fixture
def pipeline(desk_pipeline: Callable[..., Pipeline]) -> Pipeline:
    return desk_pipeline(wrong=0.67)
