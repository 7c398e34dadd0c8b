"""The commands on a registry: what there is, what was decided, and the way of a release to a folder.

Like those of deployments/commands.py, each returns its exit code; its document goes to stdout, all else to stderr.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contender.errors import Damaged
from deployments.arguments import public_key_of
from deployments.documents import print_document
from deployments.loudness import Loudness, loudness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from contender.records import AliasEntry, Decision, ReleaseManifest


def command_releases(options: argparse.Namespace) -> int:
    from contender.lookup import find
    from deployments.terminal import Column, console, show_told_rows

    target = find(options.name, options.registry, profile=options.profile)
    live: dict[str, list[str]] = {}
    for alias in target.registry.aliases():
        if entry := target.registry.champion(alias):
            live.setdefault(entry.release, []).append(alias)
    releases = sorted(target.registry.releases(), key=lambda release: release.created, reverse=True)
    columns = (
        Column("release"),
        Column("created (UTC)", spare=True),
        Column("size", right=True, spare=True),
        Column("live as"),
    )
    rows = [
        (
            (r.release, minute(r.created), _megabytes(r.files), ", ".join(live.get(r.release, ()))),
            _made_of(r, options.verbose),
        )
        for r in releases
    ]
    show_told_rows(console(), columns, rows, at=1, whole=options.verbose)
    if options.json:
        listed = [r.model_dump(mode="json") | {"aliases": live.get(r.release, [])} for r in releases]
        print_document(
            {"outcome": "done", "pipeline": target.name, "registry": target.registry.url, "releases": listed}
        )
    return 0


def _made_of(release: ReleaseManifest, verbose: bool) -> str:
    """What a release was made from; with `verbose` all that makes it again."""
    lineage = release.lineage
    found = {"base": lineage.get("base")}
    if verbose:
        found |= {"method": lineage.get("method"), "seed": lineage.get("seed"), "parent": lineage.get("parent")}
        found |= {"snapshot": lineage.get("snapshot"), "digest": release.digest}
    return ", ".join(f"{name} {value}" for name, value in found.items() if value is not None)


def command_history(options: argparse.Namespace) -> int:
    from rich.text import Text

    from contender.lookup import find
    from deployments.results import show_monitoring, show_sentence
    from deployments.terminal import console, say

    target = find(options.name, options.registry, profile=options.profile)
    found, damaged = target.registry.readable_decisions()
    decisions = sorted(found, key=lambda decision: decision.at)
    entries: list[AliasEntry] = []
    now = "unknown"
    try:
        entries = target.registry.log(target.alias)
        live = entries[-1] if entries else None
        now = f"{live.release} since {minute(live.at)} UTC (entry {live.n})" if live else "nothing yet"
    except Damaged as error:
        damaged = [*damaged, error.in_one_line]
    series, faults = target.registry.monitoring.readable()
    damaged = [*damaged, *faults]
    out = console()
    _show_story(out, _story(decisions, entries), options.verbose)
    show_monitoring(out, series)
    say(out, f"live as {target.alias}: {now}")
    live_entry = entries[-1] if entries else None
    decision = next((found for found in decisions if live_entry and found.key == live_entry.decision), None)
    if live_entry:
        for line in _why(live_entry, decision):
            show_sentence(out, Text(" "), line)
    for sentence in damaged:
        say(out, f"! {sentence}", style="yellow")
    if options.json:
        print_document(
            {
                "outcome": "failed" if damaged else "done",
                "pipeline": target.name,
                "registry": target.registry.url,
                "alias": target.alias,
                "live": live_entry and live_entry.model_dump(mode="json"),
                "decision": decision and decision.model_dump(mode="json"),
                "entries": [entry.model_dump(mode="json") for entry in entries],
                "decisions": [decision.model_dump(mode="json") for decision in decisions],
                "monitoring": [observation.model_dump(mode="json") for observation in series],
                "damaged": damaged,
            }
        )
    return 1 if damaged else 0


@dataclass(frozen=True)
class Event:
    """A line of the history: what a run decided, or what a person did by hand."""

    at: str
    what: str
    outcome: str  # whose mark and colour it has
    release: str = ""
    rows: int | None = None
    metric: tuple[str, float] | None = None  # the first one that was judged, of the challenger
    gain: str = ""
    why: str = ""


def _story(decisions: list[Decision], entries: list[AliasEntry]) -> list[Event]:
    """What runs decided, and what people did by hand, in the order of time."""
    from contender.records import AliasEntry
    from contender.registry.decisions import in_time

    return [_by_hand(one) if isinstance(one, AliasEntry) else _decided(one) for one in in_time(decisions, entries)]


def _by_hand(entry: AliasEntry) -> Event:
    what, outcome = ("rolled back", "kept") if entry.action == "rollback" else ("promoted", "promoted")
    return Event(entry.at, what, outcome, entry.release, why=f"{entry.reason} ({entry.actor})")


def _decided(decision: Decision) -> Event:
    versus = decision.verdict.versus if decision.verdict else None
    return Event(
        at=decision.at,
        what=decision.outcome.replace("_", " "),
        outcome=decision.outcome,
        release=decision.release or "",
        rows=decision.rows,
        metric=next(iter(decision.metrics.items()), None),
        gain=f"{versus.estimate:+.4f}" if versus else "",
        why=decision.message,
    )


def _show_story(out: Console, story: list[Event], verbose: bool) -> None:
    from deployments.results import marked
    from deployments.terminal import Column, show_told_rows

    metrics = {event.metric[0] for event in story if event.metric}
    one = len(metrics) == 1  # then the title says which
    columns = (
        Column("when (UTC)", spare=True),
        Column("what"),
        Column("release"),
        Column("rows", right=True, spare=True),
        Column(metrics.pop() if one else "judged", right=one, spare=True),
        Column("gain", right=True, spare=True),
    )
    rows = [
        (
            (
                minute(event.at),
                marked(event.outcome, event.what),
                event.release,
                "" if event.rows is None else f"{event.rows:,}",
                "" if event.metric is None else f"{'' if one else f'{event.metric[0]} '}{event.metric[1]:.4f}",
                event.gain,
            ),
            event.why,
        )
        for event in story
    ]
    show_told_rows(out, columns, rows, at=1, whole=verbose)


def _why(entry: AliasEntry, decision: Decision | None) -> Iterator[str]:
    """Why the entry's release is live."""
    yield f"why: {entry.reason}"
    yield f"by: {entry.actor}, {'taking back' if entry.action == 'rollback' else 'instead of'} {entry.previous or 'nothing'}"
    if decision:
        shown = ", ".join(f"{name} {value:.4f}" for name, value in decision.metrics.items())
        yield f"judged: {shown}, on {decision.rows:,} rows of snapshot {decision.snapshot[:12]}"
    if entry.withdrawn:
        yield f"withdrawn by rollbacks: {', '.join(entry.withdrawn)}"


def command_pull(options: argparse.Namespace) -> int:
    from contender.lookup import find
    from deployments.terminal import console, say, transferring

    target = find(options.name, options.registry, profile=options.profile)
    release, evaluation = target.release()
    key = public_key_of(options)
    folder = Path(options.folder)
    warnings: list[str] = []
    quiet = loudness(options) == Loudness.QUIET
    with transferring(console(quiet=quiet), f"pulling {release.release}", _bytes(release)) as on_bytes:
        manifest = target.registry.fetch(release.release, folder, on_bytes, evaluation, warnings.append, key)
    for warning in warnings:
        say(console(), f"! {warning}", style="yellow")
    say(console(), f"pulled {manifest.release} ({_megabytes(manifest.files)}, every file verified) into {folder}")
    if options.json:
        print_document(
            {
                "outcome": "done",
                "pipeline": target.name,
                "release": manifest.release,
                "digest": manifest.digest,
                "folder": str(folder),
                "warnings": warnings,
            }
        )
    return 0


def command_verify(options: argparse.Namespace) -> int:
    from contender.lookup import folder_or_target
    from contender.registry import folder_manifest, folder_signers, verify_folder
    from contender.registry.signing import fingerprint
    from deployments.terminal import console, say, transferring

    found = folder_or_target(options.name, options.registry, profile=options.profile)
    key, bars = public_key_of(options), console(quiet=loudness(options) == Loudness.QUIET)
    if isinstance(found, Path):
        with transferring(bars, f"verifying {found}", _bytes(folder_manifest(found))) as on_bytes:
            manifest = verify_folder(found, on_bytes, key)
        signers = folder_signers(found)
    else:
        release, evaluation = found.release()
        total = _bytes(release, beside=True)
        with transferring(bars, f"verifying {release.release}", total) as on_bytes:
            manifest = found.registry.verify(release.release, evaluation, on_bytes, key)
        signers = [signature.key for signature in found.registry.signatures(release.release)]
    say(
        console(),
        f"{manifest.release}: {len(manifest.files)} files, {_megabytes(manifest.files)}, all match their sha256",
    )
    checked = fingerprint(key) if key else None
    for line in _signed(signers, checked):
        say(bars, line)
    if options.json:
        print_document(
            {
                "outcome": "done",
                "release": manifest.release,
                "digest": manifest.digest,
                "files": len(manifest.files),
                "signed_by": signers,
                "checked_key": checked,
            }
        )
    return 0


def _signed(signers: list[str], checked: str | None) -> Iterator[str]:
    if checked:
        yield f"signed by the key {checked}, as asked"
    elif signers:
        yield f"says to be signed by {', '.join(signers)}; --public-key FILE checks that"


def minute(at: str) -> str:
    """A time of the registry, in UTC, as tables show it."""
    return at[:16].replace("T", " ")


def _megabytes(files: Any) -> str:
    return f"{sum(file.size for file in files) / 1e6:,.0f} MB"


def _bytes(manifest: ReleaseManifest, beside: bool = False) -> int:
    """Bytes of the release's files, with those that lie beside them in the registry where `beside` is set."""
    return sum(file.size for file in (*manifest.files, *(manifest.beside if beside else ())))
