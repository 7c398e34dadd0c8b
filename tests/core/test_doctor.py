"""What an examination finds of safe and unsafe stores, and that nothing of it stays there."""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from careless import Careless, Refusing

from contender.errors import ContenderError, Interrupted, StoreError, StoreUnavailable, UnsafeStore
from contender.store import Below, LocalStore, MemoryStore, Store
from contender.store.doctor import examine
from contender.store.findings import Examination, Finding
from contender.store.probes import FOLDER, Probes
from contender.store.s3 import S3Store
from contender.store.s3_client import make_client
from contender.store.s3_doctor import clock
from contender.store.s3_settings import Refused, lifecycle
from contender.store.safety import require_safe

MINISTACK = pytest.param("ministack", marks=pytest.mark.server("ministack"))
CEPH = pytest.param("ceph", marks=pytest.mark.server("ceph"))
only_ministack = pytest.mark.parametrize("s3_server", [MINISTACK], indirect=True)
only_ceph = pytest.mark.parametrize("s3_server", [CEPH], indirect=True)


def finding(found: Examination, name: str) -> Finding:
    return next(one for one in found.findings if one.name == name)


def states(found: Examination) -> dict[str, str]:
    return {one.name: one.state for one in found.findings}


def unsafe(found: Examination) -> set[str]:
    return {one.name for one in found.of("unsafe")}


def uploads(name: str, prefix: str = "") -> list[Any]:
    return list(make_client(None, 1).list_multipart_uploads(Bucket=name, Prefix=prefix).get("Uploads", ()))


def versions(name: str) -> list[Any]:
    answer = make_client(None, 1).list_object_versions(Bucket=name)
    return [*answer.get("Versions", ()), *answer.get("DeleteMarkers", ())]


# --- safe stores ---


def test_a_safe_store_is_called_safe_and_nothing_stays_in_it(store: Store):
    store.put("desk/aliases/production/00000001.json", b"live")
    found = examine(store)
    assert found.outcome == "done", found.verdict
    assert unsafe(found) == set()
    assert {"rights", "create-only", "race", "listing", "ranged reads"} <= set(states(found))
    assert "is safe for a registry" in found.verdict
    assert [info.key for info in store.list()] == ["desk/aliases/production/00000001.json"]
    require_safe(store)
    assert len(list(store.list())) == 1


def test_everything_that_a_bucket_can_get_wrong_is_looked_at(bucket: str):
    found = examine(S3Store(bucket, "models"))
    assert set(states(found)) == {
        *("rights", "create-only", "race", "overwriting and deleting", "listing", "listing in pages", "ranged reads"),
        *("multipart uploads", "checksums", "clock", "public access", "versioning", "lifecycle rules"),
    }
    assert states(found)["lifecycle rules"] == "warning", "no rule ends broken uploads"
    assert {name for name, state in states(found).items() if state != "ok"} <= {"lifecycle rules", "public access"}
    assert uploads(bucket) == []


def test_a_folder_that_is_not_there_yet_is_examined_and_not_left_there(tmp_path: Path):
    found = examine(LocalStore(tmp_path / "not" / "there"))
    assert found.outcome == "done"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_everybody_can_write_to_is_a_warning(tmp_path: Path):
    tmp_path.chmod(0o777)
    found = examine(LocalStore(tmp_path))
    assert (states(found)["access"], found.outcome) == ("warning", "done")
    assert "with 1 warning" in found.verdict


def test_a_full_disk_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    assert states(examine(LocalStore(tmp_path)))["free space"] == "warning"


def test_each_step_is_told_before_it_is_taken():
    told: list[str] = []
    found = examine(MemoryStore(), told.append)
    assert told == list(states(found))


# --- unsafe stores ---


def test_a_store_that_ignores_the_condition_is_unsafe():
    found = examine(Careless())
    assert unsafe(found) == {"create-only", "race"}
    assert found.outcome == "unsafe"
    assert "create-only" in found.verdict
    assert "20 were told that they won" in finding(found, "race").seen
    with pytest.raises(UnsafeStore, match="create-only"):
        require_safe(Careless())
    require_safe(Careless(), guarded=True)


def test_a_store_that_refuses_the_condition_is_unsafe():
    found = examine(Refusing())
    assert (unsafe(found), states(found)["race"]) == ({"create-only"}, "unknown")
    with pytest.raises(UnsafeStore, match="refuses create-only"):
        require_safe(Refusing())


class Racy(Careless):
    """Refuses a second create, but does not notice a rival who is at it."""

    def create(self, key: str, data: bytes) -> None:
        there = any(info.key == key for info in self.list(key))
        time.sleep(0.02)
        if there:
            self._store.create(self._prefix + key, data)
        self.put(key, data)


def test_a_store_that_only_a_race_shows_to_be_unsafe():
    found = examine(Racy())
    assert unsafe(found) == {"race"}


class Flattering(Careless):
    """Tells everybody that he won; the first racer did."""

    def create(self, key: str, data: bytes) -> None:
        if data == b"writer 0" or not list(self.list(key)):
            self.put(key, data)


def test_more_than_one_winner_is_unsafe_whoever_won():
    found = examine(Flattering())
    assert unsafe(found) == {"create-only", "race"}
    assert "was confirmed, and did nothing" in finding(found, "create-only").seen


class Flipping(Below):
    """Every second read of an object has a flipped bit."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(), "flipping")
        self.reads: Counter[str] = Counter()

    def get(self, key: str) -> bytes:
        data = super().get(key)
        self.reads[key] += 1
        return bytes([data[0] ^ 1]) + data[1:] if self.reads[key] % 2 else data


def test_a_bit_that_flips_on_the_way_does_not_make_a_store_unsafe():
    require_safe(Flipping())
    assert states(examine(Flipping()))["race"] == "ok"


class Forgetful(Careless):
    """Lists what was written a while ago."""

    def list(self, prefix: str = "", after: str = ""):
        yield from list(super().list(prefix, after))[:3]


class Stale(Careless):
    """Reads what was written first."""

    def put(self, key: str, data: bytes) -> None:
        if key not in [info.key for info in self.list(key)]:
            super().put(key, data)


@pytest.mark.parametrize(("kind", "at_fault"), [(Forgetful, "listing"), (Stale, "overwriting and deleting")])
def test_a_store_whose_reads_are_behind_its_writes_is_unsafe(kind: type[Careless], at_fault: str):
    assert at_fault in unsafe(examine(kind()))


@only_ministack
@pytest.mark.parametrize("conditions", ["ignored", "refused"])
def test_a_bucket_without_conditional_writes_is_unsafe(proxy, bucket: str, conditions: str):
    proxy.conditions = conditions
    store = S3Store(bucket, "models")
    found = examine(store)
    assert found.outcome == "unsafe"
    assert unsafe(found) == ({"create-only", "race"} if conditions == "ignored" else {"create-only"})
    assert "promote.single_writer" in finding(found, "create-only").advice
    with pytest.raises(UnsafeStore, match="create-only"):
        require_safe(store)
    assert list(store.list()) == []


@pytest.mark.parametrize(
    ("s3_server", "safe"), [(*MINISTACK.values, True), (*CEPH.values, False)], indirect=["s3_server"]
)
@pytest.mark.server("ceph")
def test_on_a_versioned_bucket_the_race_decides(bucket: str, safe: bool):
    client = make_client(None, 1)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    store = S3Store(bucket, "models")
    found = examine(store)
    assert (found.outcome == "done") == safe
    assert states(found)["versioning"] == ("ok" if safe else "unsafe")
    assert versions(bucket) == [], "old versions and delete markers are gone, too"
    if safe:
        require_safe(store)
    else:
        assert "versioning" in found.verdict
        with pytest.raises(UnsafeStore, match="versioning"):
            require_safe(store)
        require_safe(store, guarded=True)
    assert versions(bucket) == []


# --- lifecycle rules ---


class Answering:
    """A bucket that answers every question alike."""

    def __init__(self, prefix: str, answer: dict[str, Any] | Exception) -> None:
        self.store = SimpleNamespace(prefix=prefix, url="s3://b")
        self.answer = answer

    def ask(self, *_: object, **__: object) -> dict[str, Any]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


ABORT = {"Status": "Enabled", "Filter": {"Prefix": ""}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}}


def rule(**of: Any) -> dict[str, Any]:
    return {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 30}} | of


@pytest.mark.parametrize(
    ("one", "state"),
    [
        (rule(), "unsafe"),
        (rule(Filter={}), "unsafe"),
        (rule(Filter={"Prefix": "mod"}), "unsafe"),
        (rule(Filter={"Prefix": "models/desk/aliases/"}), "unsafe"),
        (rule(Filter={"And": {"Prefix": "models/", "ObjectSizeGreaterThan": 1}}), "unsafe"),
        (rule(Filter={"ObjectSizeGreaterThan": 1000}), "unsafe"),
        (
            {"Prefix": "models/", "Status": "Enabled", "Expiration": {"Date": datetime(2027, 1, 1, tzinfo=UTC)}},
            "unsafe",
        ),
        (rule(Expiration={}, Transitions=[{"Days": 30, "StorageClass": "GLACIER"}]), "unsafe"),
        (rule(Expiration={}, Transitions=[{"Days": 30, "StorageClass": "STANDARD_IA"}]), "ok"),
        (rule(Expiration={"ExpiredObjectDeleteMarker": True}), "ok"),
        (rule(Expiration={}, NoncurrentVersionExpiration={"NoncurrentDays": 1}), "ok"),
        (rule(Status="Disabled"), "ok"),
        (rule(Filter={"Prefix": "workspace/"}), "ok"),
        (rule(Filter={"Prefix": "models-old/"}), "ok"),
        (rule(Filter={"Prefix": f"models/{FOLDER}"}), "ok"),
        (rule(Filter={"Tag": {"Key": "old", "Value": "yes"}}), "ok"),
        (rule(Filter={"And": {"Prefix": "models/", "Tags": [{"Key": "old", "Value": "yes"}]}}), "ok"),
    ],
)
def test_a_rule_that_would_remove_what_a_registry_holds_is_unsafe(one: dict[str, Any], state: str):
    found = lifecycle(Answering("models/", {"Rules": [one, ABORT]}))  # type: ignore[arg-type]
    assert found.state == state, found.seen
    assert bool(found.advice) == (state == "unsafe")


def test_a_rule_for_another_pipeline_does_not_stop_this_one():
    answer = {"Rules": [rule(Filter={"Prefix": "models/other/"}), ABORT]}
    assert lifecycle(Answering("models/", answer), "desk/").state == "ok"  # type: ignore[arg-type]
    assert lifecycle(Answering("models/", answer), "other/").state == "unsafe"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "state", "says"),
    [
        (Refused("NoSuchLifecycleConfiguration", 404), "warning", "broken off"),
        ({"Rules": [ABORT | {"Filter": {"Prefix": "elsewhere/"}}]}, "warning", "broken off"),
        (Refused("AccessDenied", 403), "unknown", "may not ask"),
        (Refused("NotImplemented", 501), "unknown", "does not answer"),
    ],
)
def test_uploads_that_nobody_ends_are_a_warning_and_no_answer_is_unknown(answer: Any, state: str, says: str):
    found = lifecycle(Answering("models/", answer))  # type: ignore[arg-type]
    assert found.state == state
    assert says in found.seen


def test_a_rule_of_a_real_bucket_is_found_and_no_guard_excuses_it(bucket: str):
    rules = {"Rules": [rule(Filter={"Prefix": "models/"})]}
    make_client(None, 1).put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=rules)
    store = S3Store(bucket, "models")
    found = examine(store)
    assert unsafe(found) == {"lifecycle rules"}
    assert "30 days" in found.verdict
    for guarded in (False, True):
        with pytest.raises(UnsafeStore, match="lifecycle rules"):
            require_safe(store, guarded=guarded)
    assert examine(S3Store(bucket, "elsewhere")).outcome == "done"


# --- what a store does not tell, or does badly ---


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (501, "NotImplemented")])
def test_questions_that_are_refused_are_unknown_and_no_fault(proxy, bucket: str, status: int, code: str):
    asked = ("?lifecycle", "?versioning", "?policyStatus")
    for part in asked:
        proxy.inject("refuse", method="GET", part=part, status=status, code=code, times=10)
    found = examine(S3Store(bucket, "models"))
    assert {fault.part for fault in proxy.faults if fault.times < 10} == set(asked)
    assert found.outcome == "done", found.verdict
    assert states(found)["lifecycle rules"] == states(found)["versioning"] == "unknown"
    assert states(found)["public access"] != "unsafe", "there a stranger's try still tells"
    require_safe(S3Store(bucket, "models"))


@pytest.mark.parametrize(
    "faults",
    [
        {
            ("POST", "uploads", 501, "NotImplemented"): ("multipart uploads", "unsafe"),
            ("GET", "max-keys=2", 501, "NotImplemented"): ("listing in pages", "unsafe"),
            ("GET", "/read", 501, "NotImplemented"): ("ranged reads", "warning"),
        },
        {("POST", "uploads", 403, "AccessDenied"): ("multipart uploads", "unknown")},
        {("DELETE", "uploadId", 403, "AccessDenied"): ("multipart uploads", "warning")},
    ],
)
def test_what_a_bucket_cannot_do_is_found(proxy, bucket: str, faults: dict[Any, tuple[str, str]]):
    for method, part, status, code in faults:
        proxy.inject("refuse", method=method, part=part, status=status, code=code, times=10)
    found = states(examine(S3Store(bucket, "models")))
    assert {name: found[name] for name, _ in faults.values()} == dict(faults.values())


@pytest.mark.parametrize(
    ("behind", "state", "says"), [(0, "ok", "agrees"), (30, "ok", "30 s ahead"), (1200, "warning", "1,200 s ahead")]
)
def test_a_clock_that_is_wrong_is_a_warning(behind: int, state: str, says: str, monkeypatch: pytest.MonkeyPatch):
    now = 1_800_000_000.2  # a fixed moment: the header has whole seconds, and the test's own fraction would decide the rounding
    monkeypatch.setattr("contender.store.s3_doctor.time", SimpleNamespace(time=lambda: now))
    date = format_datetime(datetime.fromtimestamp(now - behind, UTC), usegmt=True)
    found = clock(Answering("", {"ResponseMetadata": {"HTTPHeaders": {"date": date}}}))  # type: ignore[arg-type]
    assert (found.state, says in found.seen) == (state, True), found.seen


@only_ceph
def test_a_bucket_that_everybody_can_read_is_a_warning(bucket: str):
    assert states(examine(S3Store(bucket, "models")))["public access"] == "ok"
    allow(bucket, "*", "s3:GetObject")
    found = finding(examine(S3Store(bucket, "models")), "public access")
    assert found.state == "warning"
    assert "everybody can read here" in found.seen
    assert "policy is public" in found.seen


# --- rights ---


def allow(bucket: str, who: Any, *actions: str) -> None:
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    statement = {"Effect": "Allow", "Principal": who, "Action": list(actions), "Resource": resources}
    make_client(None, 1).put_bucket_policy(
        Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )


@only_ceph
def test_credentials_that_only_read_are_told_what_works(bucket: str, stranger):
    S3Store(bucket, "models").put("desk/x.json", b"1")
    allow(bucket, stranger.principal, "s3:GetObject", "s3:ListBucket")
    stranger.become()
    found = examine(S3Store(bucket, "models"))
    assert found.outcome == "unknown"
    rights = finding(found, "rights")
    assert rights.state == "warning"
    assert "pull, verify and history work, a run and a promotion do not" in rights.seen
    assert "may not write" in found.verdict
    with pytest.raises(StoreError, match="denied"):
        require_safe(S3Store(bucket, "models"))


@only_ceph
def test_credentials_that_may_do_nothing_are_an_error(bucket: str, stranger):
    stranger.become()
    with pytest.raises(StoreError, match="denied"):
        examine(S3Store(bucket, "models"))


@only_ceph
def test_credentials_that_may_not_delete_are_told_that_probes_stay(bucket: str, stranger):
    allow(bucket, stranger.principal, "s3:GetObject", "s3:ListBucket", "s3:PutObject")
    stranger.become()
    found = examine(S3Store(bucket, "models"))
    assert "the probes of this examination stay" in finding(found, "rights").seen
    assert states(found)["race"] == "ok"


def test_a_bucket_that_is_not_there_is_an_error(s3_server):
    for act in (examine, require_safe):
        with pytest.raises(StoreError, match="no-such-bucket does not exist"):
            act(S3Store("no-such-bucket", "models"))  # type: ignore[operator]


def test_a_store_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch):
    for name, value in {"ENDPOINT_URL": "http://127.0.0.1:9", "ACCESS_KEY_ID": "k", "SECRET_ACCESS_KEY": "s"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    with pytest.raises(StoreUnavailable):
        examine(S3Store("bucket", attempts=1))


def test_a_folder_that_cannot_be_made_is_read_only():
    found = examine(LocalStore(Path("/proc/nobody/here")))
    assert finding(found, "access").seen == "read-only"
    assert "hard links and fsync" not in states(found), "nothing was created that would show it"
    assert (states(found)["rights"], found.outcome) == ("warning", "unknown")


# --- nothing stays ---


def test_an_examination_that_is_interrupted_leaves_nothing(store: Store):
    steps = len(examine(store).findings)
    for last in range(steps):
        told: list[str] = []

        def stop(name: str, told: list[str] = told, last: int = last) -> None:
            told.append(name)
            if len(told) > last:
                raise Interrupted("stopped by Ctrl-C")

        with pytest.raises(Interrupted):
            examine(store, stop)
        assert list(store.list()) == [], told[-1]
    if isinstance(store, LocalStore):
        assert not store.root.exists()
    if isinstance(store, S3Store):
        assert uploads(store.bucket, store.prefix) == [], "other tests have left theirs in the same bucket"


def test_an_exception_in_the_middle_of_a_probe_leaves_nothing(monkeypatch: pytest.MonkeyPatch):
    store = MemoryStore()
    monkeypatch.setattr(Probes, "open", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        examine(store)
    assert list(store.list()) == []


def test_what_a_killed_examination_left_goes_with_the_next_one_after_an_hour(store: Store):
    now = int(time.time())
    old, new = f"{FOLDER}{now - 4000:08x}00000000/x", f"{FOLDER}{now - 60:08x}00000000/x"
    for key in (old, new, f"{FOLDER}own/x"):
        store.put(key, b"1")
    examine(store)
    assert [info.key for info in store.list()] == sorted([new, f"{FOLDER}own/x"]), "another one may be at work"


@pytest.mark.parametrize("error", [UnsafeStore("a", "b")])
def test_the_refusal_survives_pickling(error: ContenderError):
    import pickle

    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.what, again.fix, again.exit_code) == (UnsafeStore, "a", "b", 1)
