"""However a command ends, it is an exit code, one sentence on stderr, and with --json exactly one document on stdout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from desk import Desk, Ran, tickets

from deployments import commands
from deployments.cli import main, parser


@pytest.fixture(params=[(), ("--json",), ("--debug",), ("--json", "--debug")], ids=" ".join)
def flags(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return tuple(request.param)


def ended(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(list(arguments))
    return code, *capsys.readouterr()


def assert_told(flags: tuple[str, ...], out: str, err: str, says: str) -> None:
    assert f"error: {says}" in err
    assert ("Traceback" in err) == ("--debug" in flags)
    if "--json" not in flags:
        assert not out
        return
    document = json.loads(out)
    assert document["outcome"] in ("failed", "invalid") and says in document["error"]["what"]


def test_an_error_nobody_foresaw_is_a_sentence_and_a_traceback_only_on_demand(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    def broken(_: object) -> int:
        raise ZeroDivisionError("a\nb" + "x" * 10_000)

    monkeypatch.setattr(commands, "command_schema", broken)
    code, out, err = ended(capsys, "schema", *flags)
    assert code == 1
    assert_told(flags, out, err, "internal error: ZeroDivisionError: a")
    assert "Please report it" in err


@pytest.mark.parametrize("command", ["check", "run", "noise", "curve"])
def test_an_error_of_ours_is_told_the_same_way_by_every_command(
    capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], command: str, tmp_path: Path
) -> None:
    path = tmp_path / "desk.yaml"
    path.write_text("name: desk\n")
    code, out, err = ended(capsys, command, str(path), *flags)
    assert code == 2
    assert_told(flags, out, err, f"{path}:1:1: ")
    if command in ("run", "noise", "curve") and out:
        assert (json.loads(out)["pipeline"], json.loads(out)["stages"]) == ("desk", [])


def test_an_error_nobody_foresaw_in_a_run_is_a_runs_document(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    def broken(*_: object) -> object:
        raise KeyError("left")

    monkeypatch.setattr("contender.loading.load_pipeline", broken)
    code, out, err = ended(capsys, "run", "desk.yaml", *flags)
    assert code == 1
    assert_told(flags, out, err, "internal error: KeyError: 'left'")
    if out:
        assert (json.loads(out)["pipeline"], json.loads(out)["outcome"]) == ("desk", "failed")


@pytest.mark.parametrize("command", ["check", "run", "noise", "curve"])
def test_names_that_are_no_text_fit_into_the_document(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, out, _ = ended(capsys, command, os.fsdecode(b"\xff.yaml"), "--json")
    assert (code, json.loads(out)["outcome"]) == (2, "invalid")


@pytest.mark.parametrize(
    "arguments", [("check", "x.yaml", "--js"), ("run", "x.yaml", "--deb"), ("history", "x", "--regi", "y")]
)
def test_an_option_is_written_in_full(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    code, out, err = ended(capsys, *arguments)
    assert (code, out) == (2, "") and "unrecognized arguments: --" in err


def test_no_parser_takes_abbreviations() -> None:
    actions = [action for action in parser()._actions if getattr(action, "choices", None)]
    parsers = [parser(), *(one for action in actions for one in action.choices.values())]  # type: ignore[union-attr]
    assert len(parsers) > 8
    assert not any(one.allow_abbrev for one in parsers)


@pytest.mark.parametrize("arguments", [("schema",), ("check", "nowhere.yaml", "--json")])
def test_a_reader_that_goes_away_is_no_traceback(arguments: tuple[str, ...]) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-P", "-m", "deployments.cli", *arguments]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert done.returncode == 1 and "Traceback" not in done.stderr and "Exception" not in done.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_run_goes_on_unseen_where_nobody_reads_its_progress(desk: Desk) -> None:
    desk.drop("1.csv", tickets(120, seed=1))
    read, write = os.pipe()
    os.close(read)
    command = [Path(sys.executable).parent / "contender", "run", desk.pipeline, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=write, text=True, check=False)
    os.close(write)
    assert (done.returncode, json.loads(done.stdout)["outcome"]) == (0, "promoted")


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_run_that_fails_says_what_it_had_come_to(desk: Desk) -> None:
    desk.drop("1.csv", tickets(60, seed=1))
    ran = desk.retrain("--set", "train.learning_rate=1e30", "--set", "train.max_grad_norm=0")
    document = ran.document
    assert (ran.code, document["outcome"], document["pipeline"]) == (1, "failed", "desk")
    assert [stage["name"] for stage in document["stages"]] == ["snapshot", "gate", "split"]
    assert document["seconds"] > 0 and document["flow_run_id"] and document["registry"].endswith("/desk")
    assert "learning_rate" in document["error"]["fix"]


@pytest.mark.usefixtures("prefect_server")
def test_the_server_is_not_ended_under_a_run_unless_asked_twice(command: Callable[..., Ran]) -> None:
    """These tests are its client, as a run is."""
    with_client = [sys.executable, "-P", "-m", "deployments.cli", "up", "--stop", "--json"]
    done = subprocess.run(with_client, capture_output=True, text=True, check=False)
    assert (done.returncode, json.loads(done.stdout)["outcome"]) == (2, "invalid"), done.stderr
    assert "--force" in done.stderr
    assert command("up", "--json").code == 0, "it still runs"


def test_init_writes_no_pipeline_that_no_run_would_take(
    command: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here" / "pipelines").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    Path("t.csv").write_text("text,label\n" + "".join(f"text {n},{'ab'[n % 2]}\n" for n in range(30)))
    ran = command("init", "t.csv", "--name", "../../evil", "--json")
    assert (ran.code, ran.document["outcome"]) == (2, "invalid")
    assert [path.name for path in tmp_path.rglob("*.yaml")] == []


def test_a_library_that_a_folder_of_the_user_shadows_is_named(tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").write_text("")
    command = [Path(sys.executable).parent / "contender", "schema", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2
    assert f"'datasets' is shadowed by {tmp_path}" in json.loads(done.stdout)["error"]["what"]


# --- what data and names put on the terminal


@pytest.fixture
def escaped(desk: Desk) -> Iterator[Desk]:
    desk.drop("1.csv", tickets(60, seed=1))
    for name in ("\x1b[31mred\x07.csv", "[bold]b.csv", "\u202egnp.csv"):
        (desk.folder / "tickets" / name).write_bytes(b"")
    yield desk


def test_warnings_about_files_show_control_characters_as_escapes(escaped: Desk) -> None:
    ran = escaped.run("check", str(escaped.pipeline))
    assert ran.code == 0
    assert "skipped \\x1b[31mred\\x07.csv: empty" in ran.shown and "skipped [bold]b.csv: empty" in ran.shown
    assert not {"\x1b", "\x07", "\u202e"} & set(ran.shown)


def test_init_describes_long_names_of_columns_and_labels_in_a_page(
    command: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    long = "x" * 1_000_000
    labels = ["a", "b", f"{long[:2_000]}1", f"{long[:2_000]}2"] * 6
    rows = [{"body": f"text {n} of a row " * 90, "label": label, long: n} for n, label in enumerate(labels)]
    (tmp_path / "tickets.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ran = command("init", "tickets.jsonl", "--json")
    assert ran.code == 0, ran.shown[:2_000]
    assert len(ran.document["profile"]["labels"]) == 4
    assert max(len(json.dumps(ran.document)), len(ran.shown), Path("pipelines/tickets.yaml").stat().st_size) < 10_000


@pytest.mark.parametrize("out", ["/proc/nope/x.yaml", "file/x.yaml", "x" * 300 + ".yaml"])
def test_a_pipeline_that_cannot_be_written_is_wrong_usage(
    command: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "tickets.csv").write_text("\n".join(["body,label", *(f"word{n},{'ab'[n % 2]}" for n in range(20))]))
    ran = command("init", "tickets.csv", "--out", out, "--json")
    assert (ran.code, "cannot write to" in ran.document["error"]["what"]) == (2, True), ran.shown
    assert "--out" in ran.document["error"]["fix"]


@pytest.mark.parametrize("command_line", [("history",), ("releases",), ("verify",), ("pull", "x" * 300)])
def test_a_name_that_is_too_long_is_wrong_usage(command: Callable[..., Ran], command_line: tuple[str, ...]) -> None:
    ran = command(
        command_line[0], *(command_line[1:] or ["x" * 300]), *(["out"] if len(command_line) > 1 else []), "--json"
    )
    assert ran.code == 2, ran.shown
