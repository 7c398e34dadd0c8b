"""What `contender init` sees in data, and that the pipeline it writes is one."""

import json
import os
import shutil
from pathlib import Path

import pytest
from chats import turns
from hypothesis import given
from hypothesis import strategies as st
from media import pictures, sounds
from ruamel.yaml import YAML

from contender.data.dialects import guess_delimiter, guess_encoding, guess_header
from contender.data.inspect import DataProfile, inspect
from contender.data.source import ReadOptions, ingest, peek
from contender.data.starter import MODELS, pipeline_name, starter_pipeline, yaml_text
from contender.errors import DataError, UsageError
from contender.names import TASKS

DATA = Path(os.environ.get("CONTENDER_DATA", Path(__file__).parents[3] / "shared" / "data"))


def profile(folder: Path, content: str | bytes, name: str = "a.csv") -> DataProfile:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return inspect(name, folder)


def starter(found: DataProfile, source: str = "a.csv") -> dict:
    return YAML(typ="safe").load(starter_pipeline(found, "x", source))


TICKETS = [
    (f"my card number {n} does not work", ["card", "fee", "login"][n % 3], f"2024-01-{n % 28 + 1:02d}")
    for n in range(90)
]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16"])
def test_how_a_csv_file_is_written_is_found_out(tmp_path, delimiter, encoding):
    lines = ["body§intent§day", *("§".join((f"zürich {text}", label, day)) for text, label, day in TICKETS)]
    found = profile(tmp_path, "\n".join(lines).replace("§", delimiter).encode(encoding))
    assert (found.text, found.label, found.rows, found.faulty_rows) == ("body", "intent", 90, 0)
    assert found.options.delimiter == (None if delimiter == "," else delimiter)
    assert found.options.encoding == ("cp1252" if encoding == "cp1252" else "utf-8")
    assert found.labels == {"card": 30, "fee": 30, "login": 30} and "�" not in json.dumps(
        found.model_dump(), ensure_ascii=False
    )


def test_a_file_without_a_header_gets_names_by_role_and_they_read_it(tmp_path):
    found = profile(tmp_path, "\n".join(f"{label},{text}" for text, label, _ in TICKETS))
    written = starter(found)["data"]
    assert written["csv"]["header"] == ["label", "text"] and written["columns"] == {"text": "text", "label": "label"}
    options = ReadOptions(header=tuple(written["csv"]["header"]))
    peeked = peek("a.csv", options, base=tmp_path)
    assert ingest("a.csv", peeked, options, tmp_path / "o", base=tmp_path, required=["text", "label"]).rows == 90


def test_json_lines_with_numbers_as_labels_are_understood(tmp_path):
    found = profile(
        tmp_path,
        "\n".join(json.dumps({"id": n, "text": text, "label": n % 2}) for n, (text, *_) in enumerate(TICKETS)),
        "a.jsonl",
    )
    assert (found.text, found.label, found.labels) == ("text", "label", {"0": 45, "1": 45})


def test_repeated_texts_and_lengths_are_counted(tmp_path):
    found = profile(tmp_path, "text,label\nHello there,a\nhello  THERE,b\nbye,a\nbye now,b\n")
    assert found.repeated_texts == 1 and found.text_length["longest"] == 12


def test_data_without_label_or_text_still_gives_a_pipeline_that_says_so(tmp_path):
    found = profile(tmp_path, "n,m\n" + "\n".join(f"{n},{n * 7}" for n in range(50)))
    text = starter_pipeline(found, "x", "a.csv")
    assert found.label is None and "No column looks like the label" in text and "No column looks like the text" in text


@pytest.mark.parametrize("content", ["", "text,label\n"])
def test_data_that_cannot_be_read_is_the_error_that_a_run_would_give(tmp_path, content):
    with pytest.raises(DataError):
        profile(tmp_path, content)
    with pytest.raises(UsageError):
        inspect("nothing", tmp_path)


HOSTILE = [
    "a: b",
    "#x",
    "- y",
    "x\ny",
    "true",
    "null",
    "1.5",
    "'",
    '"',
    "{",
    "&a",
    "*a",
    "!x",
    "%",
    "@",
    "`",
    "x # y",
    "é\u2028",
    "\x1b[31m",
    "null ",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_and_labels_of_any_kind_survive_yaml(tmp_path, name):
    rows = [{name: f"some longer text {n}", "label": name if n % 2 else "b", "z": n} for n in range(40)]
    found = profile(tmp_path, "\n".join(map(json.dumps, rows)), "a.jsonl")
    written = starter(found, source=name)
    assert written["data"]["columns"] == {"text": name, "label": "label"} and written["data"]["source"] == name


@given(st.text(st.characters(codec="utf-8")))
def test_yaml_reads_a_string_back_as_it_was(text):
    assert YAML(typ="safe").load(f"{{a: {yaml_text(text)}}}") == {"a": text}


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("d/Tickets 2024/*.csv", "tickets-2024"),
        ("s3://acme/tickets/", "tickets"),
        ("train.csv.gz", "pipeline"),
        ("banking77/train.csv", "banking77"),
        ("/", "pipeline"),
        ("Ünïcode", "n-code"),
        ("a/_b_/data.jsonl", "b"),
    ],
)
def test_a_pipeline_is_named_after_its_data(data, name):
    assert pipeline_name(data) == name


def test_guesses_hold_on_small_samples():
    assert guess_delimiter("a\n", ",") == "," and guess_delimiter("", ",") == ","
    assert guess_header("text,label\nx,a\n", ",") and not guess_header("", ",")
    assert not guess_header("good film,1\nbad film,0\n", ",")
    assert (
        guess_encoding("zürich".encode()[:2], whole=False) == "utf-8"
        and guess_encoding("ü".encode("cp1252"), whole=True) == "cp1252"
    )


@pytest.mark.parametrize(
    ("source", "rows", "labels"),
    [("banking77/train.csv", 10_003, 77), ("sst2", 9_613, 2), ("sms_spam", 5_574, 2), ("youtube_spam", 1_138, 2)],
)
def test_real_data_is_understood_and_its_pipeline_loads(tmp_path, source, rows, labels):
    from contender.loading import load_pipeline

    if not (DATA / source).exists():
        pytest.skip(f"{DATA / source} is not there: set CONTENDER_DATA")
    found = inspect(source, DATA)
    assert (found.rows, len(found.labels), found.faulty_rows) == (rows, labels, 0)
    target = tmp_path / "x.yaml"
    target.write_text(starter_pipeline(found, pipeline_name(source), str(DATA / source)))
    assert load_pipeline(target).spec.data.source == str(DATA / source)


def test_every_task_has_a_model_to_start_with():
    assert set(MODELS) == set(TASKS) != set()


SENTENCES = [
    (["Trains", "to", city, "leave"], ["O", "O", "B-LOC" if number % 2 else "I-LOC", "O"])
    for number, city in enumerate(f"City{n}" for n in range(40))
]


@pytest.mark.parametrize("written", ["conll", "jsonl", "parquet"])
def test_sentences_with_tags_are_a_task_of_their_own(tmp_path, written):
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ("tokens", "tags") if written == "conll" else ("sentence", "entities")
    lines = [dict(zip((*names, "at"), (*row, "monday"), strict=True)) for row in SENTENCES]
    if written == "conll":
        content = "\n".join("".join(f"{w} POS {t}\n" for w, t in zip(*row, strict=True)) for row in SENTENCES).encode()
    elif written == "jsonl":
        content = "\n".join(map(json.dumps, lines)).encode()
    else:
        pq.write_table(pa.Table.from_pylist(lines), tmp_path / "t")
        content = (tmp_path / "t").read_bytes()
    found = profile(tmp_path, content, f"a.{written}")
    assert (found.task, found.text, found.label, found.rows) == ("token-classification", *names, 40)
    assert found.labels == {"O": 120, "I-LOC": 20, "B-LOC": 20}
    assert found.text_length == {"median": 4, "95%": 4, "longest": 4}
    said = starter(found)
    assert said["task"] == "token-classification"
    assert said["data"]["columns"] == {"tokens": names[0], "tags": names[1]}
    assert said["data"]["split"]["key"] == "tokens"
    assert said["evaluate"]["metrics"] == ["entity_f1", "token_accuracy"]


def written(folder: Path, source: str) -> dict:
    """The pipeline of a source, which a run would take."""
    from contender.loading import load_pipeline

    (folder / "x.yaml").write_text(starter_pipeline(inspect(source, folder), "x", source))
    load_pipeline(folder / "x.yaml")
    return YAML(typ="safe").load(folder / "x.yaml")


def rows_file(folder: Path, rows: list[dict], name: str = "a.jsonl") -> Path:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("medium", ["image", "audio"])
def test_pictures_and_sounds_in_folders_are_a_task_of_their_own(tmp_path, medium, packed):
    files, ending = (pictures(8), "png") if medium == "image" else (sounds(8), "wav")
    folder = tmp_path / "signs"
    for number, (content, label) in enumerate(files):
        (folder / label).mkdir(parents=True, exist_ok=True)
        (folder / label / f"{number}.{ending}").write_bytes(content)
    if packed:
        (tmp_path / "packed").mkdir()
        shutil.make_archive(str(tmp_path / "packed" / "signs"), "gztar", folder)
    source = "packed" if packed else "signs"
    found = inspect(source, tmp_path)
    assert (found.task, found.rows, found.labels) == (f"{medium}-classification", 8, {"left": 4, "right": 4})
    made = written(tmp_path, source)
    assert made["data"]["columns"] == {medium: medium, "label": "label"}
    assert made["model"] == {"base": f"builtin:{medium}-convnet", "init": "scratch"}


def test_a_table_of_paths_is_one_of_pictures(tmp_path):
    rows = [{"file": f"p/{n}.png", "kind": label} for n, (_, label) in enumerate(pictures(20))]
    (tmp_path / "s" / "p").mkdir(parents=True)
    for row, (content, _) in zip(rows, pictures(20), strict=True):
        (tmp_path / "s" / row["file"]).write_bytes(content)
    rows_file(tmp_path, rows, "s/all.jsonl")
    assert inspect("s", tmp_path).sentence == "20 rows in 1 file, pictures in 'file', 2 labels in 'kind'"
    assert written(tmp_path, "s")["data"]["columns"] == {"image": "file", "label": "kind"}


def test_files_in_one_folder_have_no_label_and_the_pipeline_says_so(tmp_path):
    (tmp_path / "s").mkdir()
    for number, (content, _) in enumerate(pictures(3)):
        (tmp_path / "s" / f"{number}.png").write_bytes(content)
    assert "sort them into folders" in starter_pipeline(inspect("s", tmp_path), "x", "s")


def test_a_table_with_a_label_and_no_text_is_tabular(tmp_path):
    rows = [
        {"id": n, "amount": n * 1.5, "branch": ["north", "south"][n % 2], "tx_fraud": n % 5 == 0} for n in range(60)
    ]
    made = written(rows_file(tmp_path, rows), "a.jsonl")
    assert (made["task"], made["data"]["columns"]) == ("tabular-classification", {"label": "tx_fraud"})
    assert made["model"]["base"] == "builtin:tabular" and "key" not in made["data"]["split"]


def test_a_column_of_two_whose_name_says_label_is_the_plainer_one(tmp_path):
    rows = [{"fraud": n % 2, "fraud_kind": n % 3, "amount": n} for n in range(60)]
    assert inspect("a.jsonl", rows_file(tmp_path, rows)).label == "fraud"


@pytest.mark.parametrize(
    ("columns", "task"),
    [
        (("source", "target"), "translation"),
        (("en", "ja"), "translation"),
        (("de-DE", "fr"), "translation"),
        (("document", "summary"), "summarization"),
        (("article", "highlights"), "summarization"),
    ],
)
def test_two_columns_of_text_are_read_and_written(tmp_path, columns, task):
    one, other = columns
    rows = [{one: f"A sentence of some length, number {n}.", other: f"Some other one, {n}."} for n in range(40)]
    made = written(rows_file(tmp_path, rows), "a.jsonl")
    assert (made["task"], list(made["data"]["columns"].values())) == (task, [one, other])


def test_source_and_a_much_shorter_target_is_a_summary(tmp_path):
    rows = [{"source": f"A long text, number {n}. " * 20, "target": [f"A text, {n}."]} for n in range(40)]
    assert inspect("a.jsonl", rows_file(tmp_path, rows)).task == "summarization"


CHATS = [
    {"messages": turns("user: What is {n}?", "assistant: It is {n}.")},
    {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
    {"instruction": "Add", "input": "1 {n}", "output": "So and so many: {n}"},
    {"prompt": "What is {n}?", "completion": "It is {n}."},
    {"question": "What is {n}?", "answer": "It is {n}."},
]


@pytest.mark.parametrize("row", CHATS, ids=lambda row: next(iter(row)))
def test_conversations_of_every_layout_are_a_task_of_their_own(tmp_path, row):
    rows = [json.loads(json.dumps(row).replace("{n}", str(n))) for n in range(40)]
    made = written(rows_file(tmp_path, rows), "a.jsonl")
    assert (made["task"], made["data"]["split"]["key"]) == ("text-generation", "messages")
    assert "columns" not in made["data"] and made["model"]["method"] == "lora"


def test_answers_that_nobody_wanted_are_told_before_a_run_leaves_them_out(tmp_path):
    rows = [{"messages": turns(f"user: {n}", "assistant: b"), "label": n % 4 > 0} for n in range(40)]
    found = inspect("a.jsonl", rows_file(tmp_path, rows))
    assert (found.rows, found.left_out) == (40, 10)
    assert "10 rows are left out" in starter_pipeline(found, "x", "a.jsonl")


def test_a_question_whose_answers_are_few_is_a_text_with_a_label(tmp_path):
    rows = [{"question": f"Is {n} odd or even?", "answer": ["even", "odd"][n % 2]} for n in range(40)]
    found = inspect("a.jsonl", rows_file(tmp_path, rows))
    assert (found.task, found.text, found.label) == ("text-classification", "question", "answer")


def test_messages_that_are_text_are_no_conversations(tmp_path):
    rows = [{"messages": f"some text {n}", "label": "ab"[n % 2]} for n in range(40)]
    assert inspect("a.jsonl", rows_file(tmp_path, rows)).task == "text-classification"


@pytest.mark.parametrize(
    ("source", "task", "column"),
    [
        ("llamafactory_demos/glaive_toolcall_en_demo.json.gz", "text-generation", "conversations"),
        ("llamafactory_demos/identity.json.gz", "text-generation", "instruction"),
        ("mt_bench/dummy_conversation.json", "text-generation", "conversations"),
        ("gsm8k/test.jsonl.gz", "text-generation", "question"),
        ("scitldr_a/dev.jsonl.gz", "summarization", "source"),
    ],
)
def test_real_data_of_other_tasks_is_understood(source, task, column):
    if not (DATA / source).exists():
        pytest.skip(f"{DATA / source} is not there: set CONTENDER_DATA")
    found = inspect(source, DATA)
    assert (found.task, found.text, found.faulty_rows) == (task, column, 0)


@pytest.mark.parametrize("written", ["jsonl", "parquet"])
def test_lists_of_labels_are_a_task_of_their_own(tmp_path, written):
    import pyarrow as pa
    import pyarrow.parquet as pq

    sets = [["delivery", "refund"], [], ["refund"]]
    rows = [{"id": f"{n}", "message": f"parcel {n} is late and I ask", "topics": sets[n % 3]} for n in range(30)]
    if written == "jsonl":
        content = "\n".join(map(json.dumps, rows)).encode()
    else:
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t")
        content = (tmp_path / "t").read_bytes()
    found = profile(tmp_path, content, f"a.{written}")
    assert (found.task, found.text, found.label) == ("multi-label-classification", "message", "topics")
    assert found.labels == {"refund": 20, "delivery": 10}
    said = starter(found)
    assert said["data"]["columns"] == {"text": "message", "labels": "topics"}
    assert said["evaluate"]["metrics"] == ["f1_micro", "f1_macro_labels", "accuracy"]
