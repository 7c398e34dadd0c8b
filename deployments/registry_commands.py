"""The commands on a registry: what there is, what was decided, and the way of a release to a folder.

Like those of deployments/commands.py, each returns its exit code; its document goes to stdout, all else to stderr.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contender.errors import Damaged
from deployments.arguments import public_key_of
from deployments.documents import print_document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contender.records import AliasEntry, Decision, ReleaseManifest


def command_releases(options: argparse.Namespace) -> int:
    from deployments.lookup import find
    from deployments.terminal import console, table

    target = find(options.name, options.registry, profile=options.profile)
    live: dict[str, list[str]] = {}
    for alias in target.registry.aliases():
        if entry := target.registry.champion(alias):
            live.setdefault(entry.release, []).append(alias)
    releases = sorted(target.registry.releases(), key=lambda release: release.created, reverse=True)
    rows = [
        (r.release, ", ".join(live.get(r.release, ())), r.created[:16].replace("T", " "), _megabytes(r.files), _base(r))
        for r in releases
    ]
    console().print(table(("release", "alias", "created (UTC)", "size", "base"), rows))
    if options.json:
        listed = [r.model_dump(mode="json") | {"aliases": live.get(r.release, [])} for r in releases]
        print_document(
            {"outcome": "done", "pipeline": target.name, "registry": target.registry.url, "releases": listed}
        )
    return 0


def command_history(options: argparse.Namespace) -> int:
    from deployments.lookup import find
    from deployments.terminal import console, say, show_monitoring, table

    target = find(options.name, options.registry, profile=options.profile)
    found, damaged = target.registry.readable_decisions()
    decisions = sorted(found, key=lambda decision: decision.at)
    entries: list[AliasEntry] = []
    now = "unknown"
    try:
        entries = target.registry.log(target.alias)
        live = entries[-1] if entries else None
        now = f"{live.release} since {live.at[:16]} (entry {live.n})" if live else "nothing yet"
    except Damaged as error:
        damaged = [*damaged, error.in_one_line]
    series, faults = target.registry.monitoring.readable()
    damaged = [*damaged, *faults]
    out = console()
    out.print(table(("when (UTC)", "what", "release", "rows", "why"), _story(decisions, entries)))
    show_monitoring(out, series)
    say(out, f"live as {target.alias}: {now}")
    live_entry = entries[-1] if entries else None
    decision = next((found for found in decisions if live_entry and found.key == live_entry.decision), None)
    if live_entry:
        for line in _why(live_entry, decision):
            say(out, f"  {line}")
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


def _story(decisions: list[Decision], entries: list[AliasEntry]) -> list[tuple[str, ...]]:
    """What runs decided, and what people did by hand, in the order of time."""
    found: list[tuple[str, ...]] = [(d.at, d.outcome, d.release or "", f"{d.rows:,}", d.message) for d in decisions]
    decided = {decision.key for decision in decisions}
    for entry in entries:
        if entry.decision not in decided:
            what = "rolled back" if entry.action == "rollback" else "promoted"
            found.append((entry.at, what, entry.release, "", f"{entry.reason} ({entry.actor})"))
    # Milliseconds are written with and without a zone's letter: the part before is comparable.
    return [(at[:16].replace("T", " "), *rest) for at, *rest in sorted(found, key=lambda row: row[0][:23])]


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
    from deployments.lookup import find
    from deployments.terminal import console, say, transferring

    target = find(options.name, options.registry, profile=options.profile)
    release, evaluation = target.release()
    key = public_key_of(options)
    folder = Path(options.folder)
    warnings: list[str] = []
    with transferring(console(), f"pulling {release.release}", _bytes(release)) as on_bytes:
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
    from contender.registry import folder_manifest, folder_signers, verify_folder
    from contender.registry.signing import fingerprint
    from deployments.lookup import folder_or_target
    from deployments.terminal import console, say, transferring

    found = folder_or_target(options.name, options.registry, profile=options.profile)
    key = public_key_of(options)
    if isinstance(found, Path):
        with transferring(console(), f"verifying {found}", _bytes(folder_manifest(found))) as on_bytes:
            manifest = verify_folder(found, on_bytes, key)
        signers = folder_signers(found)
    else:
        release, evaluation = found.release()
        total = _bytes(release, beside=True)
        with transferring(console(), f"verifying {release.release}", total) as on_bytes:
            manifest = found.registry.verify(release.release, evaluation, on_bytes, key)
        signers = [signature.key for signature in found.registry.signatures(release.release)]
    say(
        console(),
        f"{manifest.release}: {len(manifest.files)} files, {_megabytes(manifest.files)}, all match their sha256",
    )
    checked = fingerprint(key) if key else None
    for line in _signed(signers, checked):
        say(console(), line)
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


def _megabytes(files: Any) -> str:
    return f"{sum(file.size for file in files) / 1e6:,.0f} MB"


def _bytes(manifest: ReleaseManifest, beside: bool = False) -> int:
    """Bytes of the release's files, with those that lie beside them in the registry where `beside` is set."""
    return sum(file.size for file in (*manifest.files, *(manifest.beside if beside else ())))


def _base(release: Any) -> str:
    return str(release.lineage.get("base", ""))
