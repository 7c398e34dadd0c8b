"""Model selection on real bases: what it leaves, what it does not repeat, and that it never sees a held-out row."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chatting import build_chat_base, last_letters
from desk import COLOURS, Desk, start, tickets, until, until_checkpoint
from llm import Llm, needs_server
from pairs import sentences
from tiny import build_tiny_base

from contender.errors import DataError, ModelError, Transient, UsageError
from contender.evaluation.metrics import compute
from contender.loading import load_pipeline
from contender.progress import Note, listening
from contender.records import SplitReport
from contender.run import Run, open_run
from contender.selecting import ComparedBase
from contender.stages.asked import ask_base
from contender.stages.base import find_base, find_bases
from contender.stages.data import check_quality, look, split_rows, take_snapshot
from contender.stages.selection import compare_base, conclude_selection
from contender.workspace import Staged


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> list[str]:
    """One that reads the words of the tickets, one that knows none of them, and one of an architecture that nobody has."""
    folder = tmp_path_factory.mktemp("bases")
    for name in ("deaf", "strange"):
        (folder / name).mkdir()
    build_tiny_base(folder / "deaf", words=("nothing", "else"))
    shutil.copytree(tiny_base, folder / "strange", dirs_exist_ok=True)
    config = json.loads((folder / "strange" / "config.json").read_text())
    (folder / "strange" / "config.json").write_text(json.dumps(config | {"model_type": "nosuch"}))
    return [str(folder / "deaf"), str(tiny_base), str(folder / "strange")]


def opened(desk: Desk, bases: list[str], *changes: str) -> tuple[Run, Staged[SplitReport]]:
    desk.drop("1.csv", tickets(240, seed=1))
    run = open_run(load_pipeline(desk.pipeline, (f"model.base={json.dumps(bases)}", *changes)), actor="")
    snapshot = take_snapshot(run, look(run))
    return run, split_rows(run, snapshot, check_quality(run, snapshot, None))


def compare_all(run: Run, split: Staged[SplitReport]) -> list[ComparedBase]:
    return [compare_base(run, base, split) for base in find_bases(run)]


@pytest.mark.slow
def test_the_best_base_is_chosen_without_a_held_out_row_and_one_that_cannot_be_trained_is_a_finding(
    desk: Desk, bases: list[str]
) -> None:
    """Everything but train and validation is gone from the disk before the first base is tried."""
    run, split = opened(desk, bases, "resources.budget.price_per_hour=3.6")
    held_out = sorted(path for path in split.folder.iterdir() if "test" in path.name or "golden" in path.name)
    assert held_out
    for path in [*held_out, *(desk.folder / ".contender" / "stages" / "snapshot").glob("*/source.arrow")]:
        path.unlink()
    deaf, reads, strange = compared = compare_all(run, split)
    assert (strange.state, strange.score) == ("failed", None) and "nosuch" in strange.message
    assert str(desk.folder.parent) not in strange.message and bases[2] not in strange.message
    assert reads.score is not None and deaf.score is not None and reads.score > deaf.score
    assert deaf.low is not None and deaf.high is not None and deaf.low < deaf.score < deaf.high
    assert reads.examples == split.record.rows["train"] and reads.rows == split.record.rows["validation"]
    assert (reads.parameters or 0) > 20_000 and (reads.megabytes or 0) > 0.1 and (reads.latency_ms or 0) > 0
    assert all((base.training_seconds or 0) > 0 for base in (deaf, reads)), (
        "of the whole model, though a layer was trained"
    )
    report = conclude_selection(run, split, compared, 1.0)
    assert (report.chosen, report.kept) == (2, (2,))
    assert report.winner.training_cost == pytest.approx((reads.training_seconds or 0) * 1e-3)
    assert report.winner.cost_per_1000 == pytest.approx((reads.latency_ms or 0) * 1e-3)
    changes = ("resources.budget.price_per_hour=1", "promote.floors.accuracy=0.2")
    pipeline = load_pipeline(desk.pipeline, (f"model.base={json.dumps(bases)}", *changes))
    assert compare_all(replace(run, pipeline=pipeline), split) == compared, "found, with the same latencies"
    compared.append(compare_base(run, find_bases(run)[0], split, full=True))
    assert conclude_selection(run, split, compared, 1.0).chosen == 1, "the only one that was trained in full"


def test_a_base_of_which_the_specs_own_training_is_not_possible_is_a_finding_though_a_probe_of_it_is(
    desk: Desk, bases: list[str]
) -> None:
    run, split = opened(desk, bases[:2], "model.method=lora", "model.lora.targets=[nosuch]")
    found = compare_base(run, find_bases(run)[1], split)
    assert found.state == "failed" and found.score is None and "nosuch" in found.message


def test_where_no_base_can_be_trained_the_run_ends_with_the_first_reason(desk: Desk, bases: list[str]) -> None:
    other = Path(bases[2]).with_name("stranger")
    shutil.copytree(bases[2], other, dirs_exist_ok=True)
    run, split = opened(desk, [bases[2], str(other)])
    with pytest.raises(ModelError, match="none of 2 bases"):
        conclude_selection(run, split, compare_all(run, split), 1.0)


def test_a_base_that_is_not_there_is_an_error_before_anything_trains(desk: Desk, bases: list[str]) -> None:
    run, _ = opened(desk, [bases[0], "./nowhere"])
    with pytest.raises(ModelError, match="nowhere"):
        find_bases(run)
    with pytest.raises(UsageError, match="names 2 bases"):
        find_base(run)


@pytest.mark.slow
def test_a_sample_is_a_part_of_the_rows_and_an_epoch_foretells_the_whole_training(desk: Desk, bases: list[str]) -> None:
    run, split = opened(desk, bases[:2], "selection.rows=60", "selection.by=fine-tune")
    found = compare_base(run, find_bases(run)[1], split)
    assert 20 < found.examples < split.record.rows["train"]
    assert found.training_seconds is not None and 0 < found.training_seconds < 60
    assert not list((desk.folder / ".contender" / "stages" / "train").glob("[!.]*")), "a sample's model is of no use"


TALKING = """\
name: talking
task: text-generation
data: {{source: talks/, split: {{test: 0.2, validation: 0.3, near_duplicates: null}}}}
model: {{base: {bases}}}
selection: {{by: zero-shot}}
evaluate: {{metrics: [perplexity]}}
"""


def of_rows(desk: Desk, folder: str, rows: list[dict[str, Any]], pipeline: str) -> tuple[Run, Staged[SplitReport]]:
    (desk.folder / folder).mkdir()
    (desk.folder / folder / "one.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    desk.pipeline.write_text(pipeline)
    run = open_run(load_pipeline(desk.pipeline), actor="")
    snapshot = take_snapshot(run, look(run))
    return run, split_rows(run, snapshot, check_quality(run, snapshot, None))


@pytest.mark.slow
def test_bases_that_write_are_compared_as_they_are(desk: Desk, tmp_path: Path) -> None:
    for name, layers in (("one", 1), ("two", 2)):
        (tmp_path / name).mkdir()
        build_chat_base(tmp_path / name, layers=layers)
    bases = json.dumps([str(tmp_path / "one"), str(tmp_path / "two")])
    talks = [{"messages": row} for row in last_letters(200)]
    run, split = of_rows(desk, "talks", talks, TALKING.format(bases=bases))
    one, two = compared = compare_all(run, split)
    assert {base.way for base in compared} == {"zero-shot"} and all(base.examples == 0 for base in compared)
    assert one.score is not None and two.score is not None and one.low is not None
    assert (two.parameters or 0) > (one.parameters or 0) > 10_000
    assert not (desk.folder / ".contender" / "stages" / "train").exists()
    chosen = conclude_selection(run, split, compared, 1.0).winner
    assert chosen.score == min(one.score, two.score), "of perplexity less is better"


def written(desk: Desk) -> dict[str, int]:
    """Compared base → which writing of its record."""
    found = (desk.folder / ".contender" / "stages" / "candidate").glob("[!.]*/candidate.json")
    return {path.parent.name: path.stat().st_ino for path in found}


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_the_chosen_base_is_released_as_if_it_alone_had_been_named(desk: Desk, bases: list[str]) -> None:
    desk.drop("1.csv", tickets(240, seed=1))
    ran = desk.retrain("--set", f"model.base={json.dumps(bases)}")
    assert (ran.code, ran.document["outcome"]) == (0, "promoted"), ran.shown
    found = ran.document["selection"]
    assert found["chosen"] == 2 and "is the best of 3 bases" in ran.shown
    (manifest,) = desk.registry.glob("desk/releases/*/manifest.json")
    lineage = json.loads(manifest.read_text())["lineage"]
    assert [one["name"] for one in lineage["compared"]] == [Path(base).name for base in bases]
    assert lineage["base"] == lineage["spec"]["model"]["base"] == Path(bases[1]).name
    page = Path(ran.document["report"]).read_text()
    assert 'id="selection"' in page and "3 bases on" in page and str(Path(bases[0]).parent) not in page
    alone = desk.retrain("--set", f"model.base={bases[1]}")
    stages = [{stage["name"]: stage for stage in one.document["stages"]} for one in (ran, alone)]
    assert stages[1]["train"]["cached"] and stages[1]["train"]["key"] == stages[0]["train"]["key"]
    before = written(desk)
    again = desk.retrain("--set", f"model.base={json.dumps(bases)}", "--set", "promote.floors.accuracy=0.1")
    assert again.document["selection"]["bases"] == found["bases"] and written(desk) == before


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_killed_selection_goes_on_with_the_base_that_it_was_at_and_keeps_the_best_of_two(
    desk: Desk, bases: list[str]
) -> None:
    desk.drop("1.csv", tickets(240, seed=1))
    changes = ("--set", f"model.base={json.dumps(bases)}", "--set", "selection.keep=2")
    run = start(desk, *changes)
    until(run, "✓ split")
    while not written(desk):
        assert run.poll() is None
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait(60)
    before = written(desk)
    done = desk.retrain(*changes)
    assert done.code == 0, done.shown
    assert before and {key: written(desk)[key] for key in before} == before, "what was compared is not compared again"
    found = done.document["selection"]
    full = {base["number"]: base for base in found["bases"] if base["way"] == "full"}
    assert set(full) == set(found["kept"]) == {1, 2} and found["chosen"] == 2
    stages = {stage["name"]: stage for stage in done.document["stages"]}
    assert stages["train"]["cached"] and stages["train"]["key"] == full[2]["model"]


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_run_stopped_while_it_compares_bases_keeps_a_checkpoint_and_goes_on(desk: Desk, bases: list[str]) -> None:
    desk.drop("1.csv", tickets(600, seed=1))
    longer = (
        "--set",
        "resources.checkpoint.steps=20",
        "--set",
        "selection.by=fine-tune",
        "--set",
        "train.batch_size=1",
    )
    changes = ("--set", f"model.base={json.dumps(bases[:2])}", *longer)
    run = start(desk, *changes)
    until_checkpoint(desk, run)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, json.loads(out)["outcome"]) == (75, "interrupted"), err
    again = desk.retrain(*changes, "--set", "train.epochs=1")
    assert again.code == 0 and len(again.document["selection"]["bases"]) == 2, again.shown


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_search_chooses_among_the_bases_that_were_kept(desk: Desk, bases: list[str]) -> None:
    desk.drop("1.csv", tickets(240, seed=1))
    space = {"train.learning_rate": {"low": 1e-3, "high": 1e-2, "scale": "log"}}
    search = json.dumps({"method": "random", "trials": 5, "space": space})
    kept = ("--set", f"model.base={json.dumps(bases)}", "--set", "selection.keep=2", "--set", f"search={search}")
    ran = desk.retrain(*kept, "--set", "train.epochs=3")
    assert (ran.code, ran.document["outcome"]) == (0, "promoted"), ran.shown
    found = ran.document["selection"]
    assert not [base for base in found["bases"] if base["way"] == "full"], "the trials are those trainings"
    first, *others = ran.document["search"]["trials"]
    assert not first["changes"] and {one["changes"]["model.base"] for one in others} == set(bases[:2])
    chosen = ran.document["search"]["trials"][ran.document["search"]["best"] - 1]["changes"].get("model.base", bases[1])
    (manifest,) = desk.registry.glob("desk/releases/*/manifest.json")
    assert json.loads(manifest.read_text())["lineage"]["base"] == Path(chosen).name
    page = Path(ran.document["report"]).read_text()
    assert str(Path(bases[0]).parent) not in page and "The search tries the 2 that were kept" in page


# --- models that are only asked ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llm]:
    made = Llm(tmp_path_factory.mktemp("llm") / "chat")
    yield made.start()
    made.stop()


@pytest.mark.slow
@needs_server
def test_somebody_elses_model_is_compared_on_the_same_rows_and_never_chosen(
    desk: Desk, bases: list[str], llm: Llm
) -> None:
    price = json.dumps({llm.base: {"input": 2.0, "output": 10.0}})
    run, split = opened(desk, [*bases[:2], llm.base], "selection.api_rows=6", f"selection.prices={price}")
    asked = [ask_base(run, llm.base, shots, split) for shots in ("zero-shot", "few-shot")]
    for one, examples in zip(asked, (0, 8), strict=True):
        assert (one.rows, one.examples, one.number, one.parameters) == (6, examples, 3, None)
        assert one.score is not None and (one.latency_ms or 0) > 0
        tokens = (one.input_tokens or 0) * 2.0 + (one.output_tokens or 0) * 10.0
        assert tokens > 0 and one.cost_per_1000 == pytest.approx(tokens / 1e6 / 6 * 1000)
    assert (asked[1].input_tokens or 0) > 2 * (asked[0].input_tokens or 0), "a server counts the examples too"
    compared = [*asked, *compare_all(run, split)]
    assert all(base.asked_score is not None for base in compared)
    report = conclude_selection(run, split, compared, 1.0)
    assert report.chosen == 2 and f"{llm.base}, only asked" in report.sentence
    held = (desk.folder / ".contender").rglob("answers.jsonl")
    assert sorted(len(path.read_text().splitlines()) for path in held) == [6, 6]
    asking = run.pipeline.spec.evaluate.model_copy(update={"metrics": ("f1_macro",)})
    other = run.pipeline.model_copy(update={"spec": run.pipeline.spec.model_copy(update={"evaluate": asking})})
    server = llm.process
    llm.process = None  # nobody could be asked
    assert server is not None
    server.send_signal(signal.SIGSTOP)
    try:
        assert ask_base(replace(run, pipeline=other), llm.base, "zero-shot", split).metrics.keys() == {"f1_macro"}
    finally:
        server.send_signal(signal.SIGCONT)
        llm.process = server


# Of last_letters: whether question and reference are of one row, whatever the answer.
JUDGE = "def prefer(prompt, answer, reference):\n    return float(prompt[-1]['content'][-1].upper() == reference)\n"
ANSWERING = """\
name: answering
task: text-generation
data: {{source: talks/, split: {{test: 0.2, validation: 0.3, near_duplicates: null}}}}
model: {{base: [a, b, "{asked}"], generation: {{max_new_tokens: 5}}}}
selection: {{api_rows: 6, prices: {{"{asked}": {{input: 2, output: 10}}}}}}
evaluate: {{metrics: [exact_match, perplexity, win_rate], answer: "(.*)", judge: judge.py:prefer}}
"""


def table_of(desk: Desk) -> pa.Table:
    """The outcomes of the one model that was asked."""
    (found,) = (desk.folder / ".contender" / "stages" / "predict").glob("[!.]*/outcomes.parquet")
    return pq.read_table(found)


def with_rows(split: Staged[SplitReport], folder: Path, change: Callable[[pa.Table], pa.Table]) -> Staged[SplitReport]:
    """The split with other rows of validation."""
    shutil.copytree(split.folder, folder)
    (folder / "validation.arrow").unlink()
    with pa.memory_map(str(split.folder / "validation.arrow")) as source:
        table = change(pa.ipc.open_stream(source).read_all())
    with pa.OSFile(str(folder / "validation.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    digests = split.record.digests | {"validation": folder.name}
    return replace(split, folder=folder, record=split.record.model_copy(update={"digests": digests}))


def answered_with(right: dict[int, str]) -> Callable[[pa.Table], pa.Table]:
    """Other answers in these rows."""

    def change(table: pa.Table) -> pa.Table:
        talks = [json.loads(cell) for cell in table.column("messages").to_pylist()]
        for row, answer in right.items():
            talks[row][-1]["content"] = answer
        place = table.schema.get_field_index("messages")
        return table.set_column(place, "messages", pa.array([json.dumps(talk) for talk in talks]))

    return change


@pytest.mark.slow
@needs_server
def test_somebody_elses_answers_are_measured_as_our_own_and_measured_again_without_asking(
    desk: Desk, tmp_path: Path
) -> None:
    llm = Llm(tmp_path / "llm" / "chat").start()
    try:
        (desk.folder / "judge.py").write_text(JUDGE)
        talks = [{"messages": row} for row in last_letters(200)]
        run, split = of_rows(desk, "talks", talks, ANSWERING.format(asked=llm.base))
        zero = ask_base(run, llm.base, "zero-shot", split)
        outcomes = table_of(desk)
        few = ask_base(run, llm.base, "few-shot", split)
    finally:
        llm.stop()
    assert (zero.rows, zero.examples, few.examples, zero.number) == (6, 0, 8, 3)
    assert zero.metrics.keys() == {"exact_match", "win_rate"} and zero.score == zero.asked_score is not None
    assert zero.metrics["win_rate"] == few.metrics["win_rate"] == 1.0, "each answer is judged beside its own row"
    assert 0 < (zero.output_tokens or 0) <= 5 * 6 and (zero.cost_per_1000 or 0) > 0
    assert (few.input_tokens or 0) > 2 * (zero.input_tokens or 0)
    assert outcomes.schema.names == ["key", "label", "prediction", "row"]
    said = [text or "(nothing)" for text in outcomes.column("prediction").to_pylist()]
    right = dict(zip(outcomes.column("row").to_pylist(), said, strict=True))
    again = ask_base(run, llm.base, "zero-shot", with_rows(split, tmp_path / "corrected", answered_with(right)))
    assert again.metrics["exact_match"] == pytest.approx(1 - said.count("(nothing)") / 6), "with nobody there to ask"
    assert (again.metrics["win_rate"], again.seconds) == (0.0, zero.seconds)


TRANSLATING = """\
name: translating
task: translation
data: {{source: pairs/, columns: {{source: en, target: de}}, split: {{test: 0.2, validation: 0.2, near_duplicates: null}}}}
model: {{base: [a, b, "{asked}"], generation: {{max_new_tokens: 5}}}}
selection: {{api_rows: 25}}
evaluate: {{metrics: [chrf, accuracy]}}
"""


@pytest.mark.slow
@needs_server
def test_a_translation_by_somebody_else_is_measured_against_all_references(
    desk: Desk, llm: Llm, tmp_path: Path
) -> None:
    pairs = [{"en": english, "de": json.dumps([german, "nichts"])} for english, german in sentences(200, longest=6)]
    run, split = of_rows(desk, "pairs", pairs, TRANSLATING.format(asked=llm.base))
    found = ask_base(run, llm.base, "few-shot", split)
    outcomes = table_of(desk)
    assert (found.rows, found.examples) == (25, 8) and found.metrics.keys() == {"chrf", "accuracy"}
    assert all(json.loads(label)[1] == "nichts" for label in outcomes.column("label").to_pylist())
    assert found.metrics == compute(outcomes, ["chrf", "accuracy"])
    assert found.unnamed == outcomes.column("prediction").to_pylist().count("")

    def without(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index("target")
        return table.set_column(place, "target", pa.nulls(table.num_rows, pa.string()))

    with pytest.raises(DataError, match="a row of validation has no target"):
        ask_base(run, llm.base, "zero-shot", with_rows(split, tmp_path / "broken", without))


@pytest.mark.slow
@needs_server
def test_a_model_that_the_server_does_not_have_is_a_users_error(desk: Desk, bases: list[str], llm: Llm) -> None:
    name = llm.base.replace("#", "#other-")
    run, split = opened(desk, [*bases[:2], name], "selection.api_rows=2", "selection.api_key=env:LLM_KEY")
    with pytest.raises(UsageError, match="LLM_KEY is not set"):
        ask_base(run, name, "zero-shot", split)
    (desk.folder / "key").write_text("sk-0123\n")
    run, split = opened(desk, [*bases[:2], name], "selection.api_rows=2", "selection.api_key=file:key")
    with pytest.raises(UsageError, match=r"answered 4\d\d") as error:
        ask_base(run, name, "zero-shot", split)
    assert "sk-0123" not in str(error.value)


@pytest.mark.slow
@needs_server
def test_answers_that_were_paid_for_outlive_the_server(desk: Desk, bases: list[str], tmp_path: Path) -> None:
    llm = Llm(tmp_path / "llm" / "chat").start()
    run, split = opened(desk, [*bases[:2], llm.base], "selection.api_rows=8")

    def third(note: Note) -> None:
        if note.done == 3:
            llm.stop()

    def kept() -> list[Any]:
        (found,) = (desk.folder / ".contender").rglob("answers.jsonl")
        return [json.loads(line) for line in found.read_text().splitlines()]

    try:
        with listening(third), pytest.raises(Transient, match="did not answer"):
            ask_base(run, llm.base, "zero-shot", split)
        before = kept()
        assert len(before) == 3
        llm.start()
        assert ask_base(run, llm.base, "zero-shot", split).rows == 8
        after = kept()
        assert len(after) == 8 and after[:3] == before, "with the seconds that they took then"
    finally:
        llm.stop()
    assert set(COLOURS) == set(split.record.labels)
