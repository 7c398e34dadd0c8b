"""Taggers: every word of a sentence gets one tag, whatever the tokenizer and the length make of it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tiny import COLOURS, FILLER

from contender.errors import DataError, UsageError
from contender.kinds import kind
from contender.records import ReleaseManifest
from contender.training.options import Job, TrainOptions

TAGS = ("B-blue", "B-green", "B-red", "I-blue", "I-green", "I-red", "O")
Sentence = tuple[list[str], list[str]]


def coloured(count: int, seed: int = 0) -> list[Sentence]:
    """Sentences whose colours are entities of their own type; a colour that stands twice is one entity."""
    dice = random.Random(seed)
    rows = []
    for number in range(count):
        words = dice.choices(FILLER, k=dice.randint(1, 90 if number % 25 == 0 else 6))
        tags = ["O"] * len(words)
        colour, place = COLOURS[number % len(COLOURS)], dice.randrange(len(words) + 1)
        times = dice.randint(1, 2)
        words[place:place] = [colour] * times
        tags[place:place] = [f"B-{colour}", f"I-{colour}"][:times]
        rows.append((words, tags))
    return rows


def write_rows(path: Path, rows: list[Sentence]) -> Path:
    table = pa.table(
        {
            "tokens": pa.array(
                [words if isinstance(words, str) else json.dumps(words) for words, _ in rows], pa.string()
            ),
            "tags": pa.array([json.dumps(tags) for _, tags in rows], pa.string()),
            "_key": pa.array(range(len(rows)), pa.uint64()),
        }
    )
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=100)
    return path


@pytest.fixture(scope="module")
def tokenizer(tiny_base):
    return kind("token-classification").load_processor(tiny_base)


@pytest.fixture(scope="module")
def model(tmp_path_factory, tiny_base) -> Path:
    """An untrained release of seven tags that reads 16 tokens."""
    from contender.training.saving import save_model_files

    folder = tmp_path_factory.mktemp("release")
    found = kind("token-classification")
    save_model_files(found.load_model(tiny_base, TAGS), found.load_processor(tiny_base), 16, folder)
    return folder


def manifest(**columns: str) -> ReleaseManifest:
    files = {"release": "r-" + "0" * 16, "digest": "0" * 64, "files": (), "created": "2026-11-27T00:00:00Z"}
    return ReleaseManifest(kind="token-classification", columns=columns, label_names=TAGS, **files)


# --- windows


@pytest.mark.parametrize("words", [1, 13, 14, 15, 20, 27, 28, 29, 100])
@pytest.mark.parametrize("width", [5, 16, 32])
def test_each_word_is_tagged_once_with_what_surrounds_it_on_both_sides(tokenizer, words, width):
    from contender.kinds._windows import windows

    sentence = [FILLER[place % len(FILLER)] for place in range(words)]
    found = list(windows(tokenizer, [["red"], sentence], width))[1:]
    tagged = [word for window in found for word in window.words.values()]
    assert tagged == list(range(words))
    for window in found:
        assert len(window) <= width
        ids = window.inputs["input_ids"]
        assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
        for place, word in window.words.items():
            assert tokenizer.convert_ids_to_tokens(ids[place]) == sentence[word]
            before, after = place - 1, len(window) - 2 - place
            quarter = (width - 2) // 4
            assert before >= min(word, quarter // 2)
            assert after >= min(words - 1 - word, quarter - quarter // 2 - 1)


def test_the_first_token_of_a_word_carries_its_tag(tiny_base, tmp_path):
    """In a tokenizer that cuts words, and for words that it has no token for."""
    from transformers import BertTokenizerFast

    from contender.kinds._windows import windows

    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ab", "##cd", "x"]))
    cutting = BertTokenizerFast(vocab=str(tmp_path / "vocab.txt"))
    (window,) = windows(cutting, [["abcd", "\ufe0f", "x", "", "ab"], ["\ufe0f"], []], 64)
    assert cutting.convert_ids_to_tokens(window.inputs["input_ids"]) == ["[CLS]", "ab", "##cd", "x", "ab", "[SEP]"]
    assert window.words == {1: 0, 3: 2, 4: 4}


@pytest.mark.parametrize("several", [False, True])
def test_a_tokenizer_of_bytes_reads_words_as_behind_a_space(tmp_path, several):
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, RobertaConfig

    letters = {letter: place for place, letter in enumerate(["<pad>", "<unk>", "Ġ", "a", "b", "Ġa", "ab", "Ġab"])}
    bpe = Tokenizer(models.BPE(letters, [("Ġ", "a"), ("a", "b"), ("Ġa", "b")], unk_token="<unk>"))
    cut, spaced = pre_tokenizers.Split(Regex("x"), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([cut, spaced]) if several else spaced
    PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<pad>", unk_token="<unk>").save_pretrained(tmp_path)
    RobertaConfig(vocab_size=8).save_pretrained(tmp_path)
    found = kind("token-classification").load_processor(tmp_path)
    ids = found([["ab", "ab"]], is_split_into_words=True)["input_ids"][0]
    assert found.convert_ids_to_tokens(ids) == ["Ġab", "Ġab"]


# --- training's parts


def test_targets_stand_at_the_first_tokens_and_nowhere_else(tokenizer):
    found = kind("token-classification")
    labels = {tag: place for place, tag in enumerate(TAGS)}
    rows = [(["red", "red", "word1"], ["B-red", "I-red", "O"]), (["blue"], ["B-blue"])]
    batch = {"tokens": [json.dumps(words) for words, _ in rows], "tags": [json.dumps(tags) for _, tags in rows]}
    prepared = found.prepare(tokenizer, batch, labels, 16)
    assert prepared["labels"] == [[-100, 2, 5, 6, -100], [-100, 0, -100]]
    assert prepared["length"] == [5, 3]
    examples = [dict(zip(prepared, values, strict=True)) for values in zip(*prepared.values(), strict=True)]
    for side, targets in (("right", [-100, 0, -100] + [-100] * 5), ("left", [-100] * 5 + [-100, 0, -100])):
        tokenizer.padding_side = side
        collated = found.collate(tokenizer, examples)
        assert collated["labels"].shape == collated["input_ids"].shape == (2, 8)
        assert collated["labels"][1].tolist() == targets
    tokenizer.padding_side = "right"
    with pytest.raises(DataError, match="'B-pink' is not among the tags"):
        found.prepare(tokenizer, {"tokens": ['["red"]'], "tags": ['["B-pink"]']}, labels, 16)


def test_validation_is_scored_by_sentence_from_what_is_kept_of_the_logits():
    import torch

    found = kind("token-classification")
    logits = torch.full((2, 4, 7), -1.0)
    for row, place, tag in ((0, 1, 2), (0, 2, 5), (1, 1, 6)):
        logits[row, place, tag] = 1.0
    kept = found.kept(logits, None).numpy()
    labels = np.array([[-100, 2, 5, -100], [-100, 0, -100, -100]])
    assert found.scores(kept, labels, TAGS, ["entity_recall", "token_accuracy"]) == pytest.approx(
        {"entity_recall": 1 / 2, "token_accuracy": 2 / 3}
    )
    logits[0, 1, 3] = torch.inf
    assert np.isnan(found.kept(logits, None).numpy()).sum() == 1


def test_the_loss_weighs_words_and_not_sentences():
    from types import SimpleNamespace

    import torch

    job = SimpleNamespace(options=TrainOptions(), labels=TAGS)
    loss = kind("token-classification").loss(job, None)
    logits = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([[-100, 2, 5, 6, -100], [-100, 0, -100, -100, -100]])
    told = labels != -100
    expected = torch.nn.functional.cross_entropy(logits[told], labels[told])
    assert float(loss(SimpleNamespace(logits=logits), labels)) == pytest.approx(float(expected), rel=1e-6)
    assert float(loss(SimpleNamespace(logits=logits), labels, 8)) == pytest.approx(float(expected) / 2, rel=1e-6)


# --- answers


def test_outcomes_are_the_same_whatever_the_batches_and_long_sentences_are_tagged_to_their_end(model, tmp_path):
    rows = write_rows(tmp_path / "rows.arrow", coloured(60))
    seen: list[int] = []
    small = kind("token-classification").predict(model, rows, batch_size=3, on_rows=seen.append)
    large = kind("token-classification").predict(model, rows, batch_size=64)
    assert small.column("prediction") == large.column("prediction")
    assert small["row"].to_pylist() == small["key"].to_pylist() == list(range(60))
    assert [json.loads(tags) for tags in small["label"].to_pylist()] == [tags for _, tags in coloured(60)]
    lengths = [len(json.loads(tags)) for tags in small["prediction"].to_pylist()]
    assert lengths == [len(words) for words, _ in coloured(60)] and max(lengths) > 32
    assert len(set(small["prediction"].to_pylist())) > 10
    assert seen[-1] == 60
    none = kind("token-classification").predict(model, write_rows(tmp_path / "none.arrow", []))
    assert none.schema.equals(large.schema) and len(none) == 0


@pytest.mark.parametrize("row", [(["red", "word1"], ["O"]), ("red word1", ["O", "O"]), ([1], ["O"])])
def test_a_row_without_a_tag_for_each_word_is_named(model, tmp_path, row):
    rows = write_rows(tmp_path / "rows.arrow", [(["red"], ["B-red"]), row])
    with pytest.raises(DataError, match="row 1 has no tag for each word"):
        kind("token-classification").predict(model, rows)


def test_a_loaded_release_tags_words_texts_and_rows_alike(model, tmp_path):
    answering = kind("token-classification").load(model, manifest(tokens="words", tags="ner"), "cpu")
    answering.warm_up()
    words = ["word1", "red", "red"]
    one, two, three, four, five = answering.predict(
        [words, "word1 red red", {"words": words}, {"words": json.dumps(words)}, {"words": "word1 red red"}]
    )
    assert one.words == tuple(words) and one.tags == two.tags == three.tags == four.tags == five.tags
    assert one == three == four and two == five
    assert len(one.scores) == 3 and all(0 < score <= 1 for score in one.scores)
    rows = write_rows(tmp_path / "rows.arrow", [(words, ["O"] * 3)])
    outcome = kind("token-classification").predict(model, rows).to_pylist()[0]
    assert json.loads(outcome["prediction"]) == list(one.tags)
    assert outcome["confidence"] == pytest.approx(min(one.scores))
    assert answering.predict([]) == [] and answering.predict([[]])[0].tags == ()


def test_entities_say_where_in_the_text_they_stand():
    from contender.kinds._tagger import _tagged

    text, words = "Go to New York, Ada", ["Go", "to", "New", "York", ",", "Ada"]
    places = [(0, 2), (3, 5), (6, 9), (10, 14), (14, 15), (16, 19)]
    answer = _tagged(words, places, ["O", "O", "B-LOC", "I-LOC", "O", "I-PER"], [0.9, 0.9, 0.8, 0.7, 0.9, 0.6])
    assert [(one.type, one.first, one.last, one.text, one.score) for one in answer.entities] == [
        ("LOC", 2, 3, "New York", 0.7),
        ("PER", 5, 5, "Ada", 0.6),
    ]
    assert [text[one.start : one.end] for one in answer.entities] == ["New York", "Ada"]
    assert _tagged(words, None, ["O"] * 5 + ["B-PER"], [0.9] * 6).entities[0].start is None


@pytest.mark.parametrize("given", [3, [1, 2], {"other": "text"}, {"words": None}])
def test_what_is_no_sentence_is_refused_by_its_place(model, given):
    answering = kind("token-classification").load(model, manifest(tokens="words", tags="ner"), "cpu")
    with pytest.raises(UsageError, match="input 1 has neither words nor a text"):
        answering.predict(["red", given])
    with pytest.raises(UsageError, match="given a single one"):
        answering.predict("red")


# --- training


@pytest.fixture
def make_job(tmp_path, tiny_base):
    from contender.models import resolve_base

    def make(output: str = "model", **options: object) -> Job:
        base = resolve_base(str(tiny_base), tmp_path)
        settings = {"epochs": 6, "batch_size": 8, "learning_rate": 5e-3, "head_learning_rate": 5e-3}
        settings |= {"precision": "fp32", "max_length": 32, **options}
        return Job(
            task="token-classification",
            base=base.path,
            base_digest=base.digest,
            method="full",
            columns={"tokens": "tokens", "tags": "tags"},
            labels=TAGS,
            options=TrainOptions.model_validate(settings),
            primary_metric="entity_f1",
            train=str(write_rows(tmp_path / "train.arrow", coloured(150))),
            validation=str(write_rows(tmp_path / "validation.arrow", coloured(45, 1))),
            output=str(tmp_path / output),
        )

    return make


def train(job: Job, folder: Path, stop_at: int | None = None):
    from contender.child import Voice
    from contender.training.finetune import finetune
    from contender.training.monitor import Monitor, Stop
    from contender.training.options import Attempt

    class StopsAt(Monitor):
        def stepped(self, step: int, epoch: float, examples: int, loss: float) -> None:
            super().stepped(step, epoch, examples, loss)
            self.stop.requested |= step == stop_at

    folder.mkdir(exist_ok=True)
    return finetune(job, folder, StopsAt(Voice(None), Stop()), Attempt())


@pytest.mark.slow
@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_it_learns_and_the_release_answers_as_validation_said(make_job, tmp_path, class_weights):
    from contender.evaluation.metrics import compute

    job = make_job(epochs=12, early_stopping=0, class_weights=class_weights)
    report = train(job, tmp_path / "job")
    assert report.best_metric > 0.8
    outcomes = kind(job.task).predict(Path(job.output), Path(job.validation))
    assert compute(outcomes, ["entity_f1"])["entity_f1"] == pytest.approx(report.best_metric, abs=0.02)


@pytest.mark.slow
def test_a_resumed_training_ends_with_the_same_files_as_an_undisturbed_one(make_job, tmp_path):
    from contender.files import describe_files
    from contender.training.monitor import Stopped

    whole, stopped = make_job(output="whole", epochs=2), make_job(output="stopped", epochs=2)
    train(whole, tmp_path / "job1")
    with pytest.raises(Stopped):
        train(stopped, tmp_path / "job2", 9)
    assert train(stopped, tmp_path / "job2").resumed_from_step == 9
    files = describe_files(Path(whole.output))
    assert files == describe_files(Path(stopped.output))
    assert len(files) >= 3
