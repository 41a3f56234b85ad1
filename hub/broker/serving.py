"""Which node serves which gallery, as the agencies' own statements say it; the newest statement wins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

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


def galleries_of(session: Session, agencies: Iterable[str]) -> dict[str, Served]:
    """These agencies' galleries by full name. A suspended agency has none, and a revoked node serves nothing."""
    rows = session.execute(
        select(NodeRow.agency, NodeRow.statement)
        .join(AgencyRow, AgencyRow.id == NodeRow.agency)
        .where(
            NodeRow.agency.in_(sorted(set(agencies))),
            NodeRow.revoked_at.is_(None),
            NodeRow.statement.is_not(None),
            AgencyRow.suspended_at.is_(None),
        )
    )
    found: dict[str, Served] = {}
    for agency, encoded in rows:
        statement = read_statement(encoded or b"")
        for gallery in statement.galleries:
            name = f"{agency}/{gallery.name}"
            served = Served(statement.node, gallery.kind, statement.issued_at)
            known = found.get(name)
            if known is None or (served.issued_at, served.node) > (known.issued_at, known.node):
                found[name] = served
    return found


@lru_cache(maxsize=1024)
def read_statement(encoded: bytes) -> NodeStatement:
    """A node's statement as it is stored; it was verified when it was published."""
    return NodeStatement.decode(SignedStatement.decode(encoded).payload)
