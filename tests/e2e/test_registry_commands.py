"""What a person does with a registry: roll back, promote by hand, compare, sign, clean up, and ask why something is live."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from desk import Desk, Ran, tickets


@pytest.mark.slow
def test_a_rollback_and_what_comes_after_it(desk: Desk, two_releases: tuple[str, str], tmp_path: Path) -> None:
    a, b = two_releases
    late = desk.run("rollback", "desk", "--expect", "1", "--json")
    assert (late.code, late.document["outcome"]) == (3, "superseded")
    assert f"is at entry 2 ({b}" in late.document["error"]["what"]

    back = desk.run("rollback", "desk", "--reason", "wrong about blue", "--actor", "ann", "--json")
    assert (back.code, back.document["entry"]["release"], back.document["entry"]["n"]) == (0, a, 3)
    assert f"{b} is withdrawn" in back.shown

    # The data is decided on; an edited rule judges again, and the release that was taken back stays back.
    again = desk.retrain("--set", "promote.floors={accuracy: 0.01}")
    assert (again.code, again.document["outcome"]) == (3, "kept")
    assert "a rollback took it back" in again.document["message"]
    assert "judge" in [stage["name"] for stage in again.document["stages"]], "it was judged, if without a look"
    assert Path(again.document["report"]).read_text().count("<section") > 5

    history = desk.run("history", "desk", "--json")
    assert history.document["live"]["reason"] == "wrong about blue"
    assert history.document["live"]["withdrawn"] == [b]
    assert (
        "rolled back" in history.shown
        and "wrong about blue" in history.shown
        and f"withdrawn by rollbacks: {b}" in history.shown
    )

    forward = desk.run("promote", "desk", b, "--json")
    assert (forward.code, forward.document["entry"]["n"], forward.document["entry"]["withdrawn"]) == (0, 4, [])
    same = desk.run("promote", "desk", b, "--json")
    assert (same.code, same.document["outcome"], same.document["entry"]["n"]) == (0, "up_to_date", 4)
    canary = desk.run("promote", "desk@canary", a, "--json")
    assert (canary.code, canary.document["entry"]["n"]) == (0, 1)
    assert desk.run("pull", "desk@canary", str(tmp_path / "canary"), "--json").document["release"] == a
    assert desk.run("pull", f"desk@{b}", str(tmp_path / "b"), "--json").document["release"] == b


@pytest.mark.slow
def test_two_releases_side_by_side(desk: Desk, two_releases: tuple[str, str], tmp_path: Path) -> None:
    a, b = two_releases
    page = tmp_path / "diff.html"
    found = desk.run("diff", f"desk@{a}", b, "--html", str(page), "--json")
    assert found.code == 0, found.shown
    document = found.document
    assert document["files"] == {"added": ["2.csv"], "removed": [], "rewritten": [], "unchanged": 1, "more": 0}
    assert {one["name"] for one in document["data"]} >= {"rows of train", "snapshot"}
    accuracy = next(one for one in document["metrics"] if (one["set"], one["metric"]) == ("test", "accuracy"))
    assert accuracy["b"] > accuracy["a"] and accuracy["same_rows"] is False
    assert document["spec"] == []
    text = page.read_text()
    assert text.startswith("<!doctype html>") and "2.csv" in text and "<script" not in text
    other = desk.run("diff", f"desk@{b}", f"desk@{b}", "--json").document
    assert (other["same_model"], other["data"], other["environment"]) == (True, [], [])


def pems(folder: Path) -> tuple[Path, Path]:
    key = Ed25519PrivateKey.generate()
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "public.pem").write_bytes(public)
    return folder / "key.pem", folder / "public.pem"


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_signed_pipeline_and_who_requires_it(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private, public = pems(tmp_path)
    missing = desk.retrain("--set", "promote.signing_key=env:NO_SUCH_KEY")
    assert (missing.code, missing.document["outcome"]) == (2, "invalid")
    assert "NO_SUCH_KEY is not set" in missing.document["error"]["what"]
    literal = desk.retrain("--set", f"promote.signing_key={private.read_text().splitlines()[1]}")
    assert literal.code == 2 and private.read_text().splitlines()[1] not in literal.shown

    desk.drop("1.csv", tickets(240, seed=1))
    monkeypatch.setenv("SIGNING_KEY", private.read_text())
    ran = desk.retrain("--set", "promote.signing_key=env:SIGNING_KEY")
    assert ran.document["outcome"] == "promoted", ran.shown
    verified = desk.run("verify", "desk", "--public-key", str(public), "--json")
    assert (verified.code, verified.document["signed_by"]) == (0, [verified.document["checked_key"]])
    assert desk.run("pull", "desk", str(tmp_path / "out"), "--public-key", str(public)).code == 0
    assert desk.run("verify", str(tmp_path / "out"), "--public-key", str(public)).code == 0

    (tmp_path / "other").mkdir()
    _, stranger = pems(tmp_path / "other")
    refused = desk.run("pull", "desk", str(tmp_path / "none"), "--public-key", str(stranger), "--json")
    assert (refused.code, "is not signed by the key" in refused.document["error"]["what"]) == (1, True)
    assert not (tmp_path / "none").exists()
    secret = private.read_text().splitlines()[1].encode()
    kept = [path for path in (desk.folder / ".contender").rglob("*") if path.is_file()]
    assert kept and not any(secret in path.read_bytes() for path in kept)


@pytest.mark.slow
def test_gc_says_and_then_removes(desk: Desk, two_releases: tuple[str, str]) -> None:
    a, b = two_releases
    assert desk.run("gc", "desk", "--keep", "1", "--json").document["found"] == [], "they are young"
    old = time.time() - 40 * 86400
    for path in (desk.registry / "desk" / "releases").rglob("*.json"):
        os.utime(path, (old, old))
    dry = desk.run("gc", "desk", "--keep", "1", "--json")
    assert ([one["release"] for one in dry.document["found"]], dry.document["deleted"]) == ([a], False)
    assert "add --delete" in dry.shown
    gone = desk.run("gc", "desk", "--keep", "1", "--delete", "--json")
    assert [(one["release"], one["kept"]) for one in gone.document["found"]] == [(a, "")]
    assert [one["release"] for one in desk.run("releases", "desk", "--json").document["releases"]] == [b]
    assert desk.run("verify", "desk").code == 0
    back = desk.run("rollback", "desk", "--json")
    assert (back.code, back.document["outcome"]) == (2, "invalid"), "what was removed cannot come back"
    assert a in back.document["error"]["what"]


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_the_registry_tells_nothing_of_the_machine_that_trained(desk: Desk) -> None:
    import getpass
    import socket

    desk.drop("1.csv", tickets(240, seed=1))
    ran = desk.retrain()
    assert ran.document["outcome"] == "promoted"
    lineage = desk.run("releases", "desk", "--json").document["releases"][0]["lineage"]
    assert lineage["code"]["contender"] and lineage["hardware"]["cores"] and lineage["seed"] == 17
    assert lineage["spec"]["train"]["epochs"] == 6 and lineage["spec"]["data"]["source"] == "tickets/"
    private = [str(desk.folder), str(Path.home()), socket.gethostname(), getpass.getuser()]
    kept = [path for path in desk.registry.rglob("*") if path.is_file()]
    assert kept
    for path in kept:
        assert not [word for word in private if names(word, path.read_bytes())], path


def names(word: str, data: bytes) -> bool:
    """Whether ``data`` tells ``word``: anywhere if it is long, as a word of a text if it is short.

    A machine may be called ``vm``, and two letters are found in any megabyte of weights.
    """
    if len(word) > 5:
        return word.encode() in data
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return False
    return re.search(rf"(?<![\w:-]){re.escape(word)}(?![\w:-])", text) is not None


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_promotion_whose_answer_was_lost_is_settled_by_the_next_run(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store takes nothing at the moment of the promotion, and the data has changed when it is back."""
    from contender.errors import OutcomeUnknown
    from contender.registry.aliases import AliasLog

    real = AliasLog.append

    def lost(log: AliasLog, entry: object) -> object:
        raise OutcomeUnknown("nobody can say whether it became entry 1", "")

    desk.drop("1.csv", tickets(240, seed=1))
    monkeypatch.setattr(AliasLog, "append", lost)
    first = desk.retrain()
    assert (first.code, first.document["outcome"]) == (1, "unknown"), first.shown
    assert desk.run("history", "desk", "--json").document["entries"] == []
    monkeypatch.setattr(AliasLog, "append", real)
    desk.drop("2.csv", tickets(120, seed=2))
    second = desk.retrain()
    assert "settling the promotion of" in second.shown
    entries = desk.run("history", "desk", "--json").document["entries"]
    assert entries[0]["release"] != second.document["release"]
    assert second.document["champion"] == entries[0]["release"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("promote", "desk", "r-0000000000000000"), "unknown release"),
        (("promote", "desk@r-0000000000000000", "r-0000000000000000"), "names a release where an alias is moved"),
        (("promote", "desk", "../x"), "no name of a release"),
        (("rollback", "desk@nowhere"), "there is nothing to roll back"),
        (("gc", "desk", "--keep", "0"), "must be a whole number from 1 on"),
        (("gc", "desk", "--older-than", "soon"), "--older-than 'soon'"),
        (("diff", "desk", "desk@canary"), "names no release yet"),
        (("pull", "desk@r-00000000000000ff", "out"), "unknown release"),
        (("verify", "desk", "--public-key", "nowhere.pem"), "cannot be read"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_is_said(registry_of_one: Desk, arguments: tuple[str, ...], says: str) -> None:
    ran: Ran = registry_of_one.run(*arguments, "--json")
    assert (ran.code, ran.document["outcome"]) == (2, "invalid"), ran.shown
    assert says in json.dumps(ran.document["error"], ensure_ascii=False)


@pytest.fixture
def registry_of_one(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A registry with one live release, found by the name of its pipeline."""
    from contender.records import ReleaseDraft
    from contender.registry import Registry
    from contender.store import LocalStore

    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    registry = Registry(LocalStore(tmp_path / "registry"), "desk")
    manifest = registry.stage(model, ReleaseDraft(kind="text-classification", columns={}))
    registry.promote("production", 0, manifest, reason="first", actor="tests")
    monkeypatch.setenv("CONTENDER_REGISTRY", str(tmp_path / "registry"))
    return desk


def test_openssl_makes_keys_that_sign(registry_of_one: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from contender.registry import Registry
    from contender.registry.signing import private_key
    from contender.store import LocalStore

    for command in (
        ("openssl", "genpkey", "-algorithm", "ed25519", "-out", "key.pem"),
        ("openssl", "pkey", "-in", "key.pem", "-pubout", "-out", "public.pem"),
    ):
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    registry = Registry(LocalStore(tmp_path / "registry"), "desk")
    (manifest,) = registry.releases()
    monkeypatch.setenv("CONTENDER_PUBLIC_KEY", str(tmp_path / "public.pem"))
    for arguments in (("verify", "desk"), ("pull", "desk", str(tmp_path / "out"))):
        unsigned = registry_of_one.run(*arguments)
        assert (unsigned.code, "is not signed by the key" in unsigned.shown) == (1, True), (
            "the variable asks for it, too"
        )
    registry.sign(manifest.release, private_key((tmp_path / "key.pem").read_bytes()))
    for arguments in (("verify", "desk"), ("pull", "desk", str(tmp_path / "out")), ("verify", str(tmp_path / "out"))):
        assert registry_of_one.run(*arguments).code == 0
    monkeypatch.delenv("CONTENDER_PUBLIC_KEY")
    assert registry_of_one.run("verify", "desk", "--public-key", str(tmp_path / "public.pem")).code == 0


def test_by_hand_a_store_that_keeps_nobody_apart_takes_the_pipelines_promise(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from careless import Careless

    from contender.records import ReleaseDraft
    from contender.registry import Registry

    store = Careless()
    monkeypatch.setattr("contender.run.open_store", lambda *_: store)
    monkeypatch.delenv("CONTENDER_REGISTRY", raising=False)
    monkeypatch.chdir(desk.folder)
    releases = []
    for number in range(2):
        (tmp_path / f"model-{number}").mkdir()
        (tmp_path / f"model-{number}" / "config.json").write_text(f'{{"n": {number}}}')
        manifest = Registry(store, "desk").stage(tmp_path / f"model-{number}", ReleaseDraft(kind="k", columns={}))
        releases.append(manifest.release)
    (desk.folder / "pipelines").mkdir()
    pipeline = desk.folder / "pipelines" / "desk.yaml"
    pipeline.write_text(desk.pipeline.read_text())
    refused = desk.run("promote", "desk", releases[0], "--json")
    assert (refused.code, "promote.single_writer" in refused.document["error"]["fix"]) == (1, True), refused.shown
    pipeline.write_text(desk.pipeline.read_text() + "promote: {single_writer: true}\n")
    for n, release in enumerate(releases, 1):
        assert desk.run("promote", "desk", release, "--json").document["entry"]["n"] == n
    assert desk.run("rollback", "desk", "--json").document["entry"]["release"] == releases[0]
