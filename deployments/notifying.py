"""Notifications outside of a flow: a message to try them, what a server does not have of them, and what fails before a flow begins."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from contender.errors import ContenderError, Transient, UsageError
from contender.notifications import every_receiver, receivers
from contender.secretref import is_block
from contender.spec import Pipeline

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from rich.console import Console


def try_out(pipeline: Pipeline) -> dict[str, str]:
    """Sends a message to every receiver; receiver → why it was not told, empty where it was."""
    from contender.reporting.message import trial_of

    to = every_receiver(pipeline.spec.notify)
    if not to:
        raise UsageError("the pipeline has no notify: nobody is to be told", "See docs/notifications.md.")
    _know_the_server(to)
    from tasks.notification import send_to_all

    return send_to_all(pipeline, trial_of(pipeline), to)


def show_tried(out: Console, tried: dict[str, str]) -> None:
    from deployments.terminal import say

    for reference, why in tried.items():
        if why:
            say(out, f"✗ {reference} was not told: {why}", style="yellow")
        else:
            say(out, f"✓ {reference} was told")


@contextmanager
def failures_told_at_once(pipeline: Pipeline) -> Iterator[None]:
    """Tells the receivers of an error inside the block, which ends a run before its flow begins, and passes it on.

    A Transient one is left to the flow.
    """
    try:
        yield
    except Transient:
        raise
    except ContenderError as error:
        if pipeline.spec.notify:
            _tell(pipeline, error)
        raise


def _tell(pipeline: Pipeline, error: ContenderError) -> None:
    from deployments.embedded import TRIGGER
    from deployments.terminal import console, say

    try:
        from contender.reporting.message import Around, message_of, what_next
        from contender.run import result_of

        result = result_of(pipeline, error)
        to = receivers(pipeline.spec.notify, result.outcome)
        _know_the_server(to)
        from tasks.notification import send_to_all

        around = Around(trigger=TRIGGER, next=what_next(pipeline, result, deployed=False))
        told = send_to_all(pipeline, message_of(pipeline, result, around), to) if to else {}
    except Exception as another:  # noqa: BLE001 - the run's own error is the one to end with
        told = {"nobody": type(another).__name__}
    for reference, why in told.items():
        if why:
            say(console(), f"! {reference} was not notified: {why}", "yellow")


def _know_the_server(to: tuple[str, ...]) -> None:
    """Blocks are kept by the Prefect server of the environment, or else by the background one."""
    from deployments.environment import chosen_api

    if any(is_block(one) for one in to) and chosen_api(os.environ) is None:
        from deployments.server import client_environment, ensure_server

        os.environ.update(client_environment(ensure_server()))


def missing_blocks(client: SyncPrefectClient, pipeline: Pipeline) -> Iterator[str]:
    """A sentence for each receiver that is a block which the server does not have. No error: a run does without."""
    from prefect.exceptions import ObjectNotFound

    for reference in filter(is_block, every_receiver(pipeline.spec.notify)):
        kind, _, name = reference.removeprefix("block:").partition("/")
        try:
            client.read_block_document_by_name(name, kind, include_secrets=False)
        except ObjectNotFound:
            yield f"notify.to is {reference}, which this Prefect server does not have; make it in its UI, under Blocks"
