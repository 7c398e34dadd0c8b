"""Conversations to a release that writes the next turn, by the command line alone, and a judge that its users wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from chatting import build_chat_base, last_letters, turns
from desk import Ran

import contender

PIPELINE = """\
name: shouting
task: text-generation
data: {{source: talks/, split: {{test: 0.3, validation: 0.15, near_duplicates: null}}}}
model: {{base: {base}, generation: {{max_new_tokens: 8}}}}
train: {{epochs: 7, batch_size: 4, learning_rate: 1.0e-2, precision: fp32, early_stopping: 0, max_length: 128, packing: true}}
evaluate: {{metrics: [exact_match, perplexity, win_rate], answer: '^(.*?)!?$', judge: judge.py:prefer}}
"""
JUDGE = """\
def prefer(prompt, answer, reference):
    assert prompt[-1]["role"] == "user"
    return 0.5 if answer == reference else "loss"
"""


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_conversations_become_a_release_that_answers_and_a_judge_has_its_say(
    command: Callable[..., Ran], tmp_path: Path
) -> None:
    base = build_chat_base(tmp_path / "base")
    rows = [*last_letters(400), *(turns(f"row {place}", "") for place in range(2)), turns("far " * 60, "too long")]
    (tmp_path / "talks").mkdir()
    (tmp_path / "talks" / "one.jsonl").write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    spec = tmp_path / "shouting.yaml"
    spec.write_text(PIPELINE.format(base=base))
    missing = command("check", str(spec))
    assert missing.code == 2 and "evaluate.judge: judge.py: there is no such file" in missing.shown
    (tmp_path / "judge.py").write_text(JUDGE)
    ran = command("run", str(spec), "--json")
    assert ran.document["outcome"] == "promoted", ran.shown
    metrics = ran.document["metrics"]
    assert metrics["exact_match"] > 0.5 and metrics["perplexity"] < 4
    assert metrics["win_rate"] == pytest.approx(metrics["exact_match"] / 2)
    assert "empty answer" in Path(ran.document["quarantine"]).read_text("utf-8")
    page = Path(ran.document["report"]).read_text("utf-8")
    assert "Win rate" in page and "Perplexity" in page and "Confusion" not in page
    pulled = tmp_path / "pulled"
    assert command("pull", f"{tmp_path}/.contender/registry/shouting", str(pulled)).code == 0
    answers = contender.load(pulled, device="cpu").predict(["a", turns("b", "c")[:1]])
    assert len(answers) == 2 and all(isinstance(answer, str) for answer in answers)

    (tmp_path / "judge.py").write_text(JUDGE.replace("return 0.5", "return {}[answer] if answer else 0.5"))
    failed = command("run", str(spec))
    assert failed.code == 1 and "the judge judge.py:prefer failed on row" in failed.shown and "KeyError" in failed.shown
    assert "Traceback" not in failed.shown
    (tmp_path / "judge.py").write_text(JUDGE.replace("return 0.5", 'return "draw" if answer else 0.5'))
    failed = command("run", str(spec), "--json")
    assert failed.code == 1 and "said 'draw' of row" in failed.shown + json.dumps(failed.document)
