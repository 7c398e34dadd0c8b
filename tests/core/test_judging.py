"""The verdict: when a challenger is promoted, when the champion stays, when nothing is decided, and what is said about it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contender.errors import DataError, UsageError
from contender.judging.judge import Rules, judge, validate_rules

ALPHA = 0.0304


def outcomes(right, keys=None, labels=None, p_label=0.9):
    """A table in which the rows marked right are predicted rightly; every label is known by its row."""
    right = np.asarray(right, dtype=bool)
    rows = len(right)
    labels = np.array(["a", "b"])[np.arange(rows) % 2] if labels is None else np.asarray(labels)
    return pa.table(
        {
            "key": pa.array(np.arange(rows) if keys is None else keys, pa.uint64()),
            "label": pa.array(labels, pa.string()),
            "prediction": pa.array(np.where(right, labels, "?"), pa.string()),
            "p_label": pa.array(np.full(rows, p_label), pa.float32()),
            "confidence": pa.array(np.full(rows, 0.9), pa.float32()),
        }
    )


def pair(both, better, worse, neither, **columns):
    """Challenger and champion with so many rows that both, one or none have right."""
    ours = [True] * (both + better) + [False] * (worse + neither)
    theirs = [True] * both + [False] * better + [True] * worse + [False] * neither
    return outcomes(ours, **columns), outcomes(theirs, **columns)


def verdict_on(tables, *, against=4, alpha=ALPHA, **rules):
    more = {name: rules.pop(name) for name in ("trained_on", "champion_labels", "release") if name in rules}
    champion = tables[1]
    return judge(
        Rules(primary="accuracy", **rules),
        *tables,
        judged_against=against if champion is not None else 0,
        champion_release="r-champion" if champion is not None else None,
        alpha=alpha if champion is not None else None,
        **more,
    )


def test_a_challenger_that_is_shown_to_be_better_is_promoted():
    verdict = verdict_on(pair(800, 60, 20, 120))
    rule = verdict.rules[0]
    assert verdict.verdict == "PROMOTE"
    assert (verdict.judged_against, verdict.champion) == (4, "r-champion")
    assert (rule.rule, rule.outcome, rule.better, rule.worse, rule.units, rule.rows) == (
        "superior:accuracy",
        "passed",
        60,
        20,
        1000,
        1000,
    )
    assert rule.estimate == pytest.approx(0.04)
    assert 0 < rule.low < rule.estimate < rule.high
    assert rule.p_value < rule.alpha == ALPHA
    assert verdict.sentence == (
        "Accuracy on test is shown to be higher: +4.0 points, 60 rows better and 20 worse of 1,000 (p < 0.0001, needed ≤ 0.0304)."
    )


def test_a_challenger_that_is_worse_leaves_the_champion():
    verdict = verdict_on(pair(800, 20, 60, 120))
    assert verdict.verdict == "KEEP"
    assert verdict.rules[0].outcome == "failed"
    assert verdict.rules[0].high <= 0
    assert "is not higher than the champion's: the gain is at most −" in verdict.sentence


def test_what_cannot_be_told_is_inconclusive_with_the_rows_that_would_tell():
    verdict = verdict_on(pair(800, 40, 30, 130))
    rule = verdict.rules[0]
    assert verdict.verdict == "INCONCLUSIVE"
    assert rule.low < 0 < rule.high
    assert rule.rows_needed > 3_000
    assert "more held-out rows would decide" in verdict.sentence


def test_a_gain_must_exceed_min_gain_and_not_only_zero():
    tables = pair(800, 60, 20, 120)
    assert verdict_on(tables, min_gain=0.01).verdict == "PROMOTE"
    assert verdict_on(tables, min_gain=0.035).verdict == "INCONCLUSIVE"
    kept = verdict_on(tables, min_gain=0.10)
    assert kept.verdict == "KEEP"
    assert kept.rules[0].high <= 0.10
    assert "not more than 10.0 points higher" in kept.sentence


def test_identical_answers_are_kept_once_the_gain_can_no_longer_reach_min_gain():
    same = pair(900, 0, 0, 100)
    assert verdict_on(same, min_gain=0.02).verdict == "KEEP"
    undecided = verdict_on(same)
    assert undecided.verdict == "INCONCLUSIVE"
    assert undecided.rules[0].rows_needed is None


def test_no_worse_than_a_margin_is_its_own_rule():
    rules = {"rule": "non_inferior", "margin": 0.02}
    assert verdict_on(pair(880, 30, 30, 60), **rules).verdict == "PROMOTE"
    assert verdict_on(pair(880, 10, 70, 40), **rules).verdict == "KEEP"
    open_one = verdict_on(pair(80, 3, 4, 13), **rules)
    assert open_one.verdict == "INCONCLUSIVE"
    assert open_one.rules[0].rule == "non_inferior:accuracy"
    assert open_one.rules[0].threshold == -0.02


def test_the_champion_is_not_promoted_over_itself():
    verdict = verdict_on(pair(800, 60, 20, 120), release="r-champion")
    assert verdict.verdict == "KEEP"
    assert "byte for byte" in verdict.sentence


def test_without_a_champion_the_floors_decide():
    ours, _ = pair(850, 50, 50, 50)
    passed = verdict_on((ours, None), floors={"accuracy": 0.9, "log_loss": 0.2})
    assert (passed.verdict, passed.judged_against, passed.champion) == ("PROMOTE", 0, None)
    assert passed.sentence == (
        "There is no champion yet, and every floor is reached: accuracy 90.0% (floor 90.0%), log loss 0.1054 (ceiling 0.2000)."
    )
    missed = verdict_on((ours, None), floors={"accuracy": 0.91})
    assert missed.verdict == "KEEP"
    assert missed.sentence == "Accuracy on test is 90.0%, below the floor of 91.0%."


def test_the_first_release_without_floors_is_promoted_and_says_so():
    verdict = verdict_on((outcomes([True] * 3), None))
    assert verdict.verdict == "PROMOTE"
    assert verdict.rules == ()
    assert "no floor is set" in verdict.sentence


def test_a_metric_of_which_less_is_better_has_a_ceiling():
    ours, _ = pair(100, 0, 0, 0)
    assert verdict_on((ours, None), floors={"log_loss": 0.05}).verdict == "KEEP"
    assert verdict_on((ours, None), floors={"log_loss": 0.11}).verdict == "PROMOTE"


def test_a_missed_floor_keeps_a_champion_that_was_beaten():
    verdict = verdict_on(pair(800, 60, 20, 120), floors={"accuracy": 0.95})
    assert verdict.verdict == "KEEP"
    assert [rule.outcome for rule in verdict.rules] == ["passed", "failed"]
    assert verdict.sentence == "Accuracy on test is 86.0%, below the floor of 95.0%."


def test_a_floor_without_a_value_is_an_error_and_never_a_pass():
    ours = outcomes([True] * 30).drop_columns(["p_label"])
    with pytest.raises(UsageError, match="log_loss needs p_label"):
        verdict_on((ours, None), floors={"log_loss": 1.0})
    with pytest.raises(UsageError, match="unknown metric 'acuracy'"):
        verdict_on((ours, None), floors={"acuracy": 0.1})
    with pytest.raises(DataError, match="no rows"):
        verdict_on((outcomes([]), None), floors={"accuracy": 0.1})


def test_rows_that_a_model_trained_on_are_dropped_and_counted():
    tables = pair(800, 60, 20, 120)
    leaked = np.arange(800, 860, dtype=np.uint64)  # all that the challenger won
    verdict = verdict_on(tables, trained_on=[leaked, None, np.array([], np.uint64)], floors={"accuracy": 0.9})
    rule = verdict.rules[0]
    assert (rule.better, rule.worse, rule.rows, rule.dropped) == (0, 20, 940, 60)
    assert "60 rows that a model trained on are left out" in rule.sentence
    assert verdict.rules[1].estimate == pytest.approx(800 / 940)


def test_more_than_half_dropped_decides_nothing():
    tables = pair(800, 60, 20, 120)
    verdict = verdict_on(tables, trained_on=[np.arange(300, dtype=np.uint64), np.arange(250, 501, dtype=np.uint64)])
    assert verdict.verdict == "INCONCLUSIVE"
    assert "501 of 1,000 rows, more than half" in verdict.sentence
    everything = verdict_on(tables, trained_on=[np.arange(1000, dtype=np.uint64)], floors={"accuracy": 0.5})
    assert everything.verdict == "INCONCLUSIVE"
    assert "trained on all 1,000 rows" in everything.rules[1].sentence


def test_fewer_than_twenty_rows_or_keys_decide_nothing():
    assert "19 rows are fewer than 20" in verdict_on(pair(0, 19, 0, 0)).sentence
    keys = np.arange(1000) % 19
    assert "19 split keys are fewer than 20" in verdict_on(pair(800, 60, 20, 120, keys=keys)).sentence
    assert verdict_on(pair(0, 20, 0, 0)).verdict == "PROMOTE"


def test_rows_of_one_key_count_as_one():
    """Forty rows won, all of one customer: that is one observation, not forty."""
    keys = np.concatenate([np.arange(160), np.full(40, 999)])
    tables = pair(160, 40, 0, 0, keys=keys)
    verdict = verdict_on(tables)
    assert verdict.verdict == "INCONCLUSIVE"
    assert (verdict.rules[0].units, verdict.rules[0].better, verdict.rules[0].rows) == (161, 1, 200)
    assert verdict_on(pair(160, 40, 0, 0)).verdict == "PROMOTE"


def test_winning_many_small_keys_does_not_pay_for_losing_a_large_one():
    keys = np.concatenate([np.arange(30), np.full(70, 999), np.arange(1000, 1100)])
    ours = outcomes([True] * 30 + [False] * 70 + [True] * 100, keys=keys)
    theirs = outcomes([False] * 30 + [True] * 70 + [True] * 100, keys=keys)
    verdict = verdict_on((ours, theirs))
    assert verdict.rules[0].p_value < ALPHA
    assert verdict.verdict == "INCONCLUSIVE"
    assert "by row −20.0 points" in verdict.sentence


def test_labels_that_the_champion_does_not_know_count_as_wrong_and_are_reported():
    labels = ["old"] * 900 + ["new"] * 100
    ours = outcomes([True] * 1000, labels=labels)
    theirs = outcomes([True] * 900 + [False] * 100, labels=labels)
    verdict = verdict_on((ours, theirs), champion_labels=["old", "gone"])
    assert verdict.rules[0].unknown_labels == 100
    assert "100 rows carry a label that the champion does not know and count as wrong for it" in verdict.sentence


def test_outcomes_of_other_rows_are_never_compared():
    ours, theirs = pair(80, 10, 5, 5)
    for other in (theirs.slice(1), theirs.take(list(range(99, -1, -1)))):
        with pytest.raises(ValueError, match="same rows in the same order"):
            verdict_on((ours, other))


@pytest.mark.parametrize("alpha", [None, 0.0, 1.0])
def test_a_comparison_without_its_look_at_the_ledger_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha of its look"):
        verdict_on(pair(80, 10, 5, 5), alpha=alpha)


def test_what_is_not_supported_yet_is_refused_before_anything_is_trained():
    with pytest.raises(UsageError, match="f1_macro as the primary metric of versus_champion is not supported yet"):
        validate_rules(Rules(primary="f1_macro"))
    with pytest.raises(UsageError, match="needs a margin"):
        validate_rules(Rules(primary="accuracy", rule="non_inferior"))
    with pytest.raises(UsageError, match="unknown metric"):
        validate_rules(Rules(primary="accuracy", floors={"f1": 0.5}))
    with pytest.raises(UsageError, match="confidence"):
        validate_rules(Rules(primary="accuracy", confidence=1.0))


rights = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=20, max_size=80)


@settings(deadline=None, max_examples=50)
@given(rights, st.randoms(), st.sampled_from([0.0, 0.05]))
def test_a_verdict_does_not_depend_on_the_order_of_rows(rows, random, min_gain):
    ours, theirs = (outcomes(side, labels=["a"] * len(rows)) for side in zip(*rows, strict=True))
    order = list(range(len(rows)))
    random.shuffle(order)
    assert verdict_on((ours, theirs), min_gain=min_gain) == verdict_on(
        (ours.take(order), theirs.take(order)), min_gain=min_gain
    )


@settings(deadline=None, max_examples=50)
@given(rights, st.sampled_from([0.0, 0.05]))
def test_a_verdict_agrees_with_its_own_interval(rows, min_gain):
    ours, theirs = (outcomes(side, labels=["a"] * len(rows)) for side in zip(*rows, strict=True))
    verdict = verdict_on((ours, theirs), min_gain=min_gain)
    rule = verdict.rules[0]
    assert (verdict.verdict == "PROMOTE") == (rule.p_value <= ALPHA)
    if verdict.verdict == "PROMOTE":
        assert rule.low >= min_gain
    elif verdict.verdict == "KEEP":
        assert rule.high <= min_gain
    else:
        assert rule.low <= min_gain <= rule.high


def test_by_simulation_equal_models_are_promoted_less_often_than_alpha():
    generator = np.random.default_rng(21)
    promoted = 0
    for _ in range(150):
        both = generator.random(150) < 0.7
        ours, theirs = (both | (generator.random(150) < 0.4) for _ in range(2))
        labels = ["a"] * 150
        promoted += (
            verdict_on((outcomes(ours, labels=labels), outcomes(theirs, labels=labels)), alpha=0.05).verdict
            == "PROMOTE"
        )
    assert promoted / 150 < 0.05 + 3 * (0.05 * 0.95 / 150) ** 0.5


def test_judging_is_light_to_import():
    heavy = ("pandas", "datasets", "torch", "pyarrow", "scipy.stats")
    code = f"import sys, contender.judging.judge; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
