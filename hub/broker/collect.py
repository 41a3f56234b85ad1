"""Handing over sealed answers, and forgetting them: when the requester has them, or when their time is over."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import update
from sqlalchemy.orm import Session

from federation.canonical import stamp
from federation.errors import Code, LiaisonError
from federation.log import EntryType
from federation.wire import MAX_SEALED_ANSWER
from hub.broker.deliveries import deliveries_of, gallery_of, own_request, status_of
from hub.store.tables import DeliveryRow
from hub.store.writer import Transaction
from protos.liaison.v1 import broker_pb2

UNCOLLECTED_LIFE = timedelta(days=7)


def collect(session: Session, request_id: str, agency: str) -> broker_pb2.CollectResponse:
    """Every delivery with its receipt and its sealed answer, if there is one.

    One message holds what fits: an answer that is left out comes once those before it are acknowledged.
    """
    row = own_request(session, request_id, agency)
    room = MAX_SEALED_ANSWER
    collected = []
    for delivery in deliveries_of(session, request_id, whole=True):
        sealed = delivery.sealed_answer or b""
        if len(sealed) > room:
            sealed = b""
        room -= len(sealed)
        collected.append(
            broker_pb2.CollectedDelivery(
                status=status_of(delivery), sealed_answer=sealed, receipt=delivery.receipt or b""
            )
        )
    return broker_pb2.CollectResponse(deliveries=collected, receipt=row.receipt)


def acknowledge(transaction: Transaction, request_id: str, agency: str, galleries: Collection[str]) -> None:
    """Forget the sealed answers of these galleries and log that they were collected; again changes nothing.

    Raises LiaisonError: REQUEST_UNKNOWN, GALLERY_UNKNOWN for one that the request did not ask.
    """
    own_request(transaction.session, request_id, agency)
    rows = {gallery_of(row): row for row in deliveries_of(transaction.session, request_id, whole=True)}
    if not set(galleries) <= rows.keys():
        raise LiaisonError(Code.GALLERY_UNKNOWN, "The request did not ask it.")
    held = [gallery for gallery in sorted(galleries) if rows[gallery].sealed_answer is not None]
    for gallery in held:
        rows[gallery].sealed_answer = None
    if held:
        transaction.append(EntryType.COLLECTION, {"request": request_id, "agency": agency, "galleries": held})


def forget_uncollected(transaction: Transaction) -> None:
    """Drop sealed answers that nobody collected within a week after the deadline."""
    transaction.session.execute(
        update(DeliveryRow)
        .where(
            DeliveryRow.sealed_answer.is_not(None),
            DeliveryRow.deadline < stamp(transaction.at - UNCOLLECTED_LIFE),
        )
        .values(sealed_answer=None)
        .execution_options(synchronize_session=False)
    )
