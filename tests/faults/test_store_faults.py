"""A thousand faults between the registry and a real S3 server: no loss, no double promotion, no false success."""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from faulty_proxy import KINDS, FaultyProxy, faulty

from contender.errors import AliasMoved, ContenderError, Damaged, OutcomeUnknown, StoreUnavailable, Transient
from contender.records import AliasEntry, Decision, Evaluation, LedgerEntry, ReleaseDraft, ReleaseManifest
from contender.registry import Registry
from contender.registry.ledger import Comparison
from contender.store.s3 import S3Store

T = TypeVar("T")
PROMOTERS = 3
PROMOTIONS = 6  # of each release: most of the work is at the alias
LARGE = 17 << 20  # bytes: one file in two parts
SILENCE = 1.0  # seconds that a client waits for an answer
PAUSE = 0.3  # seconds between looks of the reader: most faults are to meet the writers


@dataclass
class Told:
    """What the writers were told, to be compared with what is there in the end."""

    releases: list[ReleaseManifest] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    entries: list[AliasEntry] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    looks: list[LedgerEntry] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def patiently(act: Callable[[], T], seconds: float = 120, also: tuple[type[ContenderError], ...] = ()) -> T:
    """As a task does: transient errors are tried again from the start; `also`: what a person would run the command again for."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return act()
        except (Transient, *also):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def model(folder: Path, dice: random.Random, size: int) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(f'{{"n": {dice.random()}}}')
    (folder / "model.safetensors").write_bytes(dice.randbytes(size))
    return folder


KEYS = np.arange(100, dtype=np.uint64)


class Promoter:
    """One run after another: stage, evaluate, look, promote, decide; each step again where the store did not answer."""

    def __init__(self, number: int, store: S3Store, told: Told, folder: Path, enough: Callable[[], bool]) -> None:
        self.registry = Registry(store, "desk", patience=2.0)
        self.number = number
        self.enough = enough
        self.told = told
        self.folder = folder / str(number)
        self.dice = random.Random(number)
        self.runs = 0

    def run(self) -> None:
        self.runs += 1
        large = self.number == 0 and self.runs % 4 == 1
        name = f"{self.number}-{self.runs}"
        files = model(self.folder / name, self.dice, LARGE if large else 5000)
        draft = ReleaseDraft(kind="text-classification", columns={"text": "body"})
        manifest = patiently(lambda: self.registry.stage(files, draft), also=(Damaged,))
        self.told.releases.append(manifest)
        self.told.evaluations.append(patiently(lambda: self._evaluated(manifest, name)))
        for challenger in (manifest.release, f"common {self.runs}"):  # the others look at the second, too
            self.told.looks.append(patiently(lambda of=challenger: self._look(of)))
        common = f"common-{self.runs}"
        self.told.decisions.append(patiently(lambda: self._decided(common, "kept", manifest, None)))
        for again in range(PROMOTIONS):  # a release may be promoted more than once, after a rollback for one
            if again and self.enough():
                return
            self._decide(manifest, f"{name}-{again}")

    def _decide(self, manifest: ReleaseManifest, name: str) -> None:
        entry = None
        for _ in range(5):
            entry = entry or self._promoted(manifest, name)
        if entry:
            self.told.entries.append(entry)
        key = f"{name}-{entry.n - 1 if entry else 0:08d}"
        outcome = "promoted" if entry else "superseded"
        self.told.decisions.append(patiently(lambda: self._decided(key, outcome, manifest, entry)))

    def _evaluated(self, manifest: ReleaseManifest, name: str) -> Evaluation:
        folder = self.folder / f"{name}-evaluation"
        folder.mkdir(exist_ok=True)
        (folder / "report.html").write_text(f"<p>{name}" * 200)
        record = Evaluation(
            evaluation=f"e-{name}",
            release=manifest.release,
            champion=None,
            device="cpu",
            dtype="fp32",
            challenger_sets=(),
            champion_sets=(),
        )
        return self.registry.save_evaluation(record, folder)

    def _look(self, challenger: str) -> LedgerEntry:
        comparison = Comparison(challenger, "r-0", "digest", "rule")
        return self.registry.look("test", comparison, KEYS, 0.95, lambda units: units > 20).entry

    def _promoted(self, manifest: ReleaseManifest, name: str) -> AliasEntry | None:
        """As a run does, and its successor where the outcome was unknown: it finds its own entry by the decision that it names."""
        while True:
            log = patiently(lambda: self.registry.log("production"))
            own = [entry for entry in log if (entry.verdict or {}).get("decision") == name]
            if len(own) > 1:
                self.told.wrong.append(f"{name} was promoted {len(own)} times")
            if own:
                return own[0]
            try:
                return self.registry.promote(
                    "production",
                    log[-1].n if log else 0,
                    manifest,
                    reason="better",
                    actor=f"promoter {self.number}",
                    verdict={"decision": name},
                )
            except (OutcomeUnknown, StoreUnavailable):
                continue
            except AliasMoved:
                return None

    def _decided(self, key: str, outcome: str, manifest: ReleaseManifest, entry: AliasEntry | None) -> Decision:
        return self.registry.decide(
            Decision(
                key=key,
                pipeline="desk",
                outcome=outcome,
                message="",
                spec_digest="0",
                snapshot="0",
                rows=1,
                judged_against=0,
                alias="production",
                alias_entry=entry.n if entry else None,
                release=manifest.release,
                seconds=1.0,
                actor="tests",
                at="now",
            )
        )


def read(registry: Registry, direct: Registry, told: Told, ended: threading.Event, reads: Counter[str]) -> None:
    """A reader that looks at what is live all the time: it may have to wait, and must never see half of anything.

    Where it is told of damage, bits were flipped on the way: read without the proxy, the release is whole.
    """
    newest, verified = 0, ""
    while not ended.wait(PAUSE):
        try:
            entry = registry.champion("production")
            if entry:
                if entry.n < newest:
                    told.wrong.append(f"a reader saw entry {entry.n} after {newest}")
                newest = max(newest, entry.n)
                manifest = registry.release(entry.release)
                if manifest.release != verified:
                    verified = _verified(registry, direct, manifest, reads)
            reads["answered"] += 1
        except Transient:
            reads["waited"] += 1
        except ContenderError as error:
            told.wrong.append(f"a reader saw {type(error).__name__}: {error.what}")


def _verified(registry: Registry, direct: Registry, manifest: ReleaseManifest, reads: Counter[str]) -> str:
    try:
        registry.verify(manifest.release)
    except Damaged:
        direct.verify(manifest.release)
        reads["flipped"] += 1
    return manifest.release


def campaign(
    proxy: FaultyProxy, bucket: str, prefix: str, faults: int, folder: Path, patch: pytest.MonkeyPatch
) -> Told:
    """Promoters and a reader until so many faults were injected."""
    direct = Registry(S3Store(bucket, prefix), "desk")
    assert not direct.exists()  # and its client is made, with the endpoint of the server itself
    patch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    store = lambda: S3Store(bucket, prefix, attempts=2, patience=SILENCE)  # noqa: E731
    told, ended, reads = Told(), threading.Event(), Counter[str]()
    enough = lambda: sum(proxy.faults.values()) >= faults  # noqa: E731
    promoters = [Promoter(number, store(), told, folder, enough) for number in range(PROMOTERS)]

    def work(promoter: Promoter) -> None:
        try:
            while not enough():
                promoter.run()
        except Exception as error:  # noqa: BLE001 - told by the test
            told.wrong.append(f"a promoter ended with {type(error).__name__}: {error}")

    threads = [threading.Thread(target=work, args=(promoter,)) for promoter in promoters]
    reader = threading.Thread(target=read, args=(Registry(store(), "desk"), direct, told, ended, reads))
    for thread in (*threads, reader):
        thread.start()
    for thread in threads:
        thread.join()
    ended.set()
    reader.join()
    proxy.settle()
    assert reads["answered"]
    return told


def compare(told: Told, registry: Registry) -> None:
    """What is there, read without faults, with what the writers were told."""
    log = registry.log("production")
    assert [entry.n for entry in log] == list(range(1, len(log) + 1))
    assert sorted(told.entries, key=lambda entry: entry.n) == log, "each promotion was told to one, and each is there"
    assert len({entry.writer for entry in log}) == len(log)
    for manifest in told.releases:
        assert registry.verify(manifest.release) == manifest
    for evaluation in told.evaluations:
        assert registry.evaluation(evaluation.release, evaluation.evaluation) == evaluation
    decisions = {decision.key: decision for decision in registry.decisions()}
    assert decisions.keys() == {decision.key for decision in told.decisions}
    for decision in told.decisions:
        assert decision == decisions[decision.key], "whoever decides the same learns what stands"
    looks = {(look.challenger, look.writer, look.n) for look in told.looks}
    assert sorted(n for _, _, n in looks) == list(range(1, len(looks) + 1))
    assert len({challenger for challenger, _, _ in looks}) == len(looks), "no comparison was paid for twice"


@pytest.mark.parametrize(
    ("s3_server", "faults"),
    [
        pytest.param("ministack", 100, marks=pytest.mark.server("ministack")),
        pytest.param("ministack", 1000, marks=(pytest.mark.server("ministack"), pytest.mark.slow)),
        pytest.param("ceph", 300, marks=(pytest.mark.server("ceph"), pytest.mark.slow)),
    ],
    indirect=["s3_server"],
)
def test_faults_between_registry_and_store_lose_nothing_and_promote_nothing_twice(
    s3_server: Any, faults: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    prefix = f"faults-{secrets.token_hex(4)}"
    with faulty(s3_server.endpoint, every=10) as proxy:
        told = campaign(proxy, s3_server.bucket, prefix, faults, tmp_path, monkeypatch)
        print(dict(proxy.faults), f"{len(told.entries)} promotions, {len(told.releases)} releases")
        assert told.wrong == []
        if faults >= 300:
            assert set(proxy.faults) == KINDS
        assert sum(proxy.faults.values()) >= faults
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)
    compare(told, Registry(S3Store(s3_server.bucket, prefix), "desk"))
