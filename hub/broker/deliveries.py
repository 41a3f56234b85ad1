"""Rows of deliveries: how they move, how they are shown, and when the ciphertext may go."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session, defer

from federation.errors import Code, LiaisonError
from federation.probe.delivery import SENTENCES, TERMINAL, DeliveryState, advance
from hub.store.tables import DeliveryRow, RequestRow
from protos.liaison.v1 import broker_pb2

FINAL = frozenset(state.value for state in TERMINAL)
OPEN = frozenset(state.value for state in DeliveryState) - FINAL


def gallery_of(row: DeliveryRow) -> str:
    """The gallery as everybody names it: `agency/gallery`."""
    return f"{row.agency}/{row.gallery}"


def move(
    row: DeliveryRow,
    following: DeliveryState,
    now: str,
    *,
    reason: str | None = None,
    code: str | None = None,
    rules: list[Any] | None = None,
) -> None:
    """Bring a delivery to its next state. Raises LiaisonError(STATE_CONFLICT)."""
    row.state = advance(DeliveryState(row.state), following).value
    row.reason = reason or SENTENCES[following]
    row.code = code
    row.updated_at = now
    row.version += 1
    if rules is not None:
        row.rules = rules
    if following in TERMINAL:
        row.sealed_key = None


def withdrawn_from_node(row: DeliveryRow) -> bool:
    """Whether a node must not search it any more; one that the node itself has ended needs no such word."""
    return row.state in FINAL and row.receipt is None


def status_of(row: DeliveryRow) -> broker_pb2.DeliveryStatus:
    """A delivery as its requester sees it."""
    return broker_pb2.DeliveryStatus(
        gallery=gallery_of(row),
        state=row.state,
        reason=row.reason,
        code=row.code or "",
        rules=[broker_pb2.Rule(**rule) for rule in row.rules],
        candidates=row.candidates or 0,
        updated_at=row.updated_at,
    )


def deliveries_of(session: Session, request_id: str, *, whole: bool = False) -> list[DeliveryRow]:
    """All deliveries of a request, in the order of their galleries; sealed bytes are read only when `whole`."""
    chosen = select(DeliveryRow).where(DeliveryRow.request_id == request_id).order_by(DeliveryRow.id)
    if not whole:
        chosen = chosen.options(
            defer(DeliveryRow.sealed_key), defer(DeliveryRow.sealed_answer), defer(DeliveryRow.receipt)
        )
    return list(session.scalars(chosen))


def own_request(session: Session, request_id: str, agency: str) -> RequestRow:
    """A request of this agency, without its ciphertext.

    Raises LiaisonError(REQUEST_UNKNOWN), also when it is another agency's.
    """
    row = session.get(RequestRow, request_id, options=[defer(RequestRow.ciphertext)])
    if row is None or row.agency != agency:
        raise LiaisonError(Code.REQUEST_UNKNOWN)
    return row


def forget_ciphertexts(session: Session, request_ids: Iterable[str]) -> None:
    """Drop the probe of every one of these requests that no delivery needs any more."""
    session.flush()
    waiting = exists().where(DeliveryRow.request_id == RequestRow.id, DeliveryRow.state.in_(OPEN))
    session.execute(
        update(RequestRow)
        .where(RequestRow.id.in_(list(request_ids)), ~waiting)
        .values(ciphertext=None)
        .execution_options(synchronize_session=False)
    )
