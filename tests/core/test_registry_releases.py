"""Releases: staged once and whole, fetched whole or not at all, and never trusted unread."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contender.errors import Damaged, DiskFull, ModelError, StoreError, StoreUnavailable, UsageError
from contender.files import describe_files
from contender.records import Evaluation, ReleaseDraft, ReleaseManifest
from contender.registry import TRAIN_KEYS, Registry, verify_folder
from contender.registry.layout import sealed
from contender.store import LocalStore, MemoryStore, Store

DRAFT = ReleaseDraft(kind="text-classification", columns={"text": "body"}, label_names=("a", "b"), lineage={"seed": 17})


def model_folder(path: Path, seed: int = 0, size: int = 100_000) -> Path:
    (path / "tokenizer").mkdir(parents=True)
    (path / "config.json").write_text('{"model_type": "bert"}')
    (path / "tokenizer" / "vocab ü.txt").write_text("a\nb\n")
    (path / "model.safetensors").write_bytes(random.Random(seed).randbytes(size))
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return model_folder(tmp_path / "model")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.parquet"
    path.write_bytes(b"PAR1 sorted keys")
    return path


def identity(model: Path) -> str:
    """The id of the release that this folder would be."""
    return Registry(MemoryStore(), "intents").stage(model, DRAFT).release


def writes(store: MemoryStore) -> list[str]:
    """What was sent, but for what tells a garbage collector that the release is used."""
    sent = [key for operation, key in store.calls if operation in ("put", "create")]
    return [key for key in sent if "/claims/" not in key and not key.endswith("/staged")]


def test_a_staged_release_is_whole_and_fetched_as_it_was(store: Store, model: Path, keys: Path, tmp_path: Path):
    registry = Registry(store, "intents")
    manifest = registry.stage(model, DRAFT, {TRAIN_KEYS: keys})
    assert registry.release(manifest.release) == manifest
    assert registry.releases() == [manifest]
    assert registry.verify(manifest.release) == manifest
    assert registry.beside(manifest.release, TRAIN_KEYS) == b"PAR1 sorted keys"
    assert registry.fetch(manifest.release, tmp_path / "out" / "here") == manifest
    assert describe_files(tmp_path / "out" / "here", leave_out={"contender.json"}) == manifest.files
    assert verify_folder(tmp_path / "out" / "here") == manifest
    assert os.listdir(tmp_path / "out") == ["here"]  # noqa: PTH208


def test_the_release_id_is_of_the_files_alone(tmp_path: Path):
    first = Registry(MemoryStore(), "intents").stage(model_folder(tmp_path / "a"), DRAFT)
    same = Registry(MemoryStore(), "others").stage(model_folder(tmp_path / "b"), ReleaseDraft(kind="x", columns={}))
    other = Registry(MemoryStore(), "intents").stage(model_folder(tmp_path / "c", seed=1), DRAFT)
    assert first.release == same.release == f"r-{first.digest[:16]}"
    assert other.release != first.release
    # Ids are a contract: releases that exist keep theirs.
    assert first.release == "r-189d389d618139ca"


def test_staging_again_sends_nothing_and_is_the_same_release(model: Path, keys: Path):
    store = MemoryStore()
    registry = Registry(store, "intents")
    first = registry.stage(model, DRAFT, {TRAIN_KEYS: keys})
    store.calls.clear()
    counted: list[int] = []
    again = registry.stage(model, DRAFT.model_copy(update={"lineage": {"seed": 1}}), {TRAIN_KEYS: keys}, counted.append)
    assert again == first
    assert writes(store) == []
    assert sum(counted) == sum(file.size for file in first.files) + keys.stat().st_size


def test_an_interrupted_staging_goes_on_with_what_is_there(model: Path):
    store = MemoryStore()
    registry = Registry(store, "intents")
    store.fail("put", "unavailable", prefix=f"intents/releases/{identity(model)}/model/", times=1)
    with pytest.raises(StoreUnavailable):
        registry.stage(model, DRAFT)
    assert registry.releases() == [], "without a manifest there is no release"
    before = {info.key for info in store.list()}
    assert not any("/claims/" in key for key in before)
    store.calls.clear()
    manifest = registry.stage(model, DRAFT)
    assert not before & set(writes(store))
    assert registry.verify(manifest.release) == manifest


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer/vocab ü.txt"])
def test_staging_again_repairs_what_was_damaged(model: Path, name: str):
    store = MemoryStore()
    registry = Registry(store, "intents")
    manifest = registry.stage(model, DRAFT)
    key = f"intents/releases/{manifest.release}/model/{name}"
    store.corrupt(key, at=3)
    with pytest.raises(Damaged, match=name):
        registry.verify(manifest.release)
    store.calls.clear()
    assert registry.stage(model, DRAFT) == manifest
    assert writes(store) == [key]
    assert registry.verify(manifest.release) == manifest


def test_a_store_that_loses_bytes_on_the_way_gets_no_manifest(model: Path):
    class Lossy(MemoryStore):
        def put(self, key: str, data: bytes) -> None:
            super().put(key, data[:-1] if key.endswith(".safetensors") else data)

    store = Lossy()
    with pytest.raises(Damaged, match="does not hold what was sent"):
        Registry(store, "intents").stage(model, DRAFT)
    assert Registry(store, "intents").releases() == []


def test_racing_stagers_make_one_release(store: Store, model: Path, keys: Path):
    start = threading.Barrier(4)

    def one(seed: int) -> ReleaseManifest:
        start.wait()
        return Registry(store, "intents").stage(
            model, DRAFT.model_copy(update={"lineage": {"seed": seed}}), {TRAIN_KEYS: keys}
        )

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(one, range(4)))
    assert len({manifest.to_bytes() for manifest in found}) == 1
    assert Registry(store, "intents").verify(found[0].release) == found[0]


def test_other_train_keys_do_not_change_a_release_that_stands(model: Path, keys: Path, tmp_path: Path):
    registry = Registry(MemoryStore(), "intents")
    manifest = registry.stage(model, DRAFT, {TRAIN_KEYS: keys})
    (tmp_path / "others").write_bytes(b"other keys")
    assert registry.stage(model, DRAFT, {TRAIN_KEYS: tmp_path / "others"}) == manifest
    assert registry.beside(manifest.release, TRAIN_KEYS) == b"PAR1 sorted keys"


def test_train_keys_that_were_changed_or_lost_are_damage(model: Path, keys: Path):
    store = MemoryStore()
    registry = Registry(store, "intents")
    release = registry.stage(model, DRAFT, {TRAIN_KEYS: keys}).release
    store.corrupt(f"intents/releases/{release}/train_keys.parquet")
    with pytest.raises(Damaged, match="train_keys"):
        registry.beside(release, TRAIN_KEYS)
    store.delete(f"intents/releases/{release}/train_keys.parquet")
    with pytest.raises(Damaged, match="train_keys"):
        registry.beside(release, TRAIN_KEYS)
    assert Registry(MemoryStore(), "intents").stage(model, DRAFT).beside == ()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "training_args.bin", "x.PKL", "deep/weights.pt", "modeling.py"])
def test_what_can_run_code_is_no_part_of_a_release(model: Path, name: str):
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).write_bytes(b"1")
    with pytest.raises(ModelError, match=name):
        Registry(MemoryStore(), "intents").stage(model, DRAFT)


def test_a_folder_without_files_or_with_links_is_no_model(tmp_path: Path, model: Path):
    registry = Registry(MemoryStore(), "intents")
    (tmp_path / "empty").mkdir()
    (model / "link.json").symlink_to(model / "config.json")
    for folder, says in ((tmp_path / "empty", "is empty"), (tmp_path / "none", "no folder"), (model, "link.json")):
        with pytest.raises(ModelError, match=says):
            registry.stage(folder, DRAFT)


def test_an_unknown_release_names_the_known_ones(model: Path):
    registry = Registry(MemoryStore(), "intents")
    manifest = registry.stage(model, DRAFT)
    with pytest.raises(UsageError, match=manifest.release):
        registry.release("r-0000000000000000")
    with pytest.raises(UsageError, match="known: none"):
        Registry(MemoryStore(), "intents").release("r-0000000000000000")


@pytest.mark.parametrize("field", ["release", "digest", "files", "path"])
def test_a_manifest_that_contradicts_itself_is_damage(model: Path, field: str):
    store = MemoryStore()
    registry = Registry(store, "intents")
    manifest = registry.stage(model, DRAFT)
    climbing = (manifest.files[0].model_copy(update={"path": "../../x"}), *manifest.files[1:])
    changes = {
        "release": {"release": "r-0123456789abcdef"},
        "digest": {"digest": "0" * 64},
        "files": {"files": manifest.files[1:]},
        "path": {"files": climbing},
    }
    store.put(f"intents/releases/{manifest.release}/manifest.json", sealed(manifest.model_copy(update=changes[field])))
    with pytest.raises(Damaged):
        registry.release(manifest.release)
    with pytest.raises(Damaged):
        registry.releases()


def test_a_manifest_whose_paths_climb_out_writes_nothing_outside(tmp_path: Path, model: Path):
    from contender.registry.layout import files_digest, release_id

    store = MemoryStore()
    registry = Registry(store, "intents")
    manifest = registry.stage(model, DRAFT)
    files = (manifest.files[0].model_copy(update={"path": "../evil"}),)
    forged = manifest.model_copy(
        update={"files": files, "digest": files_digest(files), "release": release_id(files_digest(files))}
    )
    store.put(f"intents/releases/{forged.release}/manifest.json", sealed(forged))
    with pytest.raises(Damaged):
        registry.fetch(forged.release, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


# --- fetch ---


def test_a_flipped_bit_is_damaged_and_nothing_appears(store: Store, model: Path, tmp_path: Path):
    registry = Registry(store, "intents")
    manifest = registry.stage(model, DRAFT)
    data = bytearray((model / "model.safetensors").read_bytes())
    data[77] ^= 4
    store.put(f"intents/releases/{manifest.release}/model/model.safetensors", bytes(data))
    with pytest.raises(Damaged, match=r"model\.safetensors"):
        registry.fetch(manifest.release, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("change", ["missing", "shorter", "longer"])
def test_a_file_that_is_not_as_promised_is_named(model: Path, tmp_path: Path, change: str):
    store = MemoryStore()
    registry = Registry(store, "intents")
    manifest = registry.stage(model, DRAFT)
    key = f"intents/releases/{manifest.release}/model/config.json"
    store.delete(key)
    if change != "missing":
        store.put(key, b"{" if change == "shorter" else b"x" * 10_000_000)
    with pytest.raises(Damaged, match=r"config\.json") as caught:
        registry.fetch(manifest.release, tmp_path / "out")
    assert "model.safetensors" not in caught.value.what
    with pytest.raises(Damaged, match=r"config\.json"):
        registry.verify(manifest.release)


def test_fetching_what_is_there_reads_nothing_but_the_manifest(model: Path, tmp_path: Path):
    store = MemoryStore()
    registry = Registry(store, "intents")
    manifest = registry.stage(model, DRAFT)
    registry.fetch(manifest.release, tmp_path / "out")
    store.calls.clear()
    registry.fetch(manifest.release, tmp_path / "out")
    assert [key.rsplit("/", 1)[-1] for _, key in store.calls] == ["manifest.json"]


def test_an_interrupted_fetch_goes_on_with_what_is_there(model: Path, tmp_path: Path):
    store = MemoryStore()
    registry = Registry(store, "intents")
    manifest = registry.stage(model, DRAFT)
    prefix = f"intents/releases/{manifest.release}/model/"
    store.fail("get", "unavailable", prefix=f"{prefix}tokenizer")
    with pytest.raises(StoreUnavailable):
        registry.fetch(manifest.release, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    store.calls.clear()
    registry.fetch(manifest.release, tmp_path / "out")
    assert f"{prefix}model.safetensors" not in [key for _, key in store.calls]
    assert verify_folder(tmp_path / "out") == manifest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "out"]


def test_a_damaged_folder_is_mended_and_only_the_bad_file_travels(model: Path, tmp_path: Path):
    store = MemoryStore()
    registry = Registry(store, "intents")
    manifest = registry.stage(model, DRAFT)
    registry.fetch(manifest.release, tmp_path / "out")
    (tmp_path / "out" / "config.json").write_text("{}")
    (tmp_path / "out" / "stray.bin").write_bytes(b"1")
    with pytest.raises(Damaged, match=r"config\.json has other content; stray\.bin does not belong"):
        verify_folder(tmp_path / "out")
    store.calls.clear()
    registry.fetch(manifest.release, tmp_path / "out")
    model_gets = [key for operation, key in store.calls if operation == "get" and "/model/" in key]
    assert [key.rsplit("/", 1)[-1] for key in model_gets] == ["config.json"]
    assert verify_folder(tmp_path / "out") == manifest


def test_a_newer_release_takes_the_folder_of_an_older_one(model: Path, tmp_path: Path):
    registry = Registry(MemoryStore(), "intents")
    old = registry.stage(model, DRAFT)
    new = registry.stage(model_folder(tmp_path / "new", seed=1), DRAFT)
    registry.fetch(old.release, tmp_path / "out")
    registry.fetch(new.release, tmp_path / "out")
    assert verify_folder(tmp_path / "out") == new
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "new", "out"]


def test_a_fetch_that_fails_leaves_the_older_release_in_place(model: Path, tmp_path: Path):
    store = MemoryStore()
    registry = Registry(store, "intents")
    old = registry.stage(model, DRAFT)
    new = registry.stage(model_folder(tmp_path / "new", seed=1), DRAFT)
    registry.fetch(old.release, tmp_path / "out")
    store.corrupt(f"intents/releases/{new.release}/model/model.safetensors")
    with pytest.raises(Damaged):
        registry.fetch(new.release, tmp_path / "out")
    assert verify_folder(tmp_path / "out") == old


def test_a_folder_with_somebodys_files_is_not_replaced(model: Path, tmp_path: Path):
    registry = Registry(MemoryStore(), "intents")
    release = registry.stage(model, DRAFT).release
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    (tmp_path / "file").write_text("1")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    for name in ("mine", "file", "link"):
        with pytest.raises(UsageError, match=name):
            registry.fetch(release, tmp_path / name)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years"
    (tmp_path / "empty").mkdir()
    registry.fetch(release, tmp_path / "empty")


def test_fetches_at_the_same_time_do_not_disturb_each_other(model: Path, tmp_path: Path):
    registry = Registry(LocalStore(tmp_path / "store"), "intents")
    releases = [registry.stage(model_folder(tmp_path / f"model-{seed}", seed=seed), DRAFT).release for seed in (1, 2)]

    def fetch(number: int) -> str:
        return registry.fetch(releases[number % 2], tmp_path / "out").release

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(fetch, range(40))) == releases * 20
    assert verify_folder(tmp_path / "out").release in releases
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "model-1", "model-2", "out", "store"]


def test_a_fetch_waits_for_the_one_that_fills_its_folder_and_sends_nothing_again(model: Path, tmp_path: Path):
    registry = Registry(store := MemoryStore(), "intents")
    release = registry.stage(model, DRAFT).release
    store.calls.clear()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: registry.fetch(release, tmp_path / "out"), range(8)))
    gets = [key for operation, key in store.calls if operation == "get" and "/model/" in key]
    assert len(gets) == len(set(gets)) > 0


def test_what_a_killed_fetch_left_is_used_or_goes_away(model: Path, tmp_path: Path):
    registry = Registry(store := MemoryStore(), "intents")
    release = registry.stage(model, DRAFT).release
    partial, old = tmp_path / ".out.partial", tmp_path / ".out.old"
    partial.mkdir()
    shutil.copy(model / "model.safetensors", partial)
    (partial / "of-another-release.json").write_text("{}")
    old.mkdir()
    (old / "contender.json").write_text("{}")
    store.calls.clear()
    registry.fetch(release, tmp_path / "out")
    assert not [key for operation, key in store.calls if operation == "get" and key.endswith("model.safetensors")]
    assert verify_folder(tmp_path / "out").release == release
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "out"]


def evaluated(registry: Registry, release: str, tmp_path: Path, name: str = "e-1") -> str:
    """Saves an evaluation of the release, with a report."""
    files = tmp_path / name
    files.mkdir()
    (files / "README.md").write_text("card")
    (files / "report.html").write_text("<html>")
    (files / "outcomes.parquet").write_bytes(b"rows")
    evaluation = Evaluation(
        evaluation=name, release=release, champion=None, device="cpu", dtype="fp32", challenger_sets=()
    )
    return registry.save_evaluation(evaluation, files).evaluation


def test_the_report_comes_along(model: Path, tmp_path: Path):
    registry = Registry(MemoryStore(), "intents")
    manifest = registry.stage(model, DRAFT)
    evaluated(registry, manifest.release, tmp_path)
    warnings: list[str] = []
    registry.fetch(manifest.release, tmp_path / "out", on_warning=warnings.append)
    assert (tmp_path / "out" / "README.md").read_text() == "card"
    assert not (tmp_path / "out" / "outcomes.parquet").exists()
    assert verify_folder(tmp_path / "out") == manifest
    assert warnings == []


@pytest.mark.parametrize("name", ["report.html", "manifest.json"])
def test_a_damaged_report_is_left_out_and_told_and_the_model_is_fetched(model: Path, tmp_path: Path, name: str):
    store = MemoryStore()
    registry = Registry(store, "intents")
    manifest = registry.stage(model, DRAFT)
    store.corrupt(f"intents/evaluations/{manifest.release}/{evaluated(registry, manifest.release, tmp_path)}/{name}")
    warnings: list[str] = []
    registry.fetch(manifest.release, tmp_path / "out", on_warning=warnings.append)
    assert verify_folder(tmp_path / "out") == manifest
    assert not (tmp_path / "out" / "report.html").exists()
    assert (tmp_path / "out" / "README.md").exists() == (name == "report.html")
    assert len(warnings) == 1
    assert f"e-1/{name}" in warnings[0] and "the model is whole" in warnings[0]
    registry.fetch(manifest.release, tmp_path / "second")  # whoever does not ask is not stopped either


def test_verifying_counts_the_bytes_that_it_reads(store: Store, model: Path, keys: Path, tmp_path: Path):
    registry = Registry(store, "intents")
    manifest = registry.stage(model, DRAFT, {TRAIN_KEYS: keys})
    size = sum(file.size for file in manifest.files)
    counted: list[int] = []
    registry.verify(manifest.release, on_bytes=counted.append)
    assert sum(counted) == size + keys.stat().st_size
    counted.clear()
    registry.fetch(manifest.release, tmp_path / "out", counted.append)
    assert sum(counted) == size
    counted.clear()
    verify_folder(tmp_path / "out", counted.append)
    assert sum(counted) == size


def test_verifying_a_release_with_its_evaluation_names_the_damaged_file_of_either(model: Path, tmp_path: Path):
    store = MemoryStore()
    registry = Registry(store, "intents")
    manifest = registry.stage(model, DRAFT)
    evaluation = evaluated(registry, manifest.release, tmp_path)
    assert registry.verify(manifest.release, evaluation) == manifest
    folder = f"intents/evaluations/{manifest.release}/{evaluation}/"
    store.corrupt(f"{folder}report.html")
    assert registry.verify(manifest.release) == manifest, "the model itself is whole"
    with pytest.raises(Damaged, match=r"evaluation e-1: report\.html has other content") as caught:
        registry.verify(manifest.release, evaluation)
    assert "outcomes.parquet" not in caught.value.what and "Restore" in caught.value.fix
    store.delete(f"{folder}outcomes.parquet")
    store.corrupt(f"intents/releases/{manifest.release}/model/config.json")
    with pytest.raises(Damaged, match=r"config\.json .*outcomes\.parquet is missing.*report\.html has other"):
        registry.verify(manifest.release, evaluation)
    store.delete(f"{folder}manifest.json")
    with pytest.raises(Damaged, match=r"evaluation e-1: manifest\.json is missing"):
        registry.verify(manifest.release, evaluation)


@pytest.mark.parametrize("folder", ["/", "//", "/."])
def test_the_root_of_the_machine_is_no_folder_for_a_release(model: Path, folder: str):
    registry = Registry(MemoryStore(), "intents")
    with pytest.raises(UsageError, match="cannot hold a release"):
        registry.fetch(registry.stage(model, DRAFT).release, Path(folder))


@pytest.mark.parametrize("name", ["link", "README.md", "tokenizer/link", "dangling", "pipe"])
def test_a_link_or_a_pipe_in_a_fetched_folder_does_not_belong_to_it(model: Path, tmp_path: Path, name: str):
    registry = Registry(MemoryStore(), "intents")
    manifest = registry.stage(model, DRAFT)
    registry.fetch(manifest.release, tmp_path / "out")
    path = tmp_path / "out" / name
    if name == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("nowhere" if name == "dangling" else "/etc/passwd")
    with pytest.raises(Damaged, match=f"{name} does not belong to it"):
        verify_folder(tmp_path / "out")
    registry.fetch(manifest.release, tmp_path / "out")
    assert verify_folder(tmp_path / "out") == manifest


def test_a_file_that_became_a_link_to_its_own_content_is_no_file_of_the_release(model: Path, tmp_path: Path):
    registry = Registry(MemoryStore(), "intents")
    registry.fetch(registry.stage(model, DRAFT).release, tmp_path / "out")
    path = tmp_path / "out" / "config.json"
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(Damaged, match=r": config\.json is no regular file\n"):
        verify_folder(tmp_path / "out")


def test_a_fetch_onto_a_full_disk_says_so_and_leaves_nothing_half(model: Path, tmp_path: Path):
    registry = Registry(MemoryStore(), "intents")
    release = registry.stage(model_folder(tmp_path / "large", size=2_000_000), DRAFT).release
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine does not allow a mount")
    try:
        with pytest.raises(DiskFull, match="no space left") as caught:
            registry.fetch(release, disk / "out")
        assert "Free some space" in caught.value.fix
        assert not (disk / "out").exists()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_fetch_below_a_file_says_so(model: Path, tmp_path: Path):
    registry = Registry(MemoryStore(), "intents")
    release = registry.stage(model, DRAFT).release
    (tmp_path / "file").write_text("1")
    with pytest.raises(UsageError, match="cannot write"):
        registry.fetch(release, tmp_path / "file" / "out")


def test_a_model_that_vanishes_while_it_is_staged_is_a_clear_error(model: Path):
    class Vanishing(MemoryStore):
        def upload(self, key: str, path: Path, on_bytes=None) -> None:
            path.unlink()
            super().upload(key, path, on_bytes)

    with pytest.raises(ModelError, match="cannot read"):
        Registry(Vanishing(), "intents").stage(model, DRAFT)


def test_verify_of_a_folder_that_is_no_release_says_so(tmp_path: Path):
    with pytest.raises(UsageError, match=r"contender\.json"):
        verify_folder(tmp_path)
    (tmp_path / "contender.json").write_text("{}")
    with pytest.raises(Damaged):
        verify_folder(tmp_path)


FETCHER = """
import sys
from pathlib import Path
from contender.registry import Registry
from contender.store import LocalStore
print("ready", flush=True)
Registry(LocalStore(Path(sys.argv[1])), "intents").fetch(sys.argv[2], Path(sys.argv[3]))
"""


def test_a_fetch_killed_at_any_moment_leaves_no_half_release(tmp_path: Path):
    model = model_folder(tmp_path / "model", size=30_000_000)
    registry = Registry(LocalStore(tmp_path / "store"), "intents")
    manifest = registry.stage(model, DRAFT)
    out = tmp_path / "out"
    for pause in (0.002, 0.02, 0.05):
        command = [sys.executable, "-c", FETCHER, str(tmp_path / "store"), manifest.release, str(out)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
        assert process.stdout
        process.stdout.readline()
        try:
            process.wait(pause)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        if out.exists():
            assert verify_folder(out) == manifest
    assert registry.fetch(manifest.release, out) == manifest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "out", "store"]


# --- laws ---


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "create", "get", "list"]),
            st.sampled_from(["unavailable", "lost_answer"]),
            st.integers(1, 5),
        ),
        max_size=6,
    )
)
def test_a_release_is_whole_or_absent_whatever_fails_and_a_repetition_ends_whole(faults):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        model = model_folder(Path(folder) / "model", size=1000)
        store = MemoryStore()
        registry = Registry(store, "intents")
        for fault in faults:
            store.fail(*fault)
        try:
            registry.stage(model, DRAFT)
        except StoreError as error:
            pytest.fail(str(error))
        except StoreUnavailable:
            pass
        store.heal()
        for manifest in registry.releases():
            assert registry.verify(manifest.release) == manifest
        manifest = registry.stage(model, DRAFT)
        assert registry.verify(manifest.release) == manifest


# --- a registry that cannot be written ---


def test_a_registry_under_a_file_says_what_to_do(model: Path, tmp_path: Path):
    (tmp_path / "file").write_text("1")
    registry = Registry(LocalStore(tmp_path / "file"), "intents")
    with pytest.raises(StoreError, match="a file stands where a folder is needed"):
        registry.stage(model, DRAFT)


def test_a_missing_bucket_says_what_to_do(s3_server, model: Path):
    from contender.store.s3 import S3Store

    registry = Registry(S3Store("no-such-bucket-here", attempts=1), "intents")
    for act in (lambda: registry.stage(model, DRAFT), lambda: registry.champion("production"), registry.releases):
        with pytest.raises(StoreError, match="bucket no-such-bucket-here does not exist") as caught:
            act()
        assert "Create it" in caught.value.fix


def test_a_bit_flipped_on_the_wire_is_damaged_or_caught_on_the_way(proxy, s3_server, model: Path, tmp_path: Path):
    import secrets

    from contender.store.s3 import S3Store

    registry = Registry(S3Store(s3_server.bucket, f"w-{secrets.token_hex(4)}"), "intents")
    manifest = registry.stage(model, DRAFT)
    proxy.inject("flip", method="GET", part="model.safetensors", times=2)
    with pytest.raises(Damaged, match=r"model\.safetensors"):
        registry.fetch(manifest.release, tmp_path / "out")
    proxy.inject("flip", method="GET", part="model.safetensors")
    registry.fetch(manifest.release, tmp_path / "out")
    assert verify_folder(tmp_path / "out") == manifest


def test_a_bit_flipped_on_the_wire_is_no_damage_and_one_flipped_for_good_is(proxy, s3_server, model: Path):
    import secrets

    from contender.store.s3 import S3Store

    registry = Registry(S3Store(s3_server.bucket, f"w-{secrets.token_hex(4)}"), "intents")
    manifest = registry.stage(model, DRAFT)
    proxy.inject("flip", method="GET", part="model.safetensors")
    assert registry.stage(model, DRAFT) == manifest
    proxy.inject("flip", method="GET", part="model.safetensors")
    assert registry.verify(manifest.release) == manifest
    proxy.inject("flip", method="GET", part="model.safetensors", times=2)
    with pytest.raises(Damaged, match=r"model\.safetensors"):
        registry.verify(manifest.release)
    assert proxy.happened == 4
