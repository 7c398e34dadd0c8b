"""Data and places that nobody means well with: each ends in one clear, short error, or is read as it is."""

from __future__ import annotations

import encodings.aliases
import io
import json
import os
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contender.data.places import glob_pattern, locate
from contender.data.source import ReadOptions, ingest, open_rows, peek
from contender.data.streams import Transcoded
from contender.errors import DataError, UsageError
from contender.specrules import encoding
from contender.store import open_store

CSV = "text,label\nhello,a\nworld,b\n"
LONG = "x" * 10_000_000


def read(folder: Path, name: str, content: str | bytes, required=("text", "label"), **options) -> list[dict]:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    chosen = ReadOptions(**options)
    peeked = peek(name, chosen, base=folder)
    ingest(name, peeked, chosen, folder / "out.arrow", base=folder, required=required)
    return list(open_rows(folder / "out.arrow"))


# --- names of columns


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_half_a_surrogate_pair_in_a_name_becomes_u_fffd(tmp_path, name):
    row = '{"text": "x", "label": "a", "\\ud800": 1}'
    assert read(tmp_path, name, row if name == "a.jsonl" else f"[{row}]")[0]["\ufffd"] == 1
    both = '{"text": "x", "label": "a", "\\ud800": 1, "\\ud801": 2}'
    with pytest.raises(DataError, match="more than one column named"):
        read(tmp_path, name, both if name == "a.jsonl" else f"[{both}]")


def parquet(name: str) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"text": ["x"], "label": ["a"], name: ["y"]}), out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "text,label,a\0b\nx,a,y\n"),
        ("a.csv", "text,label,a\0b\n" + "x,a,y\n" * 40_000),
        ("a.jsonl", '{"text": "x", "label": "a", "a\\u0000b": 1}'),
        ("a.json", '[{"text": "x", "label": "a", "a\\u0000b": 1}]'),
        ("a.parquet", parquet("a\0b")),
    ],
)
def test_a_name_with_a_nul_is_refused(tmp_path, name, content):
    with pytest.raises(DataError, match=r"a\\x00b.* NUL"):
        read(tmp_path, name, content)


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31mb", "\u202eb", "\x01"])
def test_a_name_with_other_control_characters_is_read_as_it_is(tmp_path, name):
    assert read(tmp_path, "a.jsonl", json.dumps({"text": "x", "label": "a", name: "y"}))[0][name] == "y"


@pytest.mark.parametrize(
    ("name", "content", "required"),
    [
        ("a.csv", f"{LONG},label\nx,a\n", ("text", "label")),
        ("a.csv", f"{LONG},{LONG}\nx,a\n", ("text",)),
        ("a.csv", f"text;label;{LONG}\nx;a;y\n", ("text", "label")),
        ("a.jsonl", json.dumps({"text": "x", LONG: "a"}), ("text", "label")),
    ],
    ids=["missing", "twice", "another delimiter", "json"],
)
def test_an_error_about_ten_megabytes_of_a_name_is_short(tmp_path, name, content, required):
    with pytest.raises(DataError) as error:
        read(tmp_path, name, content, required)
    assert len(str(error.value)) < 1_000


def test_files_that_differ_in_ten_megabytes_of_a_name_give_a_short_error(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a.csv").write_text(CSV)
    (tmp_path / "d/b.csv").write_text(f"text,label,{LONG}\nx,a,y\n")
    peeked = peek("d", ReadOptions(), base=tmp_path)
    with pytest.raises(DataError, match="differ in their columns") as error:
        ingest("d", peeked, ReadOptions(), tmp_path / "o.arrow", base=tmp_path, required=("text", "label"))
    assert len(str(error.value)) < 1_000


# --- encodings


def accepted() -> list[str]:
    found = []
    for name in sorted({*encodings.aliases.aliases.values(), "utf-16", "utf-8-sig", "unicode_escape"}):
        try:
            found.append(encoding(name))
        except ValueError:
            continue
    return found


ENCODINGS = accepted()


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(ENCODINGS), st.binary(max_size=60))
def test_any_bytes_in_any_accepted_encoding_are_text_or_an_error_of_the_data(name, content):
    assert len(ENCODINGS) > 80
    try:
        Transcoded(io.BytesIO(content), name, "a.csv").read().decode()
    except DataError as error:
        assert "a.csv" in error.what and error.fix


def test_utf16_without_a_mark_is_an_error_that_names_both_orders(tmp_path):
    with pytest.raises(DataError, match=r"a\.csv cannot be read as utf-16") as error:
        read(tmp_path, "a.csv", CSV, encoding="utf-16")
    assert "utf-16-le" in error.value.fix


# --- places


@pytest.mark.parametrize("glob", ["[z-a]*.csv", "**/[9-0].csv"])
def test_a_glob_with_a_range_the_wrong_way_round_is_wrong_usage_everywhere(tmp_path, glob):
    open_store("memory://globs").put("a.csv", b"x")
    for source in (glob, f"memory://globs/{glob}"):
        with pytest.raises(UsageError, match="glob"):
            peek(source, ReadOptions(), base=tmp_path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("character", "[&~|\\!^")
def test_a_set_of_a_glob_holds_its_characters_and_no_others(character):
    pattern = glob_pattern(f"[x{character}{character}].csv")
    assert pattern.fullmatch(f"{character}.csv") and pattern.fullmatch("x.csv") and not pattern.fullmatch("y.csv")


def test_a_name_that_is_too_long_or_a_link_to_itself_is_wrong_usage_and_the_error_short(tmp_path):
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    for source in ("x" * 5_000, "x" * 300 + "/*.csv", "loop.csv"):
        with pytest.raises(UsageError) as error:
            peek(source, ReadOptions(), base=tmp_path)
        assert not isinstance(error.value, DataError) and len(str(error.value)) < 1_000


@pytest.mark.parametrize("url", ["file://tickets", "file://host/tickets", "file://"])
def test_a_file_url_of_another_host_or_without_a_path_is_wrong_usage(tmp_path, url):
    with pytest.raises(UsageError, match="three slashes"):
        locate(url, tmp_path)


def test_a_file_url_may_hold_a_glob(tmp_path):
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "1.csv").write_text(CSV)
    url = f"file://{tmp_path}/a%20b/?.csv"
    assert [file.path for file in peek(url, ReadOptions(), base=tmp_path).files] == ["1.csv"]


# --- the memory of digests


@pytest.mark.parametrize("place", ["/proc/nope", "d/a.csv", "/dev/null/x", "a\0b", "x" * 300])
def test_a_memory_that_cannot_be_written_costs_time_only(tmp_path, monkeypatch, place):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a.csv").write_text(CSV)
    old = time.time() - 60
    os.utime(tmp_path / "d/a.csv", (old, old))
    monkeypatch.setattr("contender.data.remembered.RESTED", -60_000_000_000)  # so that there is something to keep
    cache = tmp_path / place / "files.json"
    assert peek("d", ReadOptions(), base=tmp_path, cache=cache) == peek("d", ReadOptions(), base=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["d"]
