"""Whether a delivery shows that its sender knows one of the secrets: by the scheme that the spec declares, and no other.

Every secret is compared, each in constant time, so that neither the answer's time nor its text says how close a guess was. What a
header alone can show is looked at before the body is read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers

from contender.triggers import Webhook

TOLERANCE = 300  # seconds that a signed time may differ from ours
ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
# No full stop: it separates what is signed, and an id that holds one could be read as another id and time.
MESSAGE_ID = re.compile(r"[!-\-/-~]{1,256}")
UNIX_TIME = re.compile(r"[1-9][0-9]{8,10}")
V1 = re.compile(r"v1,[A-Za-z0-9+/]{43}=")
MOST_SIGNATURES = 20  # in one header; while a sender rotates there are two
GITHUB_SIGNATURE = re.compile(r"sha256=[0-9a-f]{64}")


@dataclass(frozen=True)
class Shown:
    """What a delivery shows before its body: its headers, and the last part of its path where it has one."""

    headers: Headers
    token: str | None = None

    def one(self, name: str) -> str:
        """A header that stands there once; empty where it is missing, or could mean two things."""
        values = self.headers.getlist(name)
        return values[0] if len(values) == 1 else ""


def same(secrets: Sequence[bytes], shown: bytes | None) -> bool:
    """Whether it is one of them. All are compared, by digests of one length."""
    found = False
    guess = hashlib.sha256(shown or b"").digest()
    for secret in secrets:
        found |= hmac.compare_digest(hashlib.sha256(secret).digest(), guess)
    return found and bool(shown)


def _password(shown: Shown) -> bytes | None:
    """user:password of RFC 7617."""
    kind, _, rest = shown.one("authorization").partition(" ")
    try:
        return base64.b64decode(rest.strip(), validate=True) if kind.lower() == "basic" else None
    except (binascii.Error, ValueError):
        return None


def _header_secret(shown: Shown) -> bytes | None:
    return shown.one("x-webhook-secret").encode("latin-1")


def _token(shown: Shown) -> bytes | None:
    return shown.token.encode("utf-8", "surrogatepass") if shown.token else None


# Schemes whose credential stands outside the body.
CREDENTIALS: dict[str, Callable[[Shown], bytes | None]] = {
    "huggingface": _header_secret,
    "basic": _password,
    "token": _token,
}


def before_body(webhook: Webhook, secrets: Sequence[bytes], shown: Shown) -> bool:
    """Whether it is worth reading the body; for a scheme without signatures, whether the sender is known."""
    if shown.token is not None and webhook.scheme != "token":
        return False
    if webhook.scheme in CREDENTIALS:
        return same(secrets, CREDENTIALS[webhook.scheme](shown))
    if webhook.scheme == "github":
        return bool(GITHUB_SIGNATURE.fullmatch(shown.one("x-hub-signature-256")))
    return _standard_headers(shown) is not None


def signed(webhook: Webhook, secrets: Sequence[bytes], shown: Shown, body: bytes) -> bool:
    """Whether one of the secrets signed the body; True for a scheme without signatures, which `before_body` has settled."""
    if webhook.scheme == "github":
        return _github(secrets, shown, body)
    return webhook.scheme in CREDENTIALS or _standard(secrets, shown, body)


def _github(secrets: Sequence[bytes], shown: Shown, body: bytes) -> bool:
    found = False
    given = shown.one("x-hub-signature-256").encode("latin-1")
    for secret in secrets:
        found |= hmac.compare_digest(b"sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest().encode(), given)
    return found


def _standard_headers(shown: Shown) -> dict[str, str] | None:
    """The three headers, of which the library splits and decodes only what it is sure to understand; None where one is bad."""
    message, at = shown.one(ID), shown.one(TIMESTAMP)
    signatures = shown.one(SIGNATURE).split(" ")
    fitting = [one for one in signatures if V1.fullmatch(one)]
    if not MESSAGE_ID.fullmatch(message) or not UNIX_TIME.fullmatch(at) or len(signatures) > MOST_SIGNATURES:
        return None
    if not fitting or abs(time.time() - int(at)) > TOLERANCE:
        return None
    return {ID: message, TIMESTAMP: at, SIGNATURE: " ".join(fitting)}


def _standard(secrets: Sequence[bytes], shown: Shown, body: bytes) -> bool:
    from standardwebhooks import Webhook as Verifier
    from standardwebhooks import WebhookVerificationError

    headers = _standard_headers(shown)
    if headers is None:
        return False
    found = False
    for secret in secrets:
        try:
            Verifier(secret).verify(body, headers, json_parse=False)
            found = True
        except (WebhookVerificationError, UnicodeDecodeError):  # it signs text
            pass
    return found


def message_id(webhook: Webhook, shown: Shown) -> str | None:
    """The signed id of the message, which stays the same when it is sent again; None for schemes without one."""
    return shown.one(ID) if webhook.scheme == "standard" else None


def challenge(webhook: Webhook) -> str:
    """WWW-Authenticate of a 401. SNS sends a password only after it was asked for one."""
    return 'Basic realm="webhooks", charset="UTF-8"' if webhook.scheme == "basic" else 'Webhook realm="webhooks"'
