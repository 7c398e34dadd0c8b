"""Translation and summarization: pairs as tensors, answers in order, and what a release keeps of how they are written."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
import safetensors.torch
import torch
from fitting import train
from pairs import build_pairs_base, pairs_job, sentences, write_pairs
from torch.nn.functional import cross_entropy

from contender.errors import DataError, ModelError, UsageError
from contender.files import describe_files
from contender.kinds import kind
from contender.records import ReleaseManifest
from contender.training.monitor import Stopped


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return build_pairs_base(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def pairs(base):
    return kind("translation").load_processor(base)


@pytest.fixture(scope="module")
def release(tmp_path_factory, base) -> Path:
    """Untrained, answering with two beams."""
    from contender.training.saving import save_model_files

    folder = tmp_path_factory.mktemp("release")
    found = kind("translation")
    job = pairs_job(folder, base, sentences(20), [], generation={"beams": 2, "max_new_tokens": 6})
    processor, model = found.load_processor(base), found.load_model(base, ())
    found.set_up(job, processor, model)
    save_model_files(model, processor, 16, folder / "model")
    return folder / "model"


def prepared(pairs, rows, limit=32):
    columns = kind("translation").prepare(
        pairs, {"source": [row[0] for row in rows], "target": [row[1] for row in rows]}, {}, limit
    )
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def test_a_decoder_begins_with_its_start_token_and_padding_teaches_nothing(pairs):
    batch = kind("translation").collate(pairs, prepared(pairs, [("one two", "eins zwei"), ("six", "sechs")]))
    labels, begun = batch["labels"], batch["decoder_input_ids"]
    assert labels.shape == begun.shape == (2, 8)
    assert (labels[0, 3:] == -100).all() and labels[0, 2] == labels[1, 1] == 1
    assert begun[:, 0].tolist() == [0, 0]
    assert torch.equal(begun[0, 1:3], labels[0, :2])
    assert batch["attention_mask"].sum(1).tolist() == [3, 2]


def test_the_loss_is_that_of_transformers_own_shift_and_padding_changes_nothing(pairs, base, tmp_path):
    found, rows = kind("translation"), [("one two", "eins zwei"), ("six", "sechs"), ("two two two", "zwei zwei")]
    model = found.load_model(base, ()).eval()
    examples = prepared(pairs, rows)
    batch = found.collate(pairs, examples)
    labels = batch.pop("labels")
    job = pairs_job(tmp_path, base, rows, [])
    with torch.no_grad():
        ours = found.loss(job, None)(model(**batch), labels)
        own = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels).loss
        alone = [found.collate(pairs, [example]) for example in examples]
        summed = sum(
            cross_entropy(model(**one).logits[0], gold[0], reduction="sum", ignore_index=-100)
            for one in alone
            if (gold := one.pop("labels")) is not None
        )
    assert float(ours) == pytest.approx(float(own), rel=1e-6)
    assert float(ours) == pytest.approx(float(summed) / 8, rel=1e-5)
    smoothed = pairs_job(tmp_path, base, rows, [], label_smoothing=0.2)
    assert found.loss(smoothed, None)(model(**batch), labels) != ours


def test_what_is_too_long_is_cut_counted_and_keeps_its_end(pairs):
    rows = prepared(pairs, [("one " * 9, "eins"), ("one", "eins " * 9), ("one two three", "eins zwei drei")], limit=4)
    assert [row["cut"] for row in rows] == [True, True, False]
    assert [len(row["input_ids"]) for row in rows] == [4, 2, 4]
    assert all(row[column][-1] == 1 for row in rows for column in ("input_ids", "labels"))
    assert [row["length"] for row in rows] == [4, 4, 4]


def test_the_first_of_several_references_trains(pairs):
    several = json.dumps(["zwei", "drei drei"])
    one, other = prepared(pairs, [("two", several), ("two", "zwei")])
    assert one["labels"] == other["labels"]


def test_answers_come_in_the_order_of_the_rows_whatever_the_batches(release, tmp_path):
    rows = sentences(40)
    file, seen = write_pairs(tmp_path / "rows.arrow", rows), []
    small = kind("translation").predict(release, file, batch_size=7, on_rows=seen.append)
    large = kind("translation").predict(release, file)
    assert small.equals(large) and small.equals(kind("translation").predict(release, file, batch_size=7))
    assert small["row"].to_pylist() == small["key"].to_pylist() == list(range(40))
    assert small["label"].to_pylist() == [target for _, target in rows]
    assert seen[-1] == 40
    turned = kind("translation").predict(release, write_pairs(tmp_path / "turned.arrow", rows[::-1]))
    assert turned["prediction"].to_pylist()[::-1] == small["prediction"].to_pylist()
    assert len(set(small["prediction"].to_pylist())) > 1
    alone = [kind("translation").predict(release, write_pairs(tmp_path / "one.arrow", [row])) for row in rows[:5]]
    assert [one["prediction"][0] for one in alone] == list(small["prediction"][:5])


def test_no_rows_give_no_outcomes_of_the_same_columns_and_foreign_files_are_named(release, tmp_path):
    none = kind("translation").predict(release, write_pairs(tmp_path / "none.arrow", []))
    some = kind("translation").predict(release, write_pairs(tmp_path / "some.arrow", sentences(2)))
    assert len(none) == 0 and none.schema.equals(some.schema)
    assert some.schema.field("key").type == pa.uint64()
    with pytest.raises(DataError, match="has no column source, target"):
        kind("translation").predict(
            release, write_pairs(tmp_path / "other.arrow", sentences(2), roles=("text", "summary"))
        )


def test_a_release_keeps_how_it_answers(release):
    written = json.loads((release / "generation_config.json").read_bytes())
    assert {name: written[name] for name in ("num_beams", "max_new_tokens", "do_sample")} == {
        "num_beams": 2,
        "max_new_tokens": 6,
        "do_sample": False,
    }
    from contender.kinds._generator import Generator

    config = Generator(release)._model.generation_config
    assert (config.num_beams, config.max_new_tokens, config.max_length) == (2, 6, None)


def test_the_longest_answers_of_training_decide_how_long_an_answer_may_be(base, tmp_path):
    found, rows = kind("translation"), [("one", "eins " * 9)] * 5
    job = pairs_job(tmp_path, base, rows, [])
    processor, model = found.load_processor(base), found.load_model(base, ())
    found.set_up(job, processor, model)
    assert model.generation_config.max_new_tokens == 16
    from datasets import Dataset

    assert found.length("auto", processor, model.config, Dataset.from_file(job.train)) == 16
    assert found.length(12, processor, model.config, Dataset.from_file(job.train)) == 12
    with pytest.raises(UsageError, match="more than the 32 tokens"):
        found.length(33, processor, model.config, Dataset.from_file(job.train))


def test_a_loaded_release_answers_texts_and_rows_as_its_evaluation_saw(release, tmp_path):
    columns = {"source": "english", "target": "german"}
    manifest = ReleaseManifest.model_construct(release="r-0", kind="translation", columns=columns)
    model = kind("translation").load(release, manifest, "cpu")
    texts = [source for source, _ in sentences(10)]
    rows = write_pairs(tmp_path / "rows.arrow", sentences(10))
    answers = model.predict(texts)
    assert answers == kind("translation").predict(release, rows)["prediction"].to_pylist()
    assert model.predict([{"english": text, "german": "x"} for text in texts], batch_size=3) == answers
    assert model.predict([]) == [] and len(model.predict([""])) == 1
    assert (model.labels, model.device) == ((), "cpu")
    for wrong, match in (("one", "single one"), ([7], "input 0 is no text"), ([{"source": "one"}], "column 'english'")):
        with pytest.raises(UsageError, match=match):
            model.predict(wrong)


TINY = {"hidden_size": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2}


def from_nothing(folder, rows, config=TINY, base="builtin:t5-mini", output="model", **options):
    job = pairs_job(folder, base, rows, rows[:40], output, **options)
    return job.model_copy(update={"init": "scratch", "config": config})


def test_a_training_from_nothing_makes_its_tokenizer_from_the_rows(tmp_path):
    from datasets import Dataset

    rows = [("東京へ行く", "“going” to Tōkyō 🗼"), ("行く\n", json.dumps(["to  go", "go"]))] * 20
    job, found = from_nothing(tmp_path, rows), kind("translation")
    one, other = (found.processor_for(job, Dataset.from_file(job.train)) for _ in range(2))
    assert one.backend_tokenizer.to_str() == other.backend_tokenizer.to_str()
    for text in ("東京へ行く", "“going” to Tōkyō 🗼", "never seen: Ω≈ç", "to  go"):
        assert one.tokenizer.decode(one.sources([text], 100)[0], skip_special_tokens=True).strip() == text
    torch.manual_seed(1)
    model, again = (found.model_for(job, one) for _ in range(2))
    assert model.config.d_model == 32
    assert len(one.tokenizer) <= model.config.vocab_size < len(one.tokenizer) + 8
    assert not torch.equal(model.shared.weight, again.shared.weight)
    assert found.learning_rate("scratch", model.num_parameters()) == 1e-3
    with pytest.raises(ModelError, match=r"model\.config, for t5: unknown key 'hiden_size'"):
        found.model_for(from_nothing(tmp_path, rows, {"hiden_size": 1}), one)


def test_bases_that_cannot_write_a_text_are_refused(base, tiny_base, tmp_path):
    with pytest.raises(ModelError, match="cannot be loaded for translation"):
        kind("translation").load_model(tiny_base, ())
    with pytest.raises(ModelError, match="cannot be explained"):
        kind("translation").explain(base, tmp_path, {})


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["t5", "marian"])
def test_a_model_from_nothing_resumes_to_the_same_files(architecture, tmp_path):
    """Marian's kin have positions that no step changes, beside embeddings that several layers share."""
    from transformers import MarianConfig

    config, base = TINY, "builtin:t5-mini"
    if architecture == "marian":
        config, base = {}, tmp_path / "base"
        sizes = dict.fromkeys(("d_model", "encoder_ffn_dim", "decoder_ffn_dim", "max_position_embeddings"), 32)
        layers = {f"{part}_{name}": 1 for part in ("encoder", "decoder") for name in ("layers", "attention_heads")}
        MarianConfig(vocab_size=300, pad_token_id=0, decoder_start_token_id=0, **sizes, **layers).save_pretrained(base)
        (base / "model.safetensors").write_bytes(safetensors.torch.save({"unread": torch.zeros(1)}))
    jobs = [
        from_nothing(tmp_path, sentences(150), config, str(base), output, learning_rate="auto", early_stopping=0)
        for output in ("whole", "stopped")
    ]
    train(jobs[0], tmp_path / "job1")
    with pytest.raises(Stopped):
        train(jobs[1], tmp_path / "job2", 13)
    assert train(jobs[1], tmp_path / "job2").resumed_from_step == 13
    assert describe_files(tmp_path / "whole") == describe_files(tmp_path / "stopped")
    assert len(kind("translation").predict(tmp_path / "whole", tmp_path / "validation.arrow")) == 40


@pytest.mark.slow
def test_adapters_train_merge_and_answer(base, tmp_path):
    job = pairs_job(tmp_path, base, sentences(200), sentences(30, 1), epochs=4, learning_rate=3e-2)
    report = train(job.model_copy(update={"method": "lora"}), tmp_path / "job")
    losses = [point.metrics["loss"] for point in report.curve if "loss" in point.metrics]
    assert losses[-1] < losses[0]
    assert (tmp_path / "model" / "generation_config.json").exists()
    assert len(kind("translation").predict(tmp_path / "model", tmp_path / "validation.arrow")) == 30


@pytest.mark.slow
def test_it_learns_and_a_resumed_training_ends_with_the_same_files(base, tmp_path):
    rows, held = sentences(400, longest=2), sentences(60, 1, longest=2)

    def job(output):
        return pairs_job(tmp_path, base, rows, held, output, epochs=6, early_stopping=0, label_smoothing=0.05)

    report = train(job("whole"), tmp_path / "job1")
    assert report.best_metric < 0.7 and any("loss" in point.metrics for point in report.curve)
    outcomes = kind("translation").predict(Path(job("whole").output), tmp_path / "validation.arrow").to_pydict()
    right = sum(map(str.__eq__, outcomes["label"], outcomes["prediction"]))
    assert right > 30
    with pytest.raises(Stopped):
        train(job("stopped"), tmp_path / "job2", 70)
    assert train(job("stopped"), tmp_path / "job2").resumed_from_step == 70
    assert describe_files(tmp_path / "whole") == describe_files(tmp_path / "stopped")
