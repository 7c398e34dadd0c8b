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
from contender.judging import paired
from contender.judging.guards import Measure
from contender.judging.held_out import HeldOut
from contender.judging.judge import judge
from contender.judging.rules import Rules
from contender.verdict import Look

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


def look_at(rows, alpha=ALPHA, name="test"):
    return Look(set=name, generation=1, look=1, alpha=alpha, spent=alpha / 0.05, units=rows)


def held_out(tables, alpha=ALPHA, **more):
    """A set on which every key may be judged."""
    look = look_at(len(tables[0]), alpha) if alpha is not None and tables[1] is not None else None
    return HeldOut(*tables, look=look, keys=np.unique(tables[0].column("key").to_numpy()), **more)


def verdict_on(tables, *, against=4, alpha=ALPHA, floors=None, guards=None, sets=None, primary="accuracy", **versus):
    given = ("trained_on", "champion_labels", "release", "measures", "slices")
    more = {name: versus.pop(name) for name in given if name in versus}
    slices = {"slices": more.pop("slices")} if "slices" in more else {}
    rules = Rules.model_validate({"primary": primary, "floors": floors or {}, "versus": versus, "guards": guards or {}})
    champion = tables[1]
    return judge(
        rules,
        {"test": held_out(tables, alpha, **slices)} | (sets or {}),
        judged_against=against if champion is not None else 0,
        champion_release="r-champion" if champion is not None else None,
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
    with pytest.raises(UsageError, match="unknown metric"):
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
    rule = verdict.rules[0]
    assert paired.mcnemar(rule.better, rule.worse) < ALPHA, "more keys are better"
    assert rule.estimate == pytest.approx(-0.2), "and yet more rows are worse"
    assert verdict.verdict == "INCONCLUSIVE"


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


def test_a_metric_that_is_not_known_is_refused():
    with pytest.raises(UsageError, match="unknown metric"):
        verdict_on(pair(80, 10, 5, 5), primary="acuracy")


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
    for _ in range(80):
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


# --- rules that go together ---


def golden(tables, alpha=ALPHA):
    return {"golden-hard": HeldOut(*tables, look=look_at(len(tables[0]), alpha, "golden-hard"))}


BETTER, SAME, WORSE = pair(800, 60, 20, 120), pair(800, 40, 40, 120), pair(800, 20, 60, 120)


def test_all_comparisons_must_hold_and_one_that_is_lost_keeps_the_champion():
    both = [{"rule": "superior"}, {"rule": "non_inferior", "margin": 0.02, "on": "hard"}]
    passed = verdict_on(BETTER, all=both, sets=golden(pair(900, 30, 30, 40)))
    assert passed.verdict == "PROMOTE"
    assert [(rule.set, rule.outcome) for rule in passed.rules] == [("test", "passed"), ("golden-hard", "passed")]
    assert passed.composition == "superior accuracy on test and non_inferior accuracy within 2.0 points on golden-hard"
    assert {look.set for look in passed.looks} == {"test", "golden-hard"}
    assert verdict_on(BETTER, all=both, sets=golden(WORSE)).verdict == "KEEP"
    open_one = verdict_on(BETTER, all=both, sets=golden(pair(840, 60, 60, 40)))
    assert open_one.verdict == "INCONCLUSIVE"
    assert "golden-hard is not shown to be within" in open_one.sentence


def test_any_of_several_comparisons_is_enough_and_they_share_the_error():
    either = [{"min_gain": 0.2}, {"rule": "superior"}]
    verdict = verdict_on(BETTER, any=either)
    assert verdict.verdict == "PROMOTE"
    assert [rule.outcome for rule in verdict.rules] == ["failed", "passed"]
    assert [rule.alpha for rule in verdict.rules] == [ALPHA / 2, ALPHA / 2]
    assert verdict.sentence == verdict.rules[1].sentence
    assert verdict_on(WORSE, any=either).verdict == "KEEP"
    assert verdict_on(SAME, any=either).verdict == "INCONCLUSIVE"


def test_what_is_nested_divides_the_error_by_the_ways_to_win():
    rule = {"any": [{"all": [{"min_gain": 0.01}, {"on": "hard"}]}, {"any": [{"min_gain": 0.02}, {"min_gain": 0.03}]}]}
    verdict = verdict_on(BETTER, **rule, sets=golden(BETTER))
    shares = [rule.alpha / ALPHA for rule in verdict.rules]
    assert shares == pytest.approx([1 / 2, 1 / 2, 1 / 4, 1 / 4])
    assert "(superior accuracy by more than 1.0 points on test and superior accuracy on golden-hard) or" in (
        verdict.composition
    )


def test_by_simulation_two_ways_to_win_promote_by_luck_no_more_often_than_one():
    """Two sets, no true difference on either: `any` of both."""
    draws = np.random.default_rng(5).multinomial(400, [0.04, 0.04, 0.92], (300, 2))
    alpha, promoted = 0.1, 0
    for first, second in draws:
        tables = [pair(400 - b - w, b, w, 0) for b, w, _ in (first, second)]
        found = verdict_on(tables[0], any=[{}, {"on": "hard"}], alpha=alpha, sets=golden(tables[1], alpha))
        promoted += found.verdict == "PROMOTE"
    assert 0 < promoted <= alpha * 300 + 3 * np.sqrt(300 * alpha * (1 - alpha))


# --- which rows ---


def test_only_the_keys_of_the_look_are_compared_and_the_others_wait():
    tables = pair(800, 60, 20, 120)
    look = look_at(900)
    held = HeldOut(*tables, look=look, keys=np.arange(100, 1000, dtype=np.uint64))
    verdict = judge(Rules(primary="accuracy"), {"test": held}, judged_against=1, champion_release="r-champion")
    rule = verdict.rules[0]
    assert (rule.rows, rule.waiting, rule.better, rule.worse) == (900, 100, 60, 20)
    assert "100 rows that were never judged wait" in rule.sentence
    assert verdict.looks == (look,)


def test_another_metric_is_compared_by_the_bootstrap_and_less_may_be_better():
    tables = (outcomes([True] * 300, p_label=np.full(300, 0.9)), outcomes([True] * 300, p_label=np.full(300, 0.8)))
    noise = np.random.default_rng(1).normal(0, 0.02, (2, 300))
    tables = [
        table.set_column(3, "p_label", pa.array(0.9 - 0.05 * n + noise[n], pa.float32()))
        for n, table in enumerate(tables)
    ]
    better = verdict_on(tables, metric="log_loss")
    rule = better.rules[0]
    assert (better.verdict, rule.rule) == ("PROMOTE", "superior:log_loss")
    assert rule.estimate > 0 and 0 < rule.low < rule.estimate < rule.high
    assert rule.resamples >= 10_000 and rule.better is None
    assert "Log loss on test is shown to be lower: better by 0.0" in rule.sentence
    assert verdict_on(tables[::-1], metric="log_loss").verdict == "KEEP"
    assert verdict_on(tables, primary="f1_macro").verdict == "INCONCLUSIVE"


# --- floors on a bound ---


def test_a_floor_may_ask_for_the_bound_and_not_only_the_estimate():
    tables = pair(850, 60, 20, 70)
    bound = {"value": 0.9, "by": "lower_bound"}
    assert verdict_on(tables, floors={"accuracy": 0.9}).verdict == "PROMOTE"
    undecided = verdict_on(tables, floors={"accuracy": bound})
    assert undecided.verdict == "INCONCLUSIVE"
    assert undecided.sentence == (
        "Accuracy on test is 91.0%, but its lower bound 89.4% does not reach the floor of 90.0%."
    )
    assert verdict_on(tables, floors={"accuracy": bound | {"value": 0.89}}).verdict == "PROMOTE"
    assert verdict_on(tables, floors={"accuracy": bound | {"value": 0.92}}).verdict == "KEEP"
    ceiling = {"value": 0.1053, "by": "lower_bound"}
    varied = tables[0].set_column(3, "p_label", pa.array(0.9 + 0.01 * np.sin(np.arange(1000)), pa.float32()))
    assert verdict_on((varied, None), floors={"log_loss": ceiling}).verdict in ("INCONCLUSIVE", "KEEP")
    assert verdict_on((varied, None), floors={"log_loss": ceiling | {"value": 0.107}}).verdict == "PROMOTE"


# --- guards ---


def sliced(*parts):
    """Tables of several slices after one another, and the column that tells them apart."""
    names = [name for name, tables in parts for _ in range(len(tables[0]))]
    ours, theirs = (pa.concat_tables([tables[side] for _, tables in parts]) for side in (0, 1))
    keys = pa.array(np.arange(len(names)), pa.uint64())
    tables = [table.set_column(0, "key", keys) for table in (ours, theirs)]
    return tables, pa.table({"channel": names})


GUARD = {"slices": {"max_drop": 0.03}}


def test_a_slice_that_is_spoilt_keeps_the_champion_however_much_better_the_rest_is():
    tables, slices = sliced(("mail", pair(800, 100, 10, 90)), ("chat", pair(60, 2, 30, 8)))
    assert verdict_on(tables).verdict == "PROMOTE"
    verdict = verdict_on(tables, guards=GUARD, slices=slices)
    assert verdict.verdict == "KEEP"
    mail, chat = verdict.rules[1:]
    assert (mail.slice, mail.outcome, chat.slice, chat.outcome) == ("channel=mail", "passed", "channel=chat", "failed")
    assert chat.sentence.startswith(
        "Accuracy on test, channel=chat is 28.0 points worse on 100 rows, more than the 3.0 points allowed"
    )
    assert verdict.sentence == chat.sentence


def test_a_drop_that_may_be_chance_does_not_block_unless_the_guard_is_strict():
    tables, slices = sliced(("mail", pair(800, 100, 10, 90)), ("chat", pair(90, 2, 6, 2)))
    verdict = verdict_on(tables, guards=GUARD, slices=slices)
    assert verdict.verdict == "PROMOTE"
    assert "more than 3.0 points, but not shown to be a drop at all" in verdict.rules[2].sentence
    strict = verdict_on(tables, guards=GUARD | {"strict": True}, slices=slices)
    assert strict.verdict == "INCONCLUSIVE"
    assert strict.rules[2].outcome == "undecided" and strict.rules[2].rows_needed is not None
    assert strict.rules[1].outcome == "passed"


def test_slices_that_are_too_small_are_reported_and_not_judged():
    tables, slices = sliced(("mail", pair(800, 100, 10, 90)), ("chat", pair(0, 0, 49, 0)))
    verdict = verdict_on(tables, guards=GUARD, slices=slices)
    assert verdict.verdict == "PROMOTE"
    assert verdict.rules[2].outcome == "reported"
    assert "is not judged: 49 rows are fewer than 50 (−100.0 points)" in verdict.rules[2].sentence
    judged = verdict_on(tables, guards={"slices": {"max_drop": 0.03, "min_rows": 49}}, slices=slices)
    assert judged.verdict == "KEEP"


def test_a_column_of_ids_makes_no_rule_for_each_row():
    tables = pair(800, 100, 10, 90)
    slices = pa.table({"id": [str(row) for row in range(1000)]})
    verdict = verdict_on(tables, guards=GUARD, slices=slices)
    assert len(verdict.rules) == 11 and verdict.verdict == "PROMOTE"


def test_by_simulation_many_slices_block_by_chance_no_more_often_than_one():
    """No slice is worse; twenty are guarded against any drop at all."""
    generator, blocked = np.random.default_rng(3), 0
    for _ in range(80):
        parts = [
            (f"s{n}", pair(92 - b - w + 8, b, w, 0)) for n, (b, w) in enumerate(generator.binomial(8, 0.5, (20, 2)))
        ]
        tables, slices = sliced(*parts)
        verdict = verdict_on(tables, guards={"slices": {"max_drop": 0.0}}, slices=slices)
        blocked += any(rule.outcome == "failed" for rule in verdict.rules if rule.kind == "guard")
    assert blocked <= 0.05 * 80 + 3 * np.sqrt(80 * 0.05 * 0.95)


def test_golden_sets_are_guarded_too():
    guards = {"golden": {"max_drop": 0.01}}
    assert verdict_on(BETTER, guards=guards, sets=golden(SAME)).verdict == "PROMOTE"
    spoilt = verdict_on(BETTER, guards=guards, sets=golden(WORSE))
    assert spoilt.verdict == "KEEP" and "Accuracy on golden-hard is 4.0 points worse" in spoilt.sentence


def test_calibration_must_not_get_worse():
    ours, theirs = BETTER
    sure = ours.set_column(4, "confidence", pa.array(np.full(1000, 0.999), pa.float32()))
    verdict = verdict_on((sure, theirs), guards={"calibration": {"max_rise": 0.02}})
    assert verdict.verdict == "KEEP"
    assert verdict.rules[1].rule == "calibration" and "Calibration error on test is" in verdict.rules[1].sentence
    assert verdict_on(BETTER, guards={"calibration": {"max_rise": 0.06}}).verdict == "PROMOTE"


def test_size_and_latency_have_ceilings():
    measures = {
        "model_size_mb": Measure(91.0),
        "latency_p95_ms": Measure(48.0, 44.0, 55.0, examples=200),
        "latency_ratio": Measure(1.4, 1.3, 1.5, p_harm=1e-6, examples=200),
    }

    def guarded(**guards):
        return verdict_on(BETTER, guards=guards, measures=measures)

    assert guarded(model_size_mb=100, latency_p95_ms=50, latency_ratio=1.5).verdict == "PROMOTE"
    heavy = guarded(model_size_mb=90)
    assert heavy.verdict == "KEEP" and heavy.sentence == "Model size is 91 MB, above the limit of 90 MB."
    assert guarded(latency_p95_ms=45).verdict == "PROMOTE", "48 ms may be 44"
    assert guarded(latency_p95_ms=40).verdict == "KEEP"
    assert guarded(latency_ratio=1.2).verdict == "KEEP"
    assert guarded(latency_p95_ms=50, strict=True).verdict == "INCONCLUSIVE"
    assert guarded(latency_p95_ms=60, strict=True).verdict == "PROMOTE"


def test_a_guard_whose_measure_is_missing_is_an_error_and_never_a_pass():
    with pytest.raises(UsageError, match=r"guards\.latency_p95_ms has no value"):
        verdict_on(BETTER, guards={"latency_p95_ms": 50})


def test_without_a_champion_ceilings_hold_and_comparing_guards_rest():
    ours, _ = BETTER
    guards = GUARD | {"golden": {"max_drop": 0.01}, "model_size_mb": 90, "latency_ratio": 1.5}
    sets = golden((ours, None))
    verdict = verdict_on((ours, None), guards=guards, sets=sets, measures={"model_size_mb": Measure(91.0)})
    assert [rule.rule for rule in verdict.rules] == ["model_size_mb"] and verdict.verdict == "KEEP"
