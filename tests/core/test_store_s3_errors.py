"""What goes wrong with S3 before and beside the data: configuration, rights, networks. And no secret leaves in a message."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from contender.errors import ContenderError, Missing, StoreError, StoreUnavailable, UsageError
from contender.store import open_store
from contender.store.s3 import S3Store
from contender.store.s3_client import make_client

SECRET = "sEcReT0123456789"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch):
    import os

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def error_of(act: Callable[[], object]) -> ContenderError:
    """The error that `act` ends with; nothing of it, its traceback included, holds the secret."""
    with pytest.raises(ContenderError) as caught:
        act()
    text = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + str(caught.value)
    assert SECRET not in text
    assert "secret-detail" not in text
    assert caught.value.fix
    return caught.value


@pytest.mark.parametrize("url", [f"s3://key:{SECRET}@bucket/x", f"s3://{SECRET}@bucket", f"s3://bucket:{SECRET}/x"])
def test_credentials_in_a_url_are_refused_and_not_repeated(url: str):
    assert isinstance(error_of(lambda: open_store(url)), UsageError)


def test_credentials_in_an_endpoint_are_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://key:{SECRET}@127.0.0.1:9")
    error = error_of(lambda: open_store("s3://bucket").get("x"))
    assert isinstance(error, UsageError)
    assert "127.0.0.1" in error.what


def test_absent_credentials_say_where_to_put_them():
    error = error_of(lambda: open_store("s3://bucket").get("x"))
    assert isinstance(error, StoreError)
    assert "no credentials" in error.what
    assert "AWS_ACCESS_KEY_ID" in error.fix


def test_an_unknown_profile_names_the_known_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = tmp_path / "config"
    config.write_text("[profile models]\nregion = eu-west-1\n[profile data]\nregion = eu-west-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    error = error_of(lambda: open_store("s3://bucket", profile="modles").get("x"))
    assert isinstance(error, UsageError)
    assert "did you mean 'models'" in error.what
    monkeypatch.setenv("AWS_PROFILE", "dta")
    assert isinstance(error_of(lambda: open_store("s3://bucket").get("x")), UsageError)


def test_a_closed_port_is_unavailable_and_says_where_the_endpoint_comes_from(monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        store = S3Store("bucket", attempts=1)
        for act in (lambda: store.get("x"), lambda: list(store.list()), lambda: store.create("n", b"1")):
            error = error_of(act)
            assert isinstance(error, StoreUnavailable)
        assert "bucket" in error.what


@pytest.mark.parametrize("endpoint", ["nonsense", "http://", "ftp://127.0.0.1"])
def test_an_endpoint_that_is_no_url_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, endpoint: str):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    error_of(lambda: S3Store("bucket", attempts=1).get("x"))


def test_paths_name_the_bucket_except_on_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert make_client(None, 1).meta.config.s3 is None
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://objects.example.org")
    assert make_client(None, 1).meta.config.s3["addressing_style"] == "path"
    config = tmp_path / "config"
    config.write_text("[default]\ns3 =\n  addressing_style = virtual\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    assert make_client(None, 1).meta.config.s3["addressing_style"] == "virtual"


def test_a_missing_bucket_is_no_missing_object(s3_server):
    store = S3Store("no-such-bucket-here", attempts=1)
    for act in (
        lambda: store.get("x"),
        lambda: list(store.list()),
        lambda: store.put("x", b"1"),
        lambda: store.create("x", b"1"),
    ):
        error = error_of(act)
        assert isinstance(error, StoreError)
        assert not isinstance(error, Missing)
        assert "bucket no-such-bucket-here does not exist" in error.what


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (403, "AccessDenied", "denied"),
        (403, "SignatureDoesNotMatch", "credentials"),
        (403, "InvalidAccessKeyId", "credentials"),
        (400, "ExpiredToken", "credentials"),
        (404, "NoSuchBucket", "does not exist"),
        (403, "RequestTimeTooSkewed", "clock"),
        (301, "PermanentRedirect", "region"),
        (507, "InsufficientStorage", "no space"),
        (403, "QuotaExceeded", "no space"),
        (400, "SomethingNew", "SomethingNew"),
    ],
)
def test_refusals_say_what_to_do_and_are_not_repeated(proxy, s3_server, status: int, code: str, says: str):
    store = S3Store(s3_server.bucket, attempts=3)
    for method, act in (
        ("PUT", lambda: store.put("x", b"1")),
        ("PUT", lambda: store.create("x", b"1")),
        ("GET", lambda: store.get("x")),
        ("GET", lambda: list(store.list())),
        ("DELETE", lambda: store.delete("x")),
    ):
        proxy.seen.clear()
        proxy.faults.clear()
        proxy.inject("refuse", method=method, status=status, code=code, times=5)
        error = error_of(act)
        assert type(error) is StoreError
        assert says in error.what
        # boto3 repeats what 5xx says, and asks for a bucket's region where 301 says that it is another.
        assert len(proxy.seen) <= (3 if status in (301, 507) else 1)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (500, "InternalError"),
        (502, "BadGateway"),
        (503, "SlowDown"),
        (503, "ServiceUnavailable"),
        (504, "GatewayTimeout"),
        (429, "TooManyRequests"),
        (408, "408"),
        (400, "RequestTimeout"),
        (400, "XAmzContentSHA256Mismatch"),
        (404, "NoSuchUpload"),
    ],
)
def test_what_may_pass_is_unavailable(proxy, s3_server, status: int, code: str):
    store = S3Store(s3_server.bucket, attempts=1)
    for method, act in (
        ("PUT", lambda: store.put("x", b"1")),
        ("GET", lambda: store.get("x")),
        ("GET", lambda: list(store.list())),
        ("DELETE", lambda: store.delete("x")),
    ):
        proxy.inject("refuse", method=method, status=status, code=code)
        assert isinstance(error_of(act), StoreUnavailable)
    assert proxy.happened == 4


@pytest.mark.parametrize(
    "page", ["", "<html><body>Sign in</body></html>", "<?xml version='1.0'?><ListBucketResult><Na"]
)
def test_what_some_other_server_answers_is_taken_neither_for_an_empty_folder_nor_for_a_write(
    proxy, s3_server, page: str
):
    store = S3Store(s3_server.bucket, "pages", attempts=1)
    store.put("x", b"1")
    for method, act in (
        ("PUT", lambda: store.put("y", b"1")),
        ("GET", lambda: store.get("x")),
        ("GET", lambda: list(store.list())),
    ):
        proxy.inject("page", method=method, code=page)
        assert isinstance(error_of(act), StoreUnavailable)
    proxy.inject("page", method="PUT", code=page)
    store.create(
        f"n/{len(page)}", b"mine"
    )  # written by the second attempt, since the first one's answer was no store's
    assert store.get(f"n/{len(page)}") == b"mine"


def test_a_name_that_does_not_resolve_and_a_server_that_says_nothing_are_unavailable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://objects.invalid")
    assert isinstance(error_of(lambda: S3Store("bucket", attempts=1).get("x")), StoreUnavailable)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel accepts for it
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        error = error_of(lambda: S3Store("bucket", attempts=1, patience=0.2).get("x"))
    assert isinstance(error, StoreUnavailable)
    assert "ReadTimeoutError" in error.what


@pytest.mark.server("ceph")
def test_wrong_keys_and_missing_rights_on_ceph(ceph, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    credentials = tmp_path / "credentials"
    good = f"[good]\naws_access_key_id = {ceph.access_key}\naws_secret_access_key = {ceph.secret_key}\n"
    credentials.write_text(
        f"{good}[wrong]\naws_access_key_id = {ceph.access_key}\naws_secret_access_key = {SECRET}\n"
        f"[unknown]\naws_access_key_id = nobody\naws_secret_access_key = {SECRET}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    monkeypatch.setenv("AWS_ENDPOINT_URL", ceph.endpoint)
    good_store = open_store(f"s3://{ceph.bucket}/rights", profile="good")
    good_store.put("x", b"1")
    for profile in ("wrong", "unknown"):
        store = open_store(f"s3://{ceph.bucket}/rights", profile=profile)
        for act in (lambda s=store: s.get("x"), lambda s=store: s.create("y", b"1"), lambda s=store: list(s.list())):
            error = error_of(act)
            assert isinstance(error, StoreError)
            assert f"profile {profile!r}" in error.fix
    monkeypatch.delenv("AWS_SHARED_CREDENTIALS_FILE")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    assert good_store.get("x") == b"1"


@pytest.mark.server("ceph")
def test_a_bucket_that_denies_writes_is_a_store_error_and_can_still_be_read(ceph, monkeypatch: pytest.MonkeyPatch):
    import json

    monkeypatch.setenv("AWS_ENDPOINT_URL", ceph.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ceph.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ceph.secret_key)
    client = make_client(None, 3)
    client.create_bucket(Bucket="readable-only")
    store = S3Store("readable-only")
    store.put("x", b"1")
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["s3:PutObject"],
        "Resource": ["arn:aws:s3:::readable-only/*"],
    }
    client.put_bucket_policy(
        Bucket="readable-only", Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )
    for act in (lambda: store.put("y", b"1"), lambda: store.create("y", b"1")):
        error = error_of(act)
        assert type(error) is StoreError
        assert "denied" in error.what
        assert "s3:PutObject" in error.fix
    assert store.get("x") == b"1"


@pytest.mark.server("ceph")
def test_a_certificate_nobody_vouches_for_is_refused_and_a_named_one_is_trusted(ceph, monkeypatch, tmp_path: Path):
    monkeypatch.setenv("AWS_ENDPOINT_URL", ceph.tls_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ceph.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ceph.secret_key)
    error = error_of(lambda: S3Store(ceph.bucket, "tls", attempts=1).get("x"))
    assert type(error) is StoreError
    assert "certificate" in error.what
    assert "AWS_CA_BUNDLE" in error.fix
    monkeypatch.setenv("AWS_CA_BUNDLE", ceph.certificate)
    path = tmp_path / "file"
    path.write_bytes(b"x" * (17 << 20))
    store = S3Store(ceph.bucket, "tls")
    store.create("a", b"1")
    store.upload("b", path)
    assert [(info.key, info.size) for info in store.list()] == [("a", 1), ("b", 17 << 20)]


PROFILES = """\
[profile models]
region = auto
endpoint_url = https://models.example.org
[profile data]
services = data
[services data]
s3 =
  endpoint_url = https://data.example.org
[profile plain]
region = eu-north-1
"""


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_a_named_profile_is_whole_whatever_the_environment_says_of_another_store(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
):
    (tmp_path / "config").write_text(PROFILES)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv(variable, "https://environment.example.org")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    found = {name: make_client(name, 1).meta for name in ("models", "data", "plain", None)}
    assert {name: (meta.endpoint_url, meta.region_name) for name, meta in found.items()} == {
        "models": ("https://models.example.org", "auto"),
        "data": ("https://data.example.org", "us-east-1"),
        "plain": ("https://environment.example.org", "eu-north-1"),
        None: ("https://environment.example.org", "us-east-1"),
    }
