"""CoNLL files as rows: sentences of words and tags, however they are set apart, and broken ones apart from the others."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contender.data import conll
from contender.data.source import ReadOptions, ingest, open_rows, peek
from contender.errors import DataError

PLAIN = "Empire\tB-location\nState\tI-location\nrose\tO\n\nReally\tO\n"


def read(folder: Path, files: dict[str, str | bytes]) -> list[dict]:
    source = folder / "source"
    source.mkdir(exist_ok=True)
    for name, content in files.items():
        (source / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    peeked = peek("source", ReadOptions(), base=folder)
    got = ingest("source", peeked, ReadOptions(), folder / "out.arrow", base=folder, required=("tokens", "tags"))
    rows = list(open_rows(folder / "out.arrow"))
    assert got.rows == len(rows)
    return rows


def sentences(rows: list[dict]) -> list[tuple]:
    return [(json.loads(row["tokens"]), json.loads(row["tags"])) for row in rows]


WANTED = [(["Empire", "State", "rose"], ["B-location", "I-location", "O"]), (["Really"], ["O"])]


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.replace("\t", " "),
        PLAIN.replace("\t", "  "),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n\n", "\n\t\n"),  # as WNUT17 writes a blank line
        PLAIN.replace("\n\n", "\n \n\n"),
        PLAIN.rstrip("\n"),
        "\n\n" + PLAIN + "\n\n",
        "\ufeff" + PLAIN,
        "-DOCSTART- -X- O O\n\n" + PLAIN.replace("\n\n", "\n-DOCSTART-\tO\n"),
        "# id 17\tdomain=en\n" + PLAIN.replace("\n\n", "\n\n# text = Really\n"),
    ],
)
def test_sentences_are_rows_however_the_file_is_written(tmp_path, text):
    assert sentences(read(tmp_path, {"a.conll": text})) == WANTED


@pytest.mark.parametrize("name", ["a.conll", "a.bio", "a.iob", "A.CONLL"])
def test_conll_files_are_known_by_their_names_and_may_be_gzipped(tmp_path, name):
    assert sentences(read(tmp_path, {name: PLAIN, f"b-{name}.gz": gzip.compress(PLAIN.encode())})) == WANTED * 2


def test_columns_between_words_and_tags_are_kept(tmp_path):
    rows = read(tmp_path, {"a.conll": "U.N. NNP I-NP I-ORG\nofficial NN I-NP O\n"})
    columns = ("tokens", "column_2", "column_3", "tags")
    assert [json.loads(rows[0][name]) for name in columns] == [
        ["U.N.", "official"],
        ["NNP", "NN"],
        ["I-NP", "I-NP"],
        ["I-ORG", "O"],
    ]


@pytest.mark.parametrize("line", ["# O", "#\tO", "#\tB-x", "#photography\tO", "# I"])
def test_a_word_that_is_a_number_sign_is_no_comment(tmp_path, line):
    apart = "\t" if "\t" in line else " "
    (tokens, _), _ = sentences(read(tmp_path, {"a.conll": f"{line}\nrose{apart}O\n\nx{apart}O\n"}))
    assert tokens[0].startswith("#")


@pytest.mark.parametrize("line", ["State", "State\t", "\tO", "State I-location O", "State\tI-location\tO", "a\t\tO"])
def test_a_line_with_other_columns_costs_its_sentence_alone(tmp_path, line):
    broken = PLAIN.replace("State\tI-location", line)
    rows = read(tmp_path, {"a.conll": PLAIN + "\n" + broken})
    assert [row["_fault"] is None for row in rows] == [True, True, False, True]
    assert rows[2]["tokens"] is None and rows[2]["tags"] is None
    assert "where the first has 2" in rows[2]["_fault"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Empire\nState\n", "a word without a tag, on its first line: Empire"),
        ("a b\nc\n\nd e f\n", "none of its 2 sentences can be read"),
        ("\n\n-DOCSTART-\n", "holds no rows"),
    ],
)
def test_a_file_without_a_sentence_that_can_be_read_is_refused(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        read(tmp_path, {"a.conll": text})


def test_a_file_without_blank_lines_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(conll, "SENTENCE", 1_000)
    with pytest.raises(DataError, match="longer than"):
        read(tmp_path, {"a.conll": "word\tO\n" * 200})
    with pytest.raises(DataError, match="longer than"):
        read(tmp_path, {"a.conll": "w" * 2_000})


def test_conll_and_other_formats_mix_in_one_source(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "source").mkdir()
    pq.write_table(pa.table({"tokens": [["Zoë"]], "tags": [["B-PER"]]}), tmp_path / "source" / "c.parquet")
    lines = json.dumps({"tokens": ["Zoë"], "tags": ["B-PER"]})
    rows = read(tmp_path, {"a.conll": "Zoë\tB-PER\n", "b.jsonl": lines})
    assert [row["tokens"] for row in rows] == ['["Zoë"]'] * 3
    assert [row["tags"] for row in rows] == ['["B-PER"]'] * 3


def test_a_sentence_is_one_example_however_its_list_is_written_and_its_words_are_cut():
    import pyarrow as pa

    from contender.data.examples import forms
    from contender.names import TASKS

    spelled = [
        '["New York", "!"]',
        '["New","York", "!"]',
        '["new",  "york", "\\u0021"]',
        "New York !",
        '["York", "New"]',
    ]
    batch = pa.record_batch({"words": spelled})
    found = forms(batch, TASKS["token-classification"], {"tokens": "words", "tags": "ner"})
    assert found == ["new york !"] * 4 + ["york new"]


word = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r\0\ufeff"), min_size=1).filter(
    lambda text: text.strip(" ") == text and text != conll.DOCUMENT
)


@given(st.lists(st.lists(st.tuples(word, st.sampled_from(["O", "B-x", "I-x"])), min_size=1), min_size=1))
def test_what_is_written_with_tabs_is_read_back(found):
    import io

    text = "\n".join("".join(f"{token}\t{tag}\n" for token, tag in sentence) for sentence in found)
    batches = conll.read_conll(io.BytesIO(text.encode()), "a.conll")
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert [list(zip(*pair, strict=True)) for pair in sentences(rows)] == found
