"""What a source holds: listing, digests, what is left out and named, and files that change under the reader."""

import gzip
import json
import os
import random
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contender.data import source as source_module
from contender.data.places import Found, StorePlace, glob_pattern, locate
from contender.data.source import ReadOptions, ingest, open_rows, peek, settled
from contender.errors import DataError, UsageError
from contender.records import FileSet, SkippedFile, SourceFile
from contender.store import open_store

CSV = "text,label\nhello,a\nworld,b\n"


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def seen(source: str, base: Path, **options) -> FileSet:
    return peek(source, ReadOptions(**options), base=base)


def taken(source: str, base: Path, out: Path, required=("text", "label"), **options) -> tuple[FileSet, list[dict]]:
    chosen = ReadOptions(**options)
    files = ingest(source, peek(source, chosen, base=base), chosen, out, base=base, required=required)
    return files, list(open_rows(out))


def skipped(files: FileSet) -> dict[str, str]:
    return {file.path: file.reason for file in files.skipped}


# --- digests


@given(st.permutations(["a.csv", "b/c.csv", "b/d.jsonl", "z.csv"]))
def test_the_digest_is_the_same_whatever_order_the_files_were_listed_in(order):
    files = {name: SourceFile(path=name, size=1, sha256=name * 4) for name in order}
    listed = FileSet(files=tuple(files.values()))
    assert listed.digest == FileSet(files=tuple(files[name] for name in sorted(files))).digest


def test_files_made_in_another_order_give_the_same_snapshot(tmp_path):
    contents = {f"{n}.csv": CSV + f"row {n},a\n" for n in range(12)}
    shuffled = list(contents)
    random.Random(1).shuffle(shuffled)
    one = seen("one", write(tmp_path / "one", contents).parent)
    two = seen("two", write(tmp_path / "two", {name: contents[name] for name in shuffled}).parent)
    assert one == two


def test_one_changed_byte_changes_the_digest_and_a_new_name_does_too(tmp_path):
    write(tmp_path, {"a/x.csv": CSV, "b/x.csv": CSV.replace("hello", "jello"), "c/y.csv": CSV})
    assert len({seen(name, tmp_path).digest for name in "abc"}) == 3


def test_reading_gives_the_digest_that_looking_gave(tmp_path):
    write(tmp_path, {"d/a.csv": CSV, "d/b.csv.gz": gzip.compress(CSV.encode())})
    files, rows = taken("d", tmp_path, tmp_path / "o.arrow")
    assert files.digest == seen("d", tmp_path).digest
    assert [file.rows for file in files.files] == [2, 2] and files.columns == ("text", "label")
    assert [(row["text"], row["_file"], row["_row"]) for row in rows][1:3] == [
        ("world", "a.csv", 2),
        ("hello", "b.csv.gz", 1),
    ]


# --- what is read and what is left out


def test_hidden_unfinished_and_foreign_files_are_left_out_and_named(tmp_path):
    names = [
        ".hidden.csv",
        "_temporary/0.csv",
        "a.csv.tmp",
        "b.csv.part",
        "README.md",
        ".git/x.csv",
        "half.parquet",
        "e.csv",
    ]
    write(tmp_path / "d", dict.fromkeys(names, CSV) | {"e.csv": "", "deep/er/ok.csv": CSV})
    files = seen("d", tmp_path)
    assert [file.path for file in files.files] == ["deep/er/ok.csv"]
    reasons = skipped(files)
    assert set(reasons) == {
        ".hidden.csv",
        "_temporary/",
        "a.csv.tmp",
        "b.csv.part",
        "README.md",
        ".git/",
        "half.parquet",
        "e.csv",
    }
    assert "footer" in reasons["half.parquet"] and reasons["e.csv"] == "empty"


def test_an_arrow_file_without_its_footer_is_left_out_by_looking_and_by_reading(tmp_path):
    write(tmp_path / "d", {"half.arrow": b"ARROW1\0\0" + b"x" * 50, "ok.csv": CSV})
    looked = seen("d", tmp_path)
    files, _ = taken("d", tmp_path, tmp_path / "o.arrow")
    assert skipped(looked) == skipped(files) and "half.arrow" in skipped(files)


def test_a_glob_takes_what_it_matches(tmp_path):
    write(tmp_path / "d", {"a.csv": CSV, "b.jsonl": "{}", "s/c.csv": CSV, "s/t/d.csv": CSV})
    assert [file.path for file in seen("d/*.csv", tmp_path).files] == ["a.csv"]
    assert [file.path for file in seen("d/**/*.csv", tmp_path).files] == ["a.csv", "s/c.csv", "s/t/d.csv"]
    assert [file.path for file in seen("*/s/?.csv", tmp_path).files] == ["d/s/c.csv"]


@pytest.mark.parametrize(
    ("glob", "name", "matches"),
    [
        ("*.csv", "a.csv", True),
        ("*.csv", "a/b.csv", False),
        ("**/*.csv", "b.csv", True),
        ("**/*.csv", "a/b/c.csv", True),
        ("part-[0-9].csv", "part-7.csv", True),
        ("part-[!0-9].csv", "part-7.csv", False),
        ("a+b.csv", "aab.csv", False),
        ("[", "[", True),
    ],
)
def test_globs_mean_what_shells_mean(glob, name, matches):
    assert bool(glob_pattern(glob).fullmatch(name)) is matches


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path):
    write(tmp_path, {"a[1].csv": CSV})
    assert [file.path for file in seen("a[1].csv", tmp_path).files] == ["a[1].csv"]


def test_only_regular_files_are_read_and_nothing_waits_for_a_fifo(tmp_path):
    write(tmp_path / "d", {"a.csv": CSV})
    os.mkfifo(tmp_path / "d/pipe.csv")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "d/socket.csv"))
        files = seen("d", tmp_path)
    assert [file.path for file in files.files] == ["a.csv"]
    assert "FIFO" in skipped(files)["pipe.csv"] and "socket" in skipped(files)["socket.csv"]
    with pytest.raises(UsageError, match="FIFO"):
        seen("d/pipe.csv", tmp_path)
    with pytest.raises(UsageError, match="device"):
        seen("/dev/null", tmp_path)


def test_links_are_followed_inside_the_source_only(tmp_path):
    write(
        tmp_path, {"secret.csv": CSV, "d/a.csv": CSV, "d/.store/b.csv": CSV, "d/.store/n/c.csv": CSV, "away/z.csv": CSV}
    )
    links = {
        "out.csv": "../secret.csv",
        "away": "../away",
        "in.csv": ".store/b.csv",
        "again.csv": "a.csv",
        "folder": ".store/n",
        "loop": ".",
        "none.csv": "nothing.csv",
    }
    for name, target in links.items():
        (tmp_path / "d" / name).symlink_to(target)
    files = seen("d", tmp_path)
    assert [file.path for file in files.files] == ["a.csv", "folder/c.csv", "in.csv"]
    reasons = skipped(files)
    assert all("leads out" in reasons[name] for name in ("out.csv", "away"))
    assert all("read already" in reasons[name] for name in ("again.csv", "loop"))
    assert "nothing" in reasons["none.csv"]


def test_a_link_that_is_turned_outwards_after_listing_is_not_followed(tmp_path):
    write(tmp_path, {"secret.csv": CSV, "d/.s/b.csv": CSV})
    link = tmp_path / "d/b.csv"
    link.symlink_to(".s/b.csv")
    place = locate("d", tmp_path)
    (found,), _ = place.list()
    link.unlink()
    link.symlink_to("../secret.csv")
    assert isinstance(settled(place, found, lambda stream, now: stream.read()), SkippedFile)


def test_a_name_that_is_no_utf8_is_left_out_and_named(tmp_path):
    write(tmp_path / "d", {"a.csv": CSV})
    (tmp_path / "d").joinpath(os.fsdecode(b"b\xff.csv")).write_text(CSV)
    assert list(skipped(seen("d", tmp_path)).values()) == ["its name is not UTF-8"]


# --- nothing to read


@pytest.mark.parametrize("source", ["none", "none/x.csv", "d/*.parquet", "empty", "d/a.csv/b.csv"])
def test_a_source_that_is_not_there_is_wrong_usage(tmp_path, source):
    write(tmp_path / "d", {"a.csv": CSV})
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=re.escape(source)) as error:
        seen(source, tmp_path)
    assert error.value.exit_code == 2 and not isinstance(error.value, DataError)


@pytest.mark.parametrize("content", ["", "text,label\n", "\n\n"])
def test_no_rows_is_an_error_of_the_data(tmp_path, content):
    write(tmp_path, {"a.csv": content})
    with pytest.raises(DataError) as error:
        taken("a.csv", tmp_path, tmp_path / "o.arrow")
    assert error.value.exit_code == 4 and error.value.fix


def test_an_unknown_format_lists_the_known_ones(tmp_path):
    write(tmp_path, {"a.xlsx": "x"})
    with pytest.raises(UsageError, match=r"\.parquet"):
        seen("a.xlsx", tmp_path)


def test_a_folder_that_cannot_be_read_stops_the_run_instead_of_losing_its_files(tmp_path):
    write(tmp_path / "d", {"a.csv": CSV, "closed/b.csv": CSV})
    (tmp_path / "d/closed").chmod(0)
    code = (
        "import os, sys; from pathlib import Path\n"
        "from contender.data.source import ReadOptions, peek\n"
        "from contender.errors import DataError\n"
        "os.geteuid() == 0 and os.setuid(65534)\n"
        "try: peek('d', ReadOptions(), base=Path(sys.argv[1]))\n"
        "except DataError as error: sys.exit(str(error))\n"
    )
    for folder in (tmp_path, *list(tmp_path.parents)[:-2]):
        if folder.owner() == tmp_path.owner() and folder != Path("/tmp"):  # pytest's own are closed to others
            folder.chmod(0o755)
    try:
        done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, timeout=60)
    finally:
        (tmp_path / "d/closed").chmod(0o755)
    assert "cannot read closed/" in done.stderr and "Permission denied" in done.stderr


# --- files that change, vanish, or are swapped


class Restless:
    """A place whose only file changes whenever it is opened, `changes` times."""

    name = "restless"

    def __init__(self, changes: int) -> None:
        self.left, self.version = changes, 0

    def found(self) -> Found:
        return Found("a.csv", len(CSV), str(self.version))

    def list(self):
        return [self.found()], []

    def look(self, path):
        return self.found()

    def open(self, path):
        import io

        if self.left:
            self.left, self.version = self.left - 1, self.version + 1
        return io.BytesIO(CSV.encode())


def test_a_file_that_changes_once_is_read_again_and_one_that_goes_on_is_left_out(monkeypatch, tmp_path):
    calm, restless = Restless(1), Restless(99)
    for place in (calm, restless):
        monkeypatch.setattr(source_module, "locate", lambda *_, place=place: place)
        if place is calm:
            assert len(seen("x", tmp_path).files) == 1
        else:
            with pytest.raises(DataError, match="changed while it was read"):
                seen("x", tmp_path)


def test_rows_of_a_file_that_changed_while_it_was_read_are_taken_back(tmp_path, monkeypatch):
    from contender.data import rowfile

    monkeypatch.setattr(rowfile, "BATCH_ROWS", 4)  # so that rows are on disk before the change is noticed
    write(tmp_path / "d", {f"{n}.csv": "text,label\n" + "".join(f"{n} {row},a\n" for row in range(10)) for n in "abc"})
    opened = []
    real = source_module.settled

    def disturbed(place, found, use):
        def then_touch(stream, now):
            result = use(stream, now)
            if found.path == "b.csv":
                opened.append(1)
                (tmp_path / "d/b.csv").write_text(f"text,label\nversion {len(opened)},a\n")
            return result

        return real(place, found, then_touch)

    looked = seen("d", tmp_path)
    monkeypatch.setattr("contender.data.ingest.settled", disturbed)
    files = ingest("d", looked, ReadOptions(), tmp_path / "o.arrow", base=tmp_path, required=["text"])
    rows = list(open_rows(tmp_path / "o.arrow"))
    assert len(opened) == 2 and skipped(files) == {"b.csv": "changed while it was read, twice"}
    assert [(row["text"], row["_row"]) for row in rows] == [(f"{n} {row}", row + 1) for n in "ac" for row in range(10)]


def test_a_file_that_is_gone_before_it_is_read_is_named(tmp_path):
    write(tmp_path / "d", {"a.csv": CSV, "b.csv": CSV})
    looked = seen("d", tmp_path)
    (tmp_path / "d/a.csv").unlink()
    files = ingest("d", looked, ReadOptions(), tmp_path / "o.arrow", base=tmp_path, required=["text"])
    assert skipped(files) == {"a.csv": "gone before it was read"} and [file.path for file in files.files] == ["b.csv"]


def test_half_a_file_is_no_error_while_it_is_still_being_written(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(CSV.encode())[:-9])
    place = locate("a.csv.gz", tmp_path)
    (found,), _ = place.list()
    tries = []

    def use(stream, now):
        tries.append(stream.read())
        path.write_bytes(gzip.compress(CSV.encode()))
        if len(tries) == 1:
            raise DataError("half a file")
        return len(tries)

    outcome = settled(place, found, use)
    assert isinstance(outcome, SkippedFile) or outcome[1] == 2


# --- remembered digests


def test_files_that_did_not_change_are_not_read_again(tmp_path, monkeypatch):
    write(tmp_path / "d", {"a.csv": CSV, "b.csv": CSV, "half.parquet": "PAR1"})
    old = time.time() - 60
    for path in (tmp_path / "d").iterdir():
        os.utime(path, (old, old))
    # Changing the times changes ctime, which is a moment ago: the rule about rested files would not trust them yet.
    monkeypatch.setattr("contender.data.remembered.RESTED", -60_000_000_000)
    cache = tmp_path / "w/files.json"
    first = peek("d", ReadOptions(), base=tmp_path, cache=cache)
    read = []
    monkeypatch.setattr(source_module, "_hash", lambda stream, path, media: read.append(path) or ("0" * 64, None))
    assert peek("d", ReadOptions(), base=tmp_path, cache=cache) == first and not read
    (tmp_path / "d/b.csv").write_text(CSV + "more,a\n")
    assert peek("d", ReadOptions(), base=tmp_path, cache=cache) != first and read == ["b.csv"]


def test_a_file_written_a_moment_ago_is_not_trusted(tmp_path, monkeypatch):
    write(tmp_path / "d", {"a.csv": CSV})
    cache = tmp_path / "files.json"
    peek("d", ReadOptions(), base=tmp_path, cache=cache)
    read = []
    monkeypatch.setattr(source_module, "_hash", lambda stream, path, media: read.append(path) or ("0" * 64, None))
    peek("d", ReadOptions(), base=tmp_path, cache=cache)
    assert read == ["a.csv"]


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 100_000,
        b"\xff",
        b'{"revision": 1}',
        b'{"revision": 1, "sources": []}',
        b'{"revision": 1, "sources": {"FOLDER": [1, 2]}}',
        b'{"revision": 1, "sources": {"FOLDER": {"a.csv": 7}}}',
        b'{"revision": 1, "sources": {"FOLDER": {"a.csv": [SIZE, "VERSION", 7, null]}}}',
        b'{"revision": 1, "sources": {"FOLDER": {"a.csv": [SIZE, "VERSION", "ab", 7]}}}',
    ],
)
def test_a_damaged_memory_costs_time_only(tmp_path, damage):
    write(tmp_path / "d", {"a.csv": CSV})
    cache = tmp_path / "files.json"
    place = locate("d", tmp_path)
    ((found,), _) = place.list()
    for word, value in {"FOLDER": place.name, "SIZE": found.size, "VERSION": found.version}.items():
        damage = damage.replace(word.encode(), str(value).encode())
    cache.write_bytes(damage)
    assert peek("d", ReadOptions(), base=tmp_path, cache=cache) == seen("d", tmp_path)


def test_two_sources_share_one_memory(tmp_path):
    write(tmp_path, {"d/a.csv": CSV, "e/a.csv": CSV + "x,a\n"})
    cache = tmp_path / "files.json"
    for _ in range(2):
        assert peek("d", ReadOptions(), base=tmp_path, cache=cache) != peek(
            "e", ReadOptions(), base=tmp_path, cache=cache
        )


# --- stores


def test_a_store_gives_the_snapshot_that_a_folder_gives(tmp_path):
    contents = {
        "a.csv": CSV,
        "s/b.jsonl": '{"text": "x", "label": "a"}\n',
        "_tmp/c.csv": CSV,
        ".h.csv": CSV,
        "n.md": "x",
    }
    store = open_store("memory://snapshots")
    for name, content in contents.items():
        store.put(f"tickets/{name}", content.encode())
    store.put("tickets-old/z.csv", b"not,this\n")
    base = write(tmp_path / "tickets", contents).parent
    url = "memory://snapshots/tickets"
    assert seen(url, base) == seen(url + "/", base) == seen("tickets", base)
    remote, rows = taken(url, base, tmp_path / "r.arrow")
    local, same = taken("tickets", base, tmp_path / "l.arrow")
    assert remote == local and rows == same
    assert [file.path for file in seen(url + "/**/*.jsonl", base).files] == ["s/b.jsonl"]
    assert [file.path for file in seen(url + "/a.csv", base).files] == ["a.csv"]
    with pytest.raises(UsageError):
        seen("memory://snapshots/nothing", base)


def test_an_object_that_was_replaced_is_read_again():
    store = open_store("memory://replaced")
    store.put("d/a.csv", CSV.encode())
    place = StorePlace("memory://replaced/d", store, "d")
    (found,), _ = place.list()
    store.put("d/a.csv", (CSV + "x,a\n").encode())
    settled_now, content = settled(place, found, lambda stream, now: stream.read())
    assert content.endswith(b"x,a\n") and settled_now.size == len(content)


def test_an_object_that_is_replaced_while_others_are_read_is_read_as_it_is_then(tmp_path, monkeypatch):
    monkeypatch.setattr("contender.data.ahead.SMALL", 40)
    store = open_store("memory://ahead")
    for n in range(100):
        store.put(f"d/{n:03}.csv", f"text,label\nrow {n},a\n".encode())
    store.put("d/large.csv", ("text,label\n" + "more,b\n" * 99).encode())
    looked = seen("memory://ahead/d", tmp_path)
    store.delete("d/050.csv")
    store.put("d/060.csv", b"text,label\nrow 60,new label that is longer\n")
    out = tmp_path / "o.arrow"
    files = ingest("memory://ahead/d", looked, ReadOptions(), out, base=tmp_path, required=["text"])
    rows = {row["text"]: row["label"] for row in open_rows(out)}
    assert skipped(files) == {"050.csv": "gone before it was read"} and len(files.files) == 100
    assert rows["row 60"] == "new label that is longer" and rows["more"] == "b" and len(rows) == 100


def test_the_same_snapshot_comes_from_every_s3_server(tmp_path, s3_server):
    from contender.store.s3 import S3Store

    contents = {f"{n % 3}/{n}.csv": CSV + f"row {n},a\n" for n in range(60)} | {"z.parquet": b"PAR1"}
    prefix = f"data-{time.time_ns()}"
    source = S3Store(s3_server.bucket, prefix)
    for name, content in contents.items():
        source.put(name, content if isinstance(content, bytes) else content.encode())
    base = write(tmp_path / prefix, contents).parent
    remote, rows = taken(f"s3://{s3_server.bucket}/{prefix}/", base, tmp_path / "r.arrow")
    local, same = taken(prefix, base, tmp_path / "l.arrow")
    assert remote == local and rows == same
    cache = tmp_path / "files.json"
    url = f"s3://{s3_server.bucket}/{prefix}/**/*.csv"
    assert peek(url, ReadOptions(), base=base, cache=cache) == peek(url, ReadOptions(), base=base, cache=cache)


# --- many files


def test_thousands_of_small_files_become_few_batches(tmp_path):
    import pyarrow as pa

    write(tmp_path / "d", {f"{n % 40}/{n}.jsonl": json.dumps({"text": f"t{n}", "label": "a"}) for n in range(2_000)})
    files, rows = taken("d", tmp_path, tmp_path / "o.arrow")
    assert files.rows == len(rows) == 2_000 and len({row["_file"] for row in rows}) == 2_000
    with pa.ipc.open_stream(tmp_path / "o.arrow") as reader:
        assert len(list(reader)) == 1


def test_looking_imports_nothing_heavy():
    heavy = {"pyarrow", "numpy", "pandas", "datasets", "torch", "boto3"}
    code = f"import sys, contender.data.source; print({heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"
