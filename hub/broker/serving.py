"""Which node serves which gallery, as the agencies' own statements say it; the newest statement wins."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from federation.identity.node import NodeStatement
from federation.identity.statement import SignedStatement
from hub.store.tables import AgencyRow, NodeRow


@dataclass(frozen=True, slots=True)
class Served:
    """A gallery as its node's statement names it."""

    node: str
    kind: str
    issued_at: str


def galleries_of(session: Session, agency: str) -> dict[str, Served]:
    """An agency's galleries by name. A suspended agency has none, and a revoked node serves nothing."""
    suspended = session.scalar(select(AgencyRow.suspended_at).where(AgencyRow.id == agency))
    if suspended is not None:
        return {}
    rows = session.scalars(
        select(NodeRow.statement).where(
            NodeRow.agency == agency, NodeRow.revoked_at.is_(None), NodeRow.statement.is_not(None)
        )
    )
    found: dict[str, Served] = {}
    for encoded in rows:
        statement = read_statement(encoded or b"")
        for gallery in statement.galleries:
            served = Served(statement.node, gallery.kind, statement.issued_at)
            known = found.get(gallery.name)
            if known is None or (served.issued_at, served.node) > (known.issued_at, known.node):
                found[gallery.name] = served
    return found


def read_statement(encoded: bytes) -> NodeStatement:
    """A node's statement as it is stored; it was verified when it was published."""
    return NodeStatement.decode(SignedStatement.decode(encoded).payload)
