"""Who is told what a run came to: the spec's section `notify`. Light to import: the spec holds it.

A receiver is named by reference: `block:TYPE/NAME` is a notification block of the Prefect server, `env:NAME` and `file:/path` hold
a URL. What the message says is in contender/reporting/message.py; who sends it, in tasks/notification.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field

from contender.errors import UsageError
from contender.records import Outcome
from contender.secretref import check_receiver, is_block, resolve
from contender.section import Section, listed

if TYPE_CHECKING:
    from contender.spec import Pipeline

Event = Literal["promoted", "kept", "rejected", "failed", "budget"]
EVENTS: tuple[Event, ...] = get_args(Event)
MOST_RECEIVERS = 10  # of one section: each is sent to at the same time

# None: nothing came of the run that anybody waits for. What was interrupted goes on by itself, or somebody stopped it.
EVENT_OF: dict[Outcome, Event | None] = {
    "promoted": "promoted",
    "kept": "kept",
    "inconclusive": "kept",
    "superseded": "kept",
    "rejected_data": "rejected",
    "failed": "failed",
    "unknown": "failed",
    "invalid": "failed",
    "budget": "budget",
    "up_to_date": None,
    "skipped": None,
    "interrupted": None,
}


def some(references: tuple[str, ...]) -> tuple[str, ...]:
    """The references themselves; not pydantic's own check of a length, which would quote what may be a secret."""
    if not 1 <= len(references) <= MOST_RECEIVERS:
        raise ValueError(f"must name 1 to {MOST_RECEIVERS} receivers; credentials do not belong here")
    return references


def each_once(events: tuple[Event, ...]) -> tuple[Event, ...]:
    if len(set(events)) < len(events):
        raise ValueError("names an event twice")
    return events


class Notify(Section):
    """Receivers, and the events that they are told of."""

    on: Annotated[tuple[Event, ...], Field(min_length=1), AfterValidator(each_once)] = Field(
        default=("promoted", "rejected", "failed", "budget"),
        description="promoted; kept: the champion stays; rejected: by the quality gate; failed; budget: it stopped the run",
    )
    to: Annotated[
        tuple[Annotated[str, BeforeValidator(check_receiver)], ...],
        BeforeValidator(listed, json_schema_input_type=str | tuple[str, ...]),
        AfterValidator(some),
    ] = Field(
        description="block:TYPE/NAME, a notification block of the Prefect server; env:NAME or file:/path, which hold a URL"
    )


Notifications = Annotated[
    tuple[Notify, ...], BeforeValidator(listed, json_schema_input_type=Notify | tuple[Notify, ...])
]


def receivers(sections: Sequence[Notify], outcome: Outcome) -> tuple[str, ...]:
    """Who is told of a run with this outcome, each once."""
    event = EVENT_OF[outcome]
    return tuple(dict.fromkeys(one for section in sections if event in section.on for one in section.to))


def every_receiver(sections: Sequence[Notify]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one for section in sections for one in section.to))


def resolved_url(reference: str, folder: Path) -> str:
    """The URL that `env:` or `file:` holds; UsageError, without its value, where there is none."""
    url = resolve(reference, folder, "notify.to").decode("utf-8", "replace").strip()
    if not url or any(character.isspace() for character in url):
        raise UsageError(f"notify.to is {reference}, which holds no URL", "It must hold one URL, in one line.")
    return url


def unresolved(pipeline: Pipeline) -> Iterator[str]:
    """A sentence for each receiver whose URL cannot be had here; a worker may have it."""
    for reference in every_receiver(pipeline.spec.notify):
        if not is_block(reference):
            try:
                resolved_url(reference, Path(pipeline.folder))
            except UsageError as error:
                yield f"{error.what}: here nobody would be told by it; a worker needs its own"
