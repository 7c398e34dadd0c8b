"""The registry: releases, evaluations, decisions, alias logs and ledgers of one pipeline, on any store.

Everything is written once and never changed, but for the copies of alias logs, which decide nothing. What several writers could
race for is created create-only; whoever loses reads what stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

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
from contender.registry.aliases import AliasLog, Said, alias_names, earlier
from contender.registry.claims import Claims
from contender.registry.collector import Collector
from contender.registry.decisions import Decisions, freeze_split, standing_split
from contender.registry.evaluations import Evaluations
from contender.registry.fetch import Fetcher, OnWarning, folder_manifest, folder_signers, holds_model, verify_folder
from contender.registry.layout import ADAPTER, DATA_FILES, TRAIN_KEYS, Layout, check_name
from contender.registry.noise import NoiseRecords
from contender.registry.observations import Observations
from contender.registry.recent import Recent
from contender.registry.releases import Releases, damaged
from contender.registry.signing import Signature, check_signed, keep_signature, sign, signatures_of
from contender.registry.snapshots import SnapshotFiles
from contender.store import Store
from contender.store.safety import require_safe
from contender.store.transfer import OnBytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    from contender.noise import NoiseReport
    from contender.registry.ledger import Comparison, Enough, Keys, Taken

__all__ = [
    "ADAPTER",
    "DATA_FILES",
    "TRAIN_KEYS",
    "Guard",
    "OnWarning",
    "Registry",
    "check_name",
    "folder_manifest",
    "folder_signers",
    "holds_model",
    "verify_folder",
]


Guard = AbstractContextManager[object]


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
        self._claims = Claims(store, self._layout)
        self._noise = NoiseRecords(store, self._layout)
        self.monitoring = Observations(store, self._layout)
        self.recent = Recent(store, self._layout)
        self.snapshots = SnapshotFiles(store, self._layout)

    def exists(self) -> bool:
        """Whether the store holds anything of this pipeline."""
        return any(True for _ in self._store.list(f"{self.pipeline}/"))

    # --- releases ---

    def stage(
        self,
        model: Path,
        draft: ReleaseDraft,
        beside: Mapping[str, Path] | None = None,
        on_bytes: OnBytes | None = None,
    ) -> ReleaseManifest:
        """The release of the folder `model`, whole and verified; staging the same files again is the same release.

        `beside`: name → file that is kept with it and is no part of the model, TRAIN_KEYS, DATA_FILES and those below ADAPTER among them.
        """
        return self._releases.stage(model, draft, beside or {}, on_bytes)

    def release(self, release: str) -> ReleaseManifest:
        """A release's manifest; UsageError naming the known ones where there is none."""
        return self._releases.release(release)

    def named_by(self, entry: AliasEntry) -> ReleaseManifest:
        """The manifest of the release that the entry made live; Damaged where it is gone, or another one."""
        return self._releases.named_by(entry)

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
        public_key: Ed25519PublicKey | None = None,
    ) -> ReleaseManifest:
        """The release in `folder`: whole, verified, atomic, and only what is missing travels.

        A damaged report stops no model that is whole: it is left out, and told to `on_warning`. For `public_key` see `verify`.
        """
        fetcher = Fetcher(self._store, self._layout, self._releases, self._evaluations)
        return fetcher.fetch(release, folder, on_bytes, evaluation, on_warning, public_key)

    def verify(
        self,
        release: str,
        evaluation: str | None = None,
        on_bytes: OnBytes | None = None,
        public_key: Ed25519PublicKey | None = None,
    ) -> ReleaseManifest:
        """Reads every file of the release back, and of one of its evaluations; Damaged names each bad one.

        `on_bytes` gets the bytes of the release. Damaged also where `public_key` is given and did not sign the release.
        """
        stored, manifest = self._releases.read(release)
        if public_key is not None:
            check_signed(release, stored, self.signatures(release), public_key)
        faults = self._releases.faults(manifest, on_bytes)
        beside = self._evaluations.faults(release, evaluation) if evaluation else []
        if faults:
            raise damaged(release, [*faults, *(f"evaluation {evaluation}: {fault}" for fault in beside)])
        if beside:
            raise Damaged(
                f"release {release} is whole, but not its evaluation {evaluation}: {'; '.join(beside)}",
                "Restore the files from a backup. The model can be used; its report, or the next comparison with it, cannot.",
            )
        return manifest

    def sign(self, release: str, key: Ed25519PrivateKey) -> Signature:
        """Signs the release's manifest as it stands in the registry, and keeps the signature beside it."""
        signature = sign(release, self._releases.read(release)[0], key)
        keep_signature(self._store, self._layout, signature)
        return signature

    def signatures(self, release: str) -> tuple[Signature, ...]:
        """The release's signatures, not checked; `verify` checks one."""
        return signatures_of(self._store, self._layout, release)

    def beside(self, release: str, name: str) -> bytes | None:
        """A file beside the release's model, checked: TRAIN_KEYS, DATA_FILES; None where it has none."""
        return self._releases.beside(release, name)

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

    def entry(self, alias: str, n: int) -> AliasEntry:
        """Entry n of the alias."""
        return self._alias(alias).entry(n)

    def next_entry(
        self,
        alias: str,
        expected: int,
        manifest: ReleaseManifest,
        by_hand: bool = False,
        **said: Unpack[Said],
    ) -> AliasEntry:
        """Entry `expected` + 1 that makes the release live, not written yet.

        Raises AliasMoved where that number is another's, and Withdrawn where a rollback left the release, but for `by_hand`.
        """
        return self._alias(alias).next(expected, manifest, by_hand=by_hand, **said)

    def append(self, alias: str, entry: AliasEntry, guard: Guard | None = None) -> AliasEntry:
        """Adds the entry, or finds that it is there; AliasMoved where its number is another's, OutcomeUnknown where nobody knows.

        The release must be there, and stays: no garbage collector takes it meanwhile. `guard` is held while the entry is written,
        and keeps every other writer out: only with one is a store accepted that does not do so itself. Raises UnsafeStore for any
        other one.
        """
        self.require_safe(guarded=guard is not None)
        with self._claims.held(entry.release, "promote"), guard or nullcontext():
            self._releases.check_standing(entry.release, entry.digest)
            return self._alias(alias).append(entry)

    def is_newest(self, alias: str, n: int) -> bool:
        """Whether entry `n` is still the live one: one request, for whoever asks every few seconds."""
        return self._alias(alias).ends_at(n)

    def promote(
        self,
        alias: str,
        expected: int,
        manifest: ReleaseManifest,
        by_hand: bool = False,
        guard: Guard | None = None,
        **said: Unpack[Said],
    ) -> AliasEntry:
        """Makes the release live as entry `expected` + 1: `next_entry` and `append`."""
        return self.append(alias, self.next_entry(alias, expected, manifest, by_hand, **said), guard)

    def rollback(
        self,
        alias: str,
        release: str | None = None,
        expected: int | None = None,
        *,
        reason: str,
        actor: str,
        guard: Guard | None = None,
    ) -> AliasEntry:
        """Makes the release that was live before, or a named one, live again, once its files are verified.

        What it leaves is withdrawn: no run promotes it again. `expected`: the number of the entry that it may leave, AliasMoved
        where that is not the newest. UsageError where there is nothing to return to.
        """
        log = self._alias(alias)
        live, target = earlier(log, release, expected)
        manifest = self.verify(target.release if target else str(release))
        entry = log.next(
            live.n,
            manifest,
            action="rollback",
            reason=reason,
            actor=actor,
            evaluation=target.evaluation if target else self.newest_evaluation(manifest.release),
            by_hand=True,
        )
        return self.append(alias, entry, guard)

    def require_safe(self, guarded: bool = False) -> None:
        """Raises UnsafeStore where the store would not keep two promotions apart, or would remove what is here.

        Costs a few small writes. `guarded`: something else keeps writers apart.
        """
        require_safe(self._store, f"{self.pipeline}/", guarded)

    def repair_copy(self, alias: str, entry: AliasEntry) -> None:
        """Brings the alias's copy up to `entry`, where it is behind; best effort, since it decides nothing."""
        self._alias(alias).repair_copy(entry)

    # --- garbage ---

    def collector(self, keep: int, older_than: float) -> Collector:
        """What removes releases: none of the last `keep` of any alias, nor what was staged within `older_than` seconds."""
        remembered = {found.alias for found in self.decisions() if found.alias_entry or found.judged_against}
        return Collector(self._store, self._layout, self._alias, remembered, keep, older_than)

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

    def newest_evaluation(self, release: str) -> str | None:
        """Id of the release's evaluation that was saved last."""
        newest = self._evaluations.newest(release)
        return newest.evaluation if newest else None

    def decide(self, decision: Decision) -> Decision:
        """Keeps the decision under its key; the one that stands."""
        return self._decisions.decide(decision)

    def decisions(self, prefix: str = "") -> list[Decision]:
        """Every decision whose key starts with `prefix`; Damaged where one is, since a verdict may rest on it."""
        return self._decisions.all(prefix)

    def newest_decision(self) -> Decision | None:
        """The decision that was made last, whatever it was made on; a superseded one is none."""
        return self._decisions.newest()

    def readable_decisions(self) -> tuple[list[Decision], list[str]]:
        """For people: every decision that can be read, and one sentence for each that is damaged."""
        return self._decisions.readable()

    def look(self, held_out: str, comparison: Comparison, keys: Keys, confidence: float, enough: Enough) -> Taken:
        """The look that this comparison takes at the held-out set: found or added, with its alpha and the keys that it judges."""
        from contender.registry.ledger import Ledger

        return Ledger(self._store, self._layout, held_out).look(comparison, keys, confidence, enough)

    def looks(self, held_out: str) -> list[LedgerEntry]:
        """Every look at the held-out set, in order."""
        from contender.registry.ledger import Ledger

        return Ledger(self._store, self._layout, held_out).entries()

    def freeze_split(self, definition: SplitDefinition) -> SplitDefinition:
        """The split's definition that stands for this pipeline."""
        return freeze_split(self._store, self._layout, definition)

    def split(self) -> SplitDefinition | None:
        """The split's definition that stands for this pipeline; None before its first run."""
        return standing_split(self._store, self._layout)

    def keep_noise(self, report: NoiseReport) -> NoiseReport:
        """Keeps the noise record under its key; the one that stands."""
        return self._noise.keep(report)

    def newest_noise(self) -> tuple[NoiseReport | None, list[str]]:
        """The newest noise record that can be read, and one sentence for each that is damaged."""
        return self._noise.newest()

    def _alias(self, alias: str) -> AliasLog:
        remembered = lambda: self._decisions.name_an_entry_of(alias)  # noqa: E731
        return AliasLog(self._store, self._layout, alias, remembered, self._patience)
