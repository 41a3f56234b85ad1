"""Sealing to a key: HPKE (RFC 9180) with ML-KEM-768 + X25519, so that neither an attacker of today's curves nor
a recorder with a future quantum computer opens what was sealed.

HPKE here is single-shot with an anonymous sender: what is sealed is signed inside, and its context is in `info`.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from federation.errors import Code, LiaisonError

PUBLIC_BYTES = 1184 + 32
PRIVATE_BYTES = 64 + 32
_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


@dataclass(frozen=True, slots=True)
class SealingKey:
    """The private half: opens what was sealed to it. 96 bytes: ML-KEM seed (64), X25519 scalar (32)."""

    raw: bytes

    @classmethod
    def generate(cls) -> SealingKey:
        """A fresh key pair."""
        mlkem = MLKEM768PrivateKey.generate()
        return cls(mlkem.private_bytes_raw() + X25519PrivateKey.generate().private_bytes_raw())

    def public(self) -> bytes:
        """The public half, 1216 bytes: ML-KEM-768 encapsulation key (1184), X25519 point (32)."""
        mlkem, x25519 = self._parts()
        return mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """What was sealed to this key under the same `info`. Raises LiaisonError(SEAL_BROKEN)."""
        try:
            return _SUITE.decrypt(sealed, MLKEM768X25519PrivateKey(*self._parts()), info=info)
        except (InvalidTag, ValueError) as error:
            raise LiaisonError(Code.SEAL_BROKEN) from error

    def _parts(self) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
        if len(self.raw) != PRIVATE_BYTES:
            raise LiaisonError(Code.KEY_UNREADABLE, "A sealing key has the wrong length.")
        return (
            MLKEM768PrivateKey.from_seed_bytes(self.raw[:64]),
            X25519PrivateKey.from_private_bytes(self.raw[64:]),
        )

    def __repr__(self) -> str:
        return "SealingKey(...)"


def seal(plaintext: bytes, public: bytes, info: bytes) -> bytes:
    """`plaintext` sealed to a public key of 1216 bytes, 1136 bytes longer. Raises LiaisonError(KEY_UNREADABLE)."""
    if len(public) != PUBLIC_BYTES:
        raise LiaisonError(Code.KEY_UNREADABLE, "A public sealing key has the wrong length.")
    try:
        key = MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(public[:1184]),
            X25519PublicKey.from_public_bytes(public[1184:]),
        )
        return _SUITE.encrypt(plaintext, key, info=info)
    except ValueError as error:
        raise LiaisonError(Code.KEY_UNREADABLE, "A public sealing key is not valid.") from error
