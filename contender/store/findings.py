"""What an examination of a store finds, and what it comes to."""

from __future__ import annotations

from typing import Literal

from contender.records import Record

FindingState = Literal["ok", "warning", "unsafe", "unknown"]

CREATE_ONLY, RACE, VERSIONING, LIFECYCLE = "create-only", "race", "versioning", "lifecycle rules"
# What stands between two writers; whoever promises to be the only one may do without (`promote.single_writer`).
BETWEEN_WRITERS = frozenset({CREATE_ONLY, RACE, VERSIONING})
# Nobody is told that a store is safe where these could not be seen.
ESSENTIAL = frozenset({CREATE_ONLY, RACE})

WAY_OUT = (
    "Use a store with conditional writes (If-None-Match), or a local folder; docs/storage.md says which. "
    "Where nothing else ever writes to this registry at the same time, promote.single_writer: true does without them."
)


class Finding(Record):
    """One thing that was looked at: `seen` is what the store did, `advice` what to do about it.

    unsafe: a release could be lost, undone or promoted twice, or cannot be kept at all. warning: it works, and something should
    be better. unknown: the store, or these credentials, did not let it be seen.
    """

    name: str
    state: FindingState
    seen: str
    advice: str = ""


class Examination(Record):
    """What was found of one store; `seconds` is how long it took."""

    url: str
    findings: tuple[Finding, ...]
    seconds: float

    def of(self, state: FindingState) -> list[Finding]:
        return [finding for finding in self.findings if finding.state == state]

    @property
    def outcome(self) -> Literal["done", "unsafe", "unknown"]:
        """`done` only where it was shown to be safe."""
        if self.of("unsafe"):
            return "unsafe"
        hidden = any(finding.name in ESSENTIAL for finding in self.of("unknown"))
        return "unknown" if hidden else "done"

    @property
    def verdict(self) -> str:
        """One sentence."""
        if unsafe := self.of("unsafe"):
            # Where a bucket's versioning is at fault, the race shows it too.
            first = next((finding for finding in unsafe if finding.name == VERSIONING), unsafe[0])
            return f"{self.url} is not safe for a registry: {first.name}: {first.seen}"
        if self.outcome == "unknown":
            hidden = next(finding for finding in self.of("unknown") if finding.name in ESSENTIAL)
            return f"whether {self.url} is safe for a registry cannot be said: {hidden.seen}"
        count = len(self.of("warning"))
        but = f", with {count} warning{'s' if count > 1 else ''}" if count else ""
        return f"{self.url} is safe for a registry{but}"
