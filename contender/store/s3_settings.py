"""What a bucket is set to, as far as it decides about a registry: versioning, and rules that remove objects by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from http import HTTPStatus
from typing import Any

from contender.errors import StoreError, StoreUnavailable
from contender.store.findings import LIFECYCLE, VERSIONING, Finding
from contender.store.probes import FOLDER, REMOVERS, Probes
from contender.store.s3 import S3Store
from contender.store.s3_errors import code_of, library_errors, translated
from contender.store.transfer import at_once

ABSENT = {"NoSuchLifecycleConfiguration", "NoSuchBucketPolicy", "NoSuchPublicAccessBlockConfiguration"}
ARCHIVES = {"GLACIER", "DEEP_ARCHIVE"}  # what lies there must be brought back before it can be read


class Refused(Exception):
    """The store answered a question with an error; `code` is the store's own."""

    def __init__(self, code: str, status: int) -> None:
        super().__init__(code, status)
        self.code, self.status = code, status

    @property
    def absent(self) -> bool:
        return self.code in ABSENT

    @property
    def denied(self) -> bool:
        return self.status in (HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED)

    @property
    def sentence(self) -> str:
        return f"{'these credentials may not ask' if self.denied else 'the store does not answer this'} ({self.code})"


class Bucket:
    """A store's bucket, for questions that a store is never asked otherwise. Each is asked once, without boto3's retries."""

    def __init__(self, store: S3Store) -> None:
        self.store = store
        self.client = store.client

    @cached_property
    def session(self) -> Any:
        """For clients that ask otherwise; one for all of them, since each reads its models of the API anew."""
        import boto3

        return boto3.Session(profile_name=self.store.profile)

    def ask(self, operation: str, client: Any = None, **details: Any) -> dict[str, Any]:
        """The answer; Refused where it is an error of the store's own, StoreUnavailable or StoreError where there is none."""
        try:
            return dict(getattr(client or self.client, operation)(Bucket=self.store.bucket, **details))
        except library_errors() as error:
            code = str((getattr(error, "response", None) or {}).get("Error", {}).get("Code", ""))
            status = code_of(error)
            if code == "NoSuchBucket" or not status:
                raise translated(error, self.store.url, self.store.bucket, self.store.profile, False) from None
            raise Refused(code or str(status), status) from None

    def key(self, probes: Probes, name: str) -> str:
        """The whole key of a probe, which is removed with the others."""
        probes.written.add(name)
        return f"{self.store.prefix}{probes.folder}/{name}"


def versioning_of(bucket: Bucket) -> tuple[str, str]:
    """Enabled, Suspended, off, or empty and why the store does not say."""
    try:
        return str(bucket.ask("get_bucket_versioning").get("Status") or "off"), ""
    except Refused as refused:
        return "", refused.sentence


def versioning(bucket: Bucket, raced: Finding) -> Finding:
    """The bucket's versioning, judged by the race: Ceph up to 20 lets racers win on a versioned bucket, AWS does not."""
    status, why = versioning_of(bucket)
    if not status:
        return Finding(
            name=VERSIONING,
            state="unknown",
            seen=why,
            advice="Allow s3:GetBucketVersioning; until then the race decides.",
        )
    if status == "off":
        return Finding(name=VERSIONING, state="ok", seen="off")
    if raced.state == "unsafe":
        return Finding(
            name=VERSIONING,
            state="unsafe",
            seen=f"{status.lower()}, and this store does not keep writers apart on such a bucket",
            advice="Make a bucket without versioning for the registry: what decides in it is never overwritten. "
            "Where nothing else ever writes to it at the same time, promote.single_writer: true does without that.",
        )
    judged = (
        "the race had one winner all the same" if raced.state == "ok" else "nobody could race to see what that means"
    )
    return Finding(
        name=VERSIONING, state="ok" if raced.state == "ok" else "unknown", seen=f"{status.lower()}; {judged}"
    )


def lifecycle(bucket: Bucket, below: str = "") -> Finding:
    """Rules that would remove, or put out of reach, what lies below the store's prefix, or below the folder `below` of it."""
    try:
        rules = bucket.ask("get_bucket_lifecycle_configuration").get("Rules", ())
    except Refused as refused:
        if not refused.absent:
            advice = "Allow s3:GetLifecycleConfiguration, or look yourself: no rule may expire what lies here."
            return Finding(name=LIFECYCLE, state="unknown", seen=refused.sentence, advice=advice)
        rules = ()
    prefix = bucket.store.prefix + below
    enabled = [rule for rule in rules if rule.get("Status") == "Enabled" and _may_match(rule, prefix)]
    if harm := [sentence for rule in enabled for sentence in _harm(rule)]:
        return Finding(
            name=LIFECYCLE,
            state="unsafe",
            seen="; ".join(harm),
            advice=f"Limit such rules to other prefixes than {prefix or 'the whole bucket'}: contender gc removes what nothing needs.",
        )
    if not any("AbortIncompleteMultipartUpload" in rule and prefix.startswith(_prefix(rule)) for rule in enabled):
        return Finding(
            name=LIFECYCLE,
            state="warning",
            seen="no rule ends uploads that were broken off; their parts are kept, and paid for, unseen",
            advice="Add a rule with AbortIncompleteMultipartUpload after 7 days, or see what your store does by itself.",
        )
    return Finding(name=LIFECYCLE, state="ok", seen="no rule removes what lies here; broken uploads are ended")


def _prefix(rule: dict[str, Any]) -> str:
    found = rule.get("Filter") or {}
    return str(found.get("Prefix") or (found.get("And") or {}).get("Prefix") or rule.get("Prefix") or "")


def _may_match(rule: dict[str, Any], prefix: str) -> bool:
    """Whether the rule can match an object below `prefix`. What Contender writes has no tags."""
    found = rule.get("Filter") or {}
    if "Tag" in found or (found.get("And") or {}).get("Tags"):
        return False
    of_rule = _prefix(rule)
    return prefix.startswith(of_rule) or (of_rule.startswith(prefix) and not of_rule.startswith(prefix + FOLDER))


def _harm(rule: dict[str, Any]) -> Iterator[str]:
    where = f"the rule {str(rule.get('ID') or 'without a name')[:60]!r} for {_prefix(rule) or 'the whole bucket'}"
    expires = rule.get("Expiration") or {}
    if "Days" in expires or "Date" in expires:
        when = (
            f"{expires['Days']} days after they were written" if "Days" in expires else f"on {expires['Date']:%Y-%m-%d}"
        )
        yield f"{where} removes objects {when}"
    archived = [move for move in rule.get("Transitions") or () if move.get("StorageClass") in ARCHIVES]
    if archived:
        yield f"{where} moves objects to {archived[0]['StorageClass']}, where they cannot be read at once"


def remove_versions(bucket: Bucket, probes: Probes) -> int:
    """Removes every version of the probes, which a delete on a versioned bucket leaves; how many stay."""
    prefix = f"{bucket.store.prefix}{probes.folder}/"
    try:
        answer = bucket.ask("list_object_versions", Prefix=prefix)
    except (Refused, StoreError, StoreUnavailable):
        return 0
    found = [*answer.get("Versions", ()), *answer.get("DeleteMarkers", ())]

    def remove(one: dict[str, Any]) -> int:
        try:
            bucket.ask("delete_object", Key=one["Key"], VersionId=one["VersionId"])
        except (Refused, StoreError, StoreUnavailable):
            return 1
        return 0

    return sum(at_once(remove, found, threads=REMOVERS))
