"""The metrics of conversations, what of an answer counts, and what a judge of the user's own may say."""

from __future__ import annotations

import json
import math
import time

import numpy as np
import pyarrow as pa
import pytest

from contender.errors import SpecError, StageFailed, UsageError
from contender.evaluation.answers import judge_source, with_exact, with_wins
from contender.evaluation.metrics import compute, metric
from contender.evaluation.outcomes import from_arrays, from_table
from contender.judging.evidence import evidence
from contender.judging.resampling import bootstrap
from contender.loading import load_pipeline, validate
from contender.plan import parts
from contender.yamlfile import parse_yaml

SPEC = """\
name: chat
task: text-generation
data: {source: talks/}
model: {base: base}
"""


def outcomes(labels, predictions, **figures):
    texts = {"label": pa.array(labels, pa.string()), "prediction": pa.array(predictions, pa.string())}
    return pa.table(texts | {name: pa.array(values, pa.float64()) for name, values in figures.items()})


def test_perplexity_is_e_to_the_mean_over_tokens_and_not_over_rows():
    values = metric("perplexity").compute(nll=[math.log(2), 9 * math.log(8)], tokens=[1, 9])
    assert values["perplexity"] == pytest.approx(math.exp((math.log(2) + 9 * math.log(8)) / 10), rel=1e-6)
    facts = metric("perplexity")
    assert not facts.higher_is_better and facts.span == (1.0, math.inf)
    with pytest.raises(UsageError, match="needs nll and tokens"):
        compute(outcomes(["a"], ["a"]), ["perplexity"])


def test_resampled_perplexities_are_those_of_the_resampled_rows():
    dice = np.random.default_rng(0)
    nll, tokens = dice.uniform(0, 9, 6), dice.integers(1, 9, 6).astype(float)
    weights = dice.integers(0, 3, (5, 6))
    found = metric("perplexity").value(from_arrays(nll=nll, tokens=tokens), weights)
    for value, weight in zip(found, weights, strict=True):
        rows = np.repeat(np.arange(6), weight)
        assert value == pytest.approx(np.exp(nll[rows].sum() / tokens[rows].sum()))


def test_a_lower_perplexity_is_a_gain_and_other_tokens_are_not_compared():
    keys = np.arange(40, dtype=np.uint64)
    ours = from_arrays(nll=np.linspace(1, 2, 40), tokens=np.full(40, 3.0))
    theirs = from_arrays(nll=np.linspace(2, 4, 40), tokens=np.full(40, 3.0))
    assert evidence("perplexity", ours, theirs, keys).estimate > 0
    assert bootstrap("perplexity", ours, theirs, keys).bounds(0.05)[0] > 0
    other = from_arrays(nll=np.linspace(2, 4, 40), tokens=np.full(40, 4.0))
    with pytest.raises(UsageError, match="different tokens, and their perplexities cannot be compared"):
        evidence("perplexity", ours, other, keys)
    evidence("exact_match", ours, other, keys)


def test_a_report_shows_no_difference_of_perplexities_in_other_tokens():
    from contender.records import SetEvaluation
    from contender.reporting.comparison import Pair, compared
    from contender.verdict import Verdict

    def held(value):
        return SetEvaluation(set="test", set_digest="", rows=4, metrics={"perplexity": value, "exact_match": 0.5})

    def rows(tokens):
        sides = [outcomes(list("abcd"), list("abdc"), nll=[1, 2, 3, 4], tokens=[own] * 4) for own in (2, tokens)]
        sides = [side.add_column(0, "key", pa.array(range(4), pa.uint64())) for side in sides]
        verdict = Verdict(verdict="KEEP", sentence="", rules=(), judged_against=1, champion="r-0")
        return compared(Pair(held(3.0), held(4.0), *sides), verdict, ["perplexity", "exact_match"])

    assert [row.champion for row in rows(2)] == [4.0, 0.5]
    assert [row.champion for row in rows(3)] == [None, 0.5]


def test_exact_match_forgives_space_around_an_answer_and_nothing_else():
    table = outcomes(["a b", "c", "D", "e"], [" a b\n", "c", "d", "c"])
    assert compute(table, ["exact_match"])["exact_match"] == 0.5
    assert metric("exact_match").compute(predictions=["x "], references=["x"]) == {"exact_match": 1.0}


def test_what_counts_of_an_answer_is_what_the_pattern_finds_first():
    labels = ["2+2\n#### 4", "#### 1,000 ", "no number", "#### 5"]
    table = with_exact(outcomes(labels, ["so #### 4", "#### 1,000", "no number", "5"]), "#### (.+)")
    assert table["exact"].to_pylist() == [1.0, 1.0, 1.0, 0.0]
    assert compute(table, ["exact_match"])["exact_match"] == 0.75
    assert from_table(table).take(np.array([3])).figures["exact"].tolist() == [0.0]
    assert with_exact(outcomes(["a"], ["b"]), "(x)|b")["exact"].to_pylist() == [0.0], "a group that took no part"


def test_no_pattern_runs_for_ever():
    started = time.monotonic()
    with_exact(outcomes(["a" * 50_000 + "!"], ["a" * 50_000]), "^((a+)+)+$")
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("#### .+", "has no group"),
        ("(a", "no regular expression"),
        (r"(a)\1", "no regular expression"),
        ("(?=(a))", "look-around"),
    ],
)
def test_patterns_that_cannot_serve_are_refused_where_they_stand(pattern, said):
    text = SPEC + f"evaluate: {{metrics: [exact_match], answer: {json.dumps(pattern)}}}\n"
    with pytest.raises(SpecError, match=r"p\.yaml:5:\d+: evaluate\.answer: .*" + said):
        validate(parse_yaml(text, "p.yaml"))


CELLS = [
    json.dumps([{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": f"r{n}"}]) for n in range(3)
]
TABLE = outcomes(["r0", "r1", "r2"], ["a0", "a1", "a2"])


def judged(body):
    return with_wins(TABLE, CELLS, "judge.py:prefer", f"def prefer(prompt, answer, reference):\n    {body}\n")


def test_a_judge_sees_prompt_answer_and_reference_and_ties_count_half():
    seen = "assert (prompt[-1]['content'][1], answer[0], reference[0]) == (answer[1], 'a', 'r'); "
    table = judged(seen + "return {'a0': 'win', 'a1': 'tie', 'a2': 'loss'}[answer]")
    assert table["win"].to_pylist() == [1.0, 0.5, 0.0]
    assert compute(table, ["win_rate"]) == {"win_rate": 0.5}
    assert judged("return 0.25")["win"].to_pylist() == [0.25] * 3
    assert judged("return answer == 'a1'")["win"].to_pylist() == [0.0, 1.0, 0.0]
    with pytest.raises(UsageError, match="needs win"):
        compute(TABLE, ["win_rate"])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 1 / (answer != 'a1')", "failed on row 1: ZeroDivisionError: division by zero"),
        ("return 'draw'", "said 'draw' of row 0"),
        ("return 1.5", "said 1.5 of row 0"),
        ("return None", "said None of row 0"),
        ("return float('nan')", "said nan of row 0"),
    ],
)
def test_a_judge_that_fails_is_told_of_with_its_row(body, said):
    with pytest.raises(StageFailed, match=said) as caught:
        judged(body)
    assert caught.value.exit_code == 1 and "judge.py:prefer" in caught.value.what


def test_a_judge_is_a_function_in_a_file_beside_the_yaml(tmp_path):
    spec = tmp_path / "p.yaml"

    def said(judge, metrics="win_rate"):
        spec.write_text(SPEC + f"evaluate: {{metrics: [{metrics}], judge: {judge}}}\n")
        with pytest.raises(SpecError) as caught:
            load_pipeline(spec)
        return caught.value.what

    assert "must be a Python file and a function" in said("judge.prefer")
    assert "p.yaml:5:33: evaluate.judge: judge.py: there is no such file" in said("judge.py:prefer")
    (tmp_path / "judge.py").write_text("def other(a, b, c): ...\n")
    assert "judge.py defines no function prefer" in said("judge.py:prefer")
    (tmp_path / "judge.py").write_text("def prefer(:\n")
    assert "judge.py is no Python" in said("judge.py:prefer")
    assert "is for win_rate, which evaluate.metrics does not name" in said("judge.py:prefer", "perplexity")
    assert "win_rate needs the function" in said("null")
    with pytest.raises(StageFailed, match="cannot be loaded: ModuleNotFoundError"):
        with_wins(TABLE, CELLS, "j.py:f", "import nowhere_to_be_found\ndef f(*_): ...\n")
    (tmp_path / "judge.py").write_text("def prefer(): ...\n")
    assert judge_source(tmp_path, "judge.py:prefer") == "def prefer(): ...\n"


def test_what_a_judge_says_changes_with_its_file_and_not_with_another(tmp_path):
    (tmp_path / "p.yaml").write_text(SPEC + "evaluate: {metrics: [win_rate], judge: judge.py:prefer}\n")
    (tmp_path / "judge.py").write_text("def prefer(*_): return 1\n")
    before = load_pipeline(tmp_path / "p.yaml")
    (tmp_path / "judge.py").write_text("def prefer(*_): return 0\n")
    after = load_pipeline(tmp_path / "p.yaml")
    assert before.digest != after.digest
    changed = {name for name, part in parts(before).items() if parts(after)[name] != part}
    assert changed == {"rate", "monitor", "evaluate", "judge"}


def test_what_a_chat_pipeline_leaves_out_has_defaults_of_its_own():
    spec = validate(parse_yaml(SPEC, "p.yaml"))
    assert (spec.evaluate.metrics, spec.model.generation.beams) == (("perplexity", "exact_match"), 1)
    other = SPEC.replace("base: base", "base: base, generation: {max_new_tokens: 9}")
    assert validate(parse_yaml(other, "p.yaml")).model.generation.beams == 1
    for task in ("translation", "text-classification"):
        text = SPEC.replace("text-generation", task) + "train: {packing: true}\n"
        with pytest.raises(SpecError, match=r"train\.packing: is for text-generation"):
            validate(parse_yaml(text, "p.yaml"))
