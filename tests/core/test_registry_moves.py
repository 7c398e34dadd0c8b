"""Rolling back, promoting by hand, signing, and removing what nothing needs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from contender.errors import AliasMoved, BeingDeleted, Damaged, OutcomeUnknown, StoreUnavailable, UsageError, Withdrawn
from contender.records import ReleaseDraft
from contender.registry import Registry, verify_folder
from contender.registry.claims import Claims
from contender.registry.layout import Layout
from contender.registry.signing import fingerprint, private_key, public_key
from contender.store import MemoryStore, Store
from contender.store.base import Unfinished

DRAFT = ReleaseDraft(kind="text-classification", columns={}, label_names=("a", "b"))
DAY = 24 * 3600.0


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Four models."""
    made = [tmp_path / name for name in "abcd"]
    for folder in made:
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_text(folder.name)
    return made


def live_in_turn(store: Store, folders: list[Path]) -> tuple[Registry, list[str]]:
    """A registry where each model was promoted after the one before."""
    registry = Registry(store, "intents", patience=0.0)
    manifests = [registry.stage(folder, DRAFT) for folder in folders]
    for n, manifest in enumerate(manifests):
        registry.promote("production", n, manifest, reason=f"r{n}", actor="tests")
    return registry, [manifest.release for manifest in manifests]


def rollback(registry: Registry, release: str | None = None, expected: int | None = None):
    return registry.rollback("production", release, expected, reason="worse in use", actor="ann")


def age(store: MemoryStore, seconds: float) -> None:
    """As if everything in the store had been written so long ago."""
    from dataclasses import replace

    store._objects = {key: replace(found, modified=found.modified - seconds) for key, found in store._objects.items()}


# --- rollback ---


def test_a_rollback_returns_to_what_was_live_before_and_withdraws_what_it_leaves(store: Store, folders: list[Path]):
    registry, (a, b) = live_in_turn(store, folders[:2])
    entry = rollback(registry)
    assert (entry.n, entry.action, entry.release, entry.previous) == (3, "rollback", a, b)
    assert (entry.withdrawn, entry.reason, entry.actor) == ((b,), "worse in use", "ann")
    assert registry.champion("production") == entry


def test_rollbacks_go_on_backwards_past_what_they_withdrew(folders: list[Path]):
    registry, (a, b, c) = live_in_turn(MemoryStore(), folders[:3])
    assert rollback(registry).release == b
    entry = rollback(registry)
    assert (entry.release, set(entry.withdrawn)) == (a, {b, c})
    with pytest.raises(UsageError, match="nothing was live as 'production' before"):
        rollback(registry)


def test_a_rollback_to_a_named_release_need_not_have_been_live(folders: list[Path]):
    registry, (_, b) = live_in_turn(MemoryStore(), folders[:2])
    other = registry.stage(folders[2], DRAFT).release
    assert rollback(registry, other).release == other
    with pytest.raises(UsageError, match="is live as 'production' already"):
        rollback(registry, other)
    with pytest.raises(UsageError, match="unknown release"):
        rollback(registry, "r-0000000000000000")
    assert rollback(registry, b).withdrawn == (other,), "who returns to b takes b's own withdrawal back"


def test_a_rollback_verifies_first_and_leaves_the_alias_where_it_was(folders: list[Path]):
    store = MemoryStore()
    registry, (a, b) = live_in_turn(store, folders[:2])
    store.corrupt(f"intents/releases/{a}/model/model.safetensors")
    with pytest.raises(Damaged, match=f"release {a} is damaged"):
        rollback(registry)
    live = registry.champion("production")
    assert live is not None and live.release == b


def test_a_rollback_that_expects_another_entry_does_nothing(folders: list[Path]):
    registry, (_, b) = live_in_turn(MemoryStore(), folders[:2])
    with pytest.raises(AliasMoved, match=f"is at entry 2 .{b}, r1., not at 1"):
        rollback(registry, expected=1)
    assert rollback(registry, expected=2).n == 3
    with pytest.raises(AliasMoved):
        rollback(registry, expected=2)  # the same command again, where its answer was lost


def test_no_run_promotes_what_a_rollback_left_and_a_person_may(folders: list[Path]):
    registry, (_, b) = live_in_turn(MemoryStore(), folders[:2])
    rollback(registry)
    manifest = registry.release(b)
    with pytest.raises(Withdrawn, match=f"took {b} back"):
        registry.promote("production", 3, manifest, reason="better", actor="a run")
    entry = registry.promote("production", 3, manifest, reason="fixed", actor="ann", by_hand=True)
    assert entry.withdrawn == ()
    other = registry.stage(folders[2], DRAFT)
    registry.promote("production", 4, other, reason="better", actor="a run")
    assert registry.promote("production", 5, manifest, reason="better", actor="a run").release == b


def test_an_alias_without_entries_has_nothing_to_roll_back():
    with pytest.raises(UsageError, match="nothing to roll back"):
        rollback(Registry(MemoryStore(), "intents"))


# --- what becomes live is there ---


def test_what_was_removed_meanwhile_does_not_become_live(folders: list[Path]):
    store = MemoryStore()
    registry, (a,) = live_in_turn(store, folders[:1])
    manifest = registry.stage(folders[1], DRAFT)
    store.delete(f"intents/releases/{manifest.release}/manifest.json")
    with pytest.raises(Exception, match="was removed before it could become live"):
        registry.promote("production", 1, manifest, reason="r", actor="t")
    assert [entry.release for entry in registry.log("production")] == [a]


def test_a_release_that_is_being_deleted_is_neither_staged_nor_promoted(folders: list[Path]):
    store = MemoryStore()
    registry, _ = live_in_turn(store, folders[:1])
    manifest = registry.stage(folders[1], DRAFT)
    assert Claims(store, Layout("intents")).put_mark(manifest.release)
    with pytest.raises(BeingDeleted, match="is being deleted"):
        registry.stage(folders[1], DRAFT)
    with pytest.raises(BeingDeleted):
        registry.promote("production", 1, manifest, reason="r", actor="t")
    assert not any("/claims/" in info.key for info in store.list())


def test_a_live_release_whose_manifest_is_gone_is_damage(folders: list[Path]):
    store = MemoryStore()
    registry, (a,) = live_in_turn(store, folders[:1])
    entry = registry.champion("production")
    assert entry is not None
    assert registry.named_by(entry).release == a
    store.delete(f"intents/releases/{a}/manifest.json")
    with pytest.raises(
        Damaged, match=r"manifest\.json is missing, and entry 1 of an alias names that release"
    ) as caught:
        registry.named_by(entry)
    assert "contender rollback" in caught.value.fix


# --- gc ---


def test_gc_keeps_the_last_of_each_alias_and_what_is_young(folders: list[Path]):
    store = MemoryStore()
    registry, (a, b, c, d) = live_in_turn(store, folders)
    registry.promote("canary", 0, registry.release(a), reason="r", actor="t")
    assert registry.collector(keep=2, older_than=DAY).garbage() == [], "all of them are young"
    age(store, 2 * DAY)
    assert [one.release for one in registry.collector(keep=2, older_than=DAY).garbage()] == [b]
    assert [one.release for one in registry.collector(keep=3, older_than=DAY).garbage()] == []
    assert [(one.release, one.kept) for one in registry.collector(keep=2, older_than=DAY).collect()] == [(b, "")]
    assert [manifest.release for manifest in registry.releases()] == sorted(
        [a, c, d], key=lambda r: [a, b, c, d].index(r)
    )
    assert not any(b in info.key for info in store.list("intents/releases/"))
    assert len(registry.log("production")) == 4, "the history stays"


def test_a_release_that_is_staged_again_is_young_again(folders: list[Path]):
    store = MemoryStore()
    registry, _ = live_in_turn(store, folders[:1])
    staged = registry.stage(folders[1], DRAFT).release
    age(store, 2 * DAY)
    assert [one.release for one in registry.collector(1, DAY).garbage()] == [staged]
    registry.stage(folders[1], DRAFT)
    assert registry.collector(1, DAY).garbage() == []


def test_what_was_never_finished_goes_after_a_day(folders: list[Path]):
    store = MemoryStore()
    registry, _ = live_in_turn(store, folders[:1])
    store.put("intents/releases/r-00000000000000ff/model/model.safetensors", b"half")
    assert registry.collector(1, 0.0).garbage() == []
    age(store, 2 * DAY)
    (one,) = registry.collector(1, 0.0).garbage()
    assert (one.release, one.what, one.size) == ("r-00000000000000ff", "unfinished", 4)
    registry.collector(1, 0.0).collect()
    assert not any("ff/" in info.key for info in store.list())


def test_gc_goes_on_where_one_was_killed_and_leaves_another_ones_work(folders: list[Path]):
    store = MemoryStore()
    registry, (a, b) = live_in_turn(store, folders[:2])
    age(store, 2 * DAY)
    store.fail("delete", "unavailable", prefix=f"intents/releases/{a}/model")
    with pytest.raises(StoreUnavailable):
        registry.collector(1, DAY).collect()
    assert [(one.release, one.kept) for one in registry.collector(1, DAY).collect()] == [
        (a, "another gc is removing it")
    ]
    age(store, 2 * DAY)
    assert [(one.release, one.kept) for one in registry.collector(1, DAY).collect()] == [(a, "")]
    assert registry.releases() == [registry.release(b)]
    assert not any(a in info.key for info in store.list("intents/releases"))


def test_the_mark_of_a_killed_gc_comes_off_what_is_needed(folders: list[Path]):
    store = MemoryStore()
    registry, (a,) = live_in_turn(store, folders[:1])
    claims = Claims(store, Layout("intents"))
    claims.put_mark(a)
    registry.collector(1, DAY).collect()
    assert claims.marked(a), "a collector may be at work"
    age(store, DAY)
    registry.collector(1, DAY).collect()
    assert not claims.marked(a)


def test_gc_removes_nothing_where_a_log_is_not_whole(folders: list[Path]):
    store = MemoryStore()
    registry, _ = live_in_turn(store, folders)
    age(store, 2 * DAY)
    store.delete("intents/aliases/production/00000002.json")
    before = [info.key for info in store.list()]
    with pytest.raises(Damaged, match="gap"):
        registry.collector(1, DAY).collect()
    assert [info.key for info in store.list()] == before


def test_uploads_that_were_cut_off_a_day_ago_are_ended(folders: list[Path]):
    class Parts(MemoryStore):
        """A store in which uploads in parts were begun, as only S3 has them."""

        left = (
            Unfinished("intents/releases/r-00000000000000ff/model/model.safetensors", "u-1", time.time() - 2 * DAY),
            Unfinished("intents/releases/r-00000000000000ee/model/model.safetensors", "u-2", time.time()),
            Unfinished("others/releases/r-00000000000000ff/model/model.safetensors", "u-3", time.time() - 2 * DAY),
        )
        aborted: tuple[str, ...] = ()

        def unfinished(self, prefix: str = "", older_than: float = 0.0) -> Iterator[Unfinished]:
            old = time.time() - older_than
            return iter([one for one in self.left if one.key.startswith(prefix) and one.started < old])

        def abort(self, upload: Unfinished) -> None:
            self.aborted += (upload.upload,)

    store = Parts()
    registry, _ = live_in_turn(store, folders[:1])
    (one,) = registry.collector(1, 0.0).garbage()
    assert (one.release, one.what) == ("r-00000000000000ff", "upload")
    assert store.aborted == ()
    registry.collector(1, 0.0).collect()
    assert store.aborted == ("u-1",)


def test_a_claim_that_a_killed_process_left_delays_gc_by_a_day(folders: list[Path]):
    store = MemoryStore()
    registry, (a, _) = live_in_turn(store, folders[:2])
    age(store, 2 * DAY)
    store.put(f"intents/releases/{a}/claims/x.json", b"{}")
    assert [one.kept for one in registry.collector(1, DAY).collect()] == ["it is about to be used"]
    age(store, 1.1 * DAY)
    assert [one.kept for one in registry.collector(1, DAY).collect()] == [""]


# --- signatures ---


def pems(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> tuple[bytes, bytes]:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.from_private_bytes(b"k" * 32)


def test_a_signed_release_verifies_by_its_key_here_and_in_a_folder(
    store: Store, folders: list[Path], key, tmp_path: Path
):
    registry, (release,) = live_in_turn(store, folders[:1])
    private, public = pems(key)
    signature = registry.sign(release, private_key(private))
    assert signature.key == fingerprint(public_key(public))
    assert registry.verify(release, public_key=public_key(public)).release == release
    registry.fetch(release, tmp_path / "out", public_key=public_key(public))
    assert verify_folder(tmp_path / "out", public_key=public_key(public)).release == release


def test_a_release_without_the_signature_that_is_asked_for_is_damage(folders: list[Path], key, tmp_path: Path):
    registry, (release,) = live_in_turn(MemoryStore(), folders[:1])
    mine = key.public_key()
    with pytest.raises(Damaged, match="is not signed by the key"):
        registry.verify(release, public_key=mine)
    with pytest.raises(Damaged, match="is not signed by the key"):
        registry.fetch(release, tmp_path / "out", public_key=mine)
    assert not (tmp_path / "out").exists()
    other = ed25519.Ed25519PrivateKey.generate()
    registry.sign(release, other)
    with pytest.raises(Damaged, match=f"signed by {fingerprint(other.public_key())}"):
        registry.verify(release, public_key=mine)


def test_a_manifest_that_was_changed_and_sealed_anew_is_not_what_was_signed(folders: list[Path], key, tmp_path: Path):
    from contender.registry.layout import sealed

    store = MemoryStore()
    registry, (release,) = live_in_turn(store, folders[:1])
    registry.sign(release, key)
    registry.fetch(release, tmp_path / "out")
    forged = registry.release(release).model_copy(update={"label_names": ("b", "a")})
    store.put(f"intents/releases/{release}/manifest.json", sealed(forged))
    assert registry.verify(release) == forged, "without a key nobody can know"
    with pytest.raises(Damaged, match="is not of this manifest"):
        registry.verify(release, public_key=key.public_key())
    (tmp_path / "out" / "contender.json").write_bytes(sealed(forged))
    with pytest.raises(Damaged, match="is not of this manifest"):
        verify_folder(tmp_path / "out", public_key=key.public_key())


def test_a_folder_pulled_before_it_was_signed_gets_the_signature(folders: list[Path], key, tmp_path: Path):
    registry, (release,) = live_in_turn(MemoryStore(), folders[:1])
    registry.fetch(release, tmp_path / "out")
    registry.sign(release, key)
    registry.fetch(release, tmp_path / "out", public_key=key.public_key())
    verify_folder(tmp_path / "out", public_key=key.public_key())


def test_what_is_no_key_is_said_without_being_repeated(key):
    private, public = pems(key)
    wrong, _ = pems(ec.generate_private_key(ec.SECP256R1()))
    for pem in (b"", b"secret", wrong, public):
        with pytest.raises(UsageError, match="no Ed25519 private key") as caught:
            private_key(pem)
        assert "secret" not in str(caught.value)
    for pem in (b"", private):
        with pytest.raises(UsageError, match="no Ed25519 public key"):
            public_key(pem)


# --- seals ---


@pytest.mark.parametrize("what", ["manifest", "entry", "decision"])
def test_no_flipped_bit_of_a_record_passes(folders: list[Path], what: str):
    store = MemoryStore()
    registry, (release,) = live_in_turn(store, folders[:1])
    key = {
        "manifest": f"intents/releases/{release}/manifest.json",
        "entry": "intents/aliases/production/00000001.json",
        "decision": "intents/split/00000001.json",
    }[what]
    if what == "decision":
        from contender.records import SplitDefinition

        definition = SplitDefinition(key="text", test=0.1, validation=0.1, salt="s", normaliser=1)
        registry.freeze_split(definition)
        read = lambda: registry.freeze_split(definition)  # noqa: E731
    else:
        read = {"manifest": lambda: registry.release(release), "entry": lambda: registry.log("production")}[what]
    size = len(store.get(key))
    assert size > 100
    for at in range(size):
        store.corrupt(key, at=at)
        with pytest.raises(Damaged):
            read()
        store.corrupt(key, at=at)
    read()


def test_an_append_that_nobody_knows_of_can_be_repeated(folders: list[Path]):
    store = MemoryStore()
    registry, (a,) = live_in_turn(store, folders[:1])
    manifest = registry.stage(folders[1], DRAFT)
    entry = registry.next_entry("production", 1, manifest, reason="better", actor="a run")
    store.fail("create", "late", times=4, prefix="intents/aliases")
    with pytest.raises(OutcomeUnknown, match="nobody can say"):
        registry.append("production", entry)
    assert registry.append("production", entry) == entry
    store.land()
    assert [one.release for one in registry.log("production")] == [a, manifest.release]
