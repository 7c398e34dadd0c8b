"""What a run ends with for people: one page with its outcome, its links and its stages, and a tag to filter by."""

from __future__ import annotations

from pathlib import Path

from contender.links import Link, data_docs_link, report_link, shared_report, shown_report
from contender.run import Run, RunResult
from contender.showing.verdict import result_page
from tasks.artifacts import leave
from tasks.naming import tag_outcome


def leave_result(run: Run, result: RunResult) -> RunResult:
    """Leaves the page and the tag; gives the result back."""
    alias = run.pipeline.spec.promote.alias
    leave(run, "result", lambda: result_page(result, alias, _links(run, result)), result.message)
    tag_outcome(run, result.outcome)
    return result


def _links(run: Run, result: RunResult) -> list[Link]:
    """This run's own report before the registry's, which an edited rule leaves as it was."""
    shown, shared, found = shown_report(run, result), shared_report(run, result), []
    if shown:
        found.append(Link("Report", shown, ""))
    if shared:
        found.append(Link("Report in the registry", shared, ""))
    link = report_link(run, result)
    if link and not found:
        found.append(link)
    if result.data_docs:
        found.append(data_docs_link(run, Path(result.data_docs)))
    for name, place in (("Quarantined rows", result.quarantine), ("Rows that contradict each other", result.conflicts)):
        found += [Link(name, None, place)] if place else []
    return found
