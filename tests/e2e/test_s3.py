"""Source, golden set and registry on S3-compatible servers, through the command line."""

from __future__ import annotations

import json
import secrets
import signal
import time
from pathlib import Path

import pytest
from desk import Desk, start, tickets, until
from faulty_proxy import faulty

from tasks import policy

SILENCE = 3.0  # seconds that a run waits for a store that says nothing; a minute each would be most of the test


# What is away is the proxy: which server stands behind it is no matter.
AWAY = pytest.mark.parametrize(
    "s3_server", [pytest.param("ministack", marks=pytest.mark.server("ministack"))], indirect=True
)


@pytest.mark.usefixtures("prefect_server")
def test_a_pipeline_lives_on_s3(desk: Desk, s3_server, tmp_path: Path) -> None:
    from contender.store import open_store

    prefix = f"s3://{s3_server.bucket}/e2e-{secrets.token_hex(4)}"
    data = open_store(f"{prefix}/data")
    for name, count, seed in (("tickets/1.csv", 240, 1), ("golden/hard.csv", 60, 9)):
        data.put(name, desk.drop("x.csv", tickets(count, seed)).read_bytes())
    changes = (
        *("--set", f"data.source={prefix}/data/tickets/"),
        *("--set", f"data.golden={{hard: '{prefix}/data/golden/hard.csv'}}"),
        *("--set", f"promote.to={prefix}/models"),
    )
    first = desk.retrain(*changes)
    assert (first.code, first.document["outcome"]) == (0, "promoted"), first.shown
    assert set(first.document["evaluations"]) == {"test", "golden-hard"}
    assert desk.retrain(*changes).document["outcome"] == "up_to_date"

    pulled = tmp_path / "pulled"
    assert desk.run("pull", f"{prefix}/models/desk", str(pulled), "--json").code == 0
    assert desk.run("verify", str(pulled)).code == 0
    assert desk.run("verify", f"{prefix}/models/desk").code == 0
    assert s3_server.secret_key not in first.shown + str(first.document)


@pytest.mark.usefixtures("prefect_server")
def test_a_bucket_that_is_not_there_is_said(desk: Desk, s3_server) -> None:
    desk.drop("1.csv", tickets(60, seed=1))
    ran = desk.retrain("--set", "promote.to=s3://no-such-bucket-here/models")
    assert (ran.code, ran.document["outcome"]) == (1, "failed"), ran.shown
    assert "no-such-bucket-here" in ran.document["error"]["what"]


@pytest.mark.usefixtures("prefect_server")
def test_a_run_goes_on_through_faults_of_the_store_and_promotes_once(
    desk: Desk, s3_server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contender.store.s3 import S3Store
    from contender.store.s3_client import parse_s3_url

    def impatient(url: str, profile: str | None = None) -> S3Store:
        return S3Store(*parse_s3_url(url), profile, patience=SILENCE)

    monkeypatch.setattr("contender.run.open_store", impatient)
    desk.drop("1.csv", tickets(240, seed=1))
    registry = f"s3://{s3_server.bucket}/faults-{secrets.token_hex(4)}"
    # Faults that never end, two writes in three, can keep a promotion's dozen writes from coming together for as long as luck has it.
    with faulty(s3_server.endpoint, every=8, most=60) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        ran = desk.retrain("--set", f"promote.to={registry}")
        assert (ran.code, ran.document["outcome"]) == (0, "promoted"), ran.shown
        assert proxy.faults.total() > 5
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)
    history = desk.run("history", f"{registry}/desk", "--json").document
    assert [entry["n"] for entry in history["entries"]] == [1]
    assert [decision["outcome"] for decision in history["decisions"]] == ["promoted"]
    assert desk.run("verify", f"{registry}/desk").code == 0


@pytest.mark.slow
@AWAY
@pytest.mark.usefixtures("prefect_server")
def test_a_store_that_is_away_for_a_while_is_waited_for(desk: Desk, s3_server, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.drop("1.csv", tickets(240, seed=1))
    registry = f"s3://{s3_server.bucket}/away-{secrets.token_hex(4)}"
    with faulty(s3_server.endpoint) as proxy:
        proxy.on = False
        run = start(desk, "--set", f"promote.to={registry}", AWS_ENDPOINT_URL=proxy.endpoint)
        until(run, "✓ split")
        proxy.away = True
        until(run, "trying again in about")
        time.sleep(20)
        assert run.poll() is None
        proxy.away = False
        out, err = run.communicate(timeout=200)
    assert (run.returncode, json.loads(out)["outcome"]) == (0, "promoted"), err


@AWAY
@pytest.mark.usefixtures("prefect_server")
def test_a_run_that_lost_its_patience_says_so_and_the_same_command_finishes_it(
    desk: Desk, s3_server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "PATIENCE_SECONDS", 3.0)
    desk.drop("1.csv", tickets(240, seed=1))
    registry = f"s3://{s3_server.bucket}/patience-{secrets.token_hex(4)}"
    with faulty(s3_server.endpoint) as proxy:
        proxy.on = False
        proxy.away_at = "/model/"
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        ran = desk.retrain("--set", f"promote.to={registry}")
        assert (ran.code, ran.document["outcome"]) == (1, "failed"), ran.shown
        assert "the store did not answer" in ran.document["error"]["what"]
        assert "trying again in about" in ran.shown
        assert "given up after" in ran.shown
        proxy.away, proxy.away_at = False, ""
        again = desk.retrain("--set", f"promote.to={registry}")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)
    assert (again.code, again.document["outcome"]) == (0, "promoted"), again.shown
    assert {stage["name"] for stage in again.document["stages"] if stage["cached"]} >= {"snapshot", "split", "train"}
    history = desk.run("history", f"{registry}/desk", "--json").document
    assert [entry["n"] for entry in history["entries"]] == [1]
    assert len(desk.run("releases", f"{registry}/desk", "--json").document["releases"]) == 1


@AWAY
@pytest.mark.usefixtures("prefect_server")
def test_a_store_that_stays_away_can_be_given_up_by_ctrl_c(desk: Desk, s3_server) -> None:
    desk.drop("1.csv", tickets(240, seed=1))
    with faulty(s3_server.endpoint) as proxy:
        proxy.on = False
        registry = f"s3://{s3_server.bucket}/gone-{secrets.token_hex(4)}"
        run = start(desk, "--set", f"promote.to={registry}", AWS_ENDPOINT_URL=proxy.endpoint)
        until(run, "✓ split")
        proxy.away = True
        until(run, "trying again in about")
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=60)
    assert (run.returncode, json.loads(out)["outcome"]) == (130, "interrupted"), err
    assert "Traceback" not in err
