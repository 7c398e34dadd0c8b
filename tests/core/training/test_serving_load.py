"""A pulled release at work: `contender.load`, and transformers alone."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tiny import WORDS

import contender
from contender.errors import Damaged, ModelError, UsageError
from contender.kinds import kind, tasks
from contender.records import ReleaseDraft
from contender.registry import Registry, verify_folder
from contender.serving import model as serving_model
from contender.store import LocalStore, MemoryStore
from contender.training.saving import save_model_files

ROOT = Path(__file__).parents[3]
LABELS = ("blue", "green", "red")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """The files of a release of three labels, untrained, that reads 16 tokens."""
    folder = tmp_path_factory.mktemp("release") / "model"
    found = kind("text-classification")
    save_model_files(found.load_model(tiny_base, LABELS), found.load_processor(tiny_base), 16, folder)
    return folder


def pulled_into(folder: Path, release: Path, **draft: Any) -> Path:
    """The folder that a pull of the release leaves."""
    registry = Registry(MemoryStore(), "desk")
    about = {"kind": "text-classification", "columns": {"text": "body", "label": "colour"}, "label_names": LABELS}
    registry.fetch(registry.stage(release, ReleaseDraft(**about | draft)).release, folder)
    return folder


@pytest.fixture
def pulled(release: Path, tmp_path: Path) -> Path:
    return pulled_into(tmp_path / "pulled", release)


def some_texts(count: int, seed: int = 0) -> list[str]:
    dice = random.Random(seed)
    return [" ".join(dice.choices(WORDS, k=dice.randint(1, 40))) for _ in range(count)]


def test_importing_contender_is_light_and_load_is_its_own():
    code = (
        "import contender, sys; print([m for m in ('torch', 'pydantic', 'numpy') if m in sys.modules]); contender.load"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    with pytest.raises(AttributeError, match="lod"):
        contender.lod  # noqa: B018


def test_a_loaded_release_answers_what_its_evaluation_saw(pulled, release, rows_file):
    rows = [(text, LABELS[place % 3]) for place, text in enumerate(some_texts(150))]
    outcomes = kind("text-classification").predict(release, rows_file("rows.arrow", rows))
    model = contender.load(pulled)
    answers = model.predict([text for text, _ in rows])
    assert model.labels == LABELS and model.manifest.release.startswith("r-")
    assert [answer.label for answer in answers] == outcomes["prediction"].to_pylist()
    assert [answer.score for answer in answers] == outcomes["confidence"].to_pylist()
    assert [answer.scores[label] for answer, (_, label) in zip(answers, rows, strict=True)] == outcomes[
        "p_label"
    ].to_pylist()
    for answer in answers:
        assert sum(answer.scores.values()) == pytest.approx(1)
        assert list(answer.scores.values()) == sorted(answer.scores.values(), reverse=True)
    assert len({answer.score for answer in answers}) > 100


def test_rows_are_read_by_the_columns_that_it_was_trained_on(pulled):
    model = contender.load(pulled, verify=False)
    assert model.predict([{"body": "red word1", "text": "blue"}]) == model.predict(["red word1"])
    assert model.predict(["red word1"]) != model.predict(["blue"])
    assert model.predict([]) == []


def test_texts_are_cut_where_the_training_cut_them(pulled):
    model = contender.load(pulled)
    start = "red " * 14  # two of the 16 tokens are the tokenizer's own
    assert model.predict([start + "blue " * 20]) == model.predict([start])
    assert model.predict(["red " * 13 + "blue " * 20]) != model.predict([start])


def test_many_threads_get_the_answers_of_one(pulled):
    model = contender.load(pulled, device="cpu")
    requests = [some_texts(1 + seed % 9, seed) for seed in range(60)]
    alone = [model.predict(texts, batch_size=4) for texts in requests]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda texts: model.predict(texts, batch_size=4), requests))
    assert together == alone


def test_warming_up_asks_for_one_text_and_for_several_for_short_and_for_long(pulled, monkeypatch):
    """A GPU loads other kernels for each, and the first request of a kind that was not asked for takes twenty times as long."""
    model, shapes = contender.load(pulled, device="cpu"), set()
    answer = model.predict

    def seen(texts: list[str]) -> Any:
        shapes.add((len(texts) > 1, max(map(len, texts)) > 100))
        return answer(texts)

    monkeypatch.setattr(model, "predict", seen)
    model.warm_up()
    assert shapes == {(False, False), (False, True), (True, False)}


def test_one_text_waits_for_a_batch_of_a_long_request_and_not_for_all_of_it(pulled):
    model = contender.load(pulled, device="cpu")
    model.warm_up()
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(model.predict, some_texts(1500), batch_size=1)
        answered = 0
        while not long.done():
            model.predict(["red"])
            answered += 1
    assert answered > 3


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("red", "a list of inputs"),
        ({"body": "red"}, "a list of inputs"),
        ([3], "input 0 is no text: it is of type int"),
        (["red", None], "input 1 is no text"),
        ([{"text": "red"}], "input 0 has no text in column 'body'"),
    ],
)
def test_what_is_no_input_is_said(pulled, given, says):
    with pytest.raises(UsageError, match=says):
        contender.load(pulled).predict(given)


def test_a_batch_of_none_is_no_batch(pulled):
    with pytest.raises(UsageError, match="batch_size is 0"):
        contender.load(pulled).predict(["red"], batch_size=0)


# --- what cannot be loaded ---


def test_a_folder_that_no_pull_wrote_is_said(tmp_path, release):
    (tmp_path / "empty").mkdir()
    for folder, error, says in (
        (tmp_path / "none", UsageError, "none is no folder"),
        (tmp_path / "empty", UsageError, r"holds no contender\.json"),
        (release, Damaged, r"holds a model and no contender\.json"),
    ):
        for verify in (True, False):
            with pytest.raises(error, match=says):
                contender.load(folder, verify=verify)


def test_a_damaged_folder_is_not_loaded(pulled):
    weights = pulled / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(Damaged, match=r"model\.safetensors has other content"):
        contender.load(pulled)
    contender.load(pulled, verify=False)
    weights.write_bytes(data[:1000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        contender.load(pulled, verify=False)


def test_a_kind_that_this_version_does_not_know_is_named(tmp_path, release):
    assert "question-answering" not in tasks()
    folder = pulled_into(tmp_path / "newer", release, kind="question-answering")
    with pytest.raises(ModelError, match=r"unknown kind 'question-answering'.*known: .*text-classification"):
        contender.load(folder)


def test_labels_of_another_release_are_not_served(tmp_path, release):
    folder = pulled_into(tmp_path / "mixed", release, label_names=("green", "blue", "red"))
    with pytest.raises(Damaged, match="other labels in its manifest"):
        contender.load(folder)


def test_a_device_that_there_is_not_is_said(pulled):
    for device in ("quantum", "cuda:99"):
        with pytest.raises(UsageError, match=f"cannot compute on {device}"):
            contender.load(pulled, device=device)


def test_weights_that_are_no_numbers_give_no_answers(tmp_path, release):
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    broken.mkdir()
    for file in release.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = load_file(broken / "model.safetensors")
    weights["classifier.bias"][:] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    model = contender.load(pulled_into(tmp_path / "pulled", broken))
    with pytest.raises(ModelError, match="no numbers"):
        model.warm_up()


def test_a_release_that_is_pulled_into_the_folder_meanwhile_is_noticed(pulled, release, monkeypatch):
    def loading(task: str) -> Any:
        found = kind(task)
        pulled_into(pulled, release, lineage={"seed": 2})
        return found

    registry_kind: Callable[[str], Any] = loading
    monkeypatch.setattr(serving_model, "kind", registry_kind)
    (pulled / "config.json").unlink()  # else the pull finds the same files and leaves the folder alone
    with pytest.raises(Damaged, match="another release was pulled"):
        contender.load(pulled, verify=False)


# --- without Contender ---

ALONE = """
import json, sys
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

folder, texts = sys.argv[1], json.loads(sys.argv[2])
model = AutoModelForSequenceClassification.from_pretrained(folder)
tokenizer = AutoTokenizer.from_pretrained(folder)
classify = pipeline("text-classification", model=folder, device="cpu")
answers = classify(texts, top_k=None, truncation=True)
print(json.dumps({
    "contender": [name for name in sys.modules if name.split(".")[0] == "contender"],
    "id2label": model.config.id2label,
    "label2id": model.config.label2id,
    "max_length": tokenizer.model_max_length,
    "problem": model.config.problem_type,
    "answers": [{one["label"]: one["score"] for one in answer} for answer in answers],
}))
"""


@pytest.mark.slow
def test_transformers_alone_loads_a_pulled_folder_as_it_is(pulled):
    texts = [*some_texts(20), "red " * 100]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-P", "-c", ALONE, str(pulled), json.dumps(texts)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=pulled.parent)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["contender"] == []
    assert found["id2label"] == {str(place): label for place, label in enumerate(LABELS)}
    assert found["label2id"] == {label: place for place, label in enumerate(LABELS)}
    assert (found["max_length"], found["problem"]) == (16, "single_label_classification")
    for theirs, ours in zip(found["answers"], contender.load(pulled, device="cpu").predict(texts), strict=True):
        assert theirs == pytest.approx(ours.scores, abs=1e-5)


def test_what_the_docs_show_is_so(release, tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    blocks = re.findall(r"(?<!-->\n)```python\n(.*?)```", page, re.DOTALL)  # less those that say why they are not run
    assert len(blocks) == 3
    registry = Registry(LocalStore(tmp_path / "acme-models"), "tickets")
    manifest = registry.stage(release, ReleaseDraft(kind="text-classification", columns={"text": "body"}))
    registry.promote("production", 0, manifest, reason="first", actor="tests")
    registry.fetch(manifest.release, tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        capsys.readouterr()
        exec(block.replace("s3://", ""), {})
        shown = capsys.readouterr().out
        assert any(label in shown for label in LABELS), block


def test_a_folder_made_by_hand_from_the_registry_verifies_like_one_that_was_pulled(release, tmp_path):
    registry = Registry(LocalStore(tmp_path / "models"), "desk")
    manifest = registry.stage(release, ReleaseDraft(kind="text-classification", columns={}))
    registry.promote("production", 0, manifest, reason="first", actor="tests")
    root = tmp_path / "models" / "desk"
    named = json.loads((root / "aliases" / "production.json").read_bytes())["release"]
    shutil.copytree(root / "releases" / named / "model", tmp_path / "model")
    shutil.copy(root / "releases" / named / "manifest.json", tmp_path / "model" / "contender.json")
    assert verify_folder(tmp_path / "model") == manifest
