"""Any S3-compatible bucket through boto3.

Credentials, region, endpoint and profile come from the AWS configuration and environment, never from a URL.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from functools import cached_property
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NoReturn

from contender.errors import Missing, StoreUnavailable
from contender.store.base import ObjectInfo, Unfinished, check_key, check_prefix, create_settled
from contender.store.fingerprints import Fingerprint, etag_fingerprint, part_size
from contender.store.s3_client import READ_TIMEOUT, make_client
from contender.store.s3_errors import code_of, library_errors, of_a_store, translated

ATTEMPTS = 5
TRANSFER_THREADS = 8  # that send the parts of one file
PIECE = 1 << 18  # bytes of a body that are read at a time
RESUMES = 4  # of one streamed download that broke off


# Of what people open from a bucket: a report without one is downloaded, and not shown.
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".md": "text/markdown; charset=utf-8",
}


def content_type(key: str) -> str:
    """What a browser is told that the object is."""
    return CONTENT_TYPES.get(PurePosixPath(key).suffix, "application/octet-stream")


class S3Store:
    """A bucket, or the part of it below a prefix.

    `attempts`: of one idempotent request, by boto3. `patience`: seconds that a connection may stay silent.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        profile: str | None = None,
        attempts: int = ATTEMPTS,
        patience: float = READ_TIMEOUT,
    ) -> None:
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self.profile = profile
        self._attempts = attempts
        self._patience = patience
        self._making = threading.Lock()

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def get(self, key: str) -> bytes:
        with self.open(key) as stream:
            return stream.read()

    def open(self, key: str) -> BinaryIO:
        return io.BufferedReader(_Body(self, check_key(key)), buffer_size=PIECE)

    def read_into(self, key: str, start: int, buffer: memoryview) -> int:
        at, size = 0, len(buffer)
        try:
            with _Body(self, check_key(key), start, start + size) as body:
                # Small pieces: the library makes each as an object of its own before it is copied.
                while at < size and (count := body.readinto(buffer[at : at + PIECE])):
                    at += count
        except _BeyondEnd:
            return 0
        return at

    def info(self, key: str) -> ObjectInfo:
        with self._errors(key):
            answer = self._client.head_object(Bucket=self.bucket, Key=self._full(key))
        of_a_store(answer, "ETag", self._name(key))
        return ObjectInfo(key, answer["ContentLength"], answer["ETag"].strip('"'), answer["LastModified"].timestamp())

    def put(self, key: str, data: bytes) -> None:
        with self._errors(key):
            answer = self._client.put_object(
                Bucket=self.bucket, Key=self._full(key), Body=data, ContentType=content_type(key)
            )
        of_a_store(answer, "ETag", self._name(key))

    def upload(self, key: str, path: Path, on_bytes: Callable[[int], None] | None = None) -> None:
        from boto3.s3.transfer import ProgressCallbackInvoker, TransferConfig, create_transfer_manager

        full, part = self._full(key), part_size(path.stat().st_size)
        # The CRT client can send an upload meant for another endpoint to AWS (boto/boto3#4839).
        config = TransferConfig(
            multipart_threshold=part,
            multipart_chunksize=part,
            max_concurrency=TRANSFER_THREADS,
            preferred_transfer_client="classic",
        )
        told = [ProgressCallbackInvoker(on_bytes)] if on_bytes else []
        # From the path, each part is read by the thread that sends it; client.upload_file would hide what the store answered.
        # A file that cannot be read is an OSError, not a fault of the store.
        with path.open("rb"), self._errors(key), create_transfer_manager(self._client, config) as manager:
            manager.upload(str(path), self.bucket, full, subscribers=told).result()

    def fingerprint(self, path: Path) -> Fingerprint:
        return etag_fingerprint(path)

    def create(self, key: str, data: bytes) -> None:
        full = self._full(key)

        def write() -> bool:
            try:
                answer = self._client_once.put_object(
                    Bucket=self.bucket, Key=full, Body=data, IfNoneMatch="*", ContentType=content_type(key)
                )
            except library_errors() as error:
                # 409: a rival's write was under way. Neither code says whose object is there now.
                if code_of(error) in (409, 412):
                    return False
                self._fail(error, key, creating=True)
            of_a_store(answer, "ETag", self._name(key))
            return True

        def read() -> bytes | None:
            try:
                with self._errors(key):
                    answer = self._client_once.get_object(Bucket=self.bucket, Key=full)
                    return bytes(of_a_store(answer, "ETag", self._name(key))["Body"].read())
            except Missing:
                return None

        create_settled(write, read, data, self._name(key))

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        where = {"Bucket": self.bucket, "Prefix": self.prefix + check_prefix(prefix)}
        if after:
            where["StartAfter"] = self.prefix + after
        with self._errors(prefix):
            for page in self._client.get_paginator("list_objects_v2").paginate(**where):
                of_a_store(page, "IsTruncated", self._name(prefix))
                for found in page.get("Contents", ()):
                    key = found["Key"].removeprefix(self.prefix)
                    # Consoles mark folders with empty objects whose keys end in a slash: no key of ours does.
                    if key and not key.endswith("/"):
                        yield ObjectInfo(
                            key, found["Size"], found["ETag"].strip('"'), found["LastModified"].timestamp()
                        )

    def delete(self, key: str) -> None:
        with self._errors(key):
            self._client.delete_object(Bucket=self.bucket, Key=self._full(key))

    def unfinished(self, prefix: str = "", older_than: float = 0.0) -> Iterator[Unfinished]:
        where = {"Bucket": self.bucket, "Prefix": self.prefix + check_prefix(prefix)}
        with self._errors(prefix):
            for page in self._client.get_paginator("list_multipart_uploads").paginate(**where):
                of_a_store(page, "IsTruncated", self._name(prefix))
                for found in page.get("Uploads", ()):
                    started = found["Initiated"].timestamp()
                    if _told_at(page) - started > older_than:
                        yield Unfinished(found["Key"].removeprefix(self.prefix), found["UploadId"], started)

    def abort(self, upload: Unfinished) -> None:
        with self._errors(upload.key):
            try:
                self._client.abort_multipart_upload(
                    Bucket=self.bucket, Key=self._full(upload.key), UploadId=upload.upload
                )
            except self._client.exceptions.NoSuchUpload:
                return

    def read_from(self, key: str, start: int = 0, end: int | None = None) -> tuple[Any, str, int]:
        """The raw body of the object from byte `start` on, up to `end`; its version, and the byte at which the body ends."""
        span = {"Range": f"bytes={start}-{'' if end is None else end - 1}"} if start or end is not None else {}
        with self._errors(key):
            try:
                answer = self._client.get_object(Bucket=self.bucket, Key=self._full(key), **span)
            except library_errors() as error:
                if code_of(error) == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    raise _BeyondEnd from None
                raise
        of_a_store(answer, "ETag", self._name(key))
        return answer["Body"], answer["ETag"].strip('"'), start + answer["ContentLength"]

    @property
    def client(self) -> Any:
        """boto3's, without retries: for questions about the bucket itself."""
        return self._client_once

    @cached_property
    def _client(self) -> Any:
        return self._made_client(self._attempts)

    @cached_property
    def _client_once(self) -> Any:
        # boto3's own retry turns a won race into a lost one: the write commits, its answer is lost, the retry finds our own object.
        return self._made_client(1)

    def _made_client(self, attempts: int) -> Any:
        with self._making, self._errors(""):
            return make_client(self.profile, attempts, self._patience)

    def _full(self, key: str) -> str:
        return self.prefix + check_key(key)

    def _name(self, key: str) -> str:
        return f"{self.url}/{key}" if key else self.url

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except library_errors() as error:
            self._fail(error, key)

    def _fail(self, error: Exception, key: str, creating: bool = False) -> NoReturn:
        # The library's own text can hold endpoints, key ids and canonical requests: it stays out, also as the cause.
        raise translated(error, self._name(key), self.bucket, self.profile, creating) from None


class _BeyondEnd(Exception):
    """A part was asked for behind the last byte of an object."""


class _Body(io.RawIOBase):
    """An object's bytes; a transfer that breaks off goes on from its last byte, as long as the object is the same one."""

    def __init__(self, store: S3Store, key: str, start: int = 0, end: int | None = None) -> None:
        super().__init__()
        self._store, self._key = store, key
        self._body, self._version, self._end = store.read_from(key, start, end)
        self._at = start
        self._resumes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while self._at < self._end:
            try:
                with self._store._errors(self._key):
                    count = int(self._body.readinto(buffer))
                self._at += count
                return count
            except StoreUnavailable:
                self._resumes += 1
                if self._resumes > RESUMES:
                    raise
                self._resume()
        return 0

    def _resume(self) -> None:
        self._body.close()
        try:
            self._body, version, end = self._store.read_from(self._key, self._at, self._end)
        except _BeyondEnd:
            version, end = "", 0
        if (version, end) != (self._version, self._end):
            raise StoreUnavailable(f"{self._store.url}/{self._key} changed while it was read", "Try again.")

    def close(self) -> None:
        if not self.closed:
            self._body.close()
        super().close()


def _told_at(answer: dict[str, Any]) -> float:
    """The store's clock when it answered, which its own time stamps go by; this machine's where it does not say."""
    try:
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()
    except (KeyError, ValueError):
        return time.time()
