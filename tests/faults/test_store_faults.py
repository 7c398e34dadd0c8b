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

import pytest
from faulty_proxy import ANY, OF_READS, OF_WRITES, FaultyProxy, faulty

from contender.errors import AliasMoved, ContenderError, OutcomeUnknown, StoreUnavailable, Transient
from contender.records import AliasEntry, Decision, Evaluation, LedgerEntry, ReleaseDraft, ReleaseManifest
from contender.registry import Registry
from contender.store.s3 import S3Store

T = TypeVar("T")
PROMOTERS = 3
PROMOTIONS = 6  # of each release: most of the work is at the alias
LARGE = 17 << 20  # bytes: one file in two parts


@dataclass
class Told:
    """What the writers were told, to be compared with what is there in the end."""

    releases: list[ReleaseManifest] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    entries: list[AliasEntry] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    looks: list[LedgerEntry] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def patiently(act: Callable[[], T], seconds: float = 120) -> T:
    """As a task does: transient errors are tried again from the start."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return act()
        except Transient:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def model(folder: Path, dice: random.Random, size: int) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(f'{{"n": {dice.random()}}}')
    (folder / "model.safetensors").write_bytes(dice.randbytes(size))
    return folder


class Promoter:
    """One run after another: stage, evaluate, look, promote, decide; each step again where the store did not answer."""

    def __init__(self, number: int, store: Callable[[], S3Store], told: Told, folder: Path, seed: int) -> None:
        self.registry = Registry(store(), "desk", patience=2.0)
        self.number = number
        self.told = told
        self.folder = folder / str(number)
        self.dice = random.Random(f"{seed} {number}")
        self.runs = 0

    def run(self, large: bool = False) -> None:
        self.runs += 1
        name = f"{self.number}-{self.runs}"
        files = model(self.folder / name, self.dice, LARGE if large else 5000)
        draft = ReleaseDraft(kind="text-classification", columns={"text": "body"})
        manifest = patiently(lambda: self.registry.stage(files, draft))
        self.told.releases.append(manifest)
        self.told.evaluations.append(patiently(lambda: self._evaluated(manifest, name)))
        self.told.looks.append(patiently(lambda: self._look(manifest)))
        for again in range(PROMOTIONS):  # a release may be promoted more than once, after a rollback for one
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

    def _look(self, manifest: ReleaseManifest) -> LedgerEntry:
        return self.registry.look("test", "digest", manifest.release, "r-0", "rule", 0.95)

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


def read(registry: Registry, told: Told, ended: threading.Event, reads: Counter[str]) -> None:
    """A reader that looks at what is live all the time: it may have to wait, and must never see half of anything."""
    newest = 0
    while not ended.is_set():
        try:
            entry = registry.champion("production")
            if entry:
                if entry.n < newest:
                    told.wrong.append(f"a reader saw entry {entry.n} after {newest}")
                newest = max(newest, entry.n)
                registry.release(entry.release)
            reads["answered"] += 1
        except Transient:
            reads["waited"] += 1
        except ContenderError as error:
            told.wrong.append(f"a reader saw {type(error).__name__}: {error.what}")


def campaign(
    proxy: FaultyProxy, bucket: str, prefix: str, faults: int, folder: Path, patch: pytest.MonkeyPatch
) -> Told:
    """Promoters and a reader until so many faults were injected."""
    patch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    store = lambda: S3Store(bucket, prefix, attempts=2)  # noqa: E731
    told, ended, reads = Told(), threading.Event(), Counter[str]()
    promoters = [Promoter(number, store, told, folder, seed=17) for number in range(PROMOTERS)]

    def work(promoter: Promoter) -> None:
        try:
            while sum(proxy.faults.values()) < faults:
                promoter.run(large=promoter.number == 0 and promoter.runs % 15 == 1)
        except Exception as error:  # noqa: BLE001 - told by the test
            told.wrong.append(f"a promoter ended with {type(error).__name__}: {error}")

    threads = [threading.Thread(target=work, args=(promoter,)) for promoter in promoters]
    reader = threading.Thread(target=read, args=(Registry(store(), "desk"), told, ended, reads))
    for thread in (*threads, reader):
        thread.start()
    for thread in threads:
        thread.join()
    ended.set()
    reader.join()
    proxy.settle()
    assert reads["answered"] > 10
    return told


def compare(told: Told, registry: Registry) -> None:
    """What is there, read without faults, with what the writers were told."""
    assert told.wrong == []
    log = registry.log("production")
    assert [entry.n for entry in log] == list(range(1, len(log) + 1))
    assert sorted(told.entries, key=lambda entry: entry.n) == log, "each promotion was told to one, and each is there"
    assert len({entry.writer for entry in log}) == len(log)
    for manifest in told.releases:
        assert registry.verify(manifest.release) == manifest
    for evaluation in told.evaluations:
        assert registry.evaluation(evaluation.release, evaluation.evaluation) == evaluation
    assert sorted(d.key for d in registry.decisions()) == sorted(decision.key for decision in told.decisions)
    looks = {(look.challenger, look.champion): look.n for look in told.looks}
    assert sorted(looks.values()) == list(range(1, len(told.looks) + 1)), "no comparison was paid for twice"


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
    with faulty(s3_server.endpoint) as proxy:
        told = campaign(proxy, s3_server.bucket, prefix, faults, tmp_path, monkeypatch)
        print(dict(proxy.faults), f"{len(told.entries)} promotions, {len(told.releases)} releases")
        if faults >= 300:
            assert set(proxy.faults) == {*ANY, *OF_WRITES, *OF_READS}
        assert sum(proxy.faults.values()) >= faults
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)
    compare(told, Registry(S3Store(s3_server.bucket, prefix), "desk"))
