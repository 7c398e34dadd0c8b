"""The metrics of sets of labels give scikit-learn's values, from sums over rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from contender.data.jsonlists import written
from contender.errors import DataError
from contender.evaluation.metrics import compute, metric
from contender.evaluation.outcomes import from_table
from contender.judging.resampling import bootstrap
from contender.names import MULTI_LABEL_METRICS

LABELS = np.array(["delivery", "refund", 'quo"ted', "ümlaut", "a, b"])


def outcomes(truth, answers):
    def written_rows(rows):
        return [written(LABELS[row]) for row in rows]

    return pa.table({"label": written_rows(truth), "prediction": written_rows(answers)})


def drawn(seed, rows=200, wrong=0.2):
    dice = np.random.default_rng(seed)
    truth = dice.random((rows, len(LABELS))) < np.array([0.6, 0.3, 0.2, 0.05, 0.01])
    return truth, truth ^ (dice.random(truth.shape) < wrong)


@pytest.mark.parametrize("seed", range(8))
def test_sums_over_rows_give_exactly_what_scikit_learn_says(seed):
    from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

    truth, answers = drawn(seed, rows=1 + 13 * seed)
    present = (truth | answers).any(axis=0)
    expected = {
        "f1_micro": f1_score(truth, answers, average="micro", zero_division=0),
        "f1_macro_labels": f1_score(truth[:, present], answers[:, present], average="macro", zero_division=0)
        if present.any()
        else 0.0,
        "precision_micro": precision_score(truth, answers, average="micro", zero_division=0),
        "recall_micro": recall_score(truth, answers, average="micro", zero_division=0),
        "accuracy": accuracy_score(truth, answers),
    }
    assert compute(outcomes(truth, answers), list(expected)) == pytest.approx(expected, abs=1e-12)


def test_where_no_row_has_a_label_and_none_is_predicted_shares_are_zero_and_every_row_is_right():
    none = np.zeros((3, len(LABELS)), bool)
    found = compute(outcomes(none, none), [*MULTI_LABEL_METRICS, "accuracy"])
    assert found == dict.fromkeys(MULTI_LABEL_METRICS, 0.0) | {"accuracy": 1.0}


def test_rows_of_one_cell_have_the_same_statistics_and_weights_count_rows():
    held = from_table(outcomes(*drawn(3)))
    for name in MULTI_LABEL_METRICS:
        measured = metric(name)
        statistics = measured.statistics(held)
        dense = statistics.toarray() if hasattr(statistics, "toarray") else statistics
        cells = measured.cells(held)
        assert 1 < len(np.unique(cells)) < held.rows
        for cell in np.unique(cells):
            assert len(np.unique(dense[cells == cell], axis=0)) == 1
        twice = np.repeat(np.arange(held.rows), 2)
        assert measured.value(held, np.full((1, held.rows), 2.0))[0] == pytest.approx(measured.score(held.take(twice)))


@pytest.mark.parametrize("name", MULTI_LABEL_METRICS)
def test_the_judge_resamples_sets_row_by_row(name):
    truth, ours = drawn(4, 300, 0.05)
    _, theirs = drawn(4, 300, 0.25)
    better, worse = (from_table(outcomes(truth, answers)) for answers in (ours, theirs))
    found = bootstrap(name, better, worse, seed=1, resamples=1_000)
    gain = metric(name).score(better) - metric(name).score(worse)
    assert found.estimate == pytest.approx(gain)
    assert found.p_above(0.0, 0.05) < 0.01
    low, high = found.bounds(0.025)
    assert low < gain < high


@pytest.mark.parametrize("answer", ["refund", '{"refund": 1}', '["refund", 3]'])
def test_outcomes_without_sets_are_refused(answer):
    with pytest.raises(DataError, match="is no list of labels"):
        compute(pa.table({"label": ["[]"], "prediction": [answer]}), ["f1_micro"])
