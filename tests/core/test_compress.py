"""The section `compress`: what it asks of a run and of the judge, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from contender.compression import Compression, Distilled
from contender.errors import SpecError
from contender.judging.compressed import judge_compression
from contender.judging.held_out import HeldOut
from contender.judging.judge import judge
from contender.judging.rules import Rules
from contender.loading import load_pipeline
from contender.places import local_places
from contender.plan import run_stages
from contender.spec import Pipeline

BASE = "name: a\ntask: text-classification\ndata: {source: d}\nmodel: {base: b}\n"


def load(folder: Path, text: str) -> Pipeline:
    (folder / "d").mkdir(exist_ok=True)
    (folder / "p.yaml").write_text(text)
    return load_pipeline(folder / "p.yaml")


def found(**changes: Any) -> Compression:
    values = {
        "quantize": "int8",
        "distill": None,
        "original": "d",
        "bytes_before": 91_700_000,
        "bytes_after": 59_900_000,
        "metric": "accuracy",
        "rows": 1000,
        "before": 0.93,
        "after": 0.928,
        "examples": 200,
        "median_before": 12.8,
        "median_after": 7.3,
        "ratio": 0.57,
        "ratio_low": 0.55,
        "ratio_high": 0.59,
        "device": "cpu",
    }
    return Compression.model_validate(values | changes)


def outcomes(wrong: int, of: int = 1000) -> pa.Table:
    right = np.arange(of) >= wrong
    return pa.table(
        {
            "key": pa.array(range(of), pa.uint64()),
            "label": ["a"] * of,
            "prediction": np.where(right, "a", "b"),
            "p_label": pa.array(np.full(of, 0.9), pa.float32()),
            "confidence": pa.array(np.full(of, 0.9), pa.float32()),
        }
    )


def test_a_compressed_model_must_be_no_worse_and_no_slower_unless_the_spec_says_otherwise(tmp_path: Path) -> None:
    promote = load(tmp_path, BASE + "compress: {quantize: int8}\n").spec.promote
    assert (promote.versus_champion.rule, promote.versus_champion.margin) == ("non_inferior", 0.01)
    assert promote.guards.latency_ratio == 1.0
    own = "compress: {quantize: int8}\npromote: {versus_champion: {min_gain: 0.02}, guards: {latency_ratio: null}}\n"
    promote = load(tmp_path, BASE + own).spec.promote
    assert (promote.versus_champion.rule, promote.versus_champion.min_gain) == ("superior", 0.02)
    assert promote.guards.latency_ratio is None
    for nothing in ("", "compress: {}\n", "compress: {quantize: null}\n"):
        promote = load(tmp_path, BASE + nothing).spec.promote
        assert promote.versus_champion.rule == "superior" and promote.guards.latency_ratio is None


def test_a_run_has_the_stage_where_something_is_asked_for(tmp_path: Path) -> None:
    stages = run_stages(load(tmp_path, BASE + "compress: {distill: {to: s}}\n"))
    assert stages[stages.index("train") : stages.index("train") + 3] == ("train", "compress", "release")
    assert stages.index("latency") < stages.index("judge")
    assert "compress" not in run_stages(load(tmp_path, BASE))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BASE + "compress: {quantize: int4}\n", "p.yaml:5:12: compress.quantize: should be 'int8' (is 'int4')"),
        (BASE + "compress: {prune: 0.5}\n", "compress.prune"),
        (BASE + "compress: {distill: {}}\n", "compress.distill.to is required"),
        (BASE + "compress: {distill: {to: s, alpha: 2}}\n", "compress.distill.alpha"),
        (BASE + "compress: {distill: {to: s, temperature: 0}}\n", "compress.distill.temperature"),
        (
            BASE.replace("text-", "image-") + "compress: {quantize: int8}\n",
            "compress.quantize: image-classification gains nothing that was shown by int8; these do: text-classification, token-",
        ),
        (
            BASE.replace("text-classification", "translation") + "compress: {distill: {to: s}}\n",
            "compress.distill: translation gains nothing that was shown by distillation",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_when_the_spec_is_read(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SpecError, match=re.escape(said)):
        load(tmp_path, text)


def verdict(compression: Compression, after: int = 72, before: int = 70) -> Any:
    others = list(judge_compression(compression, outcomes(after), outcomes(before), 0.01, 0.05))
    rules = Rules.model_validate({"primary": "accuracy", "floors": {"accuracy": 0.5}})
    return judge(rules, {"test": HeldOut(outcomes(50))}, judged_against=0, others=others)


def test_a_faster_model_that_is_hardly_worse_may_be_promoted() -> None:
    judged = verdict(found())
    assert judged.verdict == "PROMOTE"
    assert [(rule.rule, rule.outcome) for rule in judged.rules[1:]] == [
        ("compressed:latency_ratio", "passed"),
        ("compressed:accuracy", "passed"),
    ]
    assert judged.sentence == "There is no champion yet, and every floor is reached: accuracy 95.0% (floor 50.0%)."
    assert judged.rules[1].sentence == (
        "The compressed model, quantised to int8, is faster than the model that it was made from: "
        "7.3 ms instead of 12.8 ms on cpu, 0.57 times the time, between 0.55 and 0.59."
    )


def test_one_that_is_not_faster_is_kept_however_good_it_is() -> None:
    judged = verdict(found(ratio=1.2, ratio_low=1.1, ratio_high=1.3))
    assert judged.verdict == "KEEP"
    assert "is not faster than the model that it was made from" in judged.sentence
    unsure = verdict(found(ratio=0.97, ratio_low=0.9, ratio_high=1.1))
    assert (unsure.verdict, unsure.rules[1].outcome) == ("INCONCLUSIVE", "undecided")
    assert verdict(found(ratio=0.5, ratio_low=None, ratio_high=None)).verdict == "INCONCLUSIVE", "too few to tell"


def test_one_that_lost_more_than_the_margin_is_kept() -> None:
    judged = verdict(found(), after=100)
    assert judged.verdict == "KEEP"
    assert judged.sentence.startswith(
        "Beside the model that it was made from: Accuracy on validation is 3.0 points worse"
    )


def test_without_validation_rows_the_speed_alone_is_compared() -> None:
    alone = list(judge_compression(found(rows=0, before=None, after=None), None, None, 0.01, 0.05))
    assert [rule.rule for rule in alone] == ["compressed:latency_ratio"]


def test_it_is_told_in_one_line() -> None:
    distilled = Distilled(to="small", base_digest="d", temperature=2.0, alpha=0.5)
    assert found(distill=distilled).sentence == (
        "distilled to small, then quantised to int8: size of the files 91.7 MB → 59.9 MB; "
        "accuracy on validation, 1,000 rows 93.0% → 92.8%; median latency, one example, cpu 12.8 ms → 7.3 ms"
    )


def test_a_student_in_a_folder_is_no_base_of_a_worker_elsewhere(tmp_path: Path) -> None:
    places = local_places(load(tmp_path, BASE + "compress: {distill: {to: ./small}}\n"))
    assert places["compress.distill.to"] == "./small"
    assert "compress.distill.to" not in local_places(load(tmp_path, BASE + "compress: {distill: {to: org/small}}\n"))
