"""Wrong input ends with its exit code, one sentence that says what and where, no traceback, and the champion untouched."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from desk import Desk, Ran, once, tickets
from limits import files_of_at_most

# how the tickets are spoilt → (exit code, what the error must say)
Spoil = Callable[[Desk], object]


def write(desk: Desk, name: str, data: bytes) -> None:
    (desk.folder / "tickets" / name).write_bytes(data)


def rows(*lines: str) -> bytes:
    return "\n".join(lines).encode() + b"\n"


@pytest.fixture
def live(desk: Desk, prefect_server: object, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A desk with a champion, its tickets gone; trained once, copied for each test."""

    def fill(desk: Desk) -> None:
        desk.drop("0.csv", tickets(90, seed=9))
        ran = desk.retrain()
        assert (ran.code, ran.document["alias_entry"]) == (0, 1), ran.shown

    once(desk, tmp_path_factory.getbasetemp() / "live-desk", fill)
    (desk.folder / "tickets" / "0.csv").unlink()
    return desk


def alias_logs(desk: Desk) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in (desk.registry / "desk" / "aliases").rglob("*.json")}


@contextmanager
def untouched(desk: Desk) -> Iterator[None]:
    """What happens inside leaves the alias log as it was, byte for byte, and the champion whole."""
    before, live = alias_logs(desk), desk.run("verify", "desk", "--json").document
    assert len(before) == 2, "the first entry of the log, and its copy"
    yield
    assert alias_logs(desk) == before
    assert desk.run("verify", "desk", "--json").document == live


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not allow a mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


GOOD = [f"{text},{label}" for text, label in tickets(60, seed=1)]

DATA: dict[str, tuple[Spoil, int, str]] = {
    "no files": (lambda desk: None, 2, "tickets"),
    "an empty file": (lambda desk: write(desk, "1.csv", b""), 4, "1.csv"),
    "only a header": (lambda desk: write(desk, "1.csv", b"body,colour\n"), 4, "no rows"),
    "a wrong delimiter": (lambda desk: write(desk, "1.csv", rows("body;colour", "a;red")), 4, "delimiter"),
    "duplicate headers": (lambda desk: write(desk, "1.csv", rows("body,body,colour", "a,b,red")), 4, "body"),
    "a missing column": (lambda desk: write(desk, "1.csv", rows("body,label", "a,red")), 4, "'colour'"),
    "columns that differ": (
        lambda desk: (
            write(desk, "1.csv", rows("body,colour", *GOOD)),
            write(desk, "2.csv", rows("body,colour,extra", "a,red,x")),
        ),
        4,
        "extra",
    ),
    "broken json": (lambda desk: write(desk, "1.json", b'[{"body": "a", "colour"'), 4, "1.json"),
    "a parquet that is none": (lambda desk: write(desk, "1.parquet", b"PAR1 no PAR1"), 4, "1.parquet"),
    "a truncated gz": (lambda desk: write(desk, "1.csv.gz", b"\x1f\x8b\x08\x00\x00\x00"), 4, "1.csv.gz"),
    "a pipe instead of a file": (lambda desk: os.mkfifo(desk.folder / "tickets" / "1.csv"), 4, "1.csv"),
    "a link out of the folder": (
        lambda desk: (desk.folder / "tickets" / "1.csv").symlink_to("/etc/passwd"),
        4,
        "1.csv",
    ),
}


@pytest.mark.parametrize("name", sorted(DATA))
def test_data_that_cannot_be_read_says_what_and_where(desk: Desk, name: str) -> None:
    spoil, code, says = DATA[name]
    spoil(desk)
    ran = desk.run("check", str(desk.pipeline), "--json")
    assert (ran.code, says in ran.document["error"]["what"] + ran.document["error"]["fix"]) == (code, True), ran.shown
    assert not desk.registry.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(DATA))
def test_data_that_cannot_be_read_leaves_the_champion_as_it_is(live: Desk, name: str) -> None:
    spoil, code, says = DATA[name]
    spoil(live)
    with untouched(live):
        ran = live.retrain()
    assert (ran.code, ran.document["outcome"]) == (code, {2: "invalid", 4: "rejected_data"}[code]), ran.shown
    assert says in ran.document["message"]


def test_a_missing_source_is_wrong_usage(desk: Desk) -> None:
    ran = desk.retrain("--set", "data.source=nowhere/")
    assert (ran.code, ran.document["outcome"]) == (2, "invalid")
    assert "nowhere" in ran.document["error"]["what"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "COMMAND"),
        (("fly",), "fly"),
        (("run",), "PIPELINE"),
        (("run", "nowhere.yaml"), "nowhere.yaml"),
        (("run", "x.yaml", "--sett", "a=b"), "--sett"),
        (("history", "nothing-of-that-name"), "tried"),
        (("pull", "nothing-of-that-name", "somewhere"), "tried"),
        (("init", "nowhere.csv"), "nowhere.csv"),
    ],
)
def test_a_wrong_command_line_is_exit_2_and_one_document(
    command: Callable[..., Ran], arguments: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = command(*arguments, "--json")
    assert ran.code == 2
    assert says in ran.document["error"]["what"]


REJECTED: dict[str, tuple[bytes, str]] = {
    "one class": (rows("body,colour", *(f"word{n} word{n + 1} red,red" for n in range(40))), "Observed: 1"),
    "no row passes": (rows("body,colour", *(",red" for _ in range(40))), "40"),
    "unknown labels": (rows("body,colour", *(f"{text},mauve" for text, _ in tickets(40, seed=2))), "unknown label"),
    "mixed encodings": (
        rows("body,colour", *GOOD) + "".join(f"caf\u00e9 {row}\n" for row in GOOD).encode("cp1252"),
        "60 of 120 rows",
    ),
}


@pytest.mark.parametrize("name", sorted(REJECTED))
def test_data_that_the_gate_rejects_leaves_the_champion_as_it_is(live: Desk, name: str) -> None:
    content, says = REJECTED[name]
    write(live, "1.csv", content)
    with untouched(live):
        ran = live.retrain()
    assert (ran.code, ran.document["outcome"]) == (4, "rejected_data"), ran.shown
    assert says in ran.document["message"]


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_numbers_as_labels_a_byte_order_mark_and_a_class_with_one_row_train(desk: Desk) -> None:
    numbers = {"red": "1", "green": "2", "blue": "3"}
    lines = [f"{text},{numbers[label]}" for text, label in tickets(90, seed=1)] + ["word9 word8 word7 rare,4"]
    write(desk, "1.csv", b"\xef\xbb\xbf" + rows("body,colour", *lines))
    ran = desk.retrain()
    assert (ran.code, ran.document["outcome"]) == (0, "promoted"), ran.shown


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
@pytest.mark.slow
def test_ten_megabytes_in_one_cell_are_one_quarantined_row(desk: Desk) -> None:
    write(desk, "1.csv", rows("body,colour", *GOOD, f"{'x' * 10_000_000},red"))
    ran = desk.retrain()
    assert (ran.code, ran.document["outcome"]) == (0, "promoted"), ran.shown
    assert Path(ran.document["quarantine"]).stat().st_size < 1_000_000


@pytest.mark.parametrize(
    ("base", "says"),
    [
        ("empty", "config.json"),
        ("weightless", "no weights"),
        ("pickles", "safetensors"),
        ("./no-such-folder", "no-such-folder"),
    ],
)
def test_a_base_model_that_cannot_be_used_is_exit_2(live: Desk, base: str, says: str) -> None:
    live.drop("1.csv", tickets(60, seed=1))
    for name in ("empty", "weightless", "pickles"):
        (live.folder / name).mkdir()
    for name in ("weightless", "pickles"):
        (live.folder / name / "config.json").write_text('{"model_type": "bert"}')
    (live.folder / "pickles" / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with untouched(live):
        ran = live.retrain("--set", f"model.base={base}")
    assert (ran.code, ran.document["outcome"]) == (2, "invalid"), ran.shown
    assert says in ran.document["error"]["what"] + ran.document["error"]["fix"]


@pytest.mark.usefixtures("prefect_server")
def test_a_registry_that_is_a_file_says_so(desk: Desk) -> None:
    desk.drop("1.csv", tickets(60, seed=1))
    (desk.folder / "file").write_text("")
    ran = desk.retrain("--set", "promote.to=file/registry")
    assert (ran.code, ran.document["outcome"]) == (1, "failed"), ran.shown
    assert "file" in ran.document["error"]["what"]


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("place", ["/proc/nope", "a read-only mount"])
def test_a_registry_that_cannot_be_written_is_exit_1(desk: Desk, place: str) -> None:
    desk.drop("1.csv", tickets(60, seed=1))
    if place == "/proc/nope":
        ran = desk.retrain("--set", f"promote.to={place}")
    else:
        with mounted(desk.folder / "closed", "ro") as closed:
            ran = desk.retrain("--set", f"promote.to={closed}/registry")
            assert not list(closed.iterdir())
    assert (ran.code, ran.document["outcome"]) == (1, "failed"), ran.shown
    assert "cannot be written" in ran.document["error"]["what"] or "Read-only" in ran.document["error"]["what"]


@pytest.mark.slow
@pytest.mark.parametrize("size", ["40k", "300k"])
def test_a_full_disk_ends_a_run_and_the_next_one_goes_on_from_there(live: Desk, size: str) -> None:
    live.drop("1.csv", tickets(90, seed=1))
    with mounted(live.folder / "disk", f"size={size}") as disk:
        with untouched(live):
            ran = live.retrain("--set", f"workspace={disk}")
        assert (ran.code, ran.document["outcome"]) == (1, "failed"), ran.shown
        assert "no space left" in ran.document["error"]["what"].lower()
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        again = live.retrain("--set", f"workspace={disk}")
        assert again.code in (0, 3), again.shown  # better or not: that is the judge's to say
        assert {stage["name"] for stage in again.document["stages"]} >= {"train", "evaluate"}


def test_a_disk_that_fills_up_is_said_and_nothing_is_lost(desk: Desk) -> None:
    """A limit on the size of files stands in for the disk: both end in OSError at the write."""
    desk.drop("1.csv", tickets(5000, seed=1))
    with files_of_at_most(20_000):
        ran = desk.run("check", str(desk.pipeline), "--json")
    assert ran.code == 1
    assert "space" in ran.document["error"]["what"]
    assert desk.run("check", str(desk.pipeline), "--json").code == 0
