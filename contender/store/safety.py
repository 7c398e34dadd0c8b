"""The short examination before a run trains, and again before each promotion: is this store still one that a registry may rely on?

A bucket that was safe yesterday can be versioned today, or have a new lifecycle rule. `contender doctor` looks at everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contender.errors import UnsafeStore
from contender.store.base import Store
from contender.store.findings import BETWEEN_WRITERS, Finding
from contender.store.guarded import itself
from contender.store.local import LocalStore
from contender.store.memory import MemoryStore
from contender.store.probes import create_only, probing, race

if TYPE_CHECKING:
    from contender.store.s3 import S3Store


def require_safe(store: Store, below: str = "", guarded: bool = False) -> None:
    """Raises UnsafeStore where a promotion could get lost, or what lies below `below` (a folder with its slash) be removed.

    `guarded`: nothing else writes meanwhile, so that the store need not keep writers apart. What a store does not tell, or these
    credentials may not ask, is no reason to refuse it. Raises StoreUnavailable and StoreError as the store does.
    """
    for finding in _findings(itself(store), below):
        if finding.state == "unsafe" and not (guarded and finding.name in BETWEEN_WRITERS):
            raise UnsafeStore(
                f"{store.url} is not safe to promote to: {finding.name}: {finding.seen}",
                f"{finding.advice} To see everything: contender doctor {store.url}",
            )


def _findings(store: Store, below: str) -> list[Finding]:
    """A memory's lock and a file system's link(2) do not change from one promotion to the next, so those are not tried out."""
    from contender.store.s3 import S3Store

    if isinstance(store, MemoryStore | LocalStore):
        return []
    if isinstance(store, S3Store):
        return _of_a_bucket(store, below)
    with probing(store) as probes:
        return [create_only(probes)]


def _of_a_bucket(store: S3Store, below: str) -> list[Finding]:
    from contender.store.s3_settings import Bucket, lifecycle, remove_versions, versioning, versioning_of

    bucket = Bucket(store)
    found = [lifecycle(bucket, below)]
    versions, _ = versioning_of(bucket)
    unversioned = versions == "off"
    with probing(store, None if unversioned else lambda probes: remove_versions(bucket, probes)) as probes:
        tried = create_only(probes)
        if not unversioned:
            tried = race(probes) if tried.state == "ok" else tried
            found.append(versioning(bucket, tried))  # before what it is the reason of
        found.append(tried)
    return found
