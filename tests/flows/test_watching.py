"""What the screen of a stack knows: asked of a real server, told once, and never a reason to stop."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State
from prefect.states import AwaitingRetry, Completed, Crashed, Failed, Running

from contender.spec import Pipeline
from deployments.watching import Watch, Watched

pytestmark = pytest.mark.usefixtures("prefect_server")


@flow(name="retrain")
def retrain(spec: Any = None, trigger: str = "") -> None:
    """Stands in for the real one, which need not be imported here."""


@flow(name="watch")
def watch(spec: Any = None) -> None:
    """The same."""


@pytest.fixture
def one(client: SyncPrefectClient, tmp_path: Path) -> Watched:
    name = f"p-{secrets.token_hex(4)}"
    spec = {"name": name, "task": "text-classification", "data": {"source": "x"}, "model": {"base": "y"}}
    spec |= {"schedule": {"cron": "0 3 * * *"}, "promote": {"to": str(tmp_path / "registry")}}
    pipeline = Pipeline.model_validate({"spec": spec, "folder": str(tmp_path), "suite_name": "s", "suite": {}})
    flows = {"retrain": retrain, "watch": watch}
    return Watched(
        pipeline, {kind: client.create_deployment(client.create_flow(one), name) for kind, one in flows.items()}
    )


def run(client: SyncPrefectClient, one: Watched, kind: str, *states: State[Any], trigger: str = "") -> UUID:
    parameters = {"trigger": trigger} if trigger else {}
    made = client.create_flow_run_from_deployment(one.deployments[kind], parameters=parameters).id
    for state in states:
        client.set_flow_run_state(made, state, force=True)
    return made


def test_a_run_is_told_when_it_begins_and_when_it_ends_each_once(client: SyncPrefectClient, one: Watched) -> None:
    told: list[str] = []
    run(client, one, "retrain", Completed(name="Kept", message="of yesterday"))
    looking = Watch([one], told.append)
    looking.look(client, first=True)
    assert one.seen.last and one.seen.last.state == "Kept"
    assert told == [], "it ended before this stack began"

    mine = run(client, one, "retrain", Running(), trigger="webhook")
    for _ in range(2):
        looking.look(client)
    assert [now.state for now in one.seen.now] == ["Running"]
    assert told == [f"{one.name} runs (webhook)"]

    client.set_flow_run_state(mine, Crashed(message="it died"), force=True)
    looking.look(client)
    client.set_flow_run_state(mine, AwaitingRetry(), force=True)
    looking.look(client)
    client.set_flow_run_state(mine, Completed(name="Promoted", message="better by far"), force=True)
    for _ in range(2):
        looking.look(client)
    assert told[1:] == [
        f"{one.name}: Crashed. it died",
        f"{one.name} is to be continued (webhook)",
        f"{one.name}: Promoted. better by far",
    ]
    assert looking.counts == {"Crashed": 1, "Promoted": 1}
    assert one.seen.now == () and one.seen.last.state == "Promoted"


def test_looks_at_the_data_are_told_only_where_they_fail(client: SyncPrefectClient, one: Watched) -> None:
    told: list[str] = []
    looking = Watch([one], told.append)
    looking.look(client, first=True)
    run(client, one, "watch", Running(), Completed(name="NothingNew"))
    looking.look(client)
    assert told == [] and looking.counts == {}
    assert one.seen.looked and one.seen.looked.state == "NothingNew"
    run(client, one, "watch", Failed(message="no such bucket"))
    looking.look(client)
    assert told == [f"{one.name} (new data): Failed. no such bucket"]


def test_the_next_start_is_the_servers_and_a_registry_without_a_champion_is_no_fault(
    client: SyncPrefectClient, one: Watched
) -> None:
    run(client, one, "retrain")
    Watch([one], print).look(client, first=True)
    assert one.seen.next is None, "a run that somebody asked for is no schedule's"
    assert (one.seen.champion, one.seen.entry, one.seen.fault) == (None, 0, "")


def test_a_server_that_does_not_answer_is_shown_and_asked_again(one: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    looking = Watch([one], print, every=0.01)
    began = datetime.now(UTC)
    monkeypatch.setattr(looking, "look", lambda *_, **__: (_ for _ in ()).throw(ConnectionError("connection refused")))
    looking.start()
    while not looking.fault and datetime.now(UTC) - began < timedelta(seconds=10):
        pass
    looking.close()
    assert looking.fault == "connection refused"
