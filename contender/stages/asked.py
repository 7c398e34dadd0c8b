"""Bases of `api:`: somebody else's models, asked about validation rows. They are compared, and never trained, kept or released."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Literal

from contender import stopping
from contender.apibase import Api, Message, Reply
from contender.asking import asking_of
from contender.asking.base import Asking, Row
from contender.errors import DataError, UsageError
from contender.evaluation.scope import with_scope
from contender.plan import stage_key
from contender.progress import Note, tell
from contender.records import Record, SplitReport, digest
from contender.run import Run
from contender.secretref import resolve
from contender.selecting import THOUSAND, ComparedBase
from contender.selectionspec import Price, address, told_by_text
from contender.stages.blind import ON, blind
from contender.stages.compared import asked_rows, bounds_of, selection_of
from contender.stages.model import Predictions, rated
from contender.workspace import Staged

if TYPE_CHECKING:
    import pyarrow as pa

Shots = Literal["zero-shot", "few-shot"]
SHOTS: tuple[Shots, ...] = ("zero-shot", "few-shot")
KEPT = "answers.jsonl"
MILLION = 1_000_000
LABEL_TOKENS = 64  # of an answer that is a label
MOST_TRAIN_ROWS = 10_000  # that say how long answers are


class Answers(Record):
    """What a model answered, and what that took; the answers lie beside."""

    rows: int
    examples: int
    unnamed: int
    seconds: float
    latency_ms: float
    input_tokens: int | None
    output_tokens: int | None


def ask_base(run: Run, name: str, shots: Shots, split: Staged[SplitReport]) -> ComparedBase:
    """An api: base on some rows of validation; answers that are there already are not asked for, and paid for, again.

    Transient where it does not answer now, UsageError where it refuses, DataError where a row cannot be asked about.
    """
    spec, number = run.pipeline.spec, run.pipeline.spec.model.bases.index(name) + 1
    with blind(run, split, f"asked-{shots}-{number}") as seen:
        answers, outcomes = _answered(run, name, shots, seen)
    from contender.evaluation.metrics import compute

    metrics = compute(outcomes, told_by_text(spec.evaluate.metrics))
    primary, found = spec.evaluate.metrics[0], answers
    base = ComparedBase(
        number=number,
        name=name,
        way=shots,
        state="finished",
        metrics=metrics,
        score=metrics[primary],
        asked_score=metrics[primary],
        **bounds_of(primary, outcomes),
        rows=found.rows,
        examples=found.examples,
        unnamed=found.unnamed,
        seconds=found.seconds,
        latency_ms=found.latency_ms,
        input_tokens=found.input_tokens,
        output_tokens=found.output_tokens,
    )
    return priced(base, selection_of(run).prices.get(name))


def priced(base: ComparedBase, price: Price | None) -> ComparedBase:
    """With what its tokens cost; as it is where the spec has no price for it, or the server counted none."""
    if price is None or base.input_tokens is None or base.output_tokens is None:
        return base
    cost = (base.input_tokens * price.input + base.output_tokens * price.output) / MILLION
    return base.model_copy(update={"cost": cost, "cost_per_1000": cost / base.rows * THOUSAND})


def _answered(run: Run, name: str, shots: Shots, seen: Staged[SplitReport]) -> tuple[Answers, pa.Table]:
    """What was answered, and the outcomes that it comes to: what a row has as right may change, and nothing is asked again."""
    import pyarrow.parquet as pq

    family = asking_of(run.pipeline.spec, seen.record.labels)
    places, keys, rows = _rows(seen, ON, family, selection_of(run).api_rows)
    answers = _answers(run, name, shots, seen, family, (rows, keys))

    def compute(folder: Path) -> Predictions:
        predictions = [family.prediction(reply.text) for reply in _read(answers.folder / KEPT)]
        outcomes = _table(keys, [family.reference(row) for row in rows], predictions, places)
        pq.write_table(outcomes, folder / "outcomes.parquet", compression="zstd")
        return Predictions(rows=len(predictions), device="api", dtype="text")

    key = stage_key(run.pipeline, "predict", answers=answers.key, set=seen.record.digests[ON], revision=family.revision)
    predicted = rated(run, run.workspace.stage("predict", key, Predictions, compute), seen.folder / f"{ON}.arrow")
    outcomes = pq.read_table(predicted.folder / "outcomes.parquet")
    return answers.record, with_scope(outcomes, run.pipeline.spec.evaluate.out_of_scope)


def _answers(
    run: Run, name: str, shots: Shots, seen: Staged[SplitReport], family: Asking, asked: tuple[list[Row], list[int]]
) -> Staged[Answers]:
    """Of a model to the questions about these rows and their keys; asked for once."""
    rows, keys = asked
    trained = cache(lambda most: _rows(seen, "train", family, most)[2])
    examples = family.shown(trained(family.among)) if shots == "few-shot" else []
    questions = [family.question(row, examples) for row in rows]
    tokens = family.most_tokens(trained(MOST_TRAIN_ROWS))
    key = stage_key(
        run.pipeline,
        "asked",
        base=name,
        questions=digest(questions),
        revision=family.revision,
        keys=keys,
        **({} if tokens is None else {"tokens": tokens}),
    )

    def compute(folder: Path) -> Answers:
        job = run.workspace.job_folder(f"asked-{key}") / KEPT
        replies = _ask(run, name, shots, questions, job, LABEL_TOKENS if tokens is None else tokens)
        (folder / KEPT).write_bytes(b"".join(reply.to_bytes() + b"\n" for reply in replies))
        counts = [[getattr(reply, way) for reply in replies] for way in ("input_tokens", "output_tokens")]
        counted = [None if None in found else sum(found) for found in counts]
        return Answers(
            rows=len(replies),
            examples=len(examples),
            unnamed=sum(family.prediction(reply.text) == family.nothing for reply in replies),
            seconds=sum(reply.seconds for reply in replies),
            latency_ms=median(reply.seconds for reply in replies) * 1000,
            input_tokens=counted[0],
            output_tokens=counted[1],
        )

    found = run.workspace.stage("asked", key, Answers, compute)
    shutil.rmtree(run.workspace.job_folder(f"asked-{key}"), ignore_errors=True)
    return found


def _ask(
    run: Run, name: str, shots: Shots, questions: Sequence[list[Message]], kept: Path, most_tokens: int
) -> list[Reply]:
    """A reply to each question; each is kept as it comes, and found by an attempt that follows."""
    (url, model), reference = address(name), selection_of(run).api_key
    secret = _key(reference, Path(run.pipeline.folder)) if reference else None
    found = list(_read(kept))[: len(questions)]
    kept.write_bytes(
        b"".join(reply.to_bytes() + b"\n" for reply in found)
    )  # less what a killed attempt left half written
    with Api(url, model, secret) as api, kept.open("ab") as stream:
        for place in range(len(found), len(questions)):
            stopping.check()  # notes of this stage do not, for trainings are under way in it too
            reply = api.ask(questions[place], most_tokens)
            stream.write(reply.to_bytes() + b"\n")
            stream.flush()
            found.append(reply)
            tell(
                Note(
                    "selection",
                    "moved",
                    f"{name} {shots}: {place + 1:,} of {len(questions):,} rows",
                    done=place + 1,
                    total=len(questions),
                )
            )
    return found


def _key(reference: str, folder: Path) -> str:
    """What is sent to the provider; UsageError, without it, where no header can hold it."""
    found = resolve(reference, folder, "selection.api_key").decode("utf-8", "replace").strip()
    if not re.fullmatch(r"[!-~]+", found):
        raise UsageError(
            f"selection.api_key is {reference}, which holds no key: one is printable, without spaces",
            "Put the key there alone.",
        )
    return found


def _read(kept: Path) -> Iterator[Reply]:
    """Whole replies; a line that a kill cut off ends them."""
    for line in kept.read_bytes().splitlines() if kept.exists() else ():
        try:
            yield Reply.from_bytes(line)
        except ValueError:
            return


def _rows(seen: Staged[SplitReport], name: str, family: Asking, most: int) -> tuple[list[int], list[int], list[Row]]:
    """Of at most so many rows of a set, by the hash of their keys: where they stand, their keys, and what the family reads of them.

    DataError, before anything is asked, where a cell is missing.
    """
    from contender.data.setfile import KEY
    from contender.evaluation.evaluate import read_columns

    path = seen.folder / f"{name}.arrow"
    places = asked_rows(path, most)
    table = read_columns(path, [*family.roles, KEY]).take(places)
    for role in family.roles:
        if table.column(role).null_count:
            raise DataError(f"a row of {name} has no {role}", "Quarantine rows without one: see quality.suite.")
    rows = [{role: str(row[role]) for role in family.roles} for row in table.to_pylist()]
    return places.tolist(), table.column(KEY).to_pylist(), rows


def _table(
    keys: Sequence[int], references: Sequence[str], predictions: Sequence[str], places: Sequence[int]
) -> pa.Table:
    """Outcomes, as a kind that writes gives them."""
    import pyarrow as pa

    return pa.table(
        {
            "key": pa.array(keys, pa.uint64()),
            "label": pa.array(references, pa.string()),
            "prediction": pa.array(predictions, pa.string()),
            "row": pa.array(places, pa.int64()),
        }
    )
