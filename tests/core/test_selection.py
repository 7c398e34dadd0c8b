"""Model selection: what a spec may say of it, and what its leaderboard tells."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from desk import PIPELINE
from hypothesis import given
from hypothesis import strategies as st
from reports import report_input

from contender.errors import SpecError
from contender.loading import load_pipeline
from contender.plan import parts, run_stages
from contender.reporting.report import render_report
from contender.selecting import ComparedBase, SelectionReport, best_of, leaderboard
from contender.selectionspec import Price
from contender.showing.selection import selection_page
from contender.spec import Pipeline, Spec
from contender.stages.asked import priced

ASKED = "api:https://llm.example.com/v1#large"


def loaded(folder: Path, base: object, *changes: str) -> Pipeline:
    (folder / "tickets").mkdir(exist_ok=True)
    (folder / "desk.yaml").write_text(PIPELINE.format(base=json.dumps(base)))
    return load_pipeline(folder / "desk.yaml", changes)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "changes", "said"),
    [
        ([], (), "model.base: "),
        ([3, "a"], (), "valid string"),
        (["a", ""], (), "at least 1 character"),
        (["a", "b", "a"], (), "names 'a' twice"),
        ([ASKED, "api:https://llm.example.com/v1#small"], (), "nothing of api: can be trained"),
        (ASKED, (), "nothing of api: can be trained"),
        ("a", ("selection={}",), "chooses between bases, and model.base names one"),
        (["a"], ("selection={}",), "chooses between bases, and model.base names one"),
        (["a", "b"], ("selection.keep=2",), "keep fewer"),
        (["a", ASKED], ("selection.keep=1",), "keep fewer"),
        (["a", "b"], ("selection.keep=0",), "greater than or equal to 1"),
        (["a", "b"], ("selection.by=guess",), "selection.by"),
        (["a", "b"], ("selection.by=zero-shot",), "text-classification answers only once it is trained"),
        (["a", "b"], ("selection.by=linear-probe", "model.init=scratch"), "nothing is frozen with init: scratch"),
        (["a", "b"], ("data.split.validation=0",), "validation is 0"),
        (["a", "b"], ("selection.api_key=env:KEY",), "model.base names none"),
        (["a", "b", ASKED], ("selection.api_key=sk-secret",), "must name where the secret is"),
        (["a", "b", ASKED], ('selection.prices={"api:https://x/v1#y": {"input": 1, "output": 1}}',), "unknown base of api:"),
        (["a", "b", ASKED], (f'selection.prices={{"{ASKED}": {{"input": -1, "output": 1}}}}',), "greater than or equal"),
        (["a", "b", ASKED], ("evaluate.metrics=[log_loss]",), "which needs probabilities"),
        (["a", "b", "api:https://u:p@llm.example.com/v1#m"], (), "must not hold credentials"),
        (["a", "b", "api:ftp://llm.example.com/v1#m"], (), "its URL of http or https"),
        (["a", "b", "api:llm.example.com/v1#m"], (), "its URL of http or https"),
        (["a", "b", "api:https://#m"], (), "its URL of http or https"),
        (["a", "b", "api:https://llm.example.com/v1"], (), "names no model"),
        (["a", "b", "api:https://llm.example.com/v1#"], (), "names no model"),
        (["a", "b", "api:https://llm.example.com/v1?x=1#m"], (), "without a query"),
        (["builtin:tabular", "a"], (), "is an architecture without weights"),
    ],
)  # fmt: skip
def test_a_selection_that_cannot_be_is_refused_where_it_stands(
    tmp_path: Path, base: object, changes: tuple[str, ...], said: str
) -> None:
    with pytest.raises(SpecError) as error:
        loaded(tmp_path, base, *changes)
    assert said in error.value.what
    assert "sk-secret" not in str(error.value) and "u:p@" not in str(error.value)


def test_a_task_that_no_api_can_be_asked_of_says_so(tmp_path: Path) -> None:
    value = {
        "name": "n",
        "task": "token-classification",
        "data": {"source": "x/"},
        "model": {"base": ["a", "b", ASKED]},
    }
    with pytest.raises(ValueError, match="token-classification cannot be asked of an API yet"):
        Spec.model_validate(value)


def test_nothing_of_api_is_distilled_into(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be trained"):
        loaded(tmp_path, "a", f'compress.distill.to="{ASKED}"')


# --- what it means ----------------------------------------------------------------------------------------------------


def test_one_base_in_a_list_is_that_base(tmp_path: Path) -> None:
    assert loaded(tmp_path, ["a"]) == loaded(tmp_path, "a")


def test_the_chosen_base_has_the_training_of_a_spec_that_names_it_alone(tmp_path: Path) -> None:
    alone = loaded(tmp_path, "b", "search.trials=3")
    several = loaded(tmp_path, ["a", "b", ASKED], "search.trials=3")
    chosen = several.model_copy(update={"spec": several.spec.with_base("b")})
    assert chosen.spec == alone.spec and chosen.digest == alone.digest != several.digest
    assert parts(chosen) == parts(alone)
    assert "selection" in run_stages(several) and "selection" not in run_stages(alone)


def test_a_spec_with_several_bases_comes_back_whole(tmp_path: Path) -> None:
    spec = loaded(tmp_path, ["a", "b"]).spec
    assert spec.selection is not None and spec.selection.way(spec) == "linear-probe"
    assert Spec.model_validate(json.loads(spec.model_dump_json())) == spec
    other = loaded(tmp_path, ["a", "b"], "model.init=scratch").spec
    assert other.selection is not None and other.selection.way(other) == "fine-tune"


# --- what is told -----------------------------------------------------------------------------------------------------


def base(number: int, score: float | None, **more: Any) -> ComparedBase:
    told = {"name": f"base-{number}", "way": "linear-probe", "state": "failed" if score is None else "finished"}
    return ComparedBase.model_validate(told | {"number": number, "score": score, "asked_score": score} | more)


def report(*bases: ComparedBase, chosen: int = 1, higher: bool = True) -> SelectionReport:
    return SelectionReport(
        primary="accuracy", higher_is_better=higher, rows=200, sample=100, bases=bases, kept=(chosen,), chosen=chosen
    )


def test_the_leaderboard_has_the_best_first_and_no_empty_column() -> None:
    found = report(base(1, 0.5, latency_ms=3.0), base(2, None, message="no such architecture"), base(3, 0.7), chosen=3)
    columns, rows = leaderboard(found)
    assert [row[0] for row in rows] == ["base-3", "base-1", "base-2"]
    assert "its cost" not in columns and "ms" in columns
    assert rows[2][columns.index("came to")] == "no such architecture"
    assert "base-3 is the best of 3 bases: accuracy 70.0%" in found.sentence
    assert "base-1 comes to 50.0%" in found.sentence and "base-2 could not be compared" in found.sentence


def test_a_better_api_is_told_of_by_how_much_and_is_not_chosen() -> None:
    asked = base(2, 0.9, name=ASKED, way="few-shot", rows=50)
    found = report(base(1, 0.6, asked_score=0.7), asked)
    assert (
        f"{ASKED}, only asked (few-shot, 50 rows), is better there by 20.0 points, and cannot be promoted."
        in found.sentence
    )
    assert "worse there by 10.0 points" in report(base(1, 0.6, asked_score=1.0), asked).sentence


def test_device_hours_and_tokens_have_a_price() -> None:
    ours = base(1, 0.5, seconds=1800.0, training_seconds=3600.0, latency_ms=36.0).at(2.0)
    assert (ours.cost, ours.training_cost, ours.cost_per_1000) == (1.0, 2.0, pytest.approx(0.02))
    asked = base(
        2, 0.5, name=ASKED, way="few-shot", rows=10, input_tokens=1_000_000, output_tokens=100_000, latency_ms=9.0
    )
    assert asked.at(2.0).cost_per_1000 is None, "its seconds are no device's of ours"
    dear = priced(asked, Price(input=2.5, output=10))
    assert (dear.cost, dear.cost_per_1000) == (3.5, 350.0)
    assert priced(asked.model_copy(update={"input_tokens": None}), Price(input=1, output=1)).cost is None


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=6), st.booleans())
def test_the_best_base_is_the_first_of_the_best_scores(scores: list[float | None], higher: bool) -> None:
    found = best_of([base(place, score) for place, score in enumerate(scores, 1)], higher)
    known = [score for score in scores if score is not None]
    if found is None:
        assert not known
    else:
        assert found.number == scores.index((max if higher else min)(known)) + 1


def test_the_report_and_the_page_show_what_was_compared_and_hold_no_markup_of_a_base(tmp_path: Path) -> None:
    hostile = base(2, 0.4, name="<script>x</script>", message="")
    found = report(base(1, 0.9, latency_ms=2.0), hostile)
    html = render_report(replace(report_input(tmp_path), selection=found))
    assert 'id="selection"' in html and "2 bases on 200 rows of validation" in html
    assert "<script>x" not in html and "<script>x" not in selection_page(found)
    assert 'id="selection"' not in render_report(report_input(tmp_path))
