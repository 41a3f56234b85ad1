"""Following a request, and believing an answer only when the agency that owns the gallery stands behind it.

The hub carries answers and could swap, drop or invent them. So for each gallery asked:

- a receipt must be signed by the owning agency and be for this request and this gallery;
- `answered` and `refused_by_node` are believed only with such a receipt, whose outcome is the same;
- the sealed answer must be the one that the receipt names by digest, must open with the one-time key, and must be
  signed by the owning agency, for this request and this gallery;
- a gallery that the hub says nothing about counts as failed: nothing is dropped in silence.

Whatever fails ends in a `failed` outcome with the code and no candidate.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol, cast

import grpc

from agency_node.desk.outcome import GalleryOutcome, failed, from_status
from agency_node.link.channel import as_liaison
from federation.canonical import digest
from federation.errors import Code, LiaisonError
from federation.identity.hybrid import SealingKey
from federation.identity.region import Trust
from federation.identity.statement import SignedStatement
from federation.probe.answer import LIMIT, Answer, Receipt
from federation.probe.delivery import SENTENCES, TERMINAL, DeliveryState
from federation.probe.envelope import open_answer
from federation.probe.request import ProbeRequest
from federation.wire import CODE_KEY
from protos.liaison.v1 import broker_pb2

_BACKED = frozenset({DeliveryState.ANSWERED, DeliveryState.REFUSED_BY_NODE})
# What gRPC says when a stream breaks under it, as against what the hub says.
_BROKEN = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.CANCELLED,
    }
)
_LONGEST_PAUSE = 10.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What the desk needs to judge an answer: the request, its digest, and the one-time key."""

    request: ProbeRequest
    digest: str
    key: SealingKey


class WatchStub(Protocol):
    """The part of the broker's stub that `watch` uses."""

    def Watch(  # noqa: N802 - the wire's name
        self, request: broker_pb2.WatchRequest, /
    ) -> AsyncIterable[broker_pb2.WatchResponse]:
        """The statuses of a request's deliveries as they change."""


async def watch(
    stub: WatchStub,
    request: ProbeRequest,
    clock: Callable[[], datetime],
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> AsyncIterator[broker_pb2.CollectedDelivery]:
    """Each gallery's status as the hub reports it, with its answer at its end, until all are final or the deadline
    has passed.

    A broken stream is opened again after a pause that doubles up to ten seconds. Raises LiaisonError with what the
    hub says when it refuses.
    """
    pause = 0.2
    while True:
        try:
            async for message in stub.Watch(broker_pb2.WatchRequest(request_id=request.id, answers=True)):
                pause = 0.2
                if message.HasField("delivery"):
                    yield broker_pb2.CollectedDelivery(
                        status=message.delivery, sealed_answer=message.sealed_answer, receipt=message.receipt
                    )
                if message.done:
                    return
        except grpc.aio.AioRpcError as error:
            if not is_broken(error):
                raise as_liaison(error) from error
        if clock() >= request.deadline:
            return
        await sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def open_collected(
    deliveries: Iterable[broker_pb2.CollectedDelivery], asked: Asked, trust: Trust, at: datetime
) -> tuple[GalleryOutcome, ...]:
    """The outcome of every gallery that was asked, in their order. What the hub adds beside them is ignored."""
    said: dict[str, broker_pb2.CollectedDelivery] = {}
    doubled: set[str] = set()
    for delivery in deliveries:
        gallery = delivery.status.gallery
        doubled |= {gallery} & said.keys()
        said[gallery] = delivery
    return tuple(_outcome(gallery, said, doubled, asked, trust, at) for gallery in asked.request.galleries)


def _outcome(
    gallery: str,
    said: Mapping[str, broker_pb2.CollectedDelivery],
    doubled: set[str],
    asked: Asked,
    trust: Trust,
    at: datetime,
) -> GalleryOutcome:
    if gallery not in said:
        return failed(gallery, Code.STATE_CONFLICT, "The hub says nothing about this gallery.")
    if gallery in doubled:
        return failed(gallery, Code.STATE_CONFLICT, "The hub says two things about this gallery.")
    try:
        return _judged(said[gallery], gallery, asked, trust, at)
    except LiaisonError as error:
        return failed(gallery, error.code, error.detail)


def _judged(
    delivery: broker_pb2.CollectedDelivery, gallery: str, asked: Asked, trust: Trust, at: datetime
) -> GalleryOutcome:
    outcome = from_status(delivery.status)
    if not delivery.receipt:
        if outcome.status in _BACKED:
            raise LiaisonError(Code.SIGNATURE_INVALID, "The owning agency's receipt is missing.")
        return outcome
    signed = SignedStatement.decode(delivery.receipt)
    receipt = verify_receipt(signed, gallery, asked, trust, at)
    if outcome.status in _BACKED and receipt.outcome != outcome.status.value:
        raise LiaisonError(Code.SIGNATURE_INVALID, "The hub's status is not what the agency signed.")
    outcome = replace(outcome, receipt=receipt, receipt_digest=signed.digest, signed_receipt=delivery.receipt)
    if outcome.status not in (DeliveryState.REFUSED_BY_NODE, DeliveryState.ANSWERED, DeliveryState.FAILED):
        return outcome
    # What the agency signed counts, not the hub's copy of it.
    outcome = replace(
        outcome,
        reason=receipt.reason or SENTENCES[outcome.status],
        code=receipt.code,
        rules=receipt.rules,
    )
    if outcome.status is not DeliveryState.ANSWERED:
        return outcome
    if not delivery.sealed_answer:
        raise LiaisonError(Code.SEAL_BROKEN, "The hub no longer has the sealed answer.")
    return replace(outcome, answer=verify_answer(delivery.sealed_answer, receipt, gallery, asked, trust, at))


def verify_receipt(
    signed: SignedStatement, gallery: str, asked: Asked, trust: Trust, at: datetime
) -> Receipt:
    """The receipt, if the gallery's own agency signed it for this request and gallery.

    Raises LiaisonError(SIGNATURE_INVALID, NOT_AUTHORIZED, ...).
    """
    receipt = Receipt.decode(trust.verify(signed, "receipt", at, agency=gallery.partition("/")[0]))
    if (receipt.request, receipt.request_sha256, receipt.gallery) != (
        asked.request.id,
        asked.digest,
        gallery,
    ):
        raise LiaisonError(Code.SIGNATURE_INVALID, "The receipt is for another request or gallery.")
    return receipt


def verify_answer(
    sealed: bytes, receipt: Receipt, gallery: str, asked: Asked, trust: Trust, at: datetime
) -> Answer:
    """The answer, if it is the one that the receipt names, opens with the one-time key, and the gallery's own
    agency signed it for this request and gallery.

    Raises LiaisonError(SEAL_BROKEN, SIGNATURE_INVALID, NOT_AUTHORIZED, ...).
    """
    if receipt.answer_sha256 != digest(sealed):
        raise LiaisonError(
            Code.SEAL_BROKEN, "The sealed answer is not the one that the agency's receipt names."
        )
    signed = SignedStatement.decode(open_answer(sealed, asked.digest, gallery, asked.key))
    payload = trust.verify(signed, "answer", at, agency=gallery.partition("/")[0])
    answer = Answer.decode(payload, limit=LIMIT)
    if (answer.request, answer.request_sha256, answer.gallery) != (asked.request.id, asked.digest, gallery):
        raise LiaisonError(Code.SIGNATURE_INVALID, "The answer is for another request or gallery.")
    if receipt.candidates is not None and receipt.candidates != len(answer.candidates):
        raise LiaisonError(
            Code.SIGNATURE_INVALID, "The receipt counts other candidates than the answer holds."
        )
    return answer


def keep_answers(
    kept: broker_pb2.CollectResponse | None, fresh: broker_pb2.CollectResponse
) -> broker_pb2.CollectResponse:
    """`fresh`, with the sealed answers that were kept before in the places where the hub no longer has them."""
    before = {d.status.gallery: d for d in kept.deliveries} if kept else {}
    merged = broker_pb2.CollectResponse()
    merged.CopyFrom(fresh)
    for delivery in merged.deliveries:
        known = before.get(delivery.status.gallery)
        if not delivery.sealed_answer and known is not None and known.sealed_answer:
            delivery.CopyFrom(known)
    return merged


def is_complete(deliveries: Sequence[broker_pb2.CollectedDelivery], request: ProbeRequest) -> bool:
    """Whether every gallery asked is at its end here, with its answer if there is one."""
    ended = {d.status.gallery for d in deliveries if d.status.state in TERMINAL and not is_waiting(d)}
    return ended >= set(request.galleries)


def is_waiting(delivery: broker_pb2.CollectedDelivery) -> bool:
    """Whether the hub says that a gallery answered, and has not given the answer yet."""
    return delivery.status.state == DeliveryState.ANSWERED.value and not delivery.sealed_answer


def is_broken(error: grpc.aio.AioRpcError) -> bool:
    """Whether a call broke on the way, so that it may be made again; the hub's own errors carry a code."""
    return error.code() in _BROKEN and not _names_code(error)


def is_final(outcomes: Iterable[GalleryOutcome]) -> bool:
    """Whether nothing can change any more."""
    return all(outcome.status in TERMINAL for outcome in outcomes)


def _names_code(error: grpc.aio.AioRpcError) -> bool:
    metadata = cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ())
    return any(key == CODE_KEY for key, _ in metadata)
