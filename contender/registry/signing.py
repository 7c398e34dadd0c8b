"""Signatures of releases: Ed25519 over the manifest, which lists every file's sha256.

A signature lies beside the manifest under its key's fingerprint, so that a release can be signed later, and by several keys.
Keys are PEM: `openssl genpkey -algorithm ed25519 -out key.pem` and `openssl pkey -in key.pem -pubout -out public.pem`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from contender.errors import Damaged, Missing, UsageError
from contender.records import Record, sha256_hex
from contender.registry.layout import Layout, now, parsed, sealed
from contender.store import Store

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PURPOSE = b"contender release manifest\n"  # a signature of something else is none of a release
MAKE = "Make one with: openssl genpkey -algorithm ed25519 -out key.pem"
PUBLIC = "Its public half: openssl pkey -in key.pem -pubout -out public.pem"


class Signature(Record):
    """One key's word for one manifest."""

    release: str
    key: str = Field(description="fingerprint: 32 hex digits of the sha256 of the public key")
    algorithm: Literal["ed25519"] = "ed25519"
    value: str = Field(description="base64")
    at: str = Field(description="UTC, ISO 8601")


class Signatures(Record):
    """Those of a release, as a pulled folder holds them."""

    signatures: tuple[Signature, ...]


def private_key(pem: bytes) -> Ed25519PrivateKey:
    """The key; UsageError, which does not repeat it, where it is none, another kind's, or has a passphrase."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise UsageError(
            "the signing key has a passphrase", "Give one without; keep it where secrets are kept."
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError("the signing key is no Ed25519 private key in PEM", MAKE) from None
    return key


def public_key(pem: bytes) -> Ed25519PublicKey:
    """The key; UsageError where it is none, or another kind's."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError("the public key is no Ed25519 public key in PEM", PUBLIC) from None
    return key


def fingerprint(key: Ed25519PublicKey) -> str:
    return sha256_hex(key.public_bytes_raw())[:32]


def sign(release: str, manifest: bytes, key: Ed25519PrivateKey) -> Signature:
    """A signature of the manifest as it is stored, byte by byte."""
    return Signature(
        release=release,
        key=fingerprint(key.public_key()),
        value=base64.b64encode(key.sign(PURPOSE + manifest)).decode(),
        at=now(),
    )


def check_signed(release: str, manifest: bytes, signatures: Iterable[Signature], key: Ed25519PublicKey) -> None:
    """Damaged unless the key signed this very manifest."""
    from cryptography.exceptions import InvalidSignature

    mine = fingerprint(key)
    theirs = list(signatures)
    found = next((one for one in theirs if one.key == mine), None)
    if found is None:
        others = f"; signed by {', '.join(sorted(one.key for one in theirs))}" if theirs else ""
        raise Damaged(
            f"release {release} is not signed by the key {mine}{others}",
            "Do not use it, unless you know why: whoever trained it had another key, or none.",
        )
    try:
        key.verify(base64.b64decode(found.value), PURPOSE + manifest)
    except (InvalidSignature, ValueError):
        raise Damaged(
            f"the signature of release {release} by the key {mine} is not of this manifest",
            "Somebody changed the manifest or the signature: do not use the release.",
        ) from None


def keep_signature(store: Store, layout: Layout, signature: Signature) -> None:
    """Puts the signature beside the release's manifest."""
    store.put(f"{layout.signatures(signature.release)}{signature.key}.json", sealed(signature))


def signatures_of(store: Store, layout: Layout, release: str) -> tuple[Signature, ...]:
    """The release's signatures, whoever made them; not checked yet. Damaged where one is no signature."""
    keys = [info.key for info in store.list(layout.signatures(release))]
    found = []
    for key in keys:
        try:
            found.append(parsed(Signature, store.get(key), key))
        except Missing:
            continue  # removed since it was listed
    return tuple(found)
