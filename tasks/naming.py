"""What a list of runs tells: a run's name says its pipeline, what started it and the snapshot; its tags are what a list is filtered by.

Names and tags are for people: idempotency keys and the states are what programs go by. A server that does not answer leaves them as
they are, and is left alone for a while.
"""

from __future__ import annotations

from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from contender.records import Snapshot
from contender.run import Run
from contender.text import shorten, visible
from tasks.artifacts import try_out

NAME = 80  # characters of what a stranger may choose in a name or a tag: a trigger
SNAPSHOT = 8  # hex digits of a snapshot's digest in a name


def named(*words: str) -> str:
    """`support-intents · schedule nightly`, as a flow's `flow_run_name`."""
    parameters = flow_run.parameters
    told = [parameters["spec"].spec.name, *words, str(parameters.get("trigger") or "")]
    return " · ".join(shorten(visible(word), NAME) for word in told if word)


def name_after(run: Run, seen: Snapshot) -> None:
    """Adds the snapshot to the name, and the pipeline and what started the run to the tags."""
    trigger = shorten(visible(str(flow_run.parameters.get("trigger") or "look")), NAME)
    _update(run, seen.digest[:SNAPSHOT], run.pipeline.spec.name, f"trigger:{trigger}")


def tag_outcome(run: Run, outcome: str) -> None:
    """Adds what the run came to to its tags."""
    _update(run, "", f"outcome:{outcome}")


def _update(run: Run, word: str, *tags: str) -> None:
    """Adds to what the run is named and tagged now: others tag it too, the webhook gateway among them."""

    def send(flow_run_id: UUID) -> None:
        with get_client(sync_client=True) as client:
            found = client.read_flow_run(flow_run_id)
            name = found.name if not word or word in found.name else f"{found.name} · {word}"
            client.update_flow_run(flow_run_id, name=name, tags=sorted({*found.tags, *tags}))

    if run.flow_run_id is not None:
        try_out("the run's name and tags stay as they are", lambda: UUID(run.flow_run_id), send)
