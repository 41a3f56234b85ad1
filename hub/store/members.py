"""Reading the members from the database: who may come in, what they said, where their galleries are."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from federation.errors import Code, LiaisonError
from federation.identity.spiffe import SpiffeId
from federation.identity.statement import SignedStatement
from hub.store.tables import AgencyRow, CertificateRow, NodeRow


@dataclass(frozen=True, slots=True)
class Listed:
    """A node in the directory: its agency's signed statement about it, encoded, and when it was last seen."""

    agency: str
    node: str
    statement: bytes
    last_seen: str


class Members:
    """The members as one session sees them."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def admit(self, identity: SpiffeId, serial: int) -> None:
        """Let in the node that shows the TLS certificate of a serial number, or say why not: on every call.

        Raises LiaisonError: IDENTITY_UNKNOWN when this hub has no such certificate, CERTIFICATE_INVALID when it is
        another's, CERTIFICATE_REVOKED, NOT_AUTHORIZED when the agency is suspended.
        """
        found = self._session.execute(
            select(
                CertificateRow.agency,
                CertificateRow.node,
                CertificateRow.revoked_at,
                NodeRow.revoked_at,
                AgencyRow.suspended_at,
            )
            .join(NodeRow, (NodeRow.agency == CertificateRow.agency) & (NodeRow.node == CertificateRow.node))
            .join(AgencyRow, AgencyRow.id == CertificateRow.agency)
            .where(CertificateRow.serial == str(serial))
        ).one_or_none()
        if found is None:
            raise LiaisonError(Code.IDENTITY_UNKNOWN, "This hub has not issued that certificate.")
        agency, node, certificate_revoked, node_revoked, suspended = found
        if (agency, node) != (identity.agency, identity.node):
            raise LiaisonError(Code.CERTIFICATE_INVALID, "It was issued to another node.")
        if certificate_revoked or node_revoked:
            raise LiaisonError(Code.CERTIFICATE_REVOKED)
        if suspended:
            raise LiaisonError(Code.NOT_AUTHORIZED, f"The agency {agency} is suspended.")

    def agency(self, agency: str) -> AgencyRow:
        """An agency's row. Raises LiaisonError(AGENCY_UNKNOWN)."""
        row = self._session.get(AgencyRow, agency)
        if row is None:
            raise LiaisonError(Code.AGENCY_UNKNOWN, f"It was asked for as {agency}.")
        return row

    def agencies(self) -> list[AgencyRow]:
        """All agencies, by id."""
        return list(self._session.scalars(select(AgencyRow).order_by(AgencyRow.id)))

    def node(self, agency: str, node: str) -> NodeRow:
        """A node's row. Raises LiaisonError(NODE_UNKNOWN)."""
        row = self._session.get(NodeRow, (agency, node))
        if row is None:
            raise LiaisonError(Code.NODE_UNKNOWN, f"{agency} has no node {node}.")
        return row

    def nodes(self, agency: str | None = None) -> list[NodeRow]:
        """An agency's nodes, or everybody's; the revoked ones too."""
        chosen = select(NodeRow).order_by(NodeRow.agency, NodeRow.node)
        return list(
            self._session.scalars(chosen if agency is None else chosen.where(NodeRow.agency == agency))
        )

    def policy(self, agency: str) -> SignedStatement | None:
        """The policy that an agency published last, signed; None if there is none."""
        stored = self._session.scalar(select(AgencyRow.policy).where(AgencyRow.id == agency))
        return SignedStatement.decode(stored) if stored else None

    def directory(self) -> list[Listed]:
        """The nodes that may be asked: not revoked, with a statement, of agencies confirmed and not suspended."""
        rows = self._session.execute(
            select(NodeRow.agency, NodeRow.node, NodeRow.statement, NodeRow.last_seen)
            .join(AgencyRow, AgencyRow.id == NodeRow.agency)
            .where(
                AgencyRow.signing_certificate.is_not(None),
                AgencyRow.suspended_at.is_(None),
                NodeRow.revoked_at.is_(None),
            )
            .order_by(NodeRow.agency, NodeRow.node)
        )
        return [
            Listed(agency, node, statement, last_seen or "")
            for agency, node, statement, last_seen in rows
            if statement is not None
        ]
