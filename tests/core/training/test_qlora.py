"""Adapters beside weights of 4 bits: what they need, what they learn, and what is released."""

from __future__ import annotations

import json
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch
from chatting import build_chat_base, chat_job, last_letters, write_talks
from fitting import train, weights

from contender.errors import UsageError
from contender.files import describe_files
from contender.kinds import kind
from contender.loading import validate
from contender.training import qlora
from contender.training.monitor import Stopped
from contender.yamlfile import parse_yaml

CHAT = kind("text-generation")
needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed: pip install '.[qlora]' -c constraints.txt"
)


def test_a_machine_without_bitsandbytes_or_its_device_is_told_before_any_work(monkeypatch):
    monkeypatch.setattr(qlora, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="bitsandbytes is not installed here"):
        qlora.check_qlora()
    monkeypatch.setattr(qlora, "find_spec", lambda name: object())
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes", SimpleNamespace(supported_torch_devices={"cuda"}))
    monkeypatch.setattr(qlora, "best_device", lambda: torch.device("cpu"))
    with pytest.raises(UsageError, match="does not compute on cpu, the device here; it does on cuda"):
        qlora.check_qlora()


def test_a_run_asks_first(monkeypatch, tmp_path):
    from contender.spec import Pipeline
    from contender.stages.base import find_base

    text = "name: chat\ntask: text-generation\ndata: {source: talks/}\nmodel: {base: nowhere/, method: qlora}\n"
    pipeline = Pipeline(spec=validate(parse_yaml(text, "p.yaml")), folder=str(tmp_path), suite_name="s", suite={})
    monkeypatch.setattr(qlora, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="bitsandbytes is not installed here"):
        find_base(SimpleNamespace(pipeline=pipeline))


@pytest.mark.slow
@needs_bitsandbytes
def test_adapters_learn_beside_4_bits_and_a_resumed_training_ends_with_the_same_files(tmp_path):
    base = build_chat_base(tmp_path / "base", layers=2)
    rows = last_letters(300)

    def job(output):
        return chat_job(
            tmp_path, base, rows[:250], rows[250:], output, "qlora", epochs=4, learning_rate=2e-2, early_stopping=0
        )

    report = train(job("whole"), tmp_path / "job1")
    assert report.best_metric < report.curve[0].loss - 0.1
    with pytest.raises(Stopped):
        train(job("stopped"), tmp_path / "job2", 40)
    assert train(job("stopped"), tmp_path / "job2").resumed_from_step == 40
    assert describe_files(tmp_path / "whole") == describe_files(tmp_path / "stopped")
    assert describe_files(tmp_path / "whole-adapter") == describe_files(tmp_path / "stopped-adapter")


@pytest.mark.slow
@needs_bitsandbytes
def test_what_is_released_is_the_base_in_full_precision_with_the_adapters_added(tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = build_chat_base(tmp_path / "base", layers=2)
    train(
        chat_job(tmp_path, base, last_letters(64), [], method="qlora", epochs=2, packing=True, batch_size=2),
        tmp_path / "job",
    )
    before, after = weights(base), weights(tmp_path / "model")
    assert before.keys() == after.keys() and {value.dtype for value in after.values()} == {torch.float32}
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert len(changed) == 14 and all("proj" in name for name in changed)
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path / "model-adapter")
    ids = torch.arange(5, 30)[None]
    with torch.no_grad():
        ours = AutoModelForCausalLM.from_pretrained(tmp_path / "model")(ids).logits
        assert torch.allclose(adapted.eval()(ids).logits, ours, atol=1e-5)
    assert "quantization_config" not in json.loads((tmp_path / "model" / "config.json").read_bytes())
    outcomes = CHAT.predict(tmp_path / "model", write_talks(tmp_path / "rows.arrow", last_letters(8, 1)))
    assert len(outcomes) == 8
