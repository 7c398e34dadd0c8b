"""A server that follows an alias: the newest release that can be served, and never none where there was one."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from contender.errors import UsageError
from contender.kinds import kind
from contender.records import AliasEntry, ReleaseDraft, ReleaseManifest
from contender.registry import Registry
from contender.serving import Follower
from contender.serving import follower as module
from contender.store import MemoryStore
from contender.training.saving import save_model_files

LABELS = ("blue", "green", "red")
DRAFT = ReleaseDraft(kind="text-classification", columns={"text": "body"}, label_names=LABELS)
RELEASES = "desk/releases/"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> list[Path]:
    """Three models of other weights each."""
    import torch

    folders = []
    for seed in (1, 2, 3):
        torch.manual_seed(seed)
        found = kind("text-classification")
        folders.append(tmp_path_factory.mktemp("models") / f"model-{seed}")
        save_model_files(found.load_model(tiny_base, LABELS), found.load_processor(tiny_base), 16, folders[-1])
    return folders


class Desk:
    """A registry in memory, three staged releases, and a follower of its alias that looks when it is told to."""

    def __init__(self, models: list[Path], folder: Path) -> None:
        self.store = MemoryStore()
        self.registry = Registry(self.store, "desk", patience=0.0)
        self.releases = [self.registry.stage(model, DRAFT) for model in models]
        self.folder = folder
        self.follower = self.new_follower()

    def new_follower(self) -> Follower:
        return Follower(self.registry, "production", self.folder, every=5.0, device="cpu")

    def promote(self, release: ReleaseManifest) -> AliasEntry:
        newest = self.registry.champion("production")
        return self.registry.promote("production", newest.n if newest else 0, release, reason="test", actor="tests")

    @property
    def serves(self) -> str | None:
        """The release that answers now; it does."""
        live = self.follower.live
        if live is None:
            return None
        assert live.model.predict(["red"])[0].label in LABELS
        assert live.model.manifest.release == live.entry.release
        return live.entry.release

    def model_reads(self) -> list[str]:
        return [key for operation, key in self.store.calls if operation == "get" and "/model/" in key]


@pytest.fixture
def desk(models: list[Path], tmp_path: Path) -> Desk:
    return Desk(models, tmp_path / "serving")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets seconds pass for the follower."""
    now = [time.monotonic()]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def passes(seconds: float) -> None:
        now[0] += seconds

    return passes


def test_it_serves_what_the_alias_names_and_goes_over_when_that_moves(desk: Desk):
    first, second, _ = desk.releases
    assert "names no release yet" in str(desk.follower.look().trouble)
    assert desk.serves is None
    desk.promote(first)
    assert desk.follower.look().trouble is None
    assert desk.serves == first.release
    old = desk.follower.live
    answers = old.model.predict(["red word1", "blue"])
    desk.promote(second)
    assert desk.follower.look().trouble is None
    assert (desk.serves, desk.follower.live.entry.n) == (second.release, 2)
    assert desk.follower.live.model.predict(["red word1", "blue"]) != answers
    assert old.model.predict(["red word1", "blue"]) == answers, "whoever took it goes on with it"


def test_a_look_at_an_alias_that_stands_still_is_one_request(desk: Desk):
    desk.promote(desk.releases[0])
    desk.follower.look()
    desk.store.calls.clear()
    for _ in range(3):
        assert desk.follower.look().trouble is None
    assert desk.store.calls == [("list", "desk/aliases/production/")] * 3


def test_the_way_back_reads_no_file_of_the_model_again(desk: Desk):
    first, second, third = desk.releases
    for release in (first, second):
        desk.promote(release)
        desk.follower.look()
    desk.store.calls.clear()
    desk.promote(first)
    desk.follower.look()
    assert desk.serves == first.release
    assert desk.model_reads() == []
    desk.promote(third)
    desk.follower.look()
    (place,) = desk.folder.iterdir()
    assert {path.name for path in place.iterdir()} == {"entry.json", first.release, third.release}


def test_an_entry_that_names_the_same_release_loads_nothing(desk: Desk):
    desk.promote(desk.releases[0])
    desk.follower.look()
    before = desk.follower.live
    desk.promote(desk.releases[0])
    desk.follower.look()
    assert desk.follower.live.entry.n == 2
    assert (desk.follower.live.model, desk.follower.live.since) == (before.model, before.since)


def test_a_damaged_release_is_told_and_the_old_one_stays(desk: Desk, clock):
    first, second, third = desk.releases
    desk.promote(first)
    desk.follower.look()
    weights = f"{RELEASES}{second.release}/model/model.safetensors"
    desk.store.corrupt(weights)
    desk.promote(second)
    trouble = desk.follower.look().trouble
    assert f"{second.release} of entry 2 cannot be served" in trouble and "model.safetensors" in trouble
    assert desk.serves == first.release

    desk.store.calls.clear()
    clock(9)
    assert desk.follower.look().trouble == trouble
    assert desk.model_reads() == [], "it is not tried again at every look"
    desk.store.corrupt(weights)  # mended
    clock(2)
    assert desk.follower.look().trouble is None
    assert desk.serves == second.release
    desk.promote(third)
    desk.follower.look()
    assert desk.serves == third.release


def test_pauses_grow_and_another_entry_ends_them(desk: Desk, clock):
    first, second, third = desk.releases
    desk.promote(first)
    desk.follower.look()
    desk.store.corrupt(f"{RELEASES}{second.release}/model/model.safetensors")
    desk.promote(second)
    pauses = []
    for _ in range(8):
        desk.follower.look()
        passed = 0
        desk.store.calls.clear()
        while not desk.model_reads():
            clock(5)
            passed += 5
            desk.follower.look()
        pauses.append(passed)
    assert pauses[0] < pauses[1] < pauses[2] and max(pauses) == pauses[-1] == 300
    desk.promote(third)
    assert desk.follower.look().trouble is None
    assert desk.serves == third.release


def test_a_release_that_cannot_be_loaded_is_told_and_the_old_one_stays(desk: Desk, models: list[Path]):
    desk.promote(desk.releases[0])
    desk.follower.look()
    other = desk.registry.stage(models[1].parent, ReleaseDraft(kind="text-ranking", columns={}))
    desk.promote(other)
    assert "unknown kind 'text-ranking'" in str(desk.follower.look().trouble)
    assert desk.serves == desk.releases[0].release


def test_an_error_nobody_foresaw_is_told_and_the_old_one_stays(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    desk.promote(desk.releases[0])
    desk.follower.look()

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("left")

    monkeypatch.setattr(module, "load", broken)
    desk.promote(desk.releases[1])
    assert "ZeroDivisionError: left" in str(desk.follower.look().trouble)
    assert desk.serves == desk.releases[0].release


def test_a_store_that_is_away_is_told_and_serving_goes_on(desk: Desk):
    desk.promote(desk.releases[0])
    desk.follower.look()
    for operation in ("list", "get"):
        desk.store.fail(operation, "unavailable", times=1000)
    assert "did not answer" in str(desk.follower.look().trouble)
    assert desk.serves == desk.releases[0].release
    desk.store.heal()
    assert desk.follower.look().trouble is None


def test_a_pull_that_breaks_off_goes_on_at_the_next_look_with_what_came(desk: Desk):
    first, second, _ = desk.releases
    desk.promote(first)
    desk.follower.look()
    desk.promote(second)
    desk.store.calls.clear()
    desk.store.fail("get", "unavailable", prefix=f"{RELEASES}{second.release}/model/tokenizer.json")
    assert "did not answer" in str(desk.follower.look().trouble)
    assert desk.serves == first.release
    assert desk.follower.look().trouble is None
    assert desk.serves == second.release
    reads = desk.model_reads()
    assert len(reads) == len(set(reads)) + 1, "one file was asked for twice"


def test_a_log_that_was_emptied_is_told_and_serving_goes_on(desk: Desk):
    desk.promote(desk.releases[0])
    desk.follower.look()
    desk.store.delete("desk/aliases/production/00000001.json")
    assert "shorter than it was" in str(desk.follower.look().trouble)
    assert desk.serves == desk.releases[0].release


def test_a_start_while_the_store_is_away_serves_what_was_served_last(desk: Desk):
    for release in desk.releases[:2]:
        desk.promote(release)
        desk.follower.look()
    desk.store.fail("list", "unavailable", times=1000)
    desk.store.fail("get", "unavailable", times=1000)
    with desk.new_follower() as desk.follower:
        assert "did not answer" in str(desk.follower.status.trouble)
        assert (desk.serves, desk.follower.live.entry.n) == (desk.releases[1].release, 2)
        desk.store.heal()
        desk.promote(desk.releases[2])
        assert desk.follower.look().trouble is None
        assert desk.serves == desk.releases[2].release


def test_what_was_served_last_is_verified_before_it_is_served_again(desk: Desk):
    desk.promote(desk.releases[0])
    desk.follower.look()
    (place,) = desk.folder.iterdir()
    weights = place / desk.releases[0].release / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    desk.store.fail("list", "unavailable", times=1000)
    desk.store.fail("get", "unavailable", times=1000)
    with desk.new_follower() as desk.follower:
        assert desk.serves is None
        assert "did not answer" in str(desk.follower.status.trouble)


def test_followers_of_other_aliases_leave_each_others_releases_alone(desk: Desk):
    desk.registry.promote("staging", 0, desk.releases[2], reason="try", actor="tests")
    staging = Follower(desk.registry, "staging", desk.folder, device="cpu")
    staging.look()
    desk.promote(desk.releases[0])
    desk.follower.look()
    assert len(list(desk.folder.glob("*/r-*"))) == 2
    assert staging.live.entry.release == desk.releases[2].release


def test_a_folder_that_went_away_is_made_again(desk: Desk):
    desk.promote(desk.releases[0])
    desk.follower.look()
    shutil.rmtree(desk.folder)
    desk.promote(desk.releases[1])
    assert desk.follower.look().trouble is None
    assert desk.serves == desk.releases[1].release


def test_its_thread_looks_by_itself_and_ends(desk: Desk):
    desk.promote(desk.releases[0])
    follower = Follower(desk.registry, "production", desk.folder, every=0.05, device="cpu")
    with follower as desk.follower:
        assert desk.serves == desk.releases[0].release, "from the start"
        desk.promote(desk.releases[1])
        deadline = time.monotonic() + 60
        while desk.serves != desk.releases[1].release:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    follower._thread.join(timeout=30)
    assert not follower._thread.is_alive()


def test_what_will_not_mend_itself_is_raised_at_the_start(desk: Desk, tmp_path: Path):
    desk.promote(desk.releases[0])
    with (
        pytest.raises(UsageError, match="cannot compute on quantum"),
        Follower(desk.registry, "production", desk.folder, device="quantum"),
    ):
        pass
    for name in ("desk", "desk@production", "s3://bucket"):
        with pytest.raises(UsageError):
            Follower.of(name, tmp_path)
    assert Follower.of(f"{tmp_path}/registry/desk", tmp_path).name == f"{tmp_path}/registry/desk@production"


def test_only_what_its_key_signed_is_served(desk: Desk):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    first, second = desk.releases[:2]
    desk.follower = Follower(
        desk.registry, "production", desk.folder, every=0.0, device="cpu", public_key=key.public_key()
    )
    desk.registry.sign(first.release, key)
    desk.promote(first)
    assert desk.follower.look().trouble is None
    desk.promote(second)
    assert "is not signed by the key" in str(desk.follower.look().trouble)
    assert desk.serves == first.release
    desk.registry.sign(second.release, key)
    assert desk.follower.look().trouble is None
    assert desk.serves == second.release
    with pytest.raises(UsageError, match="names a release, which never moves"):
        Follower.of(f"registry/desk@{first.release}", desk.folder)
