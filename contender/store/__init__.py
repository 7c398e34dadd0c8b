"""Where releases, evaluations and decisions lie: one small interface over a folder, an S3 bucket, and a fake in memory."""

from __future__ import annotations

import os
from pathlib import Path

from contender.errors import UsageError, known
from contender.files import expanded, file_url_path
from contender.store.base import Below, ObjectInfo, Store, Unfinished, check_key, create_settled
from contender.store.fingerprints import Fingerprint
from contender.store.local import LocalStore
from contender.store.memory import MemoryStore

__all__ = [
    "Below",
    "Fingerprint",
    "LocalStore",
    "MemoryStore",
    "ObjectInfo",
    "Store",
    "Unfinished",
    "check_key",
    "create_settled",
    "open_store",
]

SCHEMES = ("s3", "file", "memory")


def open_store(url: str | os.PathLike[str], profile: str | None = None) -> Store:
    """The store at `s3://bucket/prefix`, a folder's path or `file://` URL, or `memory://name`; nothing is contacted yet.

    `profile` names a profile of the AWS configuration and concerns S3 alone. Raises UsageError for other URLs, and for one with
    credentials in it, which it does not repeat.
    """
    text = os.fspath(url)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return LocalStore(_folder(text))
    if scheme == "s3":
        from contender.store.s3 import S3Store
        from contender.store.s3_client import parse_s3_url

        bucket, prefix = parse_s3_url(text)
        return S3Store(bucket, prefix, profile)
    if scheme == "file":
        return LocalStore(_file_url(text))
    if scheme == "memory":
        return MemoryStore.named(rest)
    raise UsageError(known("kind of store", scheme, SCHEMES), "Use s3://bucket/prefix or a folder's path.")


def _folder(text: str) -> Path:
    if not text or "\0" in text:
        raise UsageError("the store's path is empty", "Use s3://bucket/prefix or a folder's path.")
    return Path(expanded(text))


def _file_url(text: str) -> Path:
    try:
        return _folder(file_url_path(text))
    except ValueError as error:
        raise UsageError(f"a file:// URL {error}", "Or use s3://bucket/prefix.") from None
