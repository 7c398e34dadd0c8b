"""The simulation behind the judge's promise: it finds none broken, and it finds broken judges out."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import judge_simulation as simulation
from benchmarks.judge_scenarios import Scenario, scenarios
from benchmarks.simulated import ACCURACY, SHARES, Shape, WordErrorRate, answers, recalls, true_f1
from contender.evaluation.metrics import metric
from contender.verdict import Look

ONE = Scenario("one look", "accuracy", Shape(1_000, 0.5), 1_000, 0.04, 200)
LIFE = Scenario("a life", "accuracy", Shape(300, 0.5), 100, life="fixed")
GROWING = Scenario("growing", "accuracy", Shape(2_400, 0.5), 40, life="growing")
IMPROVING = Scenario("improving", "accuracy", Shape(1_500, 0.5), 15, 0.05, life="improving")
KEYS = Scenario("keys", "accuracy", Shape(1_000, 0.5, per_key=10), 60)
COPIES = Scenario("copies", "accuracy", Shape(5_000, 0.5, copies=50), 40)
F1 = Scenario("one look", "f1_macro", Shape(200, 0.9), 25)
WORDS = Scenario("one look", "word_errors", Shape(200, 0.5), 25)


def run(wanted, judge="contender"):
    return simulation.simulate(wanted, judge, 3, lambda text: None)


def broken(wanted, judge):
    results = run(wanted, judge)
    return [result.broken(len(results)) for result in results]


def test_the_judge_keeps_its_promises_and_has_power():
    results = run([ONE, LIFE, GROWING, IMPROVING, KEYS, COPIES, F1, WORDS])
    assert not any(result.broken(len(results)) for result in results)
    one, life, growing, improving, *_ = results
    assert one.false / one.trials <= one.allowed and one.power / one.power_trials > 0.7
    assert 0.4 < one.naive / one.trials < 0.6, "a point estimate promotes one in two"
    assert life.naive > 0.95 * life.trials and life.no_ledger > 0.2 * life.trials
    assert growing.trials > growing.lives, "a set that grows has generations"
    assert 0 < improving.power <= improving.power_trials


@pytest.mark.parametrize("judge", ["no-ledger", "naive"])
def test_a_judge_without_its_ledger_or_without_tests_is_found_out(judge):
    assert broken([LIFE, replace(GROWING, repeats=20)], judge) == [True, True]


def test_a_judge_that_takes_copies_for_observations_is_found_out():
    assert broken([replace(COPIES, repeats=100)], "no-keys") == [True]


def test_a_broken_promise_is_said_and_ends_with_exit_code_1(monkeypatch, capsys):
    monkeypatch.setattr(simulation, "scenarios", lambda scale: [replace(LIFE, repeats=30)])
    monkeypatch.setattr(sys, "argv", ["judge_simulation", "--quick", "--judge", "naive"])
    assert simulation.main() == 1
    out = capsys.readouterr().out
    assert "BROKEN" in out and out.splitlines()[-1].startswith("Promises kept: 0 of 1;")


@pytest.mark.parametrize("scenario", [replace(ONE, gain=0.02), KEYS, replace(F1, gain=0.12)])
def test_what_sorts_cases_out_never_hides_a_promotion(scenario):
    chance = np.random.default_rng(5)
    look = Look(set="test", generation=1, look=1, alpha=0.03, spent=0.6, units=1)
    promoted = 0
    for _ in range(6):
        found = answers(scenario.metric, scenario.shape, 2, chance)
        case = simulation.Case(scenario, found.of(1, scenario.gain), found.of(0), found.keys, look)
        verdict = simulation._judged(case)
        assert simulation.promotes(case, "contender") == verdict
        promoted += verdict
    assert promoted < 6 or scenario.gain > 0.1


def test_the_ledger_deals_a_life_that_spends_less_than_it_may():
    for scenario in (LIFE, GROWING):
        spent: dict[int, float] = {}
        for look, _ in simulation.dealt(replace(scenario, repeats=0)):
            spent[look.generation] = spent.get(look.generation, 0) + look.alpha
        assert all(share < 0.05 for share in spent.values())
        assert (len(spent) > 1) == (scenario is GROWING)


@pytest.mark.parametrize("alike", [0.0, 0.5, 0.9])
def test_outcomes_correlate_as_said_and_models_are_as_good_as_said(alike):
    found = answers("accuracy", Shape(40_000, alike), 3, np.random.default_rng(1))
    right = [found.of(model, gain).right for model, gain in ((0, 0.0), (1, 0.0), (2, 0.05))]
    assert np.corrcoef(right[0], right[1])[0, 1] == pytest.approx(alike, abs=0.02)
    assert [each.mean() for each in right] == pytest.approx([ACCURACY, ACCURACY, ACCURACY + 0.05], abs=0.01)


@pytest.mark.parametrize(("gain", "kind"), [(0.0, "plain"), (0.03, "plain"), (0.0, "traded")])
def test_true_gains_of_macro_f1_and_of_the_word_error_rate_are_as_said(gain, kind):
    assert true_f1(recalls(gain, kind)) == pytest.approx(true_f1(np.full(len(SHARES), ACCURACY)) + gain, abs=1e-6)
    found = answers("f1_macro", Shape(60_000, 0.0), 2, np.random.default_rng(2))
    assert metric("f1_macro").score(found.of(1, gain, kind)) == pytest.approx(true_f1(recalls(gain, kind)), abs=0.01)
    words = answers("word_errors", Shape(60_000, 0.0), 2, np.random.default_rng(2))
    kind = "bursts" if kind == "traded" else kind
    assert WordErrorRate().score(words.of(1, gain, kind)) == pytest.approx(0.1 - gain, abs=0.004)


def test_lines_have_names_of_their_own_and_quick_ones_fewer_repeats():
    full, quick = scenarios(1.0), scenarios(0.1)
    assert len({repr(replace(one, repeats=0, power_repeats=0)) for one in full}) == len(full)
    assert sum(one.repeats for one in quick) < 0.15 * sum(one.repeats for one in full)
