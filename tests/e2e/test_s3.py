"""Source, golden set and registry on S3-compatible servers, through the command line."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from desk import Desk, tickets


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
