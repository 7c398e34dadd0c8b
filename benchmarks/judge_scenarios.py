"""The held-out sets and lives that benchmarks/judge_simulation.py judges."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.simulated import Shape
from contender.judging.rules import Rules

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Scenario:
    """One line: single looks, or lives. gain: the true one for which the power is asked; kind: of challenger."""

    name: str
    metric: str
    shape: Shape
    repeats: int
    gain: float = 0.0
    power_repeats: int = 0
    life: str = ""  # fixed, growing, improving; "": single looks
    min_gain: float = 0.0
    margin: float = 0.0
    kind: str = "plain"

    @property
    def growing(self) -> bool:
        return self.life.startswith("growing")

    @property
    def threshold(self) -> float:
        return self.min_gain - self.margin

    @property
    def rules(self) -> Rules:
        versus = ({"rule": "non_inferior", "margin": self.margin} if self.margin else {"min_gain": self.min_gain}) | {
            "confidence": CONFIDENCE
        }
        primary = self.metric if self.metric != "word_errors" else "log_loss"  # says how many rows are enough, no more
        return Rules.model_validate({"primary": primary, "versus": versus})


def scenarios(scale: float) -> list[Scenario]:
    """Every line; scale: of repeats."""

    def times(count: int) -> int:
        return max(30, round(count * scale))

    found = []
    # metric, repeats up to 1,000 rows, of 5,000 rows, of clusters, of the power; the gain that it is asked for
    sizes = (
        ("accuracy", 5_000, 3_000, 600, 1_000, 0.03),
        ("f1_macro", 600, 200, 400, 60, 0.03),
        ("word_errors", 300, 100, 200, 40, 0.01),
    )
    for metric, repeats, most, few, power, gain in sizes:
        few, power = times(few), times(power)
        found += [
            Scenario("one look", metric, Shape(rows, alike), times(most if rows == 5_000 else repeats), gain, power)
            for rows in (200, 1_000, 5_000)
            for alike in (0.0, 0.5, 0.9)
        ]
        found += [
            Scenario("10 rows a key", metric, Shape(1_000, 0.5, per_key=10), few, gain, power),
            Scenario("10 rows a key", metric, Shape(5_000, 0.5, per_key=10), few, gain, power),
            Scenario("up to 50 copies of a row", metric, Shape(5_000, 0.5, copies=50), few, gain, power),
        ]
    one = Shape(1_000, 0.5)
    found += [
        Scenario("min_gain 1 point", "accuracy", one, times(3_000), 0.04, times(500), min_gain=0.01),
        Scenario("non-inferior, 2 points", "accuracy", one, times(3_000), 0.0, times(500), margin=0.02),
        Scenario("large keys take it back", "accuracy", Shape(5_000, 0.5, copies=50), times(600), kind="traded"),
        Scenario("classes traded", "f1_macro", one, times(600), 0.03, times(60), kind="traded"),
        Scenario("errors in bursts", "word_errors", one, times(300), 0.01, times(40), kind="bursts"),
        *(Scenario("a life", "accuracy", Shape(rows, 0.5), times(2_000), life="fixed") for rows in (200, 1_000, 5_000)),
        *(Scenario("a life", "accuracy", Shape(1_000, alike), times(2_000), life="fixed") for alike in (0.0, 0.9)),
        Scenario("a life, 10 rows a key", "accuracy", Shape(1_000, 0.5, per_key=10), times(400), life="fixed"),
        Scenario("a life, up to 50 copies", "accuracy", Shape(5_000, 0.5, copies=50), times(200), life="fixed"),
        Scenario("a life", "f1_macro", one, times(200), life="fixed"),
        Scenario("a life", "word_errors", one, times(60), life="fixed"),
        Scenario("a growing set's generations", "accuracy", Shape(5_000, 0.5), times(400), life="growing"),
        Scenario("a growing set's generations", "f1_macro", Shape(5_000, 0.5), times(30), life="growing"),
        Scenario("a life that improves", "accuracy", Shape(5_000, 0.5), times(400), 0.025, life="improving"),
        Scenario(
            "a growing life that improves", "accuracy", Shape(5_000, 0.5), times(400), 0.025, life="growing improving"
        ),
    ]
    return found
