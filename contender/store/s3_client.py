"""From a URL and a profile of the AWS configuration to a boto3 client, without a secret in a URL, an error or a log."""

from __future__ import annotations

import re
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from contender.errors import UsageError, known
from contender.store.base import check_key

CONNECT_TIMEOUT = 10.0  # seconds
READ_TIMEOUT = 60.0  # seconds
CONNECTIONS = 48
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")


def make_client(profile: str | None, attempts: int, patience: float = READ_TIMEOUT) -> Any:
    """A boto3 S3 client of the profile; path-style addresses where the endpoint is not AWS. `patience`: see S3Store.

    Raises UsageError for an unknown profile or an endpoint with credentials in it.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import ProfileNotFound
    from botocore.session import get_session

    core = get_session()
    try:
        if profile:
            core.set_config_variable("profile", profile)
        core.register_component("data_loader", _descriptions(core.get_config_variable("data_path")))
        session = boto3.Session(botocore_session=core)
    except ProfileNotFound as error:
        names = boto3.Session().available_profiles if profile else ()
        named = error.kwargs.get("profile", profile)
        raise UsageError(
            known("AWS profile", named, names), "Profiles stand in ~/.aws/config and ~/.aws/credentials."
        ) from None

    config = Config(
        connect_timeout=min(CONNECT_TIMEOUT, patience),
        read_timeout=patience,
        max_pool_connections=CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": attempts},
        # The newer default adds checksum trailers, which several stores refuse (boto/boto3#4398); our own sha256 checks every read.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    own = _own(session) if profile else {}
    try:
        client = session.client("s3", config=config, **own)
    except ValueError:  # botocore's, for an endpoint that is none
        raise UsageError(
            "the endpoint of the AWS configuration is no URL", "AWS_ENDPOINT_URL_S3 looks like https://host:port."
        ) from None
    endpoint = urlsplit(client.meta.endpoint_url)
    if endpoint.username or endpoint.password:
        raise UsageError(
            f"the endpoint of the AWS configuration holds credentials (host {endpoint.hostname})",
            "Put the keys into ~/.aws/credentials or the environment, and the bare address into the endpoint.",
        )
    if not (endpoint.hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn")):
        styled = config.merge(Config(s3=_addressing(session)))
        client = session.client("s3", config=styled, **own)
    return client


@cache
def _descriptions(data_path: str | None) -> Any:
    """botocore's reader of its descriptions of services, which keeps what it read: reading is most of the work of making a client."""
    from botocore.loaders import create_loader

    return create_loader(data_path)


def _own(session: Any) -> dict[str, Any]:
    """Endpoint and region of a profile that was named: boto3 lets those of the environment, which mean another store, go before them."""
    scoped = session._session.get_scoped_config()
    services = session._session.full_config.get("services", {}).get(scoped.get("services"), {})
    endpoint = services.get("s3", {}).get("endpoint_url") or scoped.get("endpoint_url")
    return {name: value for name, value in (("endpoint_url", endpoint), ("region_name", scoped.get("region"))) if value}


def _addressing(session: Any) -> Any:
    """The profile's own `s3` settings, with path-style where it does not choose: few other stores have a DNS name for every bucket."""
    chosen = session._session.get_scoped_config().get("s3")
    return {"addressing_style": "path", **(chosen if isinstance(chosen, dict) else {})}


def parse_s3_url(url: str) -> tuple[str, str]:
    """Bucket and prefix of `s3://bucket/prefix`; UsageError, without repeating the URL, where it holds credentials."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if "@" in bucket or ":" in bucket:
        raise UsageError(
            "the store's URL holds credentials or a port",
            "Write s3://bucket/prefix; keys and endpoint come from the AWS configuration (profile, environment).",
        )
    if not BUCKET.fullmatch(bucket):
        raise UsageError(
            f"{url[:100]!r} names no bucket",
            "Write s3://bucket/prefix, the bucket by its full name of 3 to 63 characters.",
        )
    prefix = prefix.strip("/")
    return bucket, check_key(prefix) if prefix else ""
