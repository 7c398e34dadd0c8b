"""Pages of a run that a browser may open beside the Prefect UI of our own server: its report, and Data Docs.

A browser follows no file:// link of an http page. So a flow process leaves a pointer, one file per flow run, in the folder that its
environment names, and the server serves what pointers name (deployments/pages.py), nothing else.

A link cannot carry the auth string that Prefect's API asks for. Its path holds a token instead, drawn per flow run: whoever may read
the run's artifacts has it, another user of the machine has not. Without these variables, as on anybody else's server, nothing is left.
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from contender.records import Record

FOLDER, ADDRESS = "CONTENDER_PAGES", "CONTENDER_PAGES_URL"
FLOW_RUN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
KEPT = 500  # pointers; the oldest go first, and with them their links


class Pointer(Record):
    """What may be seen of one flow run: a file, and a folder's files. Absolute paths, every link in them followed."""

    token: str
    report: str | None = None
    data_docs: str | None = None


def show_report(flow_run_id: str | None, report: Path) -> str | None:
    """The URL under which our own server shows a report from now on; None where the run has no such server."""
    link = _point(flow_run_id, report=report)
    return f"{link}/report" if link else None


def show_data_docs(flow_run_id: str | None, index: Path) -> str | None:
    """The same for Data Docs, whose first page is `index`."""
    link = _point(flow_run_id, data_docs=index.parent)
    return f"{link}/data-docs/{index.name}" if link else None


def read_pointer(folder: Path, flow_run_id: str) -> Pointer | None:
    """What a run left; None where it left nothing, or something that is no pointer."""
    if not FLOW_RUN.fullmatch(flow_run_id):
        return None
    try:
        return Pointer.from_bytes(_file(folder, flow_run_id).read_bytes())
    except (OSError, ValidationError):
        return None


def _point(flow_run_id: str | None, **places: Path) -> str | None:
    """Adds places to the run's pointer, which keeps its token, so that links given before go on to work; the URL of its pages."""
    folder, address = os.environ.get(FOLDER), os.environ.get(ADDRESS)
    if not (folder and address and flow_run_id and FLOW_RUN.fullmatch(flow_run_id)):
        return None
    try:
        known = read_pointer(Path(folder), flow_run_id) or Pointer(token=secrets.token_urlsafe(24))
        found = {name: str(place.resolve(strict=True)) for name, place in places.items()}
        pointer = known.model_copy(update=found)
        if pointer != known:
            Path(folder).mkdir(mode=0o700, exist_ok=True)
            _write(_file(Path(folder), flow_run_id), pointer)
            _drop_old(Path(folder))
    except OSError:  # nobody's run ends because a page cannot be shown
        return None
    return f"{address}/{flow_run_id}/{pointer.token}"


def _file(folder: Path, flow_run_id: str) -> Path:
    return folder / f"{flow_run_id}.json"


def _write(path: Path, pointer: Pointer) -> None:
    """As a whole, and for its owner alone at any moment."""
    temporary = path.with_suffix(f".{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(pointer.to_bytes())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _drop_old(folder: Path) -> None:
    def age(path: Path) -> float:
        with suppress(OSError):
            return path.stat().st_mtime
        return 0.0  # another run dropped it just now

    for path in sorted(folder.glob("*.json"), key=age)[:-KEPT]:
        path.unlink(missing_ok=True)
