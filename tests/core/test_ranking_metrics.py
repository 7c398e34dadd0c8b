"""Metrics of a ranking: scikit-learn's values with any weights, and what the judge makes of them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics as sk

from contender.errors import UsageError
from contender.evaluation.metrics import METRICS, base, metric
from contender.evaluation.outcomes import Array, Outcomes, from_table
from contender.judging.resampling import bootstrap
from contender.names import RANKING_METRICS


def outcomes(positive: Array, scores: Array) -> Outcomes:
    labels = pa.array(np.where(positive, "fraud", "fine").tolist())
    return from_table(
        pa.table({"label": labels, "prediction": labels, "positive": positive.astype(float), "p_positive": scores})
    )


def drawn(rows: int, share: float, seed: int, digits: int = 1) -> tuple[Array, Array]:
    """Rows of which few are positive, with scores that lean towards them and are often equal."""
    random = np.random.default_rng(seed)
    positive = random.random(rows) < share
    positive[0], positive[1] = True, False
    return positive, np.round(np.clip(random.normal(0.3 + 0.3 * positive, 0.2), 0, 1), digits)


def expected(name: str, positive: Array, scores: Array, weights: Array) -> float:
    if name == "average_precision":
        return float(sk.average_precision_score(positive, scores, sample_weight=weights))
    if name == "roc_auc":
        return float(sk.roc_auc_score(positive, scores, sample_weight=weights))
    precision, recall, _ = sk.precision_recall_curve(positive, scores, sample_weight=weights)
    return float(max(recall[precision >= int(name[-2:]) / 100 - 1e-12]))


class OneByOne(base.OutcomeMetric):
    """A metric that does not tell which rows count alike."""

    description = "of the tests"

    def __init__(self, name: str) -> None:
        super().__init__()
        self.found = metric(name)
        self.span = self.found.span

    def value(self, outcomes: Outcomes, weights: Array) -> Array:
        return np.asarray(self.found.value(outcomes, weights))


@pytest.mark.parametrize("name", RANKING_METRICS)
@pytest.mark.parametrize("digits", [1, 9])
def test_a_ranking_metric_equals_scikit_learn_with_any_weights(name: str, digits: int) -> None:
    for seed, share in enumerate((0.02, 0.3, 0.9)):
        positive, scores = drawn(400, share, seed, digits)
        weights = np.random.default_rng(seed).poisson(1.0, (5, 400)).astype(float)
        weights[:, :2] = 1.0
        weights[0] = 1.0
        found = metric(name).value(outcomes(positive, scores), weights)
        want = [expected(name, positive, scores, row) for row in weights]
        assert found == pytest.approx(want, abs=1e-9)
        assert metric(name).score(outcomes(positive, scores)) == pytest.approx(want[0], abs=1e-9)


def test_recall_at_a_precision_moves_with_the_precision() -> None:
    positive = np.array([True, True, False, True, False, False])
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    found = {name: metric(name).score(outcomes(positive, scores)) for name in RANKING_METRICS if "_at_" in name}
    assert found == {
        "recall_at_p50": 1.0,
        "recall_at_p80": pytest.approx(2 / 3),
        "recall_at_p90": pytest.approx(2 / 3),
        "recall_at_p95": pytest.approx(2 / 3),
    }


def test_without_a_positive_row_nothing_is_found_and_nothing_told_apart() -> None:
    nothing = outcomes(np.zeros(4, bool), np.array([0.1, 0.2, 0.3, 0.3]))
    values = {name: metric(name).score(nothing) for name in RANKING_METRICS}
    assert values == {name: 0.5 if name == "roc_auc" else 0.0 for name in RANKING_METRICS}


def test_the_judge_shows_a_better_ranking_and_no_gain_of_one_over_itself() -> None:
    positive, scores = drawn(1_500, 0.1, 7, 9)
    worse = np.where(np.random.default_rng(8).random(1_500) < 0.4, 0.3, scores)
    ours, theirs = outcomes(positive, scores), outcomes(positive, worse)
    assert bootstrap("average_precision", ours, theirs, resamples=400).p_above(0.0, 0.05) < 0.05
    same = bootstrap("average_precision", ours, ours, resamples=200)
    assert (same.estimate, same.error) == (0.0, 0.0)


@pytest.mark.parametrize("name", RANKING_METRICS)
def test_rows_that_count_alike_are_drawn_together_and_the_metric_stays(name: str) -> None:
    positive, scores = drawn(2_000, 0.02, 3, 6)
    ours, other = outcomes(positive, scores), outcomes(positive, drawn(2_000, 0.02, 4, 2)[1])
    for theirs in (None, other):
        alike, plain = (
            bootstrap(name, ours, theirs, resamples=4_000),
            bootstrap(OneByOne(name), ours, theirs, resamples=4_000),
        )
        assert (alike.method, plain.method) == ("cells", "units")
        assert alike.estimate == pytest.approx(plain.estimate, abs=1e-12)
        assert alike.error == pytest.approx(plain.error, rel=0.06)
        assert alike.bounds(0.05) == pytest.approx(plain.bounds(0.05), abs=0.15 * plain.error)


def test_two_models_with_other_positive_classes_are_not_compared() -> None:
    positive, scores = drawn(50, 0.3, 1)
    with pytest.raises(UsageError, match=r"different positive class"):
        bootstrap("roc_auc", outcomes(positive, scores), outcomes(~positive, scores), resamples=10)


def test_a_task_without_a_positive_class_has_no_such_metric() -> None:
    plain = from_table(pa.table({"label": ["a"], "prediction": ["a"]}))
    with pytest.raises(UsageError, match="roc_auc needs positive and p_positive"):
        metric("roc_auc").score(plain)
    assert all(METRICS[name].needs == ("positive", "p_positive") for name in RANKING_METRICS)
