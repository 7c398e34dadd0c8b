"""The registry: releases, evaluations, decisions, alias logs and ledgers of one pipeline, on any store.

Everything is written once and never changed, but for the copies of alias logs, which decide nothing. What several writers could
race for is created create-only; whoever loses reads what stands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contender.errors import Damaged
from contender.records import (
    AliasEntry,
    Decision,
    Evaluation,
    LedgerEntry,
    ReleaseDraft,
    ReleaseManifest,
    SplitDefinition,
)
from contender.registry.aliases import AliasLog, alias_names
from contender.registry.evaluations import Evaluations
from contender.registry.fetch import Fetcher, OnWarning, holds_model, verify_folder
from contender.registry.layout import Layout, check_name
from contender.registry.ledger import Decisions, Ledger, freeze_split
from contender.registry.releases import Releases, damaged
from contender.store import Store
from contender.store.transfer import OnBytes

__all__ = ["OnWarning", "Registry", "check_name", "holds_model", "verify_folder"]


class Registry:
    """One pipeline's part of a store.

    `patience`: seconds that a promotion repeats itself against a store that does not answer. Every method raises StoreUnavailable
    and StoreError as the store does, Damaged for bytes that are not what was written, UsageError for names that do not exist.
    """

    def __init__(self, store: Store, pipeline: str, patience: float = 20.0) -> None:
        self.pipeline = pipeline
        self.url = f"{store.url.rstrip('/')}/{pipeline}"
        self._store = store
        self._layout = Layout(pipeline)
        self._patience = patience
        self._releases = Releases(store, self._layout)
        self._evaluations = Evaluations(store, self._layout)
        self._decisions = Decisions(store, self._layout)

    def exists(self) -> bool:
        """Whether the store holds anything of this pipeline."""
        return any(True for _ in self._store.list(f"{self.pipeline}/"))

    # --- releases ---

    def stage(
        self, model: Path, draft: ReleaseDraft, train_keys: Path | None = None, on_bytes: OnBytes | None = None
    ) -> ReleaseManifest:
        """The release of the folder `model`, whole and read back; staging the same files again is the same release."""
        return self._releases.stage(model, draft, train_keys, on_bytes)

    def release(self, release: str) -> ReleaseManifest:
        """A release's manifest; UsageError naming the known ones where there is none."""
        return self._releases.release(release)

    def releases(self) -> list[ReleaseManifest]:
        """Every whole release, oldest first."""
        return self._releases.releases()

    def fetch(
        self,
        release: str,
        folder: Path,
        on_bytes: OnBytes | None = None,
        evaluation: str | None = None,
        on_warning: OnWarning | None = None,
    ) -> ReleaseManifest:
        """The release in `folder`: whole, verified, atomic, and only what is missing travels.

        A damaged report does not stop a model that is whole: it is left out, and `on_warning` gets one sentence about it.
        """
        fetcher = Fetcher(self._store, self._layout, self._releases, self._evaluations)
        return fetcher.fetch(release, folder, on_bytes, evaluation, on_warning)

    def verify(self, release: str, evaluation: str | None = None) -> ReleaseManifest:
        """Reads every file of the release back, and of one of its evaluations; Damaged names each bad one."""
        manifest = self._releases.release(release)
        faults = self._releases.faults(manifest)
        beside = self._evaluations.faults(release, evaluation) if evaluation else []
        if faults:
            raise damaged(release, [*faults, *(f"evaluation {evaluation}: {fault}" for fault in beside)])
        if beside:
            raise Damaged(
                f"release {release} is whole, but not its evaluation {evaluation}: {'; '.join(beside)}",
                "Restore the files from a backup. The model can be used; its report, or the next comparison with it, cannot.",
            )
        return manifest

    def train_keys(self, release: str) -> bytes | None:
        """The parquet file of hashed keys that the release trained on."""
        return self._releases.train_keys(release)

    # --- aliases ---

    def aliases(self) -> list[str]:
        """Names of the aliases that have an entry."""
        return alias_names(self._store, self._layout)

    def log(self, alias: str) -> list[AliasEntry]:
        """Every entry of the alias, oldest first; Damaged where the log is not whole."""
        return self._alias(alias).entries()

    def champion(self, alias: str) -> AliasEntry | None:
        """The entry that is live; None only where the alias certainly never had one."""
        return self._alias(alias).newest()

    def promote(
        self,
        alias: str,
        expected: int,
        manifest: ReleaseManifest,
        *,
        reason: str,
        actor: str,
        evaluation: str | None = None,
        verdict: dict[str, Any] | None = None,
    ) -> AliasEntry:
        """Creates exactly entry `expected` + 1; AliasMoved where it is another's, OutcomeUnknown where the store does not say."""
        return self._alias(alias).append(expected, manifest, reason, actor, evaluation, verdict)

    def repair_copy(self, alias: str, entry: AliasEntry) -> None:
        """Brings the alias's copy up to `entry`, where it is behind; best effort, since it decides nothing."""
        self._alias(alias).repair_copy(entry)

    # --- evaluations, decisions, ledger, split ---

    def save_evaluation(self, evaluation: Evaluation, files: Path) -> Evaluation:
        """Keeps the evaluation and every file of the folder `files`; the one that stands."""
        return self._evaluations.save(evaluation, files)

    def evaluation(self, release: str, evaluation: str) -> Evaluation:
        """An evaluation's record; UsageError naming the known ones where there is none."""
        return self._evaluations.load(release, evaluation)

    def evaluation_file(self, release: str, evaluation: str, name: str) -> bytes:
        """One file of an evaluation, checked: report.html, outcomes.parquet, README.md."""
        return self._evaluations.file(release, evaluation, name)

    def evaluations(self, release: str) -> list[str]:
        """Ids of a release's whole evaluations."""
        return self._evaluations.names(release)

    def decide(self, decision: Decision) -> Decision:
        """Keeps the decision under its key; the one that stands."""
        return self._decisions.decide(decision)

    def decisions(self, prefix: str = "") -> list[Decision]:
        """Every decision whose key starts with `prefix`; Damaged where one is, since a verdict may rest on it."""
        return self._decisions.all(prefix)

    def readable_decisions(self) -> tuple[list[Decision], list[str]]:
        """For people: every decision that can be read, and one sentence for each that is damaged."""
        return self._decisions.readable()

    def look(
        self, held_out: str, set_digest: str, challenger: str, champion: str | None, rule: str, confidence: float
    ) -> LedgerEntry:
        """The ledger entry of this comparison on the held-out set, with the alpha that it may spend; found or added."""
        return Ledger(self._store, self._layout, held_out).look(challenger, champion, set_digest, rule, confidence)

    def freeze_split(self, definition: SplitDefinition) -> SplitDefinition:
        """The split's definition that stands for this pipeline."""
        return freeze_split(self._store, self._layout, definition)

    def _alias(self, alias: str) -> AliasLog:
        remembered = lambda: self._decisions.name_an_entry_of(alias)  # noqa: E731
        return AliasLog(self._store, self._layout, alias, remembered, self._patience)
