"""Agencies: entering one, confirming its signing key with the offline root, suspending it.

A joining node brings its agency's public signing key, and the key waits. The coordinator compares its fingerprint
with what the agency reads out over the telephone, and only then signs a certificate for it, with the root's key,
which no running hub has. So a hub that is taken over cannot make itself an agency.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import update

from federation.canonical import stamp
from federation.errors import Code, LiaisonError
from federation.identity.certificates import (
    Authority,
    der,
    make_signing_certificate,
    open_signing_certificate,
    open_signing_csr,
    parse_certificate,
)
from federation.identity.keys import fingerprint
from federation.identity.spiffe import SpiffeId, check_name
from federation.log import EntryType
from hub.store.members import Members
from hub.store.tables import AgencyRow, CertificateRow
from hub.store.writer import Transaction

_NAME_LIMIT = 200


def add_agency(transaction: Transaction, agency: str, name: str) -> None:
    """Enter an agency, so that its nodes may be given tokens. Raises LiaisonError(AGENCY_EXISTS, REQUEST_INVALID)."""
    check_name(agency, "An agency's id")
    if not name.strip() or len(name) > _NAME_LIMIT or not name.isprintable():
        raise LiaisonError(
            Code.REQUEST_INVALID, f"An agency's name has 1 to {_NAME_LIMIT} printable characters."
        )
    if transaction.session.get(AgencyRow, agency) is not None:
        raise LiaisonError(Code.AGENCY_EXISTS, f"It is {agency}.")
    transaction.session.add(AgencyRow(id=agency, name=name, created_at=transaction.now))
    transaction.append(EntryType.AGENCY, {"agency": agency, "name": name, "event": "added"})


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What `confirm` did: the certificate's serial number, its last day, and whether it replaced another key's."""

    agency: str
    fingerprint: str
    serial: int
    not_after: str
    rotated: bool


def confirm(
    transaction: Transaction, region: str, agency: str, read_out: str, root: Authority
) -> Confirmation:
    """Sign the certificate of the key that waits, if its fingerprint is the one that was `read_out`.

    With the fingerprint of the key that is confirmed already, it signs that key's next certificate. An earlier key's
    certificate stays what it was: whoever must stop believing it lists its serial number in the region's bundle.

    Raises LiaisonError: AGENCY_UNKNOWN, STATE_CONFLICT when no node has joined yet, FINGERPRINT_MISMATCH.
    """
    row = Members(transaction.session).agency(agency)
    identity = SpiffeId.of_agency(region, agency)
    # The keys are read from what they signed themselves, not from columns that anybody with the database may write.
    waiting = open_signing_csr(row.signing_csr, identity) if row.signing_csr else None
    known = _certified(row.signing_certificate, identity, root) if row.signing_certificate else None
    if waiting is None and known is None:
        raise LiaisonError(Code.STATE_CONFLICT, f"No node of {agency} has joined, so no key waits.")
    chosen = next((key for key in (waiting, known) if key and _same(fingerprint(key), read_out)), None)
    if chosen is None:
        raise LiaisonError(Code.FINGERPRINT_MISMATCH)
    certificate = make_signing_certificate(identity, chosen, root, transaction.at)
    rotated = known is not None and chosen != known
    row.signing_certificate = der(certificate)
    if chosen is waiting or chosen == waiting:
        row.signing_csr = None
    if row.signing_csr is None:
        row.fingerprint = fingerprint(chosen)
    not_after = stamp(certificate.not_valid_after_utc)
    facts = {
        "agency": agency,
        "fingerprint": fingerprint(chosen),
        "serial": str(certificate.serial_number),
        "not_after": not_after,
    }
    transaction.append(EntryType.CERTIFICATE, {"identity": str(identity), "use": "signing", **facts})
    transaction.append(
        EntryType.AGENCY,
        {"agency": agency, "event": "confirmed", "fingerprint": facts["fingerprint"], "rotated": rotated},
    )
    return Confirmation(agency, facts["fingerprint"], certificate.serial_number, not_after, rotated)


def suspend(transaction: Transaction, agency: str, because: str) -> None:
    """Keep an agency's nodes out from the next call on; what they have said stays on record."""
    row = Members(transaction.session).agency(agency)
    if row.suspended_at is not None:
        raise LiaisonError(Code.STATE_CONFLICT, f"{agency} is suspended already.")
    row.suspended_at = transaction.now
    transaction.append(
        EntryType.REVOCATION,
        {"agency": agency, "event": "suspended", "because": reason(because)},
    )


def resume(transaction: Transaction, agency: str, because: str) -> None:
    """Let a suspended agency's nodes in again."""
    row = Members(transaction.session).agency(agency)
    if row.suspended_at is None:
        raise LiaisonError(Code.STATE_CONFLICT, f"{agency} is not suspended.")
    row.suspended_at = None
    transaction.append(
        EntryType.AGENCY,
        {"agency": agency, "event": "resumed", "because": reason(because)},
    )


def revoke_node(transaction: Transaction, agency: str, node: str, because: str) -> None:
    """Refuse a node and every TLS certificate it has, from the next call on. A new token lets it join again."""
    members = Members(transaction.session)
    members.agency(agency)
    row = members.node(agency, node)
    if row.revoked_at is not None:
        raise LiaisonError(Code.STATE_CONFLICT, f"The node {node} of {agency} is revoked already.")
    row.revoked_at, row.revoked_because = transaction.now, reason(because)
    revoke_certificates(transaction, agency, node)
    transaction.append(
        EntryType.REVOCATION,
        {"agency": agency, "node": node, "event": "revoked", "because": row.revoked_because},
    )


def revoke_certificates(transaction: Transaction, agency: str, node: str) -> None:
    """Revoke every TLS certificate that a node has been given so far."""
    transaction.session.execute(
        update(CertificateRow)
        .where(
            CertificateRow.agency == agency, CertificateRow.node == node, CertificateRow.revoked_at.is_(None)
        )
        .values(revoked_at=transaction.now)
    )


def reason(text: str) -> str:
    """A reason as the log keeps it. Raises LiaisonError(REQUEST_INVALID) when there is none."""
    if not text.strip() or len(text) > _NAME_LIMIT or not text.isprintable():
        raise LiaisonError(Code.REQUEST_INVALID, f"A reason has 1 to {_NAME_LIMIT} printable characters.")
    return text


def _certified(certificate: bytes, identity: SpiffeId, root: Authority) -> Ed25519PublicKey:
    """The key that the root certified for an agency, on whatever day: an ended certificate can be renewed."""
    day = parse_certificate(certificate).not_valid_after_utc
    certified, key, _ = open_signing_certificate(certificate, root.certificate, day)
    if certified != identity:
        raise LiaisonError(Code.CERTIFICATE_INVALID, "The certificate on record is another agency's.")
    return key


def _same(first: str, second: str) -> bool:
    """Whether two fingerprints are the same to people: case, spaces and hyphens do not count."""
    return _bare(first) == _bare(second)


def _bare(text: str) -> str:
    return re.sub(r"[\s:-]", "", text).lower()
