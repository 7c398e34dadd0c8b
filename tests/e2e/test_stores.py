"""`stores:` profiles: data on one cloud and models on another in one run, and no secret anywhere but in the AWS configuration."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from desk import Desk, tickets

from contender.store import Store, open_store

DATA_SECRET = f"data-{secrets.token_hex(16)}"
DATA_KEY = f"DATAKEY{secrets.token_hex(6)}"


@dataclass(frozen=True)
class Clouds:
    """Two S3 servers that know nothing of each other, the profiles that lead to them, and a place on each."""

    data: str
    models: str
    config: Path
    secrets: tuple[bytes, ...]

    def store(self, name: str) -> Store:
        return open_store(getattr(self, name), profile=name)


def write_config(path: Path, **servers: object) -> None:
    lines = (
        f"[profile {name}]\nregion = us-east-1\nendpoint_url = {server.endpoint}\n"  # type: ignore[attr-defined]
        f"aws_access_key_id = {server.access_key}\naws_secret_access_key = {server.secret_key}\n"  # type: ignore[attr-defined]
        for name, server in servers.items()
    )
    path.write_text("".join(lines))


@pytest.fixture
def clouds(ministack, ceph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clouds:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    config = tmp_path / "aws-config"
    # ministack takes any keys; those of its profile are nobody's else.
    write_config(config, data=replace(ministack, access_key=DATA_KEY, secret_key=DATA_SECRET), models=ceph)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    # The registry commands look at the pipeline's own file; the endpoint of the environment belongs to neither.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    unique = secrets.token_hex(4)
    return Clouds(
        data=f"s3://{ministack.bucket}/data-{unique}",
        models=f"s3://{ceph.bucket}/models-{unique}",
        config=config,
        secrets=(DATA_SECRET.encode(), DATA_KEY.encode(), ceph.secret_key.encode(), ceph.access_key.encode()),
    )


@pytest.fixture
def spread(desk: Desk, clouds: Clouds, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """The desk with its tickets, golden set and workspace on one cloud and its registry on the other."""
    monkeypatch.delenv("CONTENDER_REGISTRY")  # else no pipeline's file is looked at
    for name, count, seed in (("tickets/1.csv", 240, 1), ("golden/hard.csv", 60, 9)):
        clouds.store("data").put(name, desk.drop("x.csv", tickets(count, seed)).read_bytes())
    text = desk.pipeline.read_text().replace("source: tickets/", f"source: {clouds.data}/tickets/")
    text = text.replace("  columns:", f"  golden: {{hard: '{clouds.data}/golden/hard.csv'}}\n  columns:")
    text += f"workspace: {clouds.data}/work\npromote: {{to: {clouds.models}}}\n"
    text += f"stores:\n  '{clouds.data}/': {{profile: data}}\n  '{clouds.models}/': {{profile: models}}\n"
    (desk.folder / "pipelines").mkdir()
    (desk.folder / "pipelines" / "desk.yaml").write_text(text)
    desk.pipeline.write_text(text)
    monkeypatch.chdir(desk.folder)
    return desk


def everything(place: Path) -> Iterator[tuple[str, bytes]]:
    for path in place.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield str(path), path.read_bytes()


@pytest.mark.server("ministack")
@pytest.mark.server("ceph")
def test_data_on_one_cloud_and_models_on_another_and_no_secret_anywhere(
    spread: Desk, clouds: Clouds, prefect_server, tmp_path: Path
) -> None:
    first = spread.retrain()
    assert (first.code, first.document["outcome"]) == (0, "promoted"), first.shown
    assert set(first.document["evaluations"]) == {"test", "golden-hard"}
    assert spread.retrain().document["outcome"] == "up_to_date"
    on_models = [info.key for info in clouds.store("models").list()]
    assert f"desk/releases/{first.document['release']}/manifest.json" in on_models
    assert any(info.key.startswith("work/stages/") for info in clouds.store("data").list())

    pulled = tmp_path / "pulled"
    url = f"{clouds.models}/desk"
    for arguments in (("pull", url, str(pulled)), ("verify", url), ("releases", url), ("history", url)):
        assert spread.run(*arguments, "--profile", "models").code == 0
    for arguments in (("pull", "desk", str(pulled)), ("verify", "desk"), ("releases", "desk"), ("history", "desk")):
        assert spread.run(*arguments).code == 0, "the profile of pipelines/desk.yaml"
    assert spread.run("releases", "desk", "--registry", clouds.models, "--profile", "models").code == 0
    astray = spread.run("verify", url, "--json")
    assert (astray.code, "no credentials" in astray.document["error"]["what"]) == (1, True)
    unknown = spread.run("verify", url, "--profile", "modles", "--json")
    assert (unknown.code, "did you mean 'models'" in unknown.document["error"]["what"]) == (2, True)

    # Keys that the store does not take: what a failing run says, stores and sends is looked through as well.
    right = clouds.config.read_text()
    clouds.config.write_text(right.replace("= testsecret", "= wrongsecret"))
    refused = spread.retrain()
    assert (refused.code, refused.document["outcome"]) == (1, "failed"), refused.shown
    assert "profile 'models'" in refused.document["error"]["fix"]
    clouds.config.write_text(right)

    said = [json.dumps(ran.document) + ran.shown for ran in (first, astray, unknown, refused)]
    places = [("what was said", "".join(said).encode())]
    places += [(info.key, clouds.store("models").get(info.key)) for info in clouds.store("models").list()]
    places += [(info.key, clouds.store("data").get(info.key)) for info in clouds.store("data").list()]
    places += [found for found in everything(tmp_path) if found[0] != str(clouds.config)]
    places += everything(prefect_server.home)  # its database: parameters, logs, artifacts
    places += everything(Path(os.environ["CONTENDER_CACHE"]))
    assert any(b"desk" in content for name, content in places if name.endswith(".db"))
    assert len(places) > 60
    found = [name for name, content in places for secret in (*clouds.secrets, b"wrongsecret") if secret in content]
    assert found == []
