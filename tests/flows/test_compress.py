"""Runs that compress their model: what is staged and judged, and what is said of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import contender
from contender.registry import Registry
from contender.run import RunResult
from contender.spec import Pipeline
from contender.store import MemoryStore
from flows.retrain import retrain

pytestmark = [pytest.mark.usefixtures("prefect_server", "gate_here"), pytest.mark.slow]


def run(pipeline: Pipeline) -> RunResult:
    value = retrain(pipeline, trigger="test", actor="tests", return_state=True).result(raise_on_failure=False)
    if not isinstance(value, RunResult):
        raise value
    return value


def test_a_model_that_int8_makes_no_faster_is_kept_and_what_was_judged_is_what_was_staged(
    desk_pipeline: Callable[..., Pipeline], store: MemoryStore, tmp_path: Path
) -> None:
    """A model of 32 numbers a layer has nothing to gain."""
    result = run(desk_pipeline("compress.quantize=int8", wrong=0.0))
    assert (result.outcome, result.exit_code) in (("kept", 3), ("inconclusive", 3))
    assert "faster than the model that it was made from" in result.message
    assert result.compression is not None and result.compression.bytes_after < result.compression.bytes_before
    registry = Registry(store, "desk")
    (manifest,) = registry.releases()
    lineage = manifest.lineage["compress"]
    assert (lineage["quantize"], lineage["original"]) == ("int8", result.compression.original)
    registry.fetch(manifest.release, tmp_path / "pulled")
    config = json.loads((tmp_path / "pulled" / "config.json").read_bytes())
    assert config["quantization_config"]["quant_method"] == "contender-int8"
    assert contender.load(tmp_path / "pulled").predict(["red"])[0].label
    assert result.report is not None and "Before and after the compression" in Path(result.report).read_text()


def test_a_smaller_model_learns_from_the_trained_one_and_is_what_is_staged(
    desk_pipeline: Callable[..., Pipeline], store: MemoryStore, tmp_path: Path, tiny_base: Path
) -> None:
    from transformers import AutoTokenizer, BertConfig, BertModel

    config = BertConfig.from_pretrained(str(tiny_base), num_hidden_layers=1)
    BertModel(config).save_pretrained(tmp_path / "small")
    AutoTokenizer.from_pretrained(str(tiny_base)).save_pretrained(tmp_path / "small")
    result = run(desk_pipeline("compress.distill.to=small", wrong=0.0))
    assert result.compression is not None and result.compression.training is not None
    (manifest,) = Registry(store, "desk").releases()
    assert manifest.lineage["compress"]["distill"]["to"] == "small"
    assert result.compression.bytes_after < result.compression.bytes_before
    Registry(store, "desk").fetch(manifest.release, tmp_path / "pulled")
    assert json.loads((tmp_path / "pulled" / "config.json").read_bytes())["num_hidden_layers"] == 1
