"""The judge as a person meets it: rules in the YAML, the ledger that runs leave, and two releases judged again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from desk import Desk, Ran, tickets

pytestmark = pytest.mark.usefixtures("prefect_server")


def ledger(desk: Desk, held_out: str = "test") -> list[dict[str, object]]:
    folder = desk.registry / "desk" / "ledger" / held_out
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def judged(desk: Desk, *more: str) -> Ran:
    return desk.run("judge", "desk", *more, "--json")


def rules(ran: Ran) -> dict[str, str]:
    return {rule["rule"]: rule["outcome"] for rule in ran.document["verdict"]["rules"]}


@pytest.mark.slow
def test_looks_are_counted_and_the_report_says_how_much_is_used(desk: Desk) -> None:
    desk.drop("1.csv", tickets(240, seed=1, wrong=0.67))
    assert desk.retrain().document["outcome"] == "promoted"
    assert ledger(desk) == [], "nothing was compared"
    desk.drop("2.csv", tickets(900, seed=2))
    second = desk.retrain()
    assert second.document["outcome"] == "promoted", second.shown
    (look,) = ledger(desk)
    assert (look["look"], look["generation"]) == (1, 1)
    (told,) = second.document["verdict"]["looks"]
    assert told["spent"] == pytest.approx(0.608, abs=1e-3)
    assert told["units"] == second.document["verdict"]["rules"][0]["units"]
    report = Path(second.document["report"]).read_text()
    assert "61% of what all looks at them may spend is used" in report

    assert desk.retrain("--set", "promote.floors={accuracy: 0.01}").document["outcome"] == "kept", "it is live already"
    assert len(ledger(desk)) == 1, "the champion is not compared with itself, and a floor costs no look"
    desk.drop("3.csv", tickets(60, seed=3))
    assert desk.retrain("--set", "promote.versus_champion.min_gain=0.9").document["outcome"] == "kept"
    desk.retrain()
    assert [entry["look"] for entry in ledger(desk)] == [1, 2, 3], "an edited rule is a new look"
    found = desk.run("check", str(desk.pipeline), "--json").document
    assert found["smallest_gain"] > 0.03 and any("only gains above" in warning for warning in found["warnings"])


@pytest.mark.slow
def test_two_releases_are_judged_again_from_what_the_registry_keeps(desk: Desk, two_releases: tuple[str, str]) -> None:
    a, b = two_releases
    same = judged(desk, a)
    assert (same.code, same.document["outcome"]) == (0, "done")
    assert (same.document["challenger"], same.document["champion"]) == (b, a)
    live = desk.run("history", "desk", "--json").document["live"]
    mine, theirs = same.document["verdict"]["rules"][0], live["verdict"]["rules"][0]
    assert [mine[key] for key in ("p_value", "alpha", "better", "worse")] == [
        theirs[key] for key in ("p_value", "alpha", "better", "worse")
    ]
    assert len(ledger(desk)) == 1, "the same comparison on the same rows is the same look"

    back = desk.run("judge", f"desk@{a}", b, "--json")
    assert (back.code, back.document["outcome"], rules(back)) == (3, "kept", {"superior:accuracy": "failed"})
    assert len(ledger(desk)) == 2
    assert desk.run("history", "desk", "--json").document["live"]["release"] == b, "nothing was moved"

    desk.drop("3.csv", tickets(100, seed=4))
    today = judged(desk, a, "--pipeline", str(desk.pipeline))
    assert today.code == 0, today.shown
    assert today.document["set_digest"] != same.document["set_digest"]
    assert len(ledger(desk)) == 3
    margin = ("--set", "promote.versus_champion={rule: non_inferior, margin: 0.05}")
    assert rules(judged(desk, a, "--pipeline", str(desk.pipeline), *margin)) == {"non_inferior:accuracy": "passed"}
    assert len(ledger(desk)) == 4

    for wrong, said in [
        ((b,), "are the same release"),
        ((a, "--on", "hard"), "no outcomes of"),
        ((a, "--set", "train.epochs=1"), "--set overrides keys of a pipeline"),
        (("r-0123456789abcdef",), "r-0123456789abcdef"),
        ((a, "--on", "hard", "--pipeline", str(desk.pipeline)), "no held-out set"),
    ]:
        refused = judged(desk, *wrong)
        assert (refused.code, refused.document["outcome"]) == (2, "invalid"), refused.shown
        assert said in refused.document["error"]["what"]
    assert len(ledger(desk)) == 4


@pytest.mark.slow
def test_guards_and_rules_of_the_spec_decide(desk: Desk) -> None:
    desk.drop("1.csv", tickets(240, seed=1, wrong=0.67))
    (desk.folder / "hard.csv").write_text(
        "body,colour\n" + "".join(f"{text},{label}\n" for text, label in tickets(60, seed=9))
    )
    golden = ("--set", "data.golden={hard: hard.csv}")
    first = desk.retrain(*golden, "--set", "promote.guards={model_size_mb: 0.001}")
    assert first.document["outcome"] == "kept" and "above the limit of 0.001 MB" in first.document["message"]
    assert desk.retrain(*golden, "--set", "promote.guards={model_size_mb: 500}").document["outcome"] == "promoted"
    desk.drop("2.csv", tickets(900, seed=2))
    asked = "promote.versus_champion={all: [{rule: superior}, {rule: superior, metric: log_loss, on: hard}]}"
    slow = desk.retrain(*golden, "--set", asked, "--set", "promote.guards={latency_p95_ms: 0.001}")
    assert slow.document["outcome"] == "kept", slow.shown
    assert "95th percentile of latency is " in slow.document["message"]
    guards = (
        "promote.guards={golden: {max_drop: 0.01}, latency_p95_ms: 10000, latency_median_ms: 10000, latency_ratio: 100}"
    )
    second = desk.retrain(*golden, "--set", asked, "--set", guards)
    assert second.document["outcome"] == "promoted", second.shown
    assert set(rules(second).values()) == {"passed"}
    assert list(rules(second)) == [
        "superior:accuracy",
        "superior:log_loss",
        "golden:accuracy",
        "latency_median_ms",
        "latency_p95_ms",
        "latency_ratio",
    ]
    assert len(ledger(desk)) == len(ledger(desk, "golden-hard")) == 1, "an edited guard is no new look"
