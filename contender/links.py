"""What a person can click to see what a run left, wherever the link is shown: the Prefect UI, a notification, a terminal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from contender.pages import show_data_docs, show_report
from contender.registry.layout import Layout
from contender.run import Run, RunResult


@dataclass(frozen=True)
class Link:
    """One page of a run. `url` is what a browser opens, None where none does; `place` says in words where it is."""

    title: str
    url: str | None
    place: str


def report_link(run: Run, result: RunResult) -> Link | None:
    """The report that a run came to; None where it came to none.

    The URL below `report.base_url` where the spec has one: everybody can open it. Else the page that our own server shows, to
    whoever sits at its machine. Else none: the place in the registry, and the command that opens it.
    """
    shared, shown = shared_report(run, result), shown_report(run, result)
    if result.evaluation is None and shown is None:
        return None
    return Link("report", shared or shown, _report_place(run, result))


def shown_report(run: Run, result: RunResult) -> str | None:
    """The URL of this very run's report on our own Prefect server."""
    return show_report(run.flow_run_id, Path(result.report)) if result.report else None


def shared_report(run: Run, result: RunResult) -> str | None:
    """The URL of the evaluation's report below `report.base_url`; the first verdict on these models, where rules were edited since."""
    base = run.pipeline.spec.report.base_url
    key = _report_key(run, result)
    return f"{base}{quote(key)}" if base and key else None


def data_docs_link(run: Run, index: Path) -> Link:
    """Great Expectations' own pages on what the quality gate saw. They hold rows, so they are in the workspace alone."""
    return Link("Data Docs", show_data_docs(run.flow_run_id, index), str(index))


def _report_key(run: Run, result: RunResult) -> str | None:
    if result.release is None or result.evaluation is None:
        return None
    return f"{Layout(run.registry.pipeline).evaluation(result.release, result.evaluation)}report.html"


def _report_place(run: Run, result: RunResult) -> str:
    key = _report_key(run, result)
    if key is None:
        return str(result.report)
    store = run.registry.url.removesuffix(run.registry.pipeline)
    return f"{store}{key}; contender report {run.registry.pipeline}@{result.release}"
