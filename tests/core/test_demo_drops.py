"""The demo's data: the same bytes for the same seed, varied tickets, and every fault that the story promises."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import json
import sys
import tomllib
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from contender.data.source import ReadOptions, ingest, peek
from contender.loading import load_pipeline

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "pipelines" / "demo"


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo_drops", DEMO / "drops.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["demo_drops"] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


drops = load_generator()


def rows_of(name: str, content: bytes) -> list[dict[str, str | None]]:
    if name.endswith(".jsonl"):
        return [json.loads(line) for line in content.decode("utf-8", "replace").split("\n") if line]
    plain = gzip.decompress(content) if name.endswith(".gz") else content
    return list(csv.DictReader(io.StringIO(plain.decode("utf-8", "replace"), newline="")))


def folder_after(folder: Path, last: int) -> dict[str, bytes]:
    for number in range(1, last + 1):
        drops.write_drop(folder, number)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    for number in (1, 2, 3):
        assert drops.drop_files(number) == drops.drop_files(number)
        assert drops.drop_files(number, seed=1) != drops.drop_files(number, seed=2)


def test_drop_four_leaves_the_folder_as_drop_two_did(tmp_path: Path) -> None:
    after_two = folder_after(tmp_path / "two", 2)
    after_three = folder_after(tmp_path / "three", 3)
    assert sorted(after_two) == ["2026-09.csv", "2026-10-phone.csv.gz", "2026-10.jsonl"]
    assert set(after_three) - set(after_two) == {"2026-11.jsonl"}
    assert folder_after(tmp_path / "four", 4) == after_two


def test_the_columns_agree_across_files_of_every_format() -> None:
    seen = 0
    for number in (1, 2, 3):
        for name, content in drops.drop_files(number).items():
            assert all(tuple(row) == drops.COLUMNS for row in rows_of(name, content)), name
            seen += 1
    assert seen == 4


@pytest.mark.parametrize("seed", [drops.SEED, 1, 2])
def test_no_text_repeats_within_or_across_the_good_drops(seed: int) -> None:
    texts = [drops.normalised(ticket.body) for number in (1, 2) for ticket in drops.clean_tickets(number, seed)]
    assert len(texts) == len(set(texts)) > 900


def test_the_first_drop_knows_e_mail_only_and_the_second_brings_every_channel_with_every_intent() -> None:
    assert {ticket.channel for ticket in drops.clean_tickets(1)} == {"e-mail"}
    per_channel = Counter((ticket.channel, ticket.intent) for ticket in drops.clean_tickets(2))
    for channel in ("chat", "phone"):
        assert all(per_channel[channel, intent] >= 5 for intent in drops.INTENTS), channel
    first = Counter(ticket.intent for ticket in drops.clean_tickets(1))
    assert all(first[intent] >= 15 for intent in drops.INTENTS)


def test_more_rows_keep_the_shares_of_the_channels() -> None:
    counts = Counter(ticket.channel for ticket in drops.clean_tickets(2, rows=4000))
    plan = drops.PLAN[2]
    assert sum(counts.values()) == pytest.approx(4000, abs=3)
    for channel, count in plan.items():
        assert counts[channel] / 4000 == pytest.approx(count / sum(plan.values()), abs=0.01)


def test_every_phrase_of_the_grammar_expands_to_plain_text() -> None:
    writer = drops.Writer(drops.random.Random(5))
    phrases = [phrase for intent in drops.PHRASES["intents"].values() for bank in intent.values() for phrase in bank]
    assert len(phrases) > 250
    for phrase in phrases:
        assert not set("[]{}|") & set(writer.expand(phrase)), phrase


def test_no_two_intents_share_a_phrase() -> None:
    owners: dict[str, set[str]] = {}
    for intent, banks in drops.PHRASES["intents"].items():
        for voice in ("mail", "chat", "phone"):
            for phrase in banks[voice]:
                owners.setdefault(drops.normalised(phrase), set()).add(intent)
    assert owners and all(len(intents) == 1 for intents in owners.values())


def test_every_neighbour_is_another_known_intent() -> None:
    assert set(drops.NEIGHBOUR) == set(drops.INTENTS)
    assert all(other in drops.INTENTS and other != intent for intent, other in drops.NEIGHBOUR.items())


def test_a_slot_is_never_filled_twice_with_the_same_value_in_one_phrase() -> None:
    for seed in range(200):
        first, second = drops.Writer(drops.random.Random(seed)).expand("{size}/{size}").split("/")
        assert first != second


def test_the_bad_export_holds_every_fault_of_the_story() -> None:
    content = drops.drop_files(3)["2026-11.jsonl"]
    with pytest.raises(UnicodeDecodeError):
        content.decode("utf-8")
    rows = rows_of("2026-11.jsonl", content)
    labels = Counter(row["intent"] for row in rows)
    assert sum(row["body"] is None for row in rows) >= 10
    assert sum(row["body"] is not None and not row["body"].strip() for row in rows) >= 10
    assert labels[None] >= 10
    assert set(drops.UNKNOWN_INTENTS) & set(labels)
    assert sum("\ufffd" in (row["body"] or "") for row in rows) >= 10
    assert sum("Ã¼" in (row["body"] or "") for row in rows) >= 10
    assert any("<script>" in (row["body"] or "") or (row["body"] or "").startswith("=") for row in rows)
    per_text: dict[str, set[str | None]] = {}
    for row in rows:
        if row["body"]:
            per_text.setdefault(row["body"], set()).add(row["intent"])
    assert sum(len(intents) > 1 for intents in per_text.values()) >= 10


def ingested(folder: Path, tmp_path: Path) -> Path:
    options = ReadOptions()
    seen = peek(str(folder), options, base=tmp_path)
    out = tmp_path / "rows.arrow"
    ingest(str(folder), seen, options, out, base=tmp_path, required=["body", "intent"])
    return out


@pytest.mark.parametrize(("last", "passes"), [(1, True), (2, True), (3, False)])
def test_the_shipped_gate_lets_the_good_drops_pass_and_stops_the_bad_one(
    tmp_path: Path, last: int, passes: bool
) -> None:
    from contender.quality.gate import check

    pipeline = load_pipeline(DEMO / "support-desk.yaml")
    folder_after(tmp_path / "tickets", last)
    out = tmp_path / "gate"
    out.mkdir()
    report = check(
        ingested(tmp_path / "tickets", tmp_path),
        pipeline.suite,
        pipeline.spec.data.columns,
        out,
        suite_name=pipeline.suite_name,
        bad_rows=pipeline.spec.quality.bad_rows,
        max_bad_fraction=pipeline.spec.quality.max_bad_fraction,
        reference_label_shares=None if last == 1 else dict.fromkeys(drops.INTENTS, 1 / len(drops.INTENTS)),
    )
    assert report.passed is passes, report.message
    assert report.quarantined == {1: 0, 2: 4}.get(last, report.quarantined)
    if not passes:
        faults = {
            "null text",
            "null label",
            "unknown label",
            "encoding damage in text",
            "same text with different labels",
        }
        assert faults <= set(report.quarantined_by_reason)


def test_the_pipeline_names_the_base_model_that_the_demo_extra_installs() -> None:
    pipeline = load_pipeline(DEMO / "support-desk.yaml")
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]["demo"]
    assert pipeline.spec.model.base == "package:" + extra[0].split("==")[0]
    assert pipeline.spec.name == "support-desk"
