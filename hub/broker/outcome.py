"""What comes back from a node: claims and outcomes.

An outcome counts only with the owning agency's receipt: signed by that agency, for this request and this gallery, and
naming the digest of the sealed answer that is beside it. The node that carries it is not believed by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from federation.canonical import digest
from federation.errors import Code, LiaisonError
from federation.identity.region import Trust
from federation.identity.statement import SignedStatement
from federation.log import EntryType
from federation.probe.answer import Receipt
from federation.probe.delivery import DeliveryState
from federation.wire import MAX_SEALED_ANSWER
from hub.broker.deliveries import FINAL, forget_ciphertexts, gallery_of, move, withdrawn_from_node
from hub.store.tables import DeliveryRow, RequestRow
from hub.store.writer import Transaction
from protos.liaison.v1 import broker_pb2


@dataclass(frozen=True, slots=True)
class Verified:
    """An outcome that its agency signed for this delivery."""

    delivery_id: str
    receipt: Receipt
    statement: SignedStatement
    sealed_answer: bytes | None


def open_outcome(
    session: Session, message: broker_pb2.Outcome, agency: str, trust: Trust, at: datetime
) -> Verified:
    """Verify an outcome. Raises LiaisonError: REQUEST_UNKNOWN when this agency has no such delivery, SEAL_BROKEN when
    the sealed answer is not the one that was signed for, and a signature's errors."""
    row = _own(session, message.delivery_id, agency)
    request_digest = session.scalar(select(RequestRow.digest).where(RequestRow.id == row.request_id))
    statement = SignedStatement.decode(message.receipt)
    receipt = Receipt.decode(trust.verify(statement, "receipt", at, agency=agency))
    named = (receipt.request, receipt.request_sha256, receipt.gallery)
    if named != (row.request_id, request_digest, gallery_of(row)):
        raise LiaisonError(Code.SIGNATURE_INVALID, "The receipt is for another request or gallery.")
    return Verified(message.delivery_id, receipt, statement, _checked_answer(receipt, message.sealed_answer))


def _checked_answer(receipt: Receipt, sealed: bytes) -> bytes | None:
    if receipt.outcome != "answered":
        if sealed or receipt.answer_sha256 is not None:
            raise LiaisonError(Code.SEAL_BROKEN, "There is an answer although nothing was answered.")
        return None
    if len(sealed) > MAX_SEALED_ANSWER:
        raise LiaisonError(Code.MESSAGE_TOO_LARGE, f"A sealed answer has at most {MAX_SEALED_ANSWER} bytes.")
    if not sealed or receipt.answer_sha256 != digest(sealed):
        raise LiaisonError(Code.SEAL_BROKEN, "The sealed answer is not the one that the receipt names.")
    return sealed


def record(transaction: Transaction, verified: Verified) -> str:
    """Log an outcome and bring its delivery to its end; returns the request's id.

    One that comes too late (cancelled, expired) is logged and changes no state. The same one again changes nothing.
    """
    row = transaction.session.get_one(DeliveryRow, verified.delivery_id)
    encoded = verified.statement.encode()
    if row.state in FINAL:
        if row.receipt != encoded:
            _append(transaction, row, verified, late=True)
            row.receipt = row.receipt or encoded
        return row.request_id
    _append(transaction, row, verified, late=False)
    if row.state == DeliveryState.QUEUED.value:
        # The hub may have been killed between sending the delivery and writing that it did.
        move(row, DeliveryState.DISPATCHED, transaction.now)
    receipt = verified.receipt
    move(
        row,
        DeliveryState(receipt.outcome),
        transaction.now,
        reason=receipt.reason,
        code=receipt.code,
        rules=[rule.model_dump() for rule in receipt.rules],
    )
    row.candidates = receipt.candidates
    row.receipt = encoded
    row.sealed_answer = verified.sealed_answer
    forget_ciphertexts(transaction.session, [row.request_id])
    return row.request_id


def reject(transaction: Transaction, delivery_id: str, agency: str, error: LiaisonError) -> str:
    """End a delivery whose outcome does not verify, so that it neither waits for ever nor passes for an answer.

    Returns the request's id. Raises LiaisonError(REQUEST_UNKNOWN) when this agency has no such delivery.
    """
    row = _own(transaction.session, delivery_id, agency)
    if row.state in FINAL:
        return row.request_id
    facts = {
        "request": row.request_id,
        "gallery": gallery_of(row),
        "outcome": "rejected",
        "code": error.code.value,
    }
    transaction.append(EntryType.REFUSAL, facts)
    if row.state == DeliveryState.QUEUED.value:
        move(row, DeliveryState.DISPATCHED, transaction.now)
    reason = (
        f"Not searched, as far as anyone can prove: what its node sent was not accepted. {error.sentence}"
    )
    move(row, DeliveryState.FAILED, transaction.now, reason=reason, code=error.code.value)
    forget_ciphertexts(transaction.session, [row.request_id])
    return row.request_id


def claim(transaction: Transaction, delivery_id: str, agency: str, node: str) -> tuple[str, bool]:
    """Note that a node has a delivery on its disk; returns the request's id, and whether it is still wanted.

    Raises LiaisonError(REQUEST_UNKNOWN) when this agency has no such delivery.
    """
    row = _own(transaction.session, delivery_id, agency)
    if withdrawn_from_node(row) or row.state == DeliveryState.AWAITING_APPROVAL.value:
        return row.request_id, False
    if row.state == DeliveryState.QUEUED.value:
        move(row, DeliveryState.DISPATCHED, transaction.now)
    if row.state == DeliveryState.DISPATCHED.value:
        move(row, DeliveryState.CLAIMED, transaction.now)
    row.node = node
    return row.request_id, True


def _append(transaction: Transaction, row: DeliveryRow, verified: Verified, *, late: bool) -> None:
    receipt = verified.receipt
    facts: dict[str, Any] = {
        "request": row.request_id,
        "gallery": gallery_of(row),
        "outcome": receipt.outcome,
        "rules": [rule.model_dump() for rule in receipt.rules],
        "policies": dict(receipt.policies),
        "receipt_sha256": verified.statement.digest,
    }
    if receipt.outcome == "answered":
        facts |= {"candidates": receipt.candidates, "answer_sha256": receipt.answer_sha256}
    else:
        facts["code"] = receipt.code
    if late:
        facts["late"] = True
    kind = EntryType.ANSWER if receipt.outcome == "answered" else EntryType.REFUSAL
    transaction.append(kind, facts, verified.statement.payload)


def _own(session: Session, delivery_id: str, agency: str) -> DeliveryRow:
    row = session.get(DeliveryRow, delivery_id)
    if row is None or row.agency != agency:
        raise LiaisonError(Code.REQUEST_UNKNOWN, "This agency has no such delivery.")
    return row
