"""Private keys and who holds them: a signer is named by a URI, a file today and a module or service tomorrow.

`file:/path/agency.key` is a PKCS#8 PEM file that only its owner may read (0600).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from federation.errors import Code, LiaisonError

PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey


class Signer(Protocol):
    """Something that signs with an Ed25519 key without giving the key away."""

    def public_key(self) -> Ed25519PublicKey:
        """The key that verifies what this signer signs."""

    def sign(self, data: bytes, /) -> bytes:
        """64 bytes: the Ed25519 signature (RFC 8032) of `data`."""


def new_signing_key() -> Ed25519PrivateKey:
    """A fresh Ed25519 key: agencies, coordinator, hub, log and witnesses sign with these."""
    return Ed25519PrivateKey.generate()


def new_tls_key() -> EllipticCurvePrivateKey:
    """A fresh P-256 key: certificates of the TLS hierarchy use these, since gRPC's TLS offers no Ed25519."""
    return generate_private_key(SECP256R1())


def private_pem(key: PrivateKey) -> bytes:
    """The key as PKCS#8 PEM, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def write_secret(path: Path, data: bytes) -> None:
    """Write a secret that must not exist yet: mode 0600 from its first byte, on disk before this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise LiaisonError(Code.HOME_EXISTS, f"{path.name} is there already.") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read_secret(path: Path) -> bytes:
    """Read a secret file, refusing one that others may read. Raises LiaisonError(KEY_UNREADABLE)."""
    try:
        mode = path.stat().st_mode
        data = path.read_bytes()
    except OSError as error:
        raise LiaisonError(Code.KEY_UNREADABLE, f"{path.name} cannot be read.") from error
    if mode & 0o077:
        raise LiaisonError(
            Code.KEY_UNREADABLE, f"{path.name} may be read by others (mode {mode & 0o777:04o})."
        )
    return data


def load_signing_key(path: Path) -> Ed25519PrivateKey:
    """The Ed25519 key in a PEM file. Raises LiaisonError(KEY_UNREADABLE)."""
    key = _load_pem(path)
    if not isinstance(key, Ed25519PrivateKey):
        raise LiaisonError(Code.KEY_UNREADABLE, f"{path.name} holds a key of another kind.")
    return key


def load_tls_key(path: Path) -> EllipticCurvePrivateKey:
    """The P-256 key in a PEM file. Raises LiaisonError(KEY_UNREADABLE)."""
    key = _load_pem(path)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise LiaisonError(Code.KEY_UNREADABLE, f"{path.name} holds a key of another kind.")
    return key


def load_signer(uri: str) -> Signer:
    """The signer that a URI names. Raises LiaisonError(KEY_UNREADABLE) for a scheme that is not known here."""
    scheme, _, path = uri.partition(":")
    if scheme != "file":
        raise LiaisonError(Code.KEY_UNREADABLE, f"No signer is known for {scheme}: addresses.")
    return load_signing_key(Path(path))


def fingerprint(public: Ed25519PublicKey) -> str:
    """`SHA256:<hex in groups of four>`: what two people read to each other over the telephone."""
    text = hashlib.sha256(public.public_bytes_raw()).hexdigest()
    return "SHA256:" + "-".join(text[i : i + 4] for i in range(0, 64, 4))


def _load_pem(path: Path) -> object:
    try:
        return serialization.load_pem_private_key(read_secret(path), password=None)
    except (ValueError, TypeError) as error:
        raise LiaisonError(Code.KEY_UNREADABLE, f"{path.name} is not a PEM private key.") from error
