from __future__ import annotations

import json
from pathlib import Path

import pytest
from fitting import accuracy, train, weights

from contender.errors import ModelError
from contender.files import describe_files
from contender.models import resolve_base

SMALL = {"hidden_size": 16, "num_hidden_layers": 1}


@pytest.fixture
def without_weights(tmp_path: Path, tiny_base: Path) -> Path:
    """The tiny base's configuration and tokenizer."""
    folder = tmp_path / "architecture"
    folder.mkdir()
    for file in tiny_base.iterdir():
        if file.suffix != ".safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    return folder


def test_a_model_from_nothing_learns_and_is_as_its_config_says(make_job, tmp_path, without_weights):
    one, other = (
        make_job(base=without_weights, init="scratch", config=SMALL, epochs=2, learning_rate=1e-2, output=name)
        for name in ("one", "other")
    )
    report = train(one, tmp_path / "job1")
    assert report.best_metric > 0.5
    assert accuracy(one) == pytest.approx(report.best_metric)
    config = json.loads((Path(one.output) / "config.json").read_text())
    assert {name: config[name] for name in SMALL} == SMALL
    assert weights(one.output)["bert.pooler.dense.weight"].shape == (16, 16)
    train(other, tmp_path / "job2")
    assert describe_files(Path(one.output)) == describe_files(Path(other.output))


def test_all_layers_of_it_have_one_rate(make_job, tmp_path, without_weights):
    options = {"learning_rate": "auto", "head_learning_rate": "auto", "epochs": 1}
    report = train(make_job(base=without_weights, init="scratch", **options), tmp_path / "job")
    assert report.learning_rate == report.head_learning_rate == 5e-4


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {"hiden_size": 16},
            r"for bert: unknown key 'hiden_size' \(did you mean 'hidden_size'\?\); known: .*num_hidden",
        ),
        ({"vocab_size": 9}, "unknown key 'vocab_size'"),
        ({"hidden_size": "wide"}, "hidden_size.*expected int"),
        ({"hidden_size": 15}, "no model for text-classification can be built"),
    ],
)
def test_a_config_that_the_architecture_has_not_is_refused(make_job, tmp_path, without_weights, config, said):
    with pytest.raises(ModelError, match=said):
        train(make_job(base=without_weights, init="scratch", config=config), tmp_path / "job")


def test_its_digest_follows_the_config_and_not_the_weights(tmp_path, without_weights):
    def of(weights: bool) -> str:
        return resolve_base("architecture", tmp_path, weights=weights).digest

    before = of(weights=False)
    with pytest.raises(ModelError, match="has no weights"):
        of(weights=True)
    (without_weights / "model.safetensors").write_bytes(b"none of its business")
    assert of(weights=False) == before
    config = without_weights / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"hidden_size": 16}))
    assert of(weights=False) != before
