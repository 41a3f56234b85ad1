"""A signed statement: bytes, what kind of statement they are, who signed them, and the signer's certificate.

Requests, answers, receipts, policies, node statements and the region's bundle all travel in this one form, are
stored in it, and are verified from it, by anybody who has the region's root. The signature covers the kind, so
that a statement of one kind can never be shown as one of another:

    Ed25519( "liaison-statement/v1\\n" kind "\\n" SHA-256(payload) )
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from federation.canonical import b64, canonical, parse, unb64
from federation.errors import Code, LiaisonError
from federation.identity.certificates import open_signing_certificate
from federation.identity.keys import Signer
from federation.identity.spiffe import SpiffeId

KINDS = frozenset({"probe-request", "answer", "receipt", "submission", "cancel", "node", "policy", "region"})
LIMIT = 16 << 20


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement that verified: its payload and who said it."""

    kind: str
    payload: bytes
    signer: SpiffeId
    certificate: x509.Certificate


@dataclass(frozen=True, slots=True)
class SignedStatement:
    """A statement as it travels; nothing in it is to be believed before `verify`. The payload is UTF-8."""

    kind: str
    payload: bytes
    signature: bytes
    certificate: bytes

    def encode(self) -> bytes:
        """The one encoding, for wire and disk: canonical JSON; the payload as text, the other byte fields in base64."""
        return canonical(
            {
                "kind": self.kind,
                "payload": self.payload.decode(),
                "signature": b64(self.signature),
                "certificate": b64(self.certificate),
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> SignedStatement:
        """Read the encoding. Raises LiaisonError(REQUEST_INVALID) for anything else."""
        value = parse(data, limit=LIMIT)
        fields = ("certificate", "kind", "payload", "signature")
        if not isinstance(value, dict) or tuple(sorted(value)) != fields:
            raise LiaisonError(Code.REQUEST_INVALID, "A signed statement has other fields.")
        if not all(isinstance(value[field], str) for field in fields):
            raise LiaisonError(Code.REQUEST_INVALID, "A signed statement's fields must be text.")
        return cls(
            value["kind"], value["payload"].encode(), unb64(value["signature"]), unb64(value["certificate"])
        )

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the payload: what stands for this statement in receipts, proofs and the log."""
        return "sha256:" + hashlib.sha256(self.payload).hexdigest()

    def verify(
        self,
        kind: str,
        root: x509.Certificate,
        at: datetime,
        *,
        revoked: Collection[int] = (),
        by: Callable[[SpiffeId], bool] = lambda _: True,
    ) -> Statement:
        """The statement, if it is of this `kind`, its signer's certificate is the root's, not in `revoked` (serial
        numbers) and valid `at` that time, the signature is right, and the signer is one that `by` accepts.

        Raises LiaisonError(CERTIFICATE_INVALID, CERTIFICATE_REVOKED, SIGNATURE_INVALID or NOT_AUTHORIZED).
        """
        if self.kind != kind:
            raise LiaisonError(Code.SIGNATURE_INVALID, f"It is a statement of another kind than {kind}.")
        signer, public, certificate = open_signing_certificate(self.certificate, root, at)
        if certificate.serial_number in revoked:
            raise LiaisonError(Code.CERTIFICATE_REVOKED, "The signing certificate has been revoked.")
        try:
            public.verify(self.signature, _signed_bytes(kind, self.payload))
        except InvalidSignature as error:
            raise LiaisonError(Code.SIGNATURE_INVALID) from error
        if not by(signer):
            raise LiaisonError(Code.NOT_AUTHORIZED, f"{signer} may not sign a statement of kind {kind}.")
        return Statement(kind, self.payload, signer, certificate)


def sign(kind: str, payload: bytes, signer: Signer, certificate: bytes) -> SignedStatement:
    """Sign `payload` as a statement of `kind`; `certificate` is the signer's, DER."""
    assert kind in KINDS
    return SignedStatement(kind, payload, signer.sign(_signed_bytes(kind, payload)), certificate)


def _signed_bytes(kind: str, payload: bytes) -> bytes:
    return b"liaison-statement/v1\n" + kind.encode() + b"\n" + hashlib.sha256(payload).digest()
