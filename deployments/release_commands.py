"""The commands that move an alias, compare releases, and remove old ones.

Like those of deployments/commands.py, each returns its exit code; its document goes to stdout, all else to stderr.
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from contender.errors import AliasMoved, Damaged, UsageError
from contender.text import visible
from deployments.arguments import actor_of, write_page
from deployments.documents import print_document

if TYPE_CHECKING:
    from rich.console import Console

    from contender.lookup import Target
    from contender.records import AliasEntry
    from contender.registry import Guard
    from contender.registry.collector import Collected, Garbage
    from contender.reporting.difference import Difference


def command_promote(options: argparse.Namespace) -> int:
    from contender.lookup import find
    from deployments.terminal import console, say

    target = find(options.name, options.registry, profile=options.profile)
    _no_release(target, options.name)
    live = target.registry.champion(target.alias)
    expected = _expected(options, live, target.alias)
    if live and live.release == options.release:
        return _told(
            options, target, live, "up_to_date", f"{live.release} is live as {target.alias} already, by entry {live.n}"
        )
    say(console(), f"verifying {options.release}")
    manifest = target.registry.verify(options.release)
    entry = target.registry.promote(
        target.alias,
        expected,
        manifest,
        reason=visible(options.reason or "promoted by hand"),
        actor=actor_of(options, "command line"),
        evaluation=target.registry.newest_evaluation(options.release),
        by_hand=True,
        guard=_guard(target),
    )
    return _told(options, target, entry, "done", f"{entry.release} is live as {target.alias}, by entry {entry.n}")


def command_rollback(options: argparse.Namespace) -> int:
    from contender.lookup import find
    from deployments.terminal import console, say

    target = find(options.name, options.registry, profile=options.profile)
    _no_release(target, options.name)
    say(console(), "verifying the release to return to")
    entry = target.registry.rollback(
        target.alias,
        options.release,
        options.expect,
        reason=visible(options.reason or "rolled back by hand"),
        actor=actor_of(options, "command line"),
        guard=_guard(target),
    )
    left = f"; {entry.previous} is withdrawn: no run promotes it again"
    return _told(
        options, target, entry, "done", f"{entry.release} is live again as {target.alias}, by entry {entry.n}{left}"
    )


def command_diff(options: argparse.Namespace) -> int:
    from contender.lookup import find_pair
    from contender.reporting.difference import difference, noise_of, render_difference, same_rows, side
    from deployments.terminal import console, say

    first, second = find_pair(options.a, options.b, options.registry, options.profile)
    out = console()
    noise, faults = noise_of(first.registry, second.registry)
    for fault in faults:
        say(out, f"! {fault}; its noise is not told", "yellow")
    a, b = side(first.registry, *first.release()), side(second.registry, *second.release())
    found = difference(a, b, noise)
    _show(out, found)
    if options.html:
        rows = None
        try:
            rows = same_rows(first.registry, second.registry, a, b)
        except Damaged as error:
            say(out, f"! {error.what}; the page compares no rows", "yellow")
        write_page(Path(options.html), render_difference(found, rows).encode(), "--html")
        say(out, f"wrote {options.html}")
    if options.json:
        print_document({"outcome": "done"} | found.model_dump(mode="json"))
    return 0


def command_gc(options: argparse.Namespace) -> int:
    from contender.lookup import find
    from deployments.arguments import age
    from deployments.terminal import Column, console, say, show_table

    target = find(options.name, options.registry, profile=options.profile)
    older_than = age(options.older_than)
    out = console()
    registry = target.registry
    collector = registry.collector(options.keep, older_than)
    found: list[Garbage] | list[Collected]
    found = collector.collect(lambda one: say(out, _collected(one))) if options.delete else collector.garbage()
    rows = [(one.release, one.what, f"{one.size / 1e6:,.1f}", f"{one.age / 86400:,.1f}") for one in found]
    if rows and not options.delete:
        numbers = (Column("MB", right=True), Column("days", right=True))
        show_table(out, ("release", "what", *numbers), rows)
    gone = [one for one in found if not getattr(one, "kept", "")]
    size = sum(one.size for one in gone)
    say(out, f"{'removed' if options.delete else 'would remove'} {len(gone):,} of {registry.url}, {size / 1e6:,.1f} MB")
    if found and not options.delete:
        say(out, "nothing was removed; add --delete to do it")
    if options.json:
        print_document(
            {
                "outcome": "done",
                "pipeline": target.name,
                "registry": registry.url,
                "deleted": options.delete,
                "bytes": size,
                "found": [one.model_dump(mode="json") for one in found],
            }
        )
    return 0


def _collected(one: Collected) -> str:
    return f"kept {one.release}: {one.kept}" if one.kept else f"removed {one.release}, {one.size / 1e6:,.1f} MB"


def _expected(options: argparse.Namespace, live: AliasEntry | None, alias: str) -> int:
    """The number of the entry that a new one follows: the newest, which must be the one that was expected."""
    newest = live.n if live else 0
    if options.expect is not None and options.expect != newest:
        at = f"entry {live.n} ({live.release}, {live.reason})" if live else "no entry yet"
        raise AliasMoved(
            f"alias {alias!r} is at {at}, not at entry {options.expect}", "See the history, and decide again."
        )
    return newest


def _no_release(target: Target, name: str) -> None:
    if target.named:
        raise UsageError(
            f"{name!r} names a release where an alias is moved", "Write NAME[@ALIAS] and the release after it."
        )


def _guard(target: Target) -> Guard | None:
    """Nothing is held: where the pipeline promises to be the only writer, whoever types this command is it."""
    return nullcontext() if target.single_writer else None


def _told(options: argparse.Namespace, target: Target, entry: AliasEntry, outcome: str, sentence: str) -> int:
    from deployments.terminal import console, say

    say(console(), sentence)
    if options.json:
        print_document(
            {
                "outcome": outcome,
                "pipeline": target.name,
                "registry": target.registry.url,
                "alias": target.alias,
                "entry": entry.model_dump(mode="json"),
            }
        )
    return 0


def _show(out: Console, found: Difference) -> None:
    from contender.noise import size
    from deployments.terminal import Column, say, show_table

    say(out, f"{found.a} → {found.b}" + ("; the same model files" if found.same_model else ""), "bold")
    metrics = [
        (
            one.set,
            one.metric,
            *("–" if number is None else f"{number:.4f}" for number in (one.a, one.b)),
            "–" if one.difference is None else f"{one.difference:+.4f}",
            *([f"±{size(one.metric, one.noise)}" if one.noise is not None else ""] if found.noise else []),
            "on other rows" if one.same_rows is False else "",
        )
        for one in found.metrics
    ]
    if metrics:
        seed = ("the seed alone",) if found.noise else ()
        numbers = (Column(title, right=True) for title in ("a", "b", "b − a", *seed))
        show_table(out, ("set", "metric", *numbers, ""), metrics)
        if found.noise:
            say(out, f"{found.noise.sentence} Measured on {found.noise.at[:10]} on {found.noise.rows:,} rows.")
    for title, changes in (("data", found.data), ("spec", found.spec), ("environment", found.environment)):
        if changes:
            show_table(out, (title, "a", "b"), [(one.name, one.a, one.b) for one in changes])
        else:
            say(out, f"{title}: the same")
    if found.files is None:
        say(out, "data files: not known for both")
        return
    counts = {name: len(getattr(found.files, name)) for name in ("added", "rewritten", "removed")}
    more = f", {found.files.more:,} more" if found.files.more else ""
    say(
        out,
        f"data files: {', '.join(f'{count:,} {name}' for name, count in counts.items())}{more}, {found.files.unchanged:,} unchanged",
    )
    for name in counts:
        for path in getattr(found.files, name)[:10]:
            say(out, f"  {name} {path}")
