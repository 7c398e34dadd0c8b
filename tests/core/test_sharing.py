"""Stages that machines share: found whole, computed again where anything is missing, and kept here where the store is away."""

from __future__ import annotations

from pathlib import Path

import pytest

from contender.errors import StoreUnavailable
from contender.records import Record
from contender.store import LocalStore, MemoryStore
from contender.workspace import Workspace


class Made(Record):
    by: str


def machine(folder: Path, store: object, name: str) -> tuple[Workspace, list[str]]:
    """A workspace of one machine, and what it computed."""
    return Workspace(folder / name, store), []


def use(workspace: Workspace, computed: list[str], name: str = "a", text: str = "rows", share: bool = True):
    def compute(folder: Path) -> Made:
        computed.append(name)
        (folder / "deep").mkdir()
        (folder / "deep" / "rows").write_text(text)
        (folder / "other").write_text("o")
        return Made(by=name)

    return workspace.stage("split", "k", Made, compute, share=share)


def test_a_stage_of_one_machine_is_found_by_another(tmp_path):
    store = MemoryStore()
    (a, by_a), (b, by_b) = machine(tmp_path, store, "a"), machine(tmp_path, store, "b")
    use(a, by_a)
    found = use(b, by_b, "b")
    assert (found.cached, found.record.by, by_b) == (True, "a", [])
    assert (found.folder / "deep" / "rows").read_text() == "rows"
    assert found.folder.is_relative_to(tmp_path / "b")


def test_what_is_not_worth_carrying_stays(tmp_path):
    store = MemoryStore()
    (a, by_a), (b, by_b) = machine(tmp_path, store, "a"), machine(tmp_path, store, "b")
    use(a, by_a, share=False)
    assert list(store.list()) == []
    assert use(b, by_b, "b", share=False).record.by == "b"


@pytest.mark.parametrize("kept", ["stage.json", "rows", "other"])
@pytest.mark.parametrize("damage", ["gone", "cut", "changed"])
def test_a_shared_stage_with_any_fault_is_computed_again_and_mended(tmp_path, kept, damage):
    store = LocalStore(tmp_path / "store")
    (a, by_a), (b, by_b), (c, by_c) = (machine(tmp_path, store, name) for name in "abc")
    use(a, by_a)
    (path,) = [path for path in (tmp_path / "store").rglob(kept) if path.is_file()]
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if damage == "cut" else bytes([data[0] ^ 1]) + data[1:])
    assert use(b, by_b, "b").record.by == "b"
    assert use(c, by_c, "c").record.by == "b"


def test_two_computations_of_one_stage_are_never_mixed(tmp_path):
    store = LocalStore(tmp_path / "store")
    (a, by_a), (b, by_b) = machine(tmp_path, store, "a"), machine(tmp_path, store, "b")
    use(a, by_a, text="of a")
    (tmp_path / "store/stages/split/k/stage.json").unlink()
    use(b, by_b, "b", text="of b")
    c, by_c = machine(tmp_path, store, "c")
    found = use(c, by_c, "c")
    assert (found.record.by, (found.folder / "deep/rows").read_text()) == ("b", "of b")


class Away(MemoryStore):
    """A store that does not answer while it is away."""

    away = False

    def put(self, key: str, data: bytes) -> None:
        if self.away:
            raise StoreUnavailable("the store did not answer", "Try again.")
        super().put(key, data)


def test_what_could_not_be_sent_is_kept_and_sent_by_the_next_attempt(tmp_path):
    store = Away()
    a, by_a = machine(tmp_path, store, "a")
    store.away = True
    with pytest.raises(StoreUnavailable):
        use(a, by_a)
    store.away = False
    again = use(a, by_a)
    assert (again.cached, by_a) == (True, ["a"])
    b, by_b = machine(tmp_path, store, "b")
    assert use(b, by_b, "b").record.by == "a"


def test_a_manifest_cannot_write_outside_its_stage(tmp_path):
    from contender.canonical import sha256_hex
    from contender.records import FileEntry
    from contender.sharing import StageManifest

    store = MemoryStore()
    evil = FileEntry(path="../../evil", size=1, sha256=sha256_hex(b"x"))
    manifest = StageManifest(stage="split", key="k", seconds=0, files=(evil,), record='{"by":"evil"}')
    store.put("stages/split/k/stage.json", manifest.to_bytes())
    b, by_b = machine(tmp_path, store, "b")
    assert use(b, by_b, "b").record.by == "b"
    assert not list(tmp_path.rglob("evil"))


def test_records_lie_where_every_machine_sees_them(tmp_path):
    store = MemoryStore()
    a, b = Workspace(tmp_path / "a", store), Workspace(tmp_path / "b", store)
    a.records.create("runs/1.json", b"{}")
    assert [info.key for info in b.records.list("runs/")] == ["runs/1.json"]
    assert [info.key for info in b.records.list("runs/", after="runs/1.json")] == []
    assert b.records.get("runs/1.json") == b"{}"
    b.records.delete("runs/1.json")
    assert list(store.list()) == []
