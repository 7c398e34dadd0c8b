"""Names that a spec may use, known without importing what they stand for."""

from __future__ import annotations

METRIC_NAMES = (
    "accuracy",
    "precision",
    "recall",
    "f1_macro",
    "f1_weighted",
    "log_loss",
    "calibration_error",
    "bleu",
    "bleu_char",
    "chrf",
    "rouge1",
    "rouge2",
    "rougeL",
)
# Metrics without an upper bound; every other one is a share, between 0 and 1.
UNBOUNDED_METRICS = ("log_loss",)

# Trainings of `contender noise`: a hundred know the deviation within 15%, and nobody waits for more.
FEWEST_RUNS, MOST_RUNS, DEFAULT_RUNS = 2, 100, 5

# Hugging Face task names that a kind is planned for.
PLANNED_TASKS = (
    "token-classification",
    "image-classification",
    "translation",
    "summarization",
    "text-generation",
    "tabular-classification",
    "audio-classification",
)

# Task → the roles that columns of its data play.
ROLES = {"text-classification": ("text", "label")}
