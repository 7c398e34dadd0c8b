"""A folder as a store: what is special about files."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from contender.errors import AlreadyExists, Missing, StoreError, UsageError
from contender.files import temporary_beside, write_durably
from contender.store import LocalStore, open_store


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def local(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def test_nothing_is_made_before_the_first_write(local: LocalStore):
    assert list(local.list()) == []
    with pytest.raises(Missing):
        local.get("x")
    local.delete("x")
    assert not local.root.exists()


def test_a_fifo_is_no_object_and_opening_it_does_not_wait(local: LocalStore):
    local.put("a", b"1")
    os.mkfifo(local.root / "pipe")
    with pytest.raises(Missing):
        local.get("pipe")
    assert [info.key for info in local.list()] == ["a"]


def test_a_link_out_of_the_folder_is_not_followed(local: LocalStore, tmp_path: Path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").write_bytes(b"private")
    local.put("a", b"1")
    (local.root / "out").symlink_to(secret)
    (local.root / "direct").symlink_to(secret / "file")
    for operation in (
        lambda: local.get("out/file"),
        lambda: local.get("direct"),
        lambda: local.put("out/new", b"1"),
        lambda: local.create("out/new", b"1"),
        lambda: local.delete("out/file"),
    ):
        with pytest.raises(StoreError, match="link"):
            operation()
    assert names(secret) == ["file"]
    assert [info.key for info in local.list()] == ["a"]


def test_a_root_that_is_a_link_is_fine(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    store = LocalStore(tmp_path / "link")
    store.create("a/b", b"1")
    assert store.get("a/b") == b"1"


def test_files_still_being_written_are_not_listed_and_not_left_behind(local: LocalStore):
    local.put("a/b", b"1")
    (local.root / "a" / ".contender-0123").write_bytes(b"half")
    assert [info.key for info in local.list()] == ["a/b"]
    with pytest.raises(Missing):
        local.get("a/.contender-0123")
    with pytest.raises(AlreadyExists):
        local.create("a/b", b"2")
    assert names(local.root / "a") == [".contender-0123", "b"]


def test_what_a_killed_process_was_writing_goes_with_the_next_write_beside_it(local: LocalStore):
    local.put("a/b", b"1")
    folder = local.root / "a"
    with temporary_beside(folder / "c") as (in_use, stream):
        stream.write(b"half")
        (folder / ".contender-0123456789abcdef").write_bytes(b"left")
        (folder / ".contender-demo").write_bytes(b"somebody else's")
        LocalStore(local.root).create("a/d", b"2")
        assert names(folder) == sorted([".contender-demo", in_use.name, "b", "d"])
    assert names(folder) == [".contender-demo", "b", "d"]


@pytest.mark.parametrize("descriptors", ["/proc/self/fd", "/nowhere"], ids=["unnamed", "temporary"])
def test_a_create_is_whole_or_lost_with_and_without_unnamed_files(
    local: LocalStore, descriptors: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("contender.files.DESCRIPTORS", descriptors)
    local.create("a/b", b"1")
    local.create("a/b", b"1")
    with pytest.raises(AlreadyExists):
        local.create("a/b", b"2")
    assert (local.get("a/b"), names(local.root / "a")) == (b"1", ["b"])


def test_a_create_that_is_killed_before_it_has_its_name_leaves_nothing(local: LocalStore):
    local.put("a/c", b"1")
    code = "import sys; sys.addaudithook(lambda event, _: event == 'os.link' and __import__('os').kill(0, 9))\n"
    code += "from pathlib import Path; from contender.store import LocalStore; LocalStore(Path(sys.argv[1])).create('a/b', b'2')"
    done = subprocess.run([sys.executable, "-P", "-c", code, local.root], check=False, process_group=0)
    assert (done.returncode, names(local.root / "a")) == (-signal.SIGKILL, ["c"])


def test_a_durable_write_clears_what_a_killed_one_left(tmp_path: Path):
    (tmp_path / ".contender-0123456789abcdef").write_bytes(b"left")
    write_durably(tmp_path / "report.html", b"new")
    assert names(tmp_path) == ["report.html"]


def test_names_that_are_no_keys_are_not_listed(local: LocalStore):
    local.put("a", b"1")
    Path(os.fsdecode(os.fsencode(local.root) + b"/\xff")).write_bytes(b"1")
    (local.root / "new\nline").write_bytes(b"1")
    assert [info.key for info in local.list()] == ["a"]


def test_a_file_where_a_folder_is_needed_is_a_clear_error(local: LocalStore):
    local.put("a", b"1")
    with pytest.raises(StoreError, match="a file stands where a folder is needed"):
        local.put("a/b", b"1")
    with pytest.raises(StoreError, match="a file stands where a folder is needed"):
        LocalStore(local.root / "a" / "below").create("x", b"1")
    local.put("folder/x", b"1")
    with pytest.raises(StoreError, match="a folder stands there"):
        local.put("folder", b"1")


UNPRIVILEGED = """
import os, sys
if os.geteuid() == 0:  # root may write anywhere; the imports above are done, since its own folders are closed to others
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
"""


REFUSED = f"""
from pathlib import Path
from contender.errors import StoreError
from contender.store import LocalStore
{UNPRIVILEGED}
store = LocalStore(Path(sys.argv[1]))
writes = [lambda: store.put("a/b", b"1"), lambda: store.create("n/1", b"1"), lambda: store.delete("there")]
for act in [*writes, lambda: list(store.list("closed/"))]:
    try:
        act()
    except StoreError as error:
        print(type(error).__name__, "|", error.what, "|", error.fix)
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach: pytest's own are closed to them."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    yield folder
    folder.chmod(0o755)
    (folder / "closed").chmod(0o755)
    shutil.rmtree(folder)


def test_a_folder_that_cannot_be_written_says_so_and_what_to_do(open_folder: Path):
    store = LocalStore(open_folder)
    store.put("there", b"1")
    store.put("closed/x", b"1")
    (open_folder / "closed").chmod(0)
    open_folder.chmod(0o555)
    command = [sys.executable, "-c", REFUSED, str(open_folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2])
    lines = done.stdout.splitlines()
    assert len(lines) == 4, done.stderr
    for line in lines:
        assert line.startswith("StoreError |")
        assert str(open_folder) in line
        assert "Allow this user to read and write" in line


def test_a_full_disk_is_a_clear_error_and_changes_nothing(tmp_path: Path):
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("this machine does not allow a mount")
    try:
        store = LocalStore(disk)
        store.put("small", b"1")
        with pytest.raises(StoreError, match="no space left") as caught:
            store.put("small", b"x" * (2 << 20))
        assert "Free some space" in caught.value.fix
        assert store.get("small") == b"1"
        assert names(disk) == ["small"]
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("write", ["create", "put"])
def test_a_place_where_no_folder_can_be_made_is_no_missing_object(write: str):
    with pytest.raises(StoreError, match="/proc/nope cannot be written") as caught:
        getattr(LocalStore(Path("/proc/nope")), write)("n/1", b"1")
    assert not isinstance(caught.value, Missing)


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.EMLINK])
def test_a_file_system_without_hard_links_is_refused_for_create_only(local: LocalStore, number: int):
    error = local._translated(OSError(number, os.strerror(number)), "n/1")
    assert isinstance(error, StoreError)
    assert "hard links" in error.what


WRITER = """
from contender.store import LocalStore
store = LocalStore(__import__("pathlib").Path(sys.argv[1]))
print("ready", flush=True)
n = 0
while True:
    store.put("k", bytes([n % 256]) * 1_000_000)
    n += 1
"""


def test_a_writer_killed_in_the_middle_leaves_whole_objects(local: LocalStore):
    local.put("k", b"\0" * 1_000_000)
    for pause in (0.003, 0.011, 0.02):
        process = subprocess.Popen(
            [sys.executable, "-c", f"import sys\n{WRITER}", str(local.root)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert process.stdout
        process.stdout.readline()
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        data = local.get("k")
        assert len(data) == 1_000_000
        assert len(set(data)) == 1
    assert [info.key for info in local.list()] == ["k"]


RACER = """
from pathlib import Path
from contender.errors import AlreadyExists
from contender.store import LocalStore
store, me = LocalStore(Path(sys.argv[1])), sys.argv[2].encode()
print("ready", flush=True)
sys.stdin.readline()
for n in range(50):
    try:
        store.create(f"race/{n}", me)
        print(n, flush=True)
    except AlreadyExists:
        pass
"""


def test_processes_that_race_have_one_winner_each(local: LocalStore):
    command = [sys.executable, "-c", f"import sys\n{RACER}", str(local.root)]
    racers = [
        subprocess.Popen(
            [*command, str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
        )
        for n in range(4)
    ]
    for racer in racers:
        assert racer.stdout and racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = {str(n): racer.communicate(timeout=60)[0].split() for n, racer in enumerate(racers)}
    assert sorted(int(number) for numbers in won.values() for number in numbers) == list(range(50))
    for writer, numbers in won.items():
        for number in numbers:
            assert local.get(f"race/{number}") == writer.encode()


@pytest.mark.parametrize("url", ["{}", "file://{}", "file://localhost{}"])
def test_a_path_and_a_file_url_are_the_same_store(tmp_path: Path, url: str):
    folder = tmp_path / "with space"
    store = open_store(url.format(folder).replace(" ", "%20" if "file" in url else " "))
    assert store.url == str(folder)


@pytest.mark.parametrize(
    "url", ["", "gs://bucket/x", "https://host/x", "file://host/x", "s3://", "s3:///x", "s3://b", "s3://b/../x"]
)
def test_other_urls_are_refused_with_what_is_allowed(url: str):
    if url == "s3://b":  # a name of one letter is no bucket
        url = "s3://x"
    with pytest.raises(UsageError) as caught:
        open_store(url)
    assert caught.value.fix


def test_errors_survive_pickling(local: LocalStore):
    with pytest.raises(Missing) as caught:
        local.get("x")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), again.what, again.fix) == (Missing, caught.value.what, caught.value.fix)
