"""Joining a node, and renewing its TLS certificate: private keys never come here, only requests that prove them.

Joining is one transaction: the token is used up, the node registered and its certificate entered together with the
log's entries, or none of it. So two nodes with one token leave exactly one, and a join that fails leaves the token.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from federation.canonical import stamp, unstamp
from federation.errors import Code, LiaisonError
from federation.identity.certificates import (
    Authority,
    der,
    make_tls_certificate,
    open_signing_csr,
    open_tls_csr,
    parse_certificate,
)
from federation.identity.keys import fingerprint
from federation.identity.spiffe import SpiffeId
from federation.log import EntryType
from hub.registry.agencies import revoke_certificates
from hub.registry.tokens import use_token
from hub.store.members import Members
from hub.store.tables import AgencyRow, CertificateRow, NodeRow
from hub.store.writer import Transaction

MOST_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Application:
    """What a node that wants to join sends: the token's secret and two certificate signing requests (DER)."""

    secret: str
    agency: str
    node: str
    tls_csr: bytes
    signing_csr: bytes
    node_time: str


@dataclass(frozen=True, slots=True)
class Issuer:
    """What signs TLS certificates: the region, the issuing CA, and how long they live."""

    region: str
    authority: Authority
    life: timedelta

    def issue(self, transaction: Transaction, identity: SpiffeId, key: EllipticCurvePublicKey) -> list[bytes]:
        """Make, enter and log a certificate; return its chain (DER, leaf first, without the root)."""
        assert identity.agency is not None
        assert identity.node is not None
        certificate = make_tls_certificate(identity, key, self.authority, transaction.at, life=self.life)
        not_after = stamp(certificate.not_valid_after_utc)
        transaction.session.add(
            CertificateRow(
                serial=str(certificate.serial_number),
                agency=identity.agency,
                node=identity.node,
                issued_at=transaction.now,
                not_after=not_after,
            )
        )
        transaction.append(
            EntryType.CERTIFICATE,
            {
                "identity": str(identity),
                "use": "tls",
                "serial": str(certificate.serial_number),
                "not_after": not_after,
            },
        )
        return [der(certificate), der(self.authority.certificate)]


def join(transaction: Transaction, issuer: Issuer, application: Application) -> list[bytes]:
    """Join a node of an agency; return its TLS chain (DER, leaf first, without the root).

    A node that joins again under its old name takes its own place: its earlier certificates are revoked. Its agency's
    signing key waits to be confirmed, unless it is the one that is confirmed already; a confirmed key stays in force
    until the coordinator confirms another.

    Raises LiaisonError: TOKEN_INVALID, TOKEN_USED, TOKEN_EXPIRED, CLOCK_SKEW, CERTIFICATE_INVALID, NOT_AUTHORIZED,
    REQUEST_INVALID.
    """
    identity = SpiffeId.of_node(issuer.region, application.agency, application.node)
    secret_sha256 = hashlib.sha256(application.secret.encode()).hexdigest()
    use_token(transaction, secret_sha256, application.agency, application.node)
    check_clock(application.node_time, transaction.at)
    tls_key = open_tls_csr(application.tls_csr, identity)
    signer = SpiffeId.of_agency(issuer.region, application.agency)
    signing_key = open_signing_csr(application.signing_csr, signer)
    row = Members(transaction.session).agency(application.agency)
    if row.suspended_at is not None:
        raise LiaisonError(Code.NOT_AUTHORIZED, f"The agency {row.id} is suspended.")
    _present_signing_key(transaction, row, application, signer, signing_key)
    again = _register(transaction, application.agency, application.node)
    transaction.append(
        EntryType.NODE,
        {
            "agency": application.agency,
            "node": application.node,
            "event": "joined again" if again else "joined",
            "fingerprint": fingerprint(signing_key),
        },
    )
    return issuer.issue(transaction, identity, tls_key)


def renew(transaction: Transaction, issuer: Issuer, identity: SpiffeId, tls_csr: bytes) -> list[bytes]:
    """A new TLS certificate for a node that has shown its present one; that one runs out by itself.

    Raises LiaisonError(CERTIFICATE_INVALID) unless the request is for the same identity.
    """
    return issuer.issue(transaction, identity, open_tls_csr(tls_csr, identity))


def check_clock(node_time: str, at: datetime) -> None:
    """Compare a node's clock with ours. Raises LiaisonError(CLOCK_SKEW) that says by how much they differ."""
    ahead = unstamp(node_time) - at
    if abs(ahead) > MOST_SKEW:
        seconds = round(abs(ahead).total_seconds())
        side = "ahead of" if ahead > timedelta(0) else "behind"
        raise LiaisonError(Code.CLOCK_SKEW, f"The node's clock is {seconds} s {side} the hub's.")


def _present_signing_key(
    transaction: Transaction,
    row: AgencyRow,
    application: Application,
    signer: SpiffeId,
    presented: Ed25519PublicKey,
) -> None:
    """Let an agency's signing key wait for the coordinator, or see that it waits or is confirmed already."""
    if row.signing_certificate and confirmed_key(row.signing_certificate) == presented:
        return
    if row.signing_csr and open_signing_csr(row.signing_csr, signer) == presented:
        return
    others = [
        node
        for node in Members(transaction.session).nodes(row.id)
        if node.node != application.node and node.revoked_at is None
    ]
    if row.signing_certificate is None and row.signing_csr and others:
        raise LiaisonError(
            Code.CERTIFICATE_INVALID,
            f"The node {others[0].node} of this agency has another signing key; use that one.",
        )
    row.signing_csr, row.fingerprint = application.signing_csr, fingerprint(presented)


def confirmed_key(certificate: bytes) -> Ed25519PublicKey:
    """The public key in a stored signing certificate (DER). Raises LiaisonError(CERTIFICATE_INVALID)."""
    public = parse_certificate(certificate).public_key()
    if not isinstance(public, Ed25519PublicKey):
        raise LiaisonError(Code.CERTIFICATE_INVALID, "It is not the certificate of a signing key.")
    return public


def _register(transaction: Transaction, agency: str, node: str) -> bool:
    row = transaction.session.get(NodeRow, (agency, node))
    if row is None:
        transaction.session.add(NodeRow(agency=agency, node=node, joined_at=transaction.now))
        return False
    revoke_certificates(transaction, agency, node)
    row.joined_at, row.revoked_at, row.revoked_because = transaction.now, None, None
    # What was said about the lost keys must not be listed any more.
    row.statement, row.policy_digest = None, None
    return True
