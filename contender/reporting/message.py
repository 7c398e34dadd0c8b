"""What people are told of a run, in a chat or a mail: one title, and a body of a few lines.

Plain text whose lines read the same in Slack, Teams and a mail; no row of the data is in it, whatever `report.examples` says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from contender.notifications import EVENT_OF
from contender.plan import judged_set
from contender.records import Outcome
from contender.run import RunResult
from contender.spec import Pipeline
from contender.text import chat_safe

TITLE_LENGTH = 150  # a header block of Slack's takes no more
SENTENCE_LENGTH = 700
PLACE_LENGTH = 300
BODY_LENGTH = 1900  # Discord refuses more than 2,000 characters
LINK = re.compile(r"https?://[^\s<>\"'`|\\^{}*~@\]\[]{1,500}")

WORDS: dict[Outcome, str] = {
    "promoted": "promoted",
    "kept": "kept",
    "inconclusive": "inconclusive",
    "superseded": "superseded",
    "rejected_data": "data rejected",
    "failed": "failed",
    "unknown": "outcome unknown",
    "invalid": "failed",
    "budget": "stopped by the budget",
}


@dataclass(frozen=True)
class Message:
    """What is sent, and the same for programs."""

    title: str
    body: str
    facts: dict[str, str]


@dataclass(frozen=True)
class Around:
    """What a run's result does not say of it."""

    trigger: str = ""
    run_link: str = ""
    report: str = ""  # a link, or the place where it lies
    next: str = ""  # after a failure: whether something tries again by itself


def message_of(pipeline: Pipeline, result: RunResult, around: Around = Around()) -> Message:
    """What a run's receivers are told."""
    facts = {
        "event": EVENT_OF[result.outcome] or "",
        "outcome": result.outcome,
        "pipeline": pipeline.spec.name,
        "release": chat_safe(result.release or "", PLACE_LENGTH),
        "champion": chat_safe(result.champion or "", PLACE_LENGTH),
        "run": _link(around.run_link),
    }
    return Message(_title(pipeline, result), _body(_sentence(result), _lines(pipeline, result, around)), facts)


def trial_of(pipeline: Pipeline) -> Message:
    """What receivers are sent to see that it arrives."""
    name = pipeline.spec.name
    body = (
        f"Somebody tries who is told of {name}. Nothing was trained, nothing was promoted, and nothing is to be done."
    )
    return Message(f"{name}: a message to try", body, {"event": "trial", "pipeline": name})


def what_next(pipeline: Pipeline, result: RunResult, deployed: bool) -> str:
    """Whether something goes on by itself behind a run that came to nothing; empty for the others."""
    event, spec = EVENT_OF[result.outcome], pipeline.spec
    if event == "rejected" and result.snapshot:  # without one no decision was recorded
        return "the champion stays; the same data is not tried again"
    if event not in ("rejected", "failed", "budget"):
        return ""
    if not deployed:
        return "nothing goes on by itself; the same command continues, and finished stages are kept"
    if spec.triggers.new_data is not None:
        return "a later look for new data tries again; finished stages are kept"
    if any(not one.paused for one in spec.schedule):
        return "the next scheduled run tries again; finished stages are kept"
    return "nothing goes on by itself; a new run continues, and finished stages are kept"


def _title(pipeline: Pipeline, result: RunResult) -> str:
    release = {"promoted": result.release, "kept": result.champion}.get(result.outcome)
    return chat_safe(" ".join(filter(None, (f"{pipeline.spec.name}: {WORDS[result.outcome]}", release))), TITLE_LENGTH)


def _sentence(result: RunResult) -> str:
    return chat_safe(result.verdict.sentence if result.verdict else result.message, SENTENCE_LENGTH)


def _body(sentence: str, lines: Iterator[tuple[str, str]]) -> str:
    body = f"{sentence}\n"
    for line in (f"\n- {name}: {text}" for name, text in lines if text):
        body += line if len(body) + len(line) <= BODY_LENGTH else ""  # half a link leads nowhere
    return body.rstrip()


def _lines(pipeline: Pipeline, result: RunResult, around: Around) -> Iterator[tuple[str, str]]:
    """What is worth knowing, by its name; what a run has nothing of is empty. Teams joins lines that are no list."""
    on = judged_set(pipeline)
    yield "now", chat_safe(around.next, PLACE_LENGTH)
    yield f"on {on}, champion → challenger" if result.champion else f"on {on}", _metrics(pipeline, result, on)
    yield "rows judged", _rows(result, on)
    yield "release", chat_safe(_releases(result), PLACE_LENGTH)
    yield "started by", chat_safe(around.trigger, PLACE_LENGTH)
    yield "run", _link(around.run_link)
    yield "report", _link(around.report)


def _metrics(pipeline: Pipeline, result: RunResult, on: str) -> str:
    sides = result.evaluations.get(on, {})
    champion, challenger = sides.get("champion", {}), sides.get("challenger", {})
    return ", ".join(
        f"{name} {f'{champion[name]:.4f} → ' if name in champion else ''}{challenger[name]:.4f}"
        for name in pipeline.spec.evaluate.metrics
        if name in challenger
    )


def _rows(result: RunResult, on: str) -> str:
    rules = result.verdict.rules if result.verdict else ()
    rows = max((rule.rows for rule in rules if rule.set == on and rule.slice is None), default=0)
    return f"{rows:,}" if rows else ""


def _releases(result: RunResult) -> str:
    if result.outcome == "promoted":
        instead = f"in place of {result.champion}" if result.champion else "the first one"
        return f"{result.release} is live as entry {result.alias_entry}, {instead}"
    if result.release:
        stays = f"{result.champion} stays" if result.champion else "none is live"
        return f"{result.release} was tried, {stays}"
    return f"{result.champion} stays" if result.champion else ""


def _link(place: str) -> str:
    """A link as it is, so that it can be followed; any other text so that nobody follows it by accident."""
    return place if LINK.fullmatch(place) else chat_safe(place, PLACE_LENGTH)
