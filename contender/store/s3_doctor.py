"""What an S3-compatible bucket can get wrong, beside what is tried on every store. A question it refuses to answer is `unknown`."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any

from contender.store.doctor import LISTING, NAMES, RANGES, listed, ranges
from contender.store.findings import LIFECYCLE, RACE, VERSIONING, Finding
from contender.store.probes import Probes
from contender.store.s3 import S3Store
from contender.store.s3_settings import Bucket, Refused, lifecycle, versioning

Step = tuple[str, Callable[[], Finding]]

LEAST_PART = 5 << 20  # bytes: what S3 takes for a part that is not the last one
SKEW_SECONDS = 60.0  # signatures are refused beyond fifteen minutes
MULTIPART, CHECKSUMS, CLOCK, PUBLIC = "multipart uploads", "checksums", "clock", "public access"
PAGES = f"{LISTING} in pages"


def steps(store: S3Store, probes: Probes, found: list[Finding], writable: bool) -> Iterator[Step]:
    bucket = Bucket(store)
    if writable:
        yield PAGES, lambda: pages(bucket, probes)
        yield RANGES, lambda: middle(bucket, probes)
        yield MULTIPART, lambda: multipart(bucket, probes)
        yield CHECKSUMS, lambda: checksums(bucket, probes)
    yield CLOCK, lambda: clock(bucket)
    yield PUBLIC, lambda: public(bucket, probes, writable)
    raced = next(finding for finding in found if finding.name == RACE)
    yield VERSIONING, lambda: versioning(bucket, raced)
    yield LIFECYCLE, lambda: lifecycle(bucket)


def pages(bucket: Bucket, probes: Probes) -> Finding:
    """The five objects of the listing probe again, two to a page."""
    root = bucket.key(probes, "listed/")
    probes.written.discard("listed/")

    def keys(**where: str) -> list[str]:
        found: list[str] = []
        token: dict[str, str] = where
        for _ in range(len(NAMES)):
            page = bucket.ask("list_objects_v2", Prefix=root, MaxKeys=2, **token)
            found += [one["Key"].removeprefix(root.removesuffix("listed/")) for one in page.get("Contents", ())]
            if not page.get("IsTruncated"):
                break
            token = {**where, "ContinuationToken": str(page.get("NextContinuationToken"))}
        return found

    try:
        finding = listed(keys(), keys(StartAfter=f"{root}2"))
    except Refused as refused:
        return _refused(
            PAGES, refused, "unsafe", "Registries of more than 1,000 objects are listed so: use another store."
        )
    seen = "continued where a page ended, and from a key on" if finding.state == "ok" else finding.seen
    return finding.model_copy(update={"name": PAGES, "seen": seen})


def middle(bucket: Bucket, probes: Probes) -> Finding:
    data = bytes(range(256)) * 8
    probes.put("read", data)
    try:
        answer = bucket.ask("get_object", Key=bucket.key(probes, "read"), Range="bytes=1000-")
    except Refused as refused:
        return _refused(RANGES, refused, "warning", "A download that breaks off begins anew.")
    with answer["Body"] as body:
        return ranges(body.read() == data[1000:])


def multipart(bucket: Bucket, probes: Probes) -> Finding:
    """Two parts, the least that S3 takes and one byte; read back where they meet. A second upload is broken off."""
    key = bucket.key(probes, "parts")
    upload = ""
    try:
        upload = bucket.ask("create_multipart_upload", Key=key)["UploadId"]
        made = [
            {
                "PartNumber": n,
                "ETag": bucket.ask("upload_part", Key=key, UploadId=upload, PartNumber=n, Body=part)["ETag"],
            }
            for n, part in enumerate((bytes(LEAST_PART), b"1"), start=1)
        ]
        bucket.ask("complete_multipart_upload", Key=key, UploadId=upload, MultipartUpload={"Parts": made})
        answer = bucket.ask("get_object", Key=key, Range=f"bytes={LEAST_PART - 1}-")
        with answer["Body"] as body:
            whole = body.read() == b"\x001"
        upload = bucket.ask("create_multipart_upload", Key=key)["UploadId"]
    except Refused as refused:
        return _refused(MULTIPART, refused, "unsafe", "Files above 16 MB are sent in parts: use another store.")
    finally:
        broken = _broken_off(bucket, key, upload)
    if not whole:
        advice = "Files above 16 MB are sent in parts: use another store."
        return Finding(name=MULTIPART, state="unsafe", seen="two parts did not become one object", advice=advice)
    if not broken:
        advice = "Allow s3:AbortMultipartUpload: parts of an upload that broke off are kept, and paid for."
        return Finding(name=MULTIPART, state="warning", seen="works, but an upload cannot be broken off", advice=advice)
    return Finding(name=MULTIPART, state="ok", seen="two parts became one object; an upload could be broken off")


def _broken_off(bucket: Bucket, key: str, upload: str) -> bool:
    try:
        if upload:
            bucket.ask("abort_multipart_upload", Key=key, UploadId=upload)
    except Refused as refused:
        return refused.code == "NoSuchUpload"
    return True


def checksums(bucket: Bucket, probes: Probes) -> Finding:
    """A wrong Content-MD5 must be refused. The CRC trailers of newer clients are not sent by Contender, but by other tools."""
    from botocore.config import Config

    wrong = base64.b64encode(hashlib.md5(b"other", usedforsecurity=False).digest()).decode()
    try:
        bucket.ask("put_object", Key=bucket.key(probes, "sum"), Body=b"these", ContentMD5=wrong)
        refuses = False
    except Refused:
        refuses = True
    newer = _client(bucket, Config(request_checksum_calculation="when_supported"))
    try:
        bucket.ask("put_object", newer, Key=bucket.key(probes, "crc"), Body=b"these")
        takes = "newer clients' CRC checksums are accepted"
    except Refused as refused:
        takes = f"newer clients' CRC checksums are refused ({refused.code}), which Contender does not send"
    if refuses:
        return Finding(name=CHECKSUMS, state="ok", seen=f"a wrong Content-MD5 was refused; {takes}")
    return Finding(
        name=CHECKSUMS,
        state="warning",
        seen=f"bytes that differ from their Content-MD5 were accepted; {takes}",
        advice="Damage on the way is found only when Contender reads back what it sent, as it always does.",
    )


def clock(bucket: Bucket) -> Finding:
    before = time.time()
    try:
        answer = bucket.ask("list_objects_v2", Prefix=bucket.store.prefix, MaxKeys=1)
    except Refused as refused:
        return _refused(CLOCK, refused, "unknown", "")
    between = (before + time.time()) / 2
    date = answer["ResponseMetadata"].get("HTTPHeaders", {}).get("date")
    if not date:
        return Finding(name=CLOCK, state="unknown", seen="the store's answers have no date")
    skew = between - parsedate_to_datetime(date).timestamp()
    seen = f"this machine's is {abs(skew):,.0f} s {'ahead of' if skew > 0 else 'behind'} the store's"
    if abs(skew) > SKEW_SECONDS:
        advice = "Set this machine's clock (NTP): signatures are refused beyond 15 minutes."
        return Finding(name=CLOCK, state="warning", seen=seen, advice=advice)
    return Finding(name=CLOCK, state="ok", seen="agrees with the store's" if abs(skew) < 2 else seen)


def public(bucket: Bucket, probes: Probes, writable: bool) -> Finding:
    """Whether a stranger may read here: by trying, and by what the bucket says of itself."""
    answers = [_stranger(bucket, probes)] if writable else []
    answers += [_policy(bucket), _block(bucket)]
    seen = "; ".join(text for _, text in answers if text)
    if any(is_open for is_open, _ in answers):
        return Finding(
            name=PUBLIC,
            state="warning",
            seen=seen,
            advice="Unless models and reports are meant for everybody: take the policy back, and block public access.",
        )
    if all(is_open is None for is_open, _ in answers):
        return Finding(name=PUBLIC, state="unknown", seen=seen)
    return Finding(name=PUBLIC, state="ok", seen=seen)


def _stranger(bucket: Bucket, probes: Probes) -> tuple[bool | None, str]:
    from botocore import UNSIGNED
    from botocore.config import Config

    probes.put("secret", b"1")
    try:
        bucket.ask("get_object", _client(bucket, Config(signature_version=UNSIGNED)), Key=bucket.key(probes, "secret"))
    except Refused as refused:
        return (False if refused.denied else None), f"a read without credentials is refused ({refused.code})"
    return True, "everybody can read here without credentials"


def _policy(bucket: Bucket) -> tuple[bool | None, str]:
    try:
        is_public = bool(bucket.ask("get_bucket_policy_status").get("PolicyStatus", {}).get("IsPublic"))
    except Refused as refused:
        return (False, "") if refused.absent else (None, f"policy: {refused.sentence}")
    return is_public, "the bucket's policy is public" if is_public else ""


def _block(bucket: Bucket) -> tuple[bool | None, str]:
    try:
        block = bucket.ask("get_public_access_block").get("PublicAccessBlockConfiguration", {})
    except Refused as refused:
        return None, "no public access block" if refused.absent else f"public access block: {refused.sentence}"
    return (False, "public access is blocked") if block and all(block.values()) else (None, "no public access block")


def _client(bucket: Bucket, config: Any) -> Any:
    """Another client of the same endpoint and profile."""
    meta = bucket.client.meta
    return bucket.session.client(
        "s3", region_name=meta.region_name, endpoint_url=meta.endpoint_url, config=meta.config.merge(config)
    )


def _refused(name: str, refused: Refused, state: Any, advice: str) -> Finding:
    if refused.denied:
        return Finding(name=name, state="unknown", seen=refused.sentence)
    return Finding(name=name, state=state, seen=refused.sentence, advice=advice)
