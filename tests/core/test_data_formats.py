"""Bytes into rows: every format, two csv parsers that agree, and bad input that ends in a clear error or in a quarantined row."""

import csv
import gzip
import io
import json
import tempfile
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contender.data import delimited
from contender.data.delimited import Dialect, ReadAgain, read_delimited
from contender.data.rowfile import RowWriter, read_batches
from contender.data.source import ReadOptions, ingest, open_rows, peek
from contender.data.values import as_text, from_python
from contender.errors import DataError

ROWS = [
    {"text": "hello, world", "label": "a"},
    {"text": 'say "hi"', "label": "b"},
    {"text": "zwei\nZeilen", "label": "ü"},
]


def as_csv(rows=ROWS, delimiter=",") -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerows([["text", "label"], *([row["text"], row["label"]] for row in rows)])
    return out.getvalue()


def as_arrow(stream: bool, rows=ROWS) -> bytes:
    table, out = pa.Table.from_pylist(rows), io.BytesIO()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def as_parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


FILES = {
    "a.csv": as_csv().encode(),
    "a.tsv": as_csv(delimiter="\t").encode(),
    "a.jsonl": "\n".join(json.dumps(row) for row in ROWS).encode(),
    "a.json": json.dumps(ROWS, indent=2).encode(),
    "lines.json": "\n".join(json.dumps(row) for row in ROWS).encode(),
    "a.parquet": as_parquet(pa.Table.from_pylist(ROWS)),
    "file.arrow": as_arrow(stream=False),
    "stream.arrow": as_arrow(stream=True),
}


def read(folder: Path, files: dict[str, str | bytes], required=("text", "label"), **options) -> list[dict]:
    source = folder / "source"
    source.mkdir(exist_ok=True)
    for name, content in files.items():
        (source / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    chosen = ReadOptions(**options)
    peeked = peek("source", chosen, base=folder)
    got = ingest("source", peeked, chosen, folder / "out.arrow", base=folder, required=required)
    rows = list(open_rows(folder / "out.arrow"))
    assert got.rows == len(rows)
    return rows


def cells(rows: list[dict], *names: str) -> list[tuple]:
    return [tuple(row[name] for name in names or ("text", "label")) for row in rows]


# --- every format


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_rows(tmp_path, name, zipped):
    content = gzip.compress(FILES[name]) if zipped else FILES[name]
    rows = read(tmp_path, {name + (".gz" if zipped else ""): content})
    assert cells(rows) == cells(ROWS) and [row["_row"] for row in rows] == [1, 2, 3]


def test_several_gzip_members_are_one_file(tmp_path):
    assert cells(read(tmp_path, {"a.csv.gz": gzip.compress(b"text,label\nx,a\n") + gzip.compress(b"y,b\n")})) == [
        ("x", "a"),
        ("y", "b"),
    ]


def test_formats_mix_in_one_source_as_long_as_their_columns_agree(tmp_path):
    rows = read(
        tmp_path,
        {
            "a.csv": "text,label\nx,1\n",
            "b.jsonl": '{"label": 2, "text": "y"}',
            "c.parquet": as_parquet(pa.table({"text": ["z"], "label": [3]})),
        },
    )
    assert cells(rows) == [("x", "1"), ("y", "2"), ("z", "3")]


def test_no_copy_of_a_parquet_file_stays_behind(tmp_path):
    read(tmp_path, {"a.parquet": FILES["a.parquet"]})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.arrow", "source"]


# --- csv: the two parsers


def both(content: bytes, delimiter: str = ",") -> list[list[dict] | str]:
    dialect = Dialect(delimiter, True, "utf-8", "x.csv")
    results: list[list[dict] | str] = []
    for first in ("fast", "careful"):
        how = first
        while True:
            try:
                results.append(
                    [row for batch in read_delimited(io.BytesIO(content), dialect, how) for row in batch.to_pylist()]
                )
            except ReadAgain as request:
                how = request.how
                continue
            except DataError as error:
                results.append(error.what)
            break
    return results


@settings(deadline=None, max_examples=400)
@given(
    st.lists(
        st.sampled_from(
            [
                b"a",
                b"b",
                b",",
                b'"',
                b"\n",
                b"\r",
                b"\r\n",
                b"\0",
                b"\xff",
                b"\xc3",
                b" ",
                b"\t",
                b'""',
                b'\n"x",y\n',
                b"x,y\n",
            ]
        ),
        max_size=24,
    )
)
@example([b'"', b"a", b",", b"b"])
@example([b'"', b"a", b'"', b"b", b",", b"\n", b"a,b\n"])
def test_both_csv_parsers_give_the_same_rows(parts):
    content = b"c,d\n" + b"".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "HEAD", 4)  # so that the fast parser takes part
        for delimiter in (",", "\t"):
            fast, careful = both(content.replace(b"c,d", f"c{delimiter}d".encode()), delimiter)
            assert fast == careful


def test_both_parsers_agree_on_a_large_file_and_the_fast_one_was_used(tmp_path, monkeypatch):
    content = as_csv([{"text": f"row {n}, ü" * (n % 7 + 1), "label": f"l{n % 5}"} for n in range(20_000)]).encode()
    used = []
    real = delimited._fast
    monkeypatch.setattr(delimited, "_fast", lambda *args: used.append(1) or real(*args))
    fast, careful = both(content)
    assert used == [1] and fast == careful and len(fast) == 20_000


def test_one_bad_row_far_into_a_large_file_is_set_apart_alone(tmp_path):
    lines = [f"row {n},a" for n in range(40_000)]
    lines[33_333] = "one, two, three,a"
    rows = read(tmp_path, {"a.csv": "text,label\n" + "\n".join(lines)})
    bad = [row for row in rows if row["text"] is None]
    assert len(rows) == 40_000 and [(row["_row"], row["label"]) for row in bad] == [(33_334, None)]
    assert bad[0]["_fault"] == "4 cells where there are 2 columns: one, two, three,a"
    assert rows[-1]["text"] == "row 39999"


def test_an_unclosed_quote_costs_its_line_and_not_the_lines_behind_it(tmp_path):
    rows = read(tmp_path, {"a.csv": 'text,label\nx,a\n"never closed,b\ny,c\n"z, z",d\n'})
    assert cells(rows) == [("x", "a"), (None, None), ("y", "c"), ("z, z", "d")]
    assert "quote" in rows[1]["_fault"] and "never closed" in rows[1]["_fault"]


def test_quotes_that_never_balance_are_refused_in_bounded_time(tmp_path):
    with pytest.raises(DataError, match="quotes do not balance"):
        read(tmp_path, {"a.csv": "text,label\n" + '"x,a\nb,c\n' * 3_000})


def test_quotes_in_tsv_are_plain_characters_unless_they_all_balance(tmp_path):
    assert cells(read(tmp_path, {"a.tsv": 'text\tlabel\n"x\ty" z\nb\tc\n'})) == [('"x', 'y" z'), ("b", "c")]
    assert cells(read(tmp_path, {"a.tsv": 'text\tlabel\n"x\ty"\tz\n'})) == [("x\ty", "z")]


def test_blank_lines_and_every_line_end_are_understood(tmp_path):
    for end in ("\n", "\r\n", "\r"):
        assert cells(read(tmp_path, {"a.csv": end.join(["text,label", "", "x,a", "", "y,b", "", ""])})) == [
            ("x", "a"),
            ("y", "b"),
        ]


@pytest.mark.parametrize("rows", [3, 30_000])
def test_ten_megabytes_in_one_cell_are_read(tmp_path, rows):
    lines = [f"row {n},a" for n in range(rows)]
    lines[1] = "x" * 10_000_000 + ",b"
    got = read(tmp_path, {"a.csv": "text,label\n" + "\n".join(lines)})
    assert len(got) == rows and len(got[1]["text"]) == 10_000_000 and got[-1]["text"] == f"row {rows - 1}"


def test_a_cell_beyond_64_mb_is_a_fault_and_not_an_exhausted_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "CELL", 1_000)
    rows = read(tmp_path, {"a.csv": "text,label\nx,a\n" + "y" * 2_000 + ",b\nz,c\n"})
    assert cells(rows)[0] == ("x", "a") and cells(rows)[-1] == ("z", "c") and rows[1]["_fault"]


def test_text_behind_a_cell_is_never_lost(tmp_path):
    rows = read(tmp_path, {"a.csv": 'text,label\n"x"y,a\nz,"b'})
    assert cells(rows) == [("xy", "a"), ("z", "b")]


# --- csv: header, delimiter, encoding


def test_no_header_and_given_names(tmp_path):
    assert cells(read(tmp_path, {"a.csv": "x,a\ny,b\n"}, required=(), header=False), "column_1", "column_2") == [
        ("x", "a"),
        ("y", "b"),
    ]
    assert cells(read(tmp_path, {"a.csv": "x,a\ny,b\n"}, header=("text", "label"))) == [("x", "a"), ("y", "b")]
    big = "".join(f"row {n},a\n" for n in range(30_000))
    assert cells(read(tmp_path, {"a.csv": big}, header=("text", "label")))[:2] == [("row 0", "a"), ("row 1", "a")]
    with pytest.raises(DataError, match="names 3 columns, the first row has 2 cells"):
        read(tmp_path, {"a.csv": "x,a\n"}, header=("a", "b", "c"))


@pytest.mark.parametrize("delimiter", [";", "\t", "|", "§"])
def test_any_one_character_is_a_delimiter(tmp_path, delimiter):
    text = "\n".join(delimiter.join(pair) for pair in [("text", "label"), *((f"row, {n}", "a") for n in range(9_000))])
    assert cells(read(tmp_path, {"a.csv": text}, delimiter=delimiter))[8_999] == ("row, 8999", "a")


def test_the_wrong_delimiter_is_an_error_that_names_the_right_one(tmp_path):
    with pytest.raises(DataError) as error:
        read(tmp_path, {"a.csv": "text;label\nx, y;a\n"})
    assert "'text;label'" in error.value.what and "delimiter: ';'" in error.value.fix


def test_rows_that_are_all_cut_wrong_are_an_error_and_not_a_quarantine(tmp_path):
    with pytest.raises(DataError, match="none of its 2 rows can be read: 3 cells where there are 2 columns"):
        read(tmp_path, {"a.csv": "text,label\nx,y,a\nx,y,b\n"})


def test_duplicate_headers_are_an_error_that_names_them(tmp_path):
    with pytest.raises(DataError, match="more than one column named 'label'"):
        read(tmp_path, {"a.csv": "text,label,label\nx,a,b\n"})
    table = pa.Table.from_arrays([pa.array(["x"])] * 2, names=["text", "text"])
    with pytest.raises(DataError, match="more than one column named 'text'"):
        read(tmp_path, {"a.csv": "", "a.parquet": as_parquet(table)})


def test_a_first_row_longer_than_what_is_looked_at_ahead_is_read(tmp_path):
    long = "x" * 100_000
    assert cells(read(tmp_path, {"a.csv": f"{long},a\ny,b\n"}, header=("text", "label")))[1] == ("y", "b")
    assert len(read(tmp_path, {"a.csv": f"text,label,{long}\nx,a,c\n"})) == 1


def test_a_nameless_header_gets_its_number(tmp_path):
    assert cells(read(tmp_path, {"a.csv": ",text,label\n0,x,a\n"}), "column_1", "text") == [("0", "x")]
    big = ",text,label\n" + "".join(f"{n},x,a\n" for n in range(20_000))
    assert cells(read(tmp_path, {"a.csv": big}), "column_1", "text")[19_999] == ("19999", "x")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le+", "utf-16-be+", "utf-32", "utf-32-be+"])
@pytest.mark.parametrize("rows", [1, 20_000])
def test_a_byte_order_mark_decides_about_the_encoding(tmp_path, encoding, rows):
    text = "text,label\n" + "zürich €,a\n" * rows
    if encoding.endswith("+"):
        text, encoding = "\ufeff" + text, encoding[:-1]
    for name, content in {"a.csv": text, "a.jsonl": None}.items():
        if content is not None:
            assert (
                cells(read(tmp_path, {name: content.encode(encoding)}, encoding="cp1252")) == [("zürich €", "a")] * rows
            )


def test_other_encodings_are_read_as_the_spec_says(tmp_path):
    text = "text,label\n" + "zürich €,ä\n" * 9_000
    assert cells(read(tmp_path, {"a.csv": text.encode("cp1252")}, encoding="cp1252"))[-1] == ("zürich €", "ä")
    assert cells(read(tmp_path, {"a.csv": text.encode("utf-16-le")}, encoding="utf-16-le"))[-1] == ("zürich €", "ä")


def test_utf16_without_a_mark_is_an_error_that_says_so(tmp_path):
    with pytest.raises(DataError, match="UTF-16") as error:
        read(tmp_path, {"a.csv": "text,label\nx,a\n".encode("utf-16-le")})
    assert "encoding" in error.value.fix


@pytest.mark.parametrize("rows", [1, 20_000])
def test_undecodable_bytes_become_u_fffd_in_their_cell_only(tmp_path, rows):
    content = b"text,label\n" + b"caf\xe9,a\n" + "café,b\n".encode() * rows
    assert cells(read(tmp_path, {"a.csv": content}))[:2] == [("caf\ufffd", "a"), ("café", "b")]
    assert (
        read(tmp_path, {"a.csv": "text,label\nx,a\n", "b.jsonl": b'{"text": "caf\xe9", "label": "a"}'})[1]["text"]
        == "caf\ufffd"
    )


def test_nul_bytes_stay_where_they_are(tmp_path):
    assert cells(read(tmp_path, {"a.csv": "text,label\nx\0y,a\n"})) == [("x\0y", "a")]


# --- columns


def test_columns_that_differ_between_files_are_an_error_that_names_both(tmp_path):
    with pytest.raises(DataError) as error:
        read(tmp_path, {"a.csv": "text,label\nx,a\n", "b.csv": "text,label,extra\nx,a,b\n"})
    assert "b.csv and a.csv differ" in error.value.what and "only it has 'extra'" in error.value.what
    with pytest.raises(DataError, match="lacks 'n'"):
        read(tmp_path, {"a.csv": "text,label,n\nx,a,1\n", "b.csv": "label,text\na,x\n"})


def test_the_order_of_columns_may_differ(tmp_path):
    assert cells(read(tmp_path, {"a.csv": "text,label\nx,a\n", "b.csv": "label,text\nb,y\n"})) == [
        ("x", "a"),
        ("y", "b"),
    ]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_column_is_an_error_that_says_what_is_there(tmp_path, name):
    with pytest.raises(DataError) as error:
        read(tmp_path, {name: FILES[name]}, required=("text", "intent"))
    assert "no column 'intent'" in error.value.what and "'text', 'label'" in error.value.what


@pytest.mark.parametrize("reserved", ["_file", "_row", "_key", "_fault"])
def test_names_that_row_files_use_are_refused(tmp_path, reserved):
    with pytest.raises(DataError, match=reserved):
        read(tmp_path, {"a.csv": f"text,label,{reserved}\nx,a,1\n"})


# --- json


def test_broken_lines_are_set_apart_and_the_others_read(tmp_path):
    lines = [
        '{"text": "x", "label": "a"}',
        '{"text": "y", ',
        "[1, 2]",
        "",
        '"text"',
        "\0",
        "[" * 100_000,
        '{"text": "z", "label": "b"}',
    ]
    rows = read(tmp_path, {"a.jsonl": "\n".join(lines)})
    assert cells(rows) == [("x", "a"), *[(None, None)] * 5, ("z", "b")]
    assert rows[1]["_fault"].startswith("not JSON") and rows[2]["_fault"] == "not an object: [1, 2]"
    assert [row["_row"] for row in rows] == list(range(1, 8))


def test_a_file_without_a_single_json_object_is_an_error(tmp_path):
    with pytest.raises(DataError, match="none of its 2 lines is a JSON object"):
        read(tmp_path, {"a.jsonl": "text,label\nx,a\n"})
    with pytest.raises(DataError, match=r"holds a JSON list") as error:
        read(tmp_path, {"a.jsonl": json.dumps(ROWS)})
    assert ".json" in error.value.fix


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('[{"text": "x", "label": "a"},', "an object should begin here"),
        ('[{"text": "x", "label": "a"}', "missing here"),
        ('[{"text": "x", "label": "a"}] x', "end of the list"),
        ('[{"text": "x", label}]', "enclosed in double quotes"),
        ('["a", "b"]', "an object should begin here"),
        ('"text"', "neither"),
        ('[{"text": ' + "[" * 100_000, "nested too deep"),
    ],
)
def test_a_broken_list_is_an_error_that_says_where(tmp_path, content, says):
    with pytest.raises(DataError, match=says) as error:
        read(tmp_path, {"a.json": content})
    assert error.value.fix


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.dictionaries(
            st.text("abé", min_size=1, max_size=3),
            st.one_of(
                st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.text(max_size=6)
            ),
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from([None, 1, " "]),
)
def test_a_list_is_read_as_json_reads_it_wherever_its_pieces_end(rows, indent):
    import contender.data.jsontext as jsontext

    content = json.dumps(rows, indent=indent, ensure_ascii=False).encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsontext, "HEAD", 3)
        got = [row for row, _ in jsontext._Objects(io.BytesIO(content), "x.json")]
    assert got == json.loads(content.decode("utf-8", "replace"))


def test_json_values_keep_their_type_where_all_agree_and_are_text_otherwise(tmp_path):
    rows = read(
        tmp_path,
        {
            "a.jsonl": "\n".join(
                [
                    '{"text": "x", "label": 1, "score": 1, "tags": ["a"], "odd": 1, "flag": true}',
                    '{"text": "y", "label": 2, "score": 0.5, "tags": {"b": null}, "odd": "one", "late": "z"}',
                    '{"text": "\\ud83d", "label": 99999999999999999999, "score": null, "tags": null, "odd": false}',
                ]
            )
        },
    )
    assert cells(rows, "label", "score", "odd", "late", "flag") == [
        ("1", 1.0, "1", None, True),
        ("2", 0.5, "one", "z", None),
        ("99999999999999999999", None, "false", None, None),
    ]
    assert cells(rows, "text", "tags")[1:] == [("y", '{"b": null}'), ("\ufffd", None)]


def test_a_type_that_changes_after_rows_were_written_changes_them_too(tmp_path, monkeypatch):
    import contender.data.jsontext as jsontext
    from contender.data import rowfile

    monkeypatch.setattr(jsontext, "CHUNK_ROWS", 2)
    monkeypatch.setattr(rowfile, "BATCH_ROWS", 2)
    lines = [
        {"text": "a", "label": None},
        {"text": "b", "label": None},
        {"text": "c", "label": 1},
        {"text": "d", "label": 2},
        {"text": "e", "label": "x", "n": 1},
    ]
    rows = read(tmp_path, {"a.jsonl": "\n".join(map(json.dumps, lines))})
    assert cells(rows, "text", "label", "n", "_row") == [
        ("a", None, None, 1),
        ("b", None, None, 2),
        ("c", "1", None, 3),
        ("d", "2", None, 4),
        ("e", "x", 1, 5),
    ]


# --- parquet, arrow, gzip


def test_a_shortened_gzip_file_is_an_error(tmp_path):
    for rows in (3, 60_000):
        whole = gzip.compress(as_csv(ROWS * (rows // 3)).encode())
        with pytest.raises(DataError, match=r"a\.csv\.gz ends in the middle"):
            read(tmp_path, {"a.csv.gz": whole[: len(whole) * 2 // 3]})


@pytest.mark.parametrize(
    "content",
    [b"text,label\nx,a\n", zlib.compress(b"x" * 100), gzip.compress(b"text,label\nx,a\n" * 9, mtime=0)[:-4] + b"abcd"],
    ids=["plain", "zlib", "wrong length"],  # a gzip header holds the time, and a test has one name in every process
)
def test_what_is_no_gzip_file_or_a_damaged_one_is_an_error(tmp_path, content):
    with pytest.raises(DataError, match=r"a\.csv\.gz is damaged"):
        read(tmp_path, {"a.csv.gz": content})


@pytest.mark.parametrize("name", ["a.parquet", "a.parquet.gz", "file.arrow", "stream.arrow"])
def test_a_damaged_columnar_file_is_an_error_or_left_out(tmp_path, name):
    content = FILES[name.removesuffix(".gz")]
    middle = len(content) // 2
    for damaged in (content[:12] + b"\xff" * (len(content) - 24) + content[-12:], content[:middle], b"nonsense" * 9):
        packed = gzip.compress(damaged) if name.endswith(".gz") else damaged
        with pytest.raises(DataError, match=name):
            read(tmp_path, {name: packed})


def test_exotic_columns_of_parquet_and_arrow_become_plain_ones(tmp_path):
    table = pa.table(
        {
            "text": pa.array(["x", "y"]).dictionary_encode(),
            "label": pa.array(["a", None], pa.large_string()),
            "view": pa.array(["v", "w"], pa.string_view()),
            "half": pa.array([1.5, 2.5], pa.float16()),
            "pairs": pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int32())),
            "vector": pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32(), 2)),
            "big": pa.array([1, 2], pa.decimal256(60, 2)),
        }
    )
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema.with_metadata({"huggingface": '{"info": {"features": {}}}'})) as writer:
        writer.write_table(table)
    rows = read(tmp_path, {"a.arrow": out.getvalue()})
    assert cells(rows, "text", "label", "view", "half", "vector", "big")[0] == ("x", "a", "v", 1.5, [1.0, 2.0], "1.00")
    assert rows[1]["label"] is None and json.loads(rows[0]["pairs"]) == [["k", 1]]


def test_a_parquet_file_without_rows_still_has_its_columns(tmp_path):
    empty = pa.table({"text": pa.array([], pa.string()), "label": pa.array([], pa.string())})
    assert len(read(tmp_path, {"a.csv": "text,label\nx,a\n", "b.parquet": as_parquet(empty)})) == 1


# --- values and row files


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers(), max_size=2))
    )
)
def test_any_json_values_become_a_column(values):
    array = from_python(values)
    assert len(array) == len(values) and array.null_count == sum(value is None for value in values)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=6)))
def test_binary_cells_become_text_as_python_decodes_them(values):
    assert as_text(pa.array(values, pa.binary())).to_pylist() == [value.decode("utf-8", "replace") for value in values]


def test_a_row_file_without_rows_opens(tmp_path):
    writer = RowWriter(tmp_path / "o.arrow")
    writer.begin("a.csv")
    writer.add(pa.record_batch({"text": pa.array([], pa.string())}))
    writer.close()
    assert open_rows(tmp_path / "o.arrow").column_names == ["text", "_file", "_row"]


files_of_rows = st.lists(
    st.tuples(
        st.lists(st.lists(st.one_of(st.integers(0, 9), st.sampled_from("ab")), min_size=1, max_size=4), max_size=5),
        st.booleans(),
    ),
    max_size=6,
)


@settings(deadline=None, max_examples=150)
@given(files_of_rows, st.integers(1, 6), st.integers(1, 4))
def test_whatever_is_taken_back_leaves_no_trace_and_the_rest_is_whole(files, batch_rows, batch_parts):
    """Each file: its batches of values, and whether it is taken back once before it is written for good."""
    from contender.data import rowfile

    expected: list[tuple[str, int, str]] = []
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(rowfile, "BATCH_ROWS", batch_rows)
        patch.setattr(rowfile, "BATCH_PARTS", batch_parts)
        writer = RowWriter(Path(folder, "o.arrow"))
        for number, (batches, taken_back) in enumerate(files):
            writer.begin(f"{number}")
            if taken_back:
                for batch in batches:
                    writer.add(pa.record_batch({"v": from_python(batch), "gone": from_python(batch)}))
                writer.take_back()
            for batch in batches:
                writer.add(pa.record_batch({"v": from_python(batch)}))
            values = [value for batch in batches for value in batch]
            assert writer.rows == len(values)
            expected += [(f"{number}", place, str(value)) for place, value in enumerate(values, 1)]
        writer.close()
        if expected:
            rows = pa.Table.from_batches(read_batches(Path(folder, "o.arrow"))).to_pylist()
            assert [(row["_file"], row["_row"], str(row["v"])) for row in rows] == expected
            assert set(rows[0]) == {"v", "_file", "_row"}


def test_rows_are_written_in_batches_of_bounded_size(tmp_path):
    writer = RowWriter(tmp_path / "o.arrow")
    writer.begin("a.csv")
    for _ in range(6):
        writer.add(pa.record_batch({"text": pa.array(["x" * 1_000_000] * 8)}))
    writer.close()
    assert max(batch.nbytes for batch in read_batches(tmp_path / "o.arrow")) < 40e6
