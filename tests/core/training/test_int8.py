"""Linear layers of int8: what their files hold, who loads them, and where they compute."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from contender.errors import ModelError, UsageError
from contender.files import describe_files
from contender.kinds._int8 import Int8Linear, quantise
from contender.kinds._loading import load_release
from contender.kinds.text_classification import KIND
from contender.models import resolve_base
from contender.training.saving import save_model_files

AUTO = "AutoModelForSequenceClassification"
LABELS = ("blue", "green", "red")


@pytest.fixture(scope="module")
def save(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], Path]:
    """Writes an untrained model, the same every time, as it is or quantised."""

    def write(quantised: bool) -> Path:
        torch.manual_seed(0)
        model, tokenizer = KIND.load_model(tiny_base, LABELS), KIND.load_processor(tiny_base)
        if quantised:
            assert quantise(model, KIND.above_encoder(model)) == 12, "six in each of two layers, none of the head"
        folder = tmp_path_factory.mktemp("model") / "model"
        save_model_files(model, tokenizer, 16, folder)
        return folder

    return write


@pytest.fixture(scope="module")
def quantised(save: Callable[[bool], Path]) -> Path:
    return save(True)


def test_a_weight_is_rounded_to_the_nearest_of_its_channel() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(64, 32)
    layer.weight.data[3] = 0
    made = Int8Linear.of(layer)
    back = made.weight_int8.float() * made.weight_scale.unsqueeze(1)
    assert (back - layer.weight).abs().max(dim=1).values.le(made.weight_scale / 2 + 1e-7).all()
    assert made.weight_int8.abs().amax(dim=1).tolist() == [127 if row != 3 else 0 for row in range(32)]
    given = torch.randn(5, 7, 64)
    with torch.inference_mode():
        assert torch.allclose(made(given), layer(given), atol=0.06)
        assert not torch.equal(made(given), nn.functional.linear(given, back, layer.bias)), "it is int8 arithmetic"


def test_what_a_row_gives_depends_on_no_other_of_its_batch() -> None:
    torch.manual_seed(0)
    made = Int8Linear.of(nn.Linear(64, 32))
    given = torch.randn(6, 64)
    with torch.inference_mode():
        alone = made(given[:1])
        assert torch.equal(made(given)[:1], alone)
        assert torch.equal(made(torch.cat([given, torch.full((1, 64), 1e4)]))[:1], alone), "nor on a giant"


def test_gradients_flow_through_the_weights_as_they_are_kept() -> None:
    made = Int8Linear.of(nn.Linear(8, 4))
    given = torch.randn(2, 8, requires_grad=True)
    made(given).sum().backward()
    back = made.weight_int8.float() * made.weight_scale.unsqueeze(1)
    assert torch.allclose(given.grad, back.sum(dim=0).expand(2, 8))


def test_two_quantisations_give_the_same_files_and_these_hold_tensors_alone(
    save: Callable[[bool], Path], quantised: Path
) -> None:
    assert describe_files(quantised) == describe_files(save(True))
    assert {path.suffix for path in quantised.iterdir()} == {".json", ".safetensors"}
    tensors = load_file(str(quantised / "model.safetensors"))
    assert tensors["bert.encoder.layer.1.output.dense.weight_int8"].dtype == torch.int8
    assert tensors["classifier.weight"].dtype == torch.float32
    config = json.loads((quantised / "config.json").read_bytes())["quantization_config"]
    assert config == {
        "quant_method": "contender-int8",
        "modules_to_not_convert": ["bert.pooler.dense", "classifier"],
    }


@pytest.mark.slow
def test_transformers_loads_the_files_once_contender_is_imported(save: Callable[[bool], Path], quantised: Path) -> None:
    code = (
        "import sys, contender; from transformers import AutoModelForSequenceClassification as auto\n"
        f"model = auto.from_pretrained({str(quantised)!r}); print(type(model.bert.encoder.layer[0].output.dense).__name__)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "Int8Linear"


def test_a_release_answers_nearly_as_what_it_was_made_from(save: Callable[[bool], Path], quantised: Path) -> None:
    texts = [f"word{number} red word{number + 9} blue" for number in range(40)]
    whole, rounded = (KIND._classifier(folder).probabilities(texts, 8) for folder in (save(False), quantised))
    assert 0 < abs(whole - rounded).max() < 0.02
    assert (whole.argmax(-1) == rounded.argmax(-1)).mean() > 0.9


def test_it_computes_on_the_cpu_and_says_so_where_another_device_is_named(quantised: Path) -> None:
    _, device = load_release(AUTO, quantised)
    assert device.type == "cpu"
    with pytest.raises(UsageError, match="quantised to int8, which is for CPUs") as refused:
        load_release(AUTO, quantised, "cuda")
    assert "Name cpu" in refused.value.fix
    assert load_release(AUTO, quantised, "cpu")[1].type == "cpu"


def test_nothing_trains_on_it(quantised: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is quantised to int8, of which nothing can be trained"):
        resolve_base(str(quantised), tmp_path)


def test_answers_of_it_are_explained(quantised: Path) -> None:
    classifier = KIND._classifier(quantised)
    answer = classifier.names[int(classifier.probabilities(["red word1 word2"], 1).argmax())]
    assert classifier.explain(["red word1 word2"], [answer])[0] is not None
