"""Noise records as a measurement leaves them."""

from __future__ import annotations

from typing import Any

from contender.noise import NoiseReport, spread


def noise_report(accuracies: list[float], key: str = "k", models: int | None = None, **changes: Any) -> NoiseReport:
    """Of so many trainings, which ended in so many `models`: by default each in its own."""
    runs = len(accuracies)
    return NoiseReport(
        **{
            "key": key,
            "pipeline": "desk",
            "set": "test",
            "rows": 1200,
            "primary": "accuracy",
            "seeds": tuple(range(17, 17 + runs)),
            "models": tuple(f"m{min(place, (models or runs) - 1)}" for place in range(runs)),
            "spreads": {"accuracy": spread(accuracies)},
            "split": {"test": "d"},
            "base": "b",
            "versions": {"torch": "2"},
            "device": "cpu",
            "dtype": "fp32",
            "precision": "fp32",
            "trained_on": "cpu",
            "at": "2026-11-22T14:00:00.000Z",
        }
        | changes
    )
