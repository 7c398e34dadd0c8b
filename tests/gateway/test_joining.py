"""Deliveries become runs: one that has not begun is joined, at most one waits, and whatever Prefect does, a sender is told the truth."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateways import MemoryPrefect, a_pipeline, basic, gateway, without_hook
from starlette.testclient import TestClient

from deployments.gateway import runs

pytestmark = pytest.mark.usefixtures("prefect_named")
MAP = {"train.epochs": "epochs"}


@pytest.fixture
def prefect(tmp_path: Path) -> MemoryPrefect:
    return MemoryPrefect(
        a_pipeline(tmp_path, "one"), a_pipeline(tmp_path, "two"), a_pipeline(tmp_path, "mapped", map=MAP)
    )


@pytest.fixture
def client(prefect: MemoryPrefect, tmp_path: Path) -> Iterator[TestClient]:
    with gateway(prefect, tmp_path / "journal.db") as opened:
        yield opened


def post(client: TestClient, body: str, name: str = "one") -> httpx.Response:
    return client.post(f"/hooks/{name}", content=body, headers=basic())


def test_deliveries_join_the_run_that_waits_and_get_its_id(client: TestClient, prefect: MemoryPrefect) -> None:
    first, second = post(client, "1"), post(client, "2")
    assert [first.status_code, second.status_code] == [202, 202]
    assert first.json()["flow_run_id"] == second.json()["flow_run_id"]
    assert (first.json()["joined"], second.json()["joined"]) == (False, True)
    other = post(client, "3", "two").json()
    assert other["flow_run_id"] != first.json()["flow_run_id"] and prefect.created == 2


def test_a_run_that_has_begun_is_not_joined(client: TestClient, prefect: MemoryPrefect) -> None:
    first = post(client, "1").json()
    prefect.begin_all()
    second = post(client, "2").json()
    assert first["flow_run_id"] != second["flow_run_id"] and not second["joined"]


@pytest.mark.parametrize("state", ["Waiting", "Late", "Pending", "AwaitingRetry"])
def test_a_run_that_somebody_else_started_is_joined_while_it_has_not_looked(
    client: TestClient, prefect: MemoryPrefect, state: str
) -> None:
    run = prefect.add_run("one", state)
    said = post(client, "1").json()
    assert (said["flow_run_id"], said["joined"]) == (str(run.id), True) and not prefect.created


def test_many_at_once_are_one_run_for_each_pipeline(client: TestClient, prefect: MemoryPrefect) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda n: post(client, str(n), ("one", "two")[n % 2]), range(40)))
    assert {answer.status_code for answer in answers} == {202}
    assert prefect.created == 2 and len({answer.json()["flow_run_id"] for answer in answers}) == 2
    assert sum(not answer.json()["joined"] for answer in answers) == 2
    assert prefect.asked < 20, "they are asked about together"


def test_a_run_that_begins_while_it_is_created_takes_no_later_delivery(
    client: TestClient, prefect: MemoryPrefect
) -> None:
    """A delivery that comes while a run is being created may not share it: the run could begin before the answer is here."""
    creating, go_on = threading.Event(), threading.Event()

    def slowly() -> None:
        prefect.begin_all()  # the worker was quicker than the answer
        creating.set()

    prefect.after_create = slowly
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(post, client, "1")
        assert creating.wait(5)
        prefect.after_create = go_on.set
        second = pool.submit(post, client, "2").result(10)
    assert first.result(5).json()["flow_run_id"] != second.json()["flow_run_id"] and go_on.is_set()


def test_a_run_that_begins_after_prefect_was_asked_still_looks_after_the_delivery(
    client: TestClient, prefect: MemoryPrefect
) -> None:
    run = prefect.add_run("one")
    prefect.after_read = prefect.begin_all
    assert post(client, "1").json()["flow_run_id"] == str(run.id), "it began after the delivery had come"
    assert post(client, "2").json()["flow_run_id"] != str(run.id)


def test_a_creation_whose_answer_is_lost_is_one_run(client: TestClient, prefect: MemoryPrefect) -> None:
    lost = iter([True, True, False])

    def lose() -> None:
        if next(lost, False):
            raise httpx.ReadError("reset")

    prefect.after_create = lose
    said = post(client, "1").json()
    assert prefect.created == 1 and said["flow_run_id"] == str(prefect.runs[0].id)


def test_a_lost_creation_is_settled_by_the_next_delivery_with_the_same_key(
    client: TestClient, prefect: MemoryPrefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "PATIENCE", 0.5)
    (answer,) = lose_one(client, prefect)
    assert answer.status_code == 503 and prefect.created == 1
    prefect.runs[0].state_name = "Hidden"  # the server commits it only after it was asked who waits
    prefect.before_create = lambda: setattr(prefect.runs[0], "state_name", "Scheduled")
    said = post(client, "2").json()
    assert said["flow_run_id"] == str(prefect.runs[0].id) and prefect.created == 1, "not a second one that waits"


def test_a_lost_creation_that_has_begun_since_is_not_given_to_a_later_delivery(
    client: TestClient, prefect: MemoryPrefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "PATIENCE", 0.5)
    lose_one(client, prefect)
    prefect.begin_all()
    said = post(client, "2").json()
    assert prefect.created == 2 and said["flow_run_id"] == str(prefect.runs[1].id)


def lose_one(client: TestClient, prefect: MemoryPrefect) -> list[httpx.Response]:
    def lose() -> None:
        raise httpx.ReadError("reset")

    prefect.after_create = lose
    answer = post(client, "1")
    prefect.after_create = lambda: None
    return [answer]


def test_prefect_down_is_told_in_time_and_the_next_attempt_is_taken(
    client: TestClient, prefect: MemoryPrefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "PATIENCE", 0.5)
    prefect.away = True
    began = time.monotonic()
    answer = post(client, "same")
    assert answer.status_code == 503 and answer.headers["retry-after"] == "5" and time.monotonic() - began < 3
    prefect.away = False
    answer = post(client, "same")
    assert answer.status_code == 202 and answer.json()["replay"] is False, "a delivery that failed may be sent again"


@pytest.mark.parametrize("status", [503, 429, 500])
def test_a_server_with_too_much_to_do_is_asked_again(client: TestClient, prefect: MemoryPrefect, status: int) -> None:
    refusals = iter([status] * 3)
    prefect.before_create = lambda: refuse(next(refusals, None))
    assert post(client, "1").status_code == 202 and prefect.created == 1


def test_a_refusal_for_good_is_not_tried_again(client: TestClient, prefect: MemoryPrefect) -> None:
    tried: list[int] = []

    def refuse_always() -> None:
        tried.append(1)
        refuse(409)

    prefect.before_create = refuse_always
    assert post(client, "1").status_code == 503 and len(tried) == 1


def refuse(status: int | None) -> None:
    if status:
        request = httpx.Request("POST", "http://prefect")
        raise httpx.HTTPStatusError("no", request=request, response=httpx.Response(status, request=request))


def test_an_error_that_nobody_foresaw_leaves_no_delivery_waiting(client: TestClient, prefect: MemoryPrefect) -> None:
    def fail() -> None:
        raise KeyError("unforeseen")

    prefect.before_create = fail
    assert post(client, "1").status_code == 503
    prefect.before_create = lambda: None
    prefect.after_read = iter_once(fail)
    assert post(client, "2").status_code == 202


def iter_once(fail: Any) -> Any:
    once = iter([fail])
    return lambda: next(once, lambda: None)()


def test_other_parameters_wait_for_their_turn(client: TestClient, prefect: MemoryPrefect) -> None:
    first = post(client, '{"epochs": 1}', "mapped")
    (run,) = prefect.waiting("mapped")
    assert first.status_code == 202 and run.parameters["spec"]["spec"]["train"]["epochs"] == 1
    assert post(client, '{"epochs": 1, "n": 2}', "mapped").json()["joined"] is True
    for other in ('{"epochs": 2}', '{"epochs": null}', "{}"):
        refused = post(client, other, "mapped")
        assert refused.status_code == 409 and "other parameters" in refused.text
    assert prefect.created == 1
    prefect.begin_all()
    assert post(client, '{"epochs": 2}', "mapped").status_code == 202, "what was refused may be sent again"


def test_a_delivery_without_parameters_joins_a_run_without(client: TestClient, prefect: MemoryPrefect) -> None:
    run = prefect.add_run("mapped", tags=["contender"])
    assert post(client, "{}", "mapped").json()["flow_run_id"] == str(run.id)
    assert post(client, '{"epochs": 3}', "mapped").status_code == 409


def test_what_is_deployed_anew_is_taken_without_a_restart(
    client: TestClient, prefect: MemoryPrefect, tmp_path: Path
) -> None:
    gate = client.app.state.gate  # type: ignore[attr-defined]

    def look_again() -> None:
        client.portal.call(gate.directory.refresh, prefect)  # type: ignore[union-attr]

    (tmp_path / "new.secret").write_text("new:secret")
    prefect.deploy(a_pipeline(tmp_path, "one", secrets=["file:new.secret"]))
    prefect.deploy(a_pipeline(tmp_path, "three"))
    prefect.deploy(without_hook(tmp_path, "two"))
    look_again()
    assert post(client, "1").status_code == 401
    assert client.post("/hooks/one", headers=basic("new:secret")).status_code == 202
    assert (post(client, "2", "two").status_code, post(client, "3", "three").status_code) == (404, 202)
    prefect.away = True
    look_again()
    prefect.away = False
    assert post(client, "4", "three").status_code == 202, "they stay known while Prefect is away"


def test_a_deployment_with_another_spec_than_ours_harms_no_other(prefect: MemoryPrefect, tmp_path: Path) -> None:
    for name, parameters in [("old", {"spec": {"spec": {}}}), ("none", {}), ("odd", {"spec": 7})]:
        prefect.deploy(without_hook(tmp_path, name))
        prefect.deployments[-1].parameters = parameters
    prefect.deploy(a_pipeline(tmp_path, "misnamed"))
    prefect.deployments[-1].name = "other"
    with gateway(prefect, tmp_path / "journal.db") as client:
        assert [post(client, "1", name).status_code for name in ("old", "none", "odd", "other", "one")] == [404] * 4 + [
            202
        ]


def test_until_prefect_has_answered_once_nobody_is_told_that_a_pipeline_is_unknown(
    prefect: MemoryPrefect, tmp_path: Path
) -> None:
    prefect.away = True
    with gateway(prefect, tmp_path / "journal.db") as client:
        answer = post(client, "1")
        assert answer.status_code == 503 and answer.headers["retry-after"]
        ready = client.get("/readyz")
        assert ready.status_code == 503 and "Prefect does not answer" in ready.text
        assert client.get("/healthz").status_code == 200
