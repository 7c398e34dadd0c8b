"""In-scope accuracy and out-of-scope recall, as Larson et al. measure CLINC150, and what a spec must say to have them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from desk import PIPELINE, tickets, write_tickets

from contender.check import check
from contender.errors import DataError, SpecError, UsageError
from contender.evaluation.evaluate import evaluate_set, evaluation_id
from contender.evaluation.metrics import compute, metric
from contender.evaluation.outcomes import from_table
from contender.evaluation.scope import check_scope, with_scope
from contender.judging.held_out import HeldOut
from contender.judging.judge import judge
from contender.judging.resampling import bootstrap
from contender.judging.rules import Rules
from contender.kinds import kind
from contender.loading import load_pipeline
from contender.names import SCOPE_METRICS
from contender.training.options import Job, TrainOptions
from contender.verdict import Look


def outcomes(labels, predictions):
    keys = pa.array(range(len(labels)), pa.uint64())
    return pa.table({"key": keys, "label": list(labels), "prediction": list(predictions)})


def drawn(seed, rows=400, right=0.8):
    dice = np.random.default_rng(seed)
    labels = dice.choice(["a", "b", "c", "oos"], rows, p=[0.3, 0.3, 0.2, 0.2])
    wrong = dice.choice(["a", "b", "c", "oos"], rows)
    return labels, np.where(np.random.default_rng(seed + 100).random(rows) < right, labels, wrong)


@pytest.mark.parametrize("seed", range(4))
def test_the_values_are_those_of_scikit_learn(seed):
    from sklearn.metrics import accuracy_score, precision_score, recall_score

    labels, predictions = drawn(seed)
    inside, is_out, said_out = labels != "oos", labels == "oos", predictions == "oos"
    expected = {
        "in_scope_accuracy": accuracy_score(labels[inside], predictions[inside]),
        "out_of_scope_recall": recall_score(is_out, said_out),
        "out_of_scope_precision": precision_score(is_out, said_out),
    }
    assert compute(with_scope(outcomes(labels, predictions), "oos"), SCOPE_METRICS) == pytest.approx(expected)


def test_without_such_rows_the_share_is_zero_and_figures_are_replaced_where_they_are():
    table = with_scope(outcomes("ab", "ab"), "oos")
    assert compute(table, SCOPE_METRICS) == dict.fromkeys(SCOPE_METRICS, 0.0) | {"in_scope_accuracy": 1.0}
    assert compute(with_scope(table, "b"), SCOPE_METRICS) == dict.fromkeys(SCOPE_METRICS, 1.0)
    assert with_scope(table, None) is table
    with pytest.raises(UsageError, match="nobody said which label means out of scope"):
        compute(outcomes("ab", "ab"), ["out_of_scope_recall"])


@pytest.mark.parametrize("name", SCOPE_METRICS)
def test_rows_of_one_cell_have_the_same_statistics_and_the_judge_resamples_them(name):
    labels, ours = drawn(5, right=0.95)
    theirs = drawn(5, right=0.5)[1]
    one, other = (from_table(with_scope(outcomes(labels, answers), "oos")) for answers in (ours, theirs))
    measured = metric(name)
    cells, statistics = measured.cells(one), measured.statistics(one)
    assert all(len(np.unique(statistics[cells == cell], axis=0)) == 1 for cell in np.unique(cells))
    found = bootstrap(name, one, other, seed=1, resamples=1_000)
    assert found.estimate == pytest.approx(measured.score(one) - measured.score(other))
    assert found.p_above(0.0, 0.05) < 0.01


def test_comparisons_floors_guards_and_slices_can_be_of_scope(tmp_path):
    labels, ours = drawn(6, right=0.95)
    theirs = drawn(6, right=0.6)[1]
    one, other = (with_scope(outcomes(labels, answers), "oos") for answers in (ours, theirs))
    rules = Rules.model_validate(
        {
            "primary": "in_scope_accuracy",
            "floors": {"out_of_scope_recall": {"value": 0.999}},
            "versus": {"all": [{"rule": "superior"}, {"rule": "superior", "metric": "out_of_scope_recall"}]},
            "guards": {"slices": {"max_drop": 0.01}},
        }
    )
    look = Look(set="test", generation=1, look=1, alpha=0.03, spent=0.6, units=400)
    slices = pa.table({"channel": ["mail", "chat"] * 200})
    held = HeldOut(one, other, slices=slices, look=look, keys=one.column("key").to_numpy())
    verdict = judge(rules, {"test": held}, judged_against=1, champion_release="r-champion")
    found = {(rule.kind, rule.metric): rule.outcome for rule in verdict.rules}
    assert found[("comparison", "in_scope_accuracy")] == "passed", verdict.rules
    assert found[("comparison", "out_of_scope_recall")] == "passed"
    assert found[("floor", "out_of_scope_recall")] == "failed"
    assert {rule.metric for rule in verdict.rules if rule.kind == "guard"} == {"in_scope_accuracy"}

    with pa.OSFile(str(tmp_path / "test.arrow"), "wb") as sink, pa.ipc.new_stream(sink, slices.schema) as out:
        out.write_table(slices)
    measured = evaluate_set("test", tmp_path / "test.arrow", "0", one, SCOPE_METRICS, ["channel"])
    assert set(measured.slices["channel"]["mail"]) == {"rows", *SCOPE_METRICS}
    assert measured.metrics == compute(one, SCOPE_METRICS)


def test_the_best_checkpoint_can_be_chosen_by_scope():
    job = Job(
        task="text-classification",
        base="",
        base_digest="0",
        method="full",
        columns={},
        labels=("a", "oos"),
        out_of_scope="oos",
        options=TrainOptions(),
        primary_metric="out_of_scope_recall",
        train="",
        validation="",
        output="",
    )
    logits, truth = np.array([[2.0, 0.0], [0.0, 2.0], [2.0, 0.0]]), np.array([0, 1, 1])
    assert kind(job.task).scorer(job)(logits, truth) == {"out_of_scope_recall": 0.5}


def test_a_label_that_no_training_row_has_is_refused_with_those_that_there_are():
    check_scope(None, {"a"})
    check_scope("oos", {"a": 3, "oos": 1})
    with pytest.raises(DataError, match="no training row has the label 'oos'") as caught:
        check_scope("oos", {"b": 3, "a": 1})
    assert "'a', 'b'" in (caught.value.fix or "") or "a, b" in (caught.value.fix or "")


def test_two_evaluations_by_other_labels_of_scope_are_two():
    about = ("r", None, {"test": "0"}, {"accuracy": 1}, "cpu", "fp32")
    assert len({evaluation_id(*about, out_of_scope=label) for label in (None, "oos", "none")}) == 3


@pytest.fixture
def desk(tmp_path, tiny_base):
    (tmp_path / "tickets").mkdir()
    write_tickets(tmp_path / "tickets" / "1.csv", tickets(200, seed=1))
    (tmp_path / "desk.yaml").write_text(PIPELINE.format(base=tiny_base))
    return tmp_path


@pytest.mark.parametrize(
    "overrides",
    [
        ("evaluate.metrics=[accuracy, out_of_scope_recall]",),
        ("promote.floors={in_scope_accuracy: 0.5}",),
        ("promote.versus_champion={metric: out_of_scope_precision}",),
    ],
)
def test_a_metric_of_scope_without_its_label_is_a_fault_of_the_spec(desk, overrides):
    with pytest.raises(SpecError, match="needs the label that means none of the others"):
        load_pipeline(desk / "desk.yaml", overrides)
    load_pipeline(desk / "desk.yaml", (*overrides, "evaluate.out_of_scope=red"))


def test_check_refuses_a_label_of_scope_that_is_not_in_the_data(desk):
    metrics = "evaluate.metrics=[in_scope_accuracy, out_of_scope_recall]"
    found = check(load_pipeline(desk / "desk.yaml", (metrics, "evaluate.out_of_scope=red")))
    assert found.smallest_gain is None
    assert "in-scope accuracy" in found.looks[0].text
    with pytest.raises(DataError, match="no training row has the label 'oos'"):
        check(load_pipeline(desk / "desk.yaml", (metrics, "evaluate.out_of_scope=oos")))


def test_the_label_of_scope_is_for_texts_of_one_label(desk):
    text = (desk / "desk.yaml").read_text().replace("text-classification", "multi-label-classification")
    (desk / "other.yaml").write_text(text.replace("label:", "labels:"))
    with pytest.raises(SpecError, match="has none that means none of the others"):
        load_pipeline(desk / "other.yaml", ("evaluate.metrics=[f1_micro]", "evaluate.out_of_scope=oos"))
