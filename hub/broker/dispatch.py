"""Which deliveries a node's link should carry, read from the rows; and marking those that it did."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from functools import lru_cache

from sqlalchemy import select
from sqlalchemy.orm import Session

from federation.canonical import parse, stamp
from federation.identity.statement import SignedStatement
from federation.probe.delivery import DeliveryState
from hub.broker.deliveries import move, withdrawn_from_node
from hub.broker.proofs import log_proof
from hub.broker.serving import galleries_of
from hub.store.log import Hashes
from hub.store.tables import AgencyRow, DeliveryRow, RequestRow
from hub.store.writer import Transaction
from protos.liaison.v1 import broker_pb2

_SENDABLE = tuple(s.value for s in (DeliveryState.QUEUED, DeliveryState.DISPATCHED, DeliveryState.CLAIMED))
BATCH = 4  # each may carry a ciphertext of megabytes


def due(
    session: Session, agency: str, node: str, sent: Collection[str], at: datetime, hashes: Hashes, since: int
) -> list[broker_pb2.Delivery]:
    """The next few deliveries for a node that its link has not carried yet, the nearest deadline first.

    `since` is the size of the log that the node trusts by now.
    Queued ones go to the node that serves the gallery now; dispatched and claimed ones to the node that had them.
    """
    rows = session.execute(
        select(DeliveryRow.id, DeliveryRow.gallery, DeliveryRow.node, DeliveryRow.state)
        .where(
            DeliveryRow.agency == agency, DeliveryRow.state.in_(_SENDABLE), DeliveryRow.deadline > stamp(at)
        )
        .order_by(DeliveryRow.deadline)
    ).all()
    waiting = [row for row in rows if row.id not in sent]
    if not waiting:
        return []
    galleries = galleries_of(session, [agency])
    serves = {name for name, served in galleries.items() if served.node == node}
    chosen = [
        row.id
        for row in waiting
        if (
            f"{agency}/{row.gallery}" in serves
            if row.state == DeliveryState.QUEUED.value
            else row.node == node
        )
    ]
    return [_message(session, delivery_id, hashes, since) for delivery_id in chosen[:BATCH]]


def _message(session: Session, delivery_id: str, hashes: Hashes, since: int) -> broker_pb2.Delivery:
    delivery = session.get_one(DeliveryRow, delivery_id)
    request = session.get_one(RequestRow, delivery.request_id)
    beneficiary = _beneficiary(request.statement)
    return broker_pb2.Delivery(
        delivery_id=delivery_id,
        request=request.statement,
        requester_policy=_policy(session, request.agency),
        beneficiary_policy=_policy(session, beneficiary)
        if beneficiary not in (None, request.agency)
        else b"",
        sealed_key=delivery.sealed_key or b"",
        ciphertext=request.ciphertext or b"",
        proof=log_proof(session, request.log_index, hashes, since),
    )


@lru_cache(maxsize=64)  # one request goes to many galleries in a row
def _beneficiary(statement: bytes) -> str | None:
    # It was decoded as a whole request when it was taken; here one field is enough.
    value = parse(SignedStatement.decode(statement).payload).get("beneficiary")
    return value if isinstance(value, str) else None


def _policy(session: Session, agency: str | None) -> bytes:
    return session.scalar(select(AgencyRow.policy).where(AgencyRow.id == agency)) or b""


def mark_sent(transaction: Transaction, delivery_id: str, node: str) -> tuple[str, bool]:
    """Note that a delivery went down a node's link; returns the request's id, and whether it is still wanted."""
    row = transaction.session.get_one(DeliveryRow, delivery_id)
    if withdrawn_from_node(row):
        return row.request_id, False
    if row.state == DeliveryState.QUEUED.value:
        move(row, DeliveryState.DISPATCHED, transaction.now)
        row.node = node
    return row.request_id, True


def take_back(transaction: Transaction, agency: str, node: str) -> set[str]:
    """Queue again what went down a broken link and was not claimed; returns the requests that changed."""
    rows = transaction.session.scalars(
        select(DeliveryRow).where(
            DeliveryRow.agency == agency,
            DeliveryRow.node == node,
            DeliveryRow.state == DeliveryState.DISPATCHED.value,
        )
    )
    return _queue_again(rows, transaction.now)


def take_back_all(transaction: Transaction) -> set[str]:
    """The same for every link: after a start, no link is open."""
    rows = transaction.session.scalars(
        select(DeliveryRow).where(DeliveryRow.state == DeliveryState.DISPATCHED.value)
    )
    return _queue_again(rows, transaction.now)


def _queue_again(rows: Iterable[DeliveryRow], now: str) -> set[str]:
    changed = set()
    for row in rows:
        move(row, DeliveryState.QUEUED, now)
        changed.add(row.request_id)
    return changed


def withdrawn(session: Session, agency: str, node: str, at: datetime) -> list[str]:
    """Deliveries that a node had when it was last here and that were cancelled since."""
    return list(
        session.scalars(
            select(DeliveryRow.id).where(
                DeliveryRow.agency == agency,
                DeliveryRow.node == node,
                DeliveryRow.state == DeliveryState.CANCELLED.value,
                DeliveryRow.receipt.is_(None),
                DeliveryRow.deadline > stamp(at),
            )
        )
    )
