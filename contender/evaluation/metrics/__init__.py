"""The metrics: one `evaluate.Metric` module each, computed here without any network, equal to scikit-learn's values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from contender.errors import UsageError, known

if TYPE_CHECKING:
    import pyarrow as pa

    from contender.evaluation.metrics.base import OutcomeMetric
    from contender.evaluation.outcomes import Outcomes


@dataclass(frozen=True)
class MetricFacts:
    """What is known of a metric without importing it."""

    title: str
    needs: tuple[str, ...]  # columns of the outcomes
    higher_is_better: bool = True
    revision: int = 1  # raised when the same outcomes give another value
    percent: bool = True  # people read it as a percentage


_CLASSES = ("label", "prediction")
_RANKING = ("positive", "p_positive")

METRICS: dict[str, MetricFacts] = {
    "accuracy": MetricFacts("Accuracy", _CLASSES),
    "precision": MetricFacts("Precision (macro)", _CLASSES),
    "recall": MetricFacts("Recall (macro)", _CLASSES),
    "f1_macro": MetricFacts("F1 (macro)", _CLASSES),
    "f1_weighted": MetricFacts("F1 (weighted)", _CLASSES),
    "log_loss": MetricFacts("Log loss", ("p_label",), higher_is_better=False, percent=False),
    "calibration_error": MetricFacts("Calibration error", (*_CLASSES, "confidence"), higher_is_better=False),
    "average_precision": MetricFacts("Average precision", _RANKING),
    "roc_auc": MetricFacts("ROC AUC", _RANKING),
    "recall_at_p50": MetricFacts("Recall at 50% precision", _RANKING),
    "recall_at_p80": MetricFacts("Recall at 80% precision", _RANKING),
    "recall_at_p90": MetricFacts("Recall at 90% precision", _RANKING),
    "recall_at_p95": MetricFacts("Recall at 95% precision", _RANKING),
    "in_scope_accuracy": MetricFacts("In-scope accuracy", (*_CLASSES, "out_of_scope")),
    "out_of_scope_recall": MetricFacts("Out-of-scope recall", (*_CLASSES, "out_of_scope")),
    "out_of_scope_precision": MetricFacts("Out-of-scope precision", (*_CLASSES, "said_out_of_scope")),
    "f1_micro": MetricFacts("F1 (micro)", _CLASSES),
    "f1_macro_labels": MetricFacts("F1 (macro over labels)", _CLASSES),
    "precision_micro": MetricFacts("Precision (micro)", _CLASSES),
    "recall_micro": MetricFacts("Recall (micro)", _CLASSES),
    "entity_f1": MetricFacts("Entity F1", _CLASSES),
    "entity_precision": MetricFacts("Entity precision", _CLASSES),
    "entity_recall": MetricFacts("Entity recall", _CLASSES),
    "token_accuracy": MetricFacts("Token accuracy", _CLASSES),
    "bleu": MetricFacts("BLEU", _CLASSES),
    "bleu_char": MetricFacts("BLEU (characters)", _CLASSES),
    "chrf": MetricFacts("chrF", _CLASSES),
    "rouge1": MetricFacts("ROUGE-1", _CLASSES),
    "rouge2": MetricFacts("ROUGE-2", _CLASSES),
    "rougeL": MetricFacts("ROUGE-L", _CLASSES),
    "perplexity": MetricFacts("Perplexity", ("nll", "tokens"), higher_is_better=False, percent=False),
    "exact_match": MetricFacts("Exact match", _CLASSES),
    "win_rate": MetricFacts("Win rate", ("win",)),
}


def metric(name: str) -> OutcomeMetric:
    """The metric module's `evaluate.Metric`; UsageError naming the known ones if there is none of that name."""
    metric_revisions([name])
    base = import_module("contender.evaluation.metrics.base")
    module = import_module(f"contender.evaluation.metrics.{name}")
    found: type[OutcomeMetric] = next(
        value for value in vars(module).values() if isinstance(value, type) and issubclass(value, base.OutcomeMetric)
    )
    return found()


def compute(outcomes: pa.Table, names: Sequence[str]) -> dict[str, float]:
    """Metric → value over a table of outcomes, without a Python loop over rows."""
    from contender.evaluation.outcomes import from_table

    return scores(from_table(outcomes), names)


def metric_revisions(names: Sequence[str]) -> dict[str, int]:
    """Metric → revision; UsageError for a metric that is not known."""
    for name in names:
        if name not in METRICS:
            raise UsageError(known("metric", name, METRICS), "Name one of these under evaluate.metrics.")
    return {name: METRICS[name].revision for name in names}


def scores(outcomes: Outcomes, names: Sequence[str]) -> dict[str, float]:
    """Metric → value over outcomes that are prepared already."""
    return {name: metric(name).score(outcomes) for name in names}
