"""The sealed envelope: the probe encrypted once, its key sealed to each gallery; answers sealed to the requester.

    content key (random, 256 bits) ── AES-256-GCM, aad = request digest ──► ciphertext (one, for all galleries)
    content key ── HPKE to the gallery's node, info = request digest + gallery ──► sealed key (one per gallery)
    signed answer ── HPKE to the request's one-time key, info = request digest + gallery ──► sealed answer

The hub carries all of these and can open none. Binding digest and gallery means that what was sealed for one
request or gallery opens for no other.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from federation.errors import Code, LiaisonError
from federation.identity.hybrid import SealingKey, seal

_NONCE = 12
_KEY = 32


@dataclass(frozen=True, slots=True)
class SealedProbe:
    """`ciphertext`: 12 bytes nonce + AES-256-GCM; `keys`: gallery (`agency/gallery`) → sealed content key."""

    ciphertext: bytes
    keys: dict[str, bytes]


def seal_probe(picture: bytes, request_digest: str, sealing_keys: Mapping[str, bytes]) -> SealedProbe:
    """Seal the working image for galleries, given each gallery's public sealing key (1216 bytes)."""
    key, nonce = secrets.token_bytes(_KEY), secrets.token_bytes(_NONCE)
    ciphertext = nonce + AESGCM(key).encrypt(nonce, picture, request_digest.encode())
    keys = {
        gallery: seal(key, public, _info("probe key", request_digest, gallery))
        for gallery, public in sealing_keys.items()
    }
    return SealedProbe(ciphertext, keys)


def open_probe(
    ciphertext: bytes, sealed_key: bytes, request_digest: str, gallery: str, key: SealingKey
) -> bytes:
    """The working image, as a gallery's node opens it. Raises LiaisonError(SEAL_BROKEN)."""
    content_key = key.open(sealed_key, _info("probe key", request_digest, gallery))
    try:
        return AESGCM(content_key).decrypt(ciphertext[:_NONCE], ciphertext[_NONCE:], request_digest.encode())
    except (InvalidTag, ValueError) as error:
        raise LiaisonError(Code.SEAL_BROKEN) from error


def seal_answer(signed_answer: bytes, request_digest: str, gallery: str, answer_key: bytes) -> bytes:
    """A signed answer, sealed to the request's one-time key."""
    return seal(signed_answer, answer_key, _info("answer", request_digest, gallery))


def open_answer(sealed: bytes, request_digest: str, gallery: str, key: SealingKey) -> bytes:
    """The signed answer, as the desk opens it. Raises LiaisonError(SEAL_BROKEN)."""
    return key.open(sealed, _info("answer", request_digest, gallery))


def _info(what: str, request_digest: str, gallery: str) -> bytes:
    return f"liaison/v1 {what}\n{request_digest}\n{gallery}".encode()
