"""Bases of `api:`: somebody else's models, asked about validation rows. They are compared, and never trained, kept or released."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Literal

from contender import stopping
from contender.apibase import Api, Reply
from contender.asking import EXAMPLES, MOST_TOKENS, NO_LABEL, REVISION, first_of_each, label_of, question
from contender.errors import UsageError
from contender.evaluation.scope import with_scope
from contender.plan import stage_key
from contender.progress import Note, tell
from contender.records import Record, SplitReport, digest
from contender.run import Run
from contender.secretref import resolve
from contender.selecting import THOUSAND, ComparedBase
from contender.selectionspec import FROM_LABELS, Price, address
from contender.stages.blind import ON, blind
from contender.stages.compared import asked_rows, bounds_of, selection_of
from contender.workspace import Staged

if TYPE_CHECKING:
    import pyarrow as pa

Shots = Literal["zero-shot", "few-shot"]
SHOTS: tuple[Shots, ...] = ("zero-shot", "few-shot")
KEPT = "answers.jsonl"
MILLION = 1_000_000
MOST_TRAIN_ROWS = 10_000  # that examples are chosen among


class Answers(Record):
    """What a model answered, and what that took; its outcomes lie beside."""

    rows: int
    examples: int
    unnamed: int
    seconds: float
    latency_ms: float
    input_tokens: int | None
    output_tokens: int | None


def ask_base(run: Run, name: str, shots: Shots, split: Staged[SplitReport]) -> ComparedBase:
    """An api: base on some rows of validation; answers that are there already are not asked for, and paid for, again.

    Transient where it does not answer now, UsageError where it refuses.
    """
    spec, number = run.pipeline.spec, run.pipeline.spec.model.bases.index(name) + 1
    with blind(run, split, f"asked-{shots}-{number}") as seen:
        answers = _answers(run, name, shots, seen)
    outcomes = _outcomes(answers.folder, spec.evaluate.out_of_scope)
    from contender.evaluation.metrics import compute

    metrics = compute(outcomes, [metric for metric in spec.evaluate.metrics if metric in FROM_LABELS])
    primary, found = spec.evaluate.metrics[0], answers.record
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


def _answers(run: Run, name: str, shots: Shots, seen: Staged[SplitReport]) -> Staged[Answers]:
    texts, truths, keys = _asked(run, seen)
    examples = _examples(run, seen) if shots == "few-shot" else []
    labels = seen.record.labels
    questions = [question(text, labels, examples) for text in texts]
    key = stage_key(
        run.pipeline, "asked", base=name, questions=digest(questions), revision=REVISION, keys=list(map(int, keys))
    )

    def compute(folder: Path) -> Answers:
        replies = _ask(run, name, shots, questions, run.workspace.job_folder(f"asked-{key}") / KEPT)
        (folder / KEPT).write_bytes(b"".join(reply.to_bytes() + b"\n" for reply in replies))
        predictions = [label_of(reply.text, labels) for reply in replies]
        _write(folder, keys, truths, predictions)
        tokens = [[getattr(reply, way) for reply in replies] for way in ("input_tokens", "output_tokens")]
        counted = [None if None in found else sum(found) for found in tokens]
        return Answers(
            rows=len(replies),
            examples=len(examples),
            unnamed=predictions.count(NO_LABEL),
            seconds=sum(reply.seconds for reply in replies),
            latency_ms=median(reply.seconds for reply in replies) * 1000,
            input_tokens=counted[0],
            output_tokens=counted[1],
        )

    found = run.workspace.stage("asked", key, Answers, compute)
    shutil.rmtree(run.workspace.job_folder(f"asked-{key}"), ignore_errors=True)
    return found


def _ask(run: Run, name: str, shots: Shots, questions: Sequence[list[dict[str, str]]], kept: Path) -> list[Reply]:
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
            reply = api.ask(questions[place], MOST_TOKENS)
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


def _asked(run: Run, seen: Staged[SplitReport]) -> tuple[list[str], list[str], list[int]]:
    """Texts, labels and keys of the validation rows that are asked about."""
    from contender.data.setfile import KEY
    from contender.evaluation.evaluate import read_columns

    rows = seen.folder / f"{ON}.arrow"
    table = read_columns(rows, ["text", "label", KEY]).take(asked_rows(rows, selection_of(run).api_rows))
    texts, truths, keys = (table.column(place).to_pylist() for place in range(3))
    return list(map(str, texts)), list(map(str, truths)), keys


def _examples(run: Run, seen: Staged[SplitReport]) -> list[tuple[str, str]]:
    """Training rows that a few-shot question shows: by the hash of their keys, as many labels as they may be."""
    from contender.evaluation.evaluate import read_columns

    rows = seen.folder / "train.arrow"
    table = read_columns(rows, ["text", "label"]).take(asked_rows(rows, MOST_TRAIN_ROWS))
    texts, labels = (list(map(str, table.column(place).to_pylist())) for place in range(2))
    return first_of_each(texts, labels, EXAMPLES)


def _write(folder: Path, keys: Sequence[int], truths: Sequence[str], predictions: Sequence[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"key": pa.array(keys, pa.uint64()), "label": pa.array(truths), "prediction": pa.array(predictions)}
    pq.write_table(pa.table(columns), folder / "outcomes.parquet")


def _outcomes(folder: Path, out_of_scope: str | None) -> pa.Table:
    import pyarrow.parquet as pq

    return with_scope(pq.read_table(folder / "outcomes.parquet"), out_of_scope)
