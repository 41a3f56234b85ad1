"""Ending deliveries that nobody answered: because the requester withdrew, or because the deadline passed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from federation.canonical import unstamp
from federation.identity.region import Trust
from federation.identity.statement import SignedStatement
from federation.log import EntryType
from federation.probe.answer import Cancellation
from federation.probe.delivery import DeliveryState, at_deadline
from hub.broker.deliveries import (
    FINAL,
    OPEN,
    deliveries_of,
    forget_ciphertexts,
    gallery_of,
    move,
    own_request,
)
from hub.store.tables import DeliveryRow
from hub.store.writer import Transaction


def open_cancellation(statement: SignedStatement, agency: str, trust: Trust, at: datetime) -> Cancellation:
    """A withdrawal that this agency signed. Raises LiaisonError: REQUEST_INVALID, or a signature's errors."""
    return Cancellation.decode(trust.verify(statement, "cancel", at, agency=agency))


def cancel(
    transaction: Transaction, cancellation: Cancellation, statement: SignedStatement, agency: str
) -> list[str]:
    """End what is open of an agency's own request, and log it; returns the deliveries that ended.

    A second withdrawal finds nothing open and changes nothing. Raises LiaisonError(REQUEST_UNKNOWN).
    """
    own_request(transaction.session, cancellation.request, agency)
    rows = [row for row in deliveries_of(transaction.session, cancellation.request) if row.state not in FINAL]
    for row in rows:
        move(row, DeliveryState.CANCELLED, transaction.now)
    if rows:
        facts = {
            "request": cancellation.request,
            "agency": agency,
            "galleries": [gallery_of(row) for row in rows],
        }
        transaction.append(EntryType.CANCEL, facts, statement.payload)
        forget_ciphertexts(transaction.session, [cancellation.request])
    return [row.id for row in rows]


def next_deadline(session: Session) -> datetime | None:
    """When the next open delivery ends."""
    nearest = session.scalar(select(func.min(DeliveryRow.deadline)).where(DeliveryRow.state.in_(OPEN)))
    return unstamp(nearest) if nearest else None


def expire(transaction: Transaction) -> tuple[list[str], set[str]]:
    """End every open delivery whose deadline has passed, and log each; returns deliveries and requests."""
    rows = list(
        transaction.session.scalars(
            select(DeliveryRow).where(DeliveryRow.state.in_(OPEN), DeliveryRow.deadline <= transaction.now)
        )
    )
    for row in rows:
        move(row, at_deadline(DeliveryState(row.state)), transaction.now)
        facts = {"request": row.request_id, "gallery": gallery_of(row), "state": row.state}
        transaction.append(EntryType.EXPIRY, facts)
    requests = {row.request_id for row in rows}
    forget_ciphertexts(transaction.session, requests)
    return [row.id for row in rows], requests
