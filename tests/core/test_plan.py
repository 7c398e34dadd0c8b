"""Each key of the spec changes exactly what its table says, and nothing else."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from contender.plan import CONSUMERS, REVISIONS, parts, stage_key
from contender.spec import Pipeline, Spec
from deployments.docs import pages
from deployments.spec_reference import consumers, spec_keys

BASE: dict[str, Any] = {
    "name": "support",
    "task": "text-classification",
    "data": {"source": "tickets/", "golden": {"hard": "hard.csv"}},
    "model": {"base": "folder"},
    "evaluate": {"slices": ["language"]},
    "schedule": {"cron": "0 4 * * *"},
    "triggers": {
        "new_data": {},
        "degradation": {"bound": 0.9},
        "webhook": {"scheme": "basic", "secrets": ["env:HOOK_SECRET"]},
    },
    "notify": {"to": ["env:SLACK_URL"]},
}

# A value other than the default (or than BASE's) for every key.
OTHER: dict[str, Any] = {
    "name": "other",
    "workspace": "elsewhere/",
    "data.source": "other/",
    "data.columns": {"text": "body"},
    "data.csv.delimiter": ";",
    "data.csv.header": False,
    "data.csv.encoding": "latin-1",
    "data.features.columns": ["age"],
    "data.features.drop": ["id"],
    "data.features.categorical": ["branch"],
    "data.features.history.time": "when",
    "data.features.history.entities": ["customer"],
    "data.features.history.values": ["amount"],
    "data.features.history.windows": ["2d"],
    "data.features.history.label_delay": "7d",
    "evaluate.positive": "yes",
    "evaluate.out_of_scope": "oos",
    "data.split.by": "time",
    "data.split.column": "when",
    "data.split.gap": "2d",
    "data.split.test": 0.3,
    "data.split.validation": 0.2,
    "data.split.key": "customer",
    "data.split.near_duplicates": 0.9,
    "data.golden": {"easy": "easy.csv"},
    "quality.suite": "own.yaml",
    "quality.bad_rows": "stop",
    "quality.max_bad_fraction": 0.5,
    "quality.in_memory_rows": 10,
    "model.base": "other",
    "model.init": "scratch",
    "model.method": "head",
    "model.lora.r": 8,
    "model.lora.alpha": 16,
    "model.lora.dropout": 0.1,
    "model.lora.targets": ["query", "value"],
    "model.config": {"hidden_size": 64},
    "model.generation.beams": 1,
    "model.generation.max_new_tokens": 40,
    "model.generation.length_penalty": 0.5,
    "model.generation.no_repeat_ngram": 3,
    "train.epochs": 1,
    "train.batch_size": 8,
    "train.learning_rate": 1e-4,
    "train.head_learning_rate": 1e-3,
    "train.early_stopping": 0,
    "train.seed": 1,
    "train.weight_decay": 0.5,
    "train.dropout": 0.3,
    "train.layer_decay": 0.9,
    "train.label_smoothing": 0.1,
    "train.class_weights": "balanced",
    "train.augment": "light",
    "train.packing": True,
    "train.max_grad_norm": 2.0,
    "train.warmup": 0.5,
    "train.max_length": 64,
    "train.precision": "fp32",
    "selection.keep": 2,
    "selection.by": "fine-tune",
    "selection.rows": 50,
    "selection.api_rows": 10,
    "selection.api_key": "env:LLM_KEY",
    "selection.prices": {"api:https://llm.example.com/v1#large": {"input": 1.0, "output": 2.0}},
    "search.method": "random",
    "search.space": {"train.epochs": [1, 2]},
    "search.trials": 5,
    "search.prune": "none",
    "search.stop_when": {"accuracy": 0.9},
    "cross_validation.folds": 3,
    "search.objectives": ["latency_ms"],
    "search.tolerance": 0.01,
    "search.around": "champion",
    "compress.quantize": "int8",
    "compress.distill.to": "smaller",
    "compress.distill.temperature": 4.0,
    "compress.distill.alpha": 0.9,
    "evaluate.metrics": ["accuracy"],
    "evaluate.answer": "= (.+)",
    "evaluate.judge": "judge.py:other",
    "evaluate.slices": ["channel"],
    "promote.to": "elsewhere",
    "promote.alias": "staging",
    "promote.floors": {"accuracy": 0.5},
    "promote.versus_champion.rule": "non_inferior",
    "promote.versus_champion.confidence": 0.9,
    "promote.versus_champion.min_gain": 0.01,
    "promote.versus_champion.margin": 0.02,
    "promote.versus_champion.metric": "f1_macro",
    "promote.versus_champion.on": "hard",
    "promote.versus_champion.all": [{"min_gain": 0.01}],
    "promote.versus_champion.any": [{"min_gain": 0.01}],
    "promote.versus_champion.detectable_gain": 0.01,
    "promote.guards.slices.max_drop": 0.03,
    "promote.guards.slices.min_rows": 30,
    "promote.guards.golden.max_drop": 0.01,
    "promote.guards.calibration.max_rise": 0.02,
    "promote.guards.model_size_mb": 100,
    "promote.guards.latency_median_ms": 20,
    "promote.guards.latency_p95_ms": 50,
    "promote.guards.latency_ratio": 1.5,
    "promote.guards.strict": True,
    "promote.signing_key": "env:SIGNING_KEY",
    "promote.single_writer": True,
    "concurrency": "skip",
    "resources.max_recoveries": 5,
    "resources.checkpoint.every": "30s",
    "resources.checkpoint.steps": 100,
    "resources.parallel": 2,
    "resources.budget.hours": 4.0,
    "resources.budget.cost": 10.0,
    "resources.budget.kwh": 1.5,
    "resources.budget.price_per_hour": 3.5,
    "resources.budget.when_spent": "judge",
    "train.deterministic": True,
    "stores": {"s3://a/": {"profile": "p"}},
    "report.examples": "none",
    "report.base_url": "https://models.example.com/registry",
    "schedule.name": "nightly",
    "schedule.cron": "0 3 * * *",
    "schedule.interval": "6h",
    "schedule.rrule": "FREQ=DAILY",
    "schedule.anchor": "2026-01-01T00:00:00Z",
    "schedule.timezone": "Europe/Berlin",
    "schedule.paused": True,
    "triggers.new_data.every": "1m",
    "triggers.new_data.settle": "5s",
    "triggers.new_data.min_rows": 500,
    "triggers.new_data.min_files": 3,
    "triggers.degradation.metric": "f1_macro",
    "triggers.degradation.bound": 0.8,
    "triggers.degradation.min_rows": 50,
    "triggers.webhook.scheme": "github",
    "triggers.webhook.secrets": ["env:OTHER_SECRET"],
    "triggers.webhook.map": {"train.epochs": "epochs"},
    "triggers.webhook.topic": "arn:aws:sns:eu-central-1:123456789012:uploads",
    "triggers.webhook.per_minute": 10,
    "triggers.webhook.max_bytes": 1000,
    "notify.on": ["kept"],
    "notify.to": ["block:slack-webhook/ml"],
}
# Keys with one supported value, and two that only go together.
ONLY_VALUE = {"task"}
TOGETHER = {
    **{f"model.lora.{name}": {"model.method": "lora"} for name in ("r", "alpha", "dropout", "targets")},
    "model.config": {"model.init": "scratch"},
    "data.split.by": {"data.split.column": "at"},
    "promote.versus_champion.rule": {"promote.versus_champion.margin": 0.02},
    "promote.versus_champion.margin": {"promote.versus_champion.rule": "non_inferior"},
    "schedule.interval": {"schedule.cron": None},
    "schedule.rrule": {"schedule.cron": None},
    "schedule.anchor": {"schedule.cron": None, "schedule.interval": "6h"},
}

# What a key needs to be there already.
SEVERAL = {"model.base": ["a", "b", "c", "api:https://llm.example.com/v1#large"]}
TABLE: dict[str, Any] = {
    "task": "tabular-classification",
    "data.columns": {"label": "intent"},
    "data.golden": {},
    "evaluate.positive": "no",
    "model.init": "scratch",
    "evaluate.metrics": ["accuracy"],
}
PAST = TABLE | {"data.features.history": {"time": "at", "entities": ["who"]}}
WRITING: dict[str, Any] = {"task": "translation", "data.columns": {"source": "body", "target": "intent"}}
CHAT: dict[str, Any] = {
    "task": "text-generation",
    "evaluate.metrics": ["exact_match", "win_rate"],
    "evaluate.judge": "judge.py:prefer",
}
WITHIN: dict[str, dict[str, Any]] = {
    **{key: WRITING for key in OTHER if key.startswith("model.generation.")},
    **{key: {"data.split.by": "time", "data.split.column": "at"} for key in ("data.split.column", "data.split.gap")},
    **dict.fromkeys(
        ("data.features.columns", "data.features.drop", "data.features.categorical", "evaluate.positive"), TABLE
    ),
    **dict.fromkeys(("train.packing", "evaluate.answer", "evaluate.judge"), CHAT),
    **{key: SEVERAL for key in OTHER if key.startswith("selection.")},
    "train.augment": {"task": "image-classification"},
    "resources.budget.cost": {"resources.budget.price_per_hour": 3.5},
    "search.tolerance": {"search.objectives": ["size_mb"]},
    **{f"compress.distill.{key}": {"compress.distill.to": "smaller"} for key in ("temperature", "alpha")},
    **{f"data.features.history.{key}": PAST for key in ("time", "entities", "values", "windows", "label_delay")},
}


def before_and_after(dotted: str) -> tuple[Pipeline, Pipeline]:
    within = WITHIN.get(dotted, {})
    return pipeline(within), pipeline(within | {dotted: OTHER[dotted]} | TOGETHER.get(dotted, {}))


def pipeline(changes: dict[str, Any]) -> Pipeline:
    value = deepcopy(BASE)
    for dotted, item in changes.items():
        node = value
        *parents, last = dotted.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = deepcopy(item)
    return Pipeline(spec=Spec.model_validate(value), folder="/", suite_name="s", suite={})


def test_every_key_is_tried() -> None:
    keys = set(spec_keys())
    assert len(keys) > 30
    assert keys == set(OTHER) | ONLY_VALUE


@pytest.mark.parametrize("dotted", sorted(OTHER))
def test_a_key_changes_what_its_table_says_and_nothing_else(dotted: str) -> None:
    before, after = map(parts, before_and_after(dotted))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == consumers(dotted)


@pytest.mark.parametrize("dotted", sorted(OTHER))
def test_a_stage_key_follows_its_part(dotted: str) -> None:
    before, after = before_and_after(dotted)
    changed = {stage for stage in REVISIONS if stage_key(before, stage, x=1) != stage_key(after, stage, x=1)}
    assert changed == consumers(dotted) & set(REVISIONS)


def test_options_of_another_method_are_no_part_of_a_training() -> None:
    def read(**changes: Any) -> Any:
        return parts(pipeline({f"model.{name.replace('_', '.')}": value for name, value in changes.items()}))["train"]

    assert read(lora_r=8) == read()
    assert read(lora_r=8, method="lora") != read(method="lora")


def test_no_entry_of_the_table_is_stale() -> None:
    keys = spec_keys()
    assert all(any(key == entry or key.startswith(f"{entry}.") for key in keys) for entry in CONSUMERS)


def test_the_written_pages_are_fresh() -> None:
    from pathlib import Path

    docs = Path(__file__).parents[2] / "docs"
    for name, text in pages().items():
        assert (docs / name).read_text(encoding="utf-8") == text, f"docs/{name} is stale: make schema"


def test_without_a_test_split_the_first_golden_set_is_judged_on() -> None:
    assert parts(pipeline({"data.split.test": 0}))["judge"]["on"] == "golden-hard"
    assert parts(pipeline({}))["judge"]["on"] == "test"
