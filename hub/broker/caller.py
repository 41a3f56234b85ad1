"""Who is calling: what the peer's TLS certificate says, kept for the length of the call."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass

from federation.errors import Code, LiaisonError
from federation.identity.certificates import identity_of, parse_certificate
from federation.identity.spiffe import SpiffeId

_current: ContextVar[Caller] = ContextVar("caller")


@dataclass(frozen=True, slots=True)
class Caller:
    """A node, by the certificate with which it opened the connection; `serial` is that certificate's number."""

    identity: SpiffeId
    serial: int

    @property
    def agency(self) -> str:
        """The agency that the node belongs to."""
        return self.identity.agency or ""

    @property
    def node(self) -> str:
        """The node's name within its agency."""
        return self.identity.node or ""


def caller() -> Caller:
    """The caller of the call that is being served. Raises LiaisonError(CERTIFICATE_INVALID) when it showed none."""
    try:
        return _current.get()
    except LookupError:
        raise LiaisonError(Code.CERTIFICATE_INVALID, "The caller showed no certificate.") from None


def set_caller(who: Caller) -> None:
    """Name the caller for the rest of this call; gRPC serves each call in a context of its own."""
    _current.set(who)


def caller_of(auth_context: Mapping[str, list[bytes]], region: str) -> Caller:
    """The caller that a TLS peer's certificate names. TLS has checked the chain; this reads who it is.

    Raises LiaisonError(CERTIFICATE_INVALID) when there is no certificate, or it is not that of a node of `region`.
    """
    certificates = auth_context.get("x509_pem_cert", [])
    if not certificates:
        raise LiaisonError(Code.CERTIFICATE_INVALID, "The caller showed no certificate.")
    certificate = parse_certificate(certificates[0])
    identity = identity_of(certificate)
    if identity.region != region or identity.role != "node":
        raise LiaisonError(Code.CERTIFICATE_INVALID, "It is not that of a node of this region.")
    return Caller(identity, certificate.serial_number)
