"""`contender doctor`: what was found of a store, as a table, and a verdict in one sentence."""

from __future__ import annotations

import argparse

from contender.errors import Interrupted
from contender.stopping import stoppable
from contender.store import open_store
from contender.store.doctor import examine
from contender.store.findings import Examination
from deployments.documents import print_document
from deployments.terminal import busy, console, say, show_table

MARKS = {"ok": "✓", "warning": "!", "unsafe": "✗", "unknown": "?"}
STYLES = {"done": "bold green", "unsafe": "bold red", "unknown": "bold yellow"}


def command_doctor(options: argparse.Namespace) -> int:
    """0 where the store was shown to be safe, else 1."""
    store = open_store(options.url, options.profile)
    out = console()
    try:
        with stoppable(), busy(out, f"examining {store.url}") as at:
            found = examine(store, at)
    except Interrupted as error:
        raise Interrupted(error.what, f"Nothing of the examination stays in {store.url}.") from None
    show_table(out, ("", "what", "seen"), _rows(found))
    told: set[str] = set()
    for finding in found.findings:
        if finding.advice and finding.advice not in told:
            say(out, f"{MARKS[finding.state]} {finding.name}: {finding.advice}")
        told.add(finding.advice)
    say(out, f"{found.verdict} ({found.seconds:.1f} s)", style=STYLES[found.outcome])
    if options.json:
        print_document({"outcome": found.outcome, "verdict": found.verdict} | found.model_dump(mode="json"))
    return 0 if found.outcome == "done" else 1


def _rows(found: Examination) -> list[tuple[str, str, str]]:
    return [(MARKS[finding.state], finding.name, finding.seen) for finding in found.findings]
