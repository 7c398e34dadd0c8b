"""train.dropout and train.layer_decay: what they change in real models, what of them a release keeps, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import transformers
from fitting import train
from pairs import build_pairs_base, pairs_job, sentences

from contender.errors import ModelError
from contender.files import describe_files
from contender.kinds import kind
from contender.models import BUILT_IN
from contender.training.dropout import dropouts, dropouts_of
from contender.training.monitor import Stopped
from contender.training.rates import rates_of, set_rates

SMALL = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16, "num_hidden_layers": 3}


def probabilities(model: torch.nn.Module) -> set[float]:
    return {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}


def kept(folder: str | Path) -> dict[str, object]:
    return json.loads((Path(folder) / "config.json").read_text())


def configured(folder: Path, config: transformers.PreTrainedConfig) -> Path:
    config.save_pretrained(str(folder))
    return folder


# --- dropout


@pytest.mark.parametrize(
    ("config", "found"),
    [
        (transformers.BertConfig(), {"hidden_dropout_prob", "attention_probs_dropout_prob"}),
        (transformers.DistilBertConfig(), {"attention_dropout", "dropout", "qa_dropout", "seq_classif_dropout"}),
        (transformers.ViTConfig(), {"hidden_dropout_prob", "attention_probs_dropout_prob"}),
        (transformers.T5Config(), {"dropout_rate", "classifier_dropout"}),
        (transformers.BartConfig(), {"activation_dropout", "attention_dropout", "classifier_dropout", "dropout"}),
        (transformers.GPT2Config(), {"attn_pdrop", "embd_pdrop", "resid_pdrop", "summary_first_dropout"}),
        (transformers.LlamaConfig(), {"attention_dropout"}),
    ],
    ids=lambda value: getattr(value, "model_type", ""),
)
def test_every_dropout_that_an_architecture_has_is_meant_and_no_flag_and_no_dropped_layer(tmp_path, config, found):
    assert dropouts_of(configured(tmp_path, config), 0.2) == dict.fromkeys(found, 0.2)
    assert dropouts_of(tmp_path, "auto") == {}


def test_a_key_that_its_architecture_does_not_read_is_no_dropout(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "resnet", "dropout": 0.1}))
    with pytest.raises(ModelError, match=r"train\.dropout is 0\.2, and the base in .*, a resnet, has no dropout"):
        dropouts_of(tmp_path, 0.2)


def test_a_small_convolutional_network_for_pictures_has_none_and_the_others_of_our_own_do():
    with pytest.raises(ModelError, match="has no dropout"):
        dropouts_of(BUILT_IN / "image-convnet", 0.2)
    for name in ("tabular", "audio-convnet"):
        assert dropouts_of(BUILT_IN / name, 0.3) == {"dropout": 0.3}
    assert dropouts_of(BUILT_IN / "t5-mini", 0.3) == {"dropout_rate": 0.3, "classifier_dropout": 0.3}


@pytest.mark.parametrize("start", [{}, {"method": "lora"}, {"init": "scratch"}], ids=str)
def test_what_trains_has_the_dropout_that_was_asked_for_and_its_release_says_so(make_job, tmp_path, start):
    few = {"train": [("red", "red"), ("green", "green"), ("blue", "blue")] * 8, "validation": [], "epochs": 1}
    job = make_job(dropout=0.35, **few, **start)
    assert probabilities(kind(job.task).model_for(job, None)) == {0.35}
    train(job, tmp_path / "job")
    config = kept(job.output)
    assert config["hidden_dropout_prob"] == config["attention_probs_dropout_prob"] == 0.35
    again = make_job(base=job.output, **few)
    assert probabilities(kind(job.task).model_for(again, None)) == {0.35}  # auto: what the base says


def test_none_at_all_learns_otherwise_than_the_bases_own(make_job, tmp_path):
    own, none, same = (
        make_job(output=name, epochs=1, **more)
        for name, more in (("own", {}), ("none", {"dropout": 0}), ("same", {"dropout": 0.1}))
    )
    for job in (own, none, same):
        train(job, tmp_path / Path(job.output).name.upper())
    weights = [
        next(one.sha256 for one in describe_files(Path(job.output)) if one.path.endswith(".safetensors"))
        for job in (own, none, same)
    ]
    assert weights[0] == weights[2] != weights[1]  # the tiny base says 0.1


def test_a_writer_and_one_that_starts_from_nothing_have_it_too(tmp_path):
    base = build_pairs_base(tmp_path / "base")
    job = pairs_job(tmp_path, base, sentences(6), [], dropout=0.4)
    found = kind("translation")
    assert probabilities(found.model_for(job, found.load_processor(base))) == {0.4}
    scratch = job.model_copy(update={"init": "scratch"})
    assert probabilities(found.model_for(scratch, found.load_processor(base))) == {0.4}


def test_the_models_of_our_own_have_it_too(make_job):
    sounds = make_job(base=BUILT_IN / "audio-convnet", init="scratch", dropout=0.45)
    model = kind("audio-classification").model_for(sounds, None)
    assert probabilities(model) == {model.config.dropout} == {0.45}
    table = make_job(base=BUILT_IN / "tabular", init="scratch", dropout=0.45)
    encoder = SimpleNamespace(bins=[4, 4], sizes=[3])
    model = kind("tabular-classification").model_for(table.model_copy(update={"positive": "red"}), encoder)
    assert probabilities(model) == {model.config.dropout} == {0.45}


# --- layer_decay


def bert(**more: object) -> torch.nn.Module:
    return transformers.AutoModelForSequenceClassification.from_config(transformers.BertConfig(**SMALL, **more))


def told(model: torch.nn.Module, decay: float = 0.5, **head: float) -> dict[str, float]:
    """Parameter → its rate, where the rate is 1."""
    rates = rates_of(model, decay, 1.0, head)
    return {name: rates.get(name, 1.0) for name, _ in model.named_parameters()}


@pytest.mark.parametrize(
    ("model", "layers", "bottom", "top"),
    [
        (bert, "bert.encoder.layer", "bert.embeddings.", "bert.pooler."),
        (
            lambda: transformers.RobertaModel(transformers.RobertaConfig(**SMALL)),
            "encoder.layer",
            "embeddings.",
            "pooler.",
        ),
        (
            lambda: transformers.AutoModelForSequenceClassification.from_config(
                transformers.DistilBertConfig(dim=16, hidden_dim=16, n_heads=2, n_layers=3)
            ),
            "distilbert.transformer.layer",
            "distilbert.embeddings.",
            "pre_classifier.",
        ),
        (
            lambda: transformers.AutoModelForCausalLM.from_config(
                transformers.LlamaConfig(**SMALL, num_key_value_heads=2, vocab_size=50)
            ),
            "model.layers",
            "model.embed_tokens.",
            "model.norm.",
        ),
    ],
    ids=["bert", "roberta", "distilbert", "llama"],
)
def test_each_layer_learns_at_a_factor_of_the_one_above_and_the_embeddings_least(model, layers, bottom, top):
    rates = told(model())
    for number, rate in enumerate((0.25, 0.5, 1.0)):
        assert {rate for name, rate in rates.items() if name.startswith(f"{layers}.{number}.")} == {rate}
    assert {rate for name, rate in rates.items() if name.startswith(bottom)} == {0.125}
    assert {rate for name, rate in rates.items() if name.startswith(top)} == {1.0}
    assert set(rates.values()) == {0.125, 0.25, 0.5, 1.0}


def test_pictures_patches_are_the_bottom_and_the_last_norm_the_top():
    config = transformers.ViTConfig(**SMALL, image_size=8, patch_size=4)
    rates = told(transformers.AutoModelForImageClassification.from_config(config))
    by_rate = {rate: [name for name, own in rates.items() if own == rate] for rate in set(rates.values())}
    assert sorted(by_rate) == [0.125, 0.25, 0.5, 1.0]
    assert all("embeddings" in name for name in by_rate[0.125])
    assert {"vit.layernorm.weight", "classifier.weight"} <= set(by_rate[1.0])
    assert not [name for name in by_rate[1.0] if "embeddings" in name]


def test_an_encoder_and_a_decoder_count_from_their_own_tops_and_share_embeddings_below_the_deeper_one():
    config = transformers.T5Config(d_model=16, d_ff=16, d_kv=8, num_heads=2, num_layers=2, num_decoder_layers=3)
    rates = told(transformers.AutoModelForSeq2SeqLM.from_config(config))
    assert rates.pop("shared.weight") == 0.125
    rates.pop("lm_head.weight", None)
    for stack, count in (("encoder", 2), ("decoder", 3)):
        for number in range(count):
            own = {rate for name, rate in rates.items() if name.startswith(f"{stack}.block.{number}.")}
            assert own == {0.5 ** (count - 1 - number)}
        assert rates[f"{stack}.final_layer_norm.weight"] == 1.0


def test_the_layers_above_the_encoder_keep_the_rate_of_their_own():
    rates = told(bert(), **{"classifier.weight": 5.0, "classifier.bias": 5.0})
    assert rates["classifier.weight"] == rates["classifier.bias"] == 5.0
    assert rates["bert.pooler.dense.weight"] == 1.0
    assert rates_of(bert(), 1.0, 1.0, {"classifier.bias": 5.0}) == {"classifier.bias": 5.0}


def test_the_optimizer_has_every_parameter_once_at_its_rate_and_with_its_decay():
    model = bert()
    named = dict(model.named_parameters())
    decayed = [value for name, value in named.items() if not name.endswith("bias")]
    other = [value for name, value in named.items() if name.endswith("bias")]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": other, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1.0)
    set_rates(optimizer, named, rates_of(model, 0.5, 1.0, {"classifier.weight": 5.0}))
    groups = optimizer.param_groups
    found = {id(value): (group["lr"], group["weight_decay"]) for group in groups for value in group["params"]}
    assert len(found) == len(named) == sum(len(group["params"]) for group in groups)
    expected = told(model, **{"classifier.weight": 5.0})
    for name, value in named.items():
        assert found[id(value)] == (expected[name], 0.0 if name.endswith("bias") else 0.1), name
    assert groups[0]["lr"] == 1.0  # what the curve shows


@pytest.mark.parametrize("method", ["full", pytest.param("lora", marks=pytest.mark.slow)])
def test_a_training_with_both_resumes_to_the_same_files(make_job, tmp_path, method):
    options = {"epochs": 2, "method": method, "layer_decay": 0.5, "dropout": 0.2, "validation": []}
    whole, stopped, plain = (
        make_job(output=name, **(options | more))
        for name, more in (("whole", {}), ("stopped", {}), ("plain", {"layer_decay": 1.0}))
    )
    report = train(whole, tmp_path / "job1")
    with pytest.raises(Stopped):
        train(stopped, tmp_path / "job2", 7)
    assert train(stopped, tmp_path / "job2").resumed_from_step == 7
    assert describe_files(Path(whole.output)) == describe_files(Path(stopped.output))
    assert max(point.learning_rate for point in report.curve if point.learning_rate) > 0.9 * 5e-3
    train(plain, tmp_path / "job3")
    assert describe_files(Path(whole.output)) != describe_files(Path(plain.output))


def test_adapters_learn_at_the_rate_of_the_layer_that_they_stand_beside():
    from contender.training.lora import adapt
    from contender.training.options import LoraOptions

    model = bert()
    head = {name for name, _ in model.named_parameters() if "bert.encoder" not in name and "embeddings" not in name}
    adapt(model, "text-classification", head, LoraOptions(), "base")
    rates = {name: rate for name, rate in told(model).items() if "lora_" in name}
    for number, rate in enumerate((0.25, 0.5, 1.0)):
        assert {own for name, own in rates.items() if f".layer.{number}." in name} == {rate}


@pytest.mark.parametrize(
    "config",
    [
        transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], layer_type="basic"),
        transformers.AlbertConfig(**SMALL, embedding_size=8),
    ],
    ids=["resnet", "albert"],
)
def test_a_base_without_layers_to_tell_is_refused(make_job, config):
    from contender.training.rates import check_layers

    model = transformers.AutoModel.from_config(config)
    check_layers(model, make_job())
    with pytest.raises(ModelError, match=rf"train.layer_decay is 0.9, and no stack.*, a {config.model_type}"):
        check_layers(model, make_job(layer_decay=0.9))


def test_it_is_refused_before_rows_are_prepared(make_job, tmp_path, tiny_base):
    config = transformers.AlbertConfig(**SMALL, embedding_size=8, vocab_size=kept(tiny_base)["vocab_size"])
    base = shutil.copytree(tiny_base, tmp_path / "albert")
    transformers.AlbertModel(config).save_pretrained(str(base))
    with pytest.raises(ModelError, match="no stack of equal layers"):
        train(make_job(base=base, layer_decay=0.9), tmp_path / "job")
    assert not (tmp_path / "job/prepared").exists()


def test_dropouts_of_a_job_are_those_of_its_base(make_job):
    assert dropouts(make_job()) == {}
    assert dropouts(make_job(dropout=0.2)) == {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.2}
