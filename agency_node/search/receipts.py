"""What leaves a node: the answer, sealed for the requester, and the receipt, signed for everybody's files."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import structlog

from agency_node.search.find import Found
from federation.canonical import digest, stamp, unb64
from federation.errors import Code, LiaisonError
from federation.identity.statement import SignedStatement
from federation.policy.decision import Decision
from federation.probe.answer import Answer, Receipt, RuleName
from federation.probe.envelope import seal_answer
from federation.probe.request import ProbeRequest
from federation.wire import MAX_SEALED_ANSWER
from protos.liaison.v1 import broker_pb2 as pb

Sign = Callable[[str, bytes], SignedStatement]
_LONGEST_REASON = 1000
_DELIVERY = re.compile(r"[0-9a-f]{32}(?:/[a-z0-9][a-z0-9-]{0,62}){2}", re.ASCII)

_log = structlog.get_logger("agency_node.search")


@dataclass(slots=True)
class Case:
    """What is known of one delivery while it is served; a receipt can be made of it at any moment.

    `gallery` is `agency/gallery`. `permitted` is set when every check has passed and the probe may be opened.
    """

    delivery_id: str
    request_id: str
    gallery: str
    request_sha256: str
    in_inbox: bool = False
    permitted: bool = False
    log_index: int | None = None
    log_size: int | None = None
    rules: tuple[RuleName, ...] = ()
    policies: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, delivery: pb.Delivery) -> Case:
        """The case of a delivery as it arrives. Raises LiaisonError(REQUEST_INVALID) for an id that names nothing."""
        request_id, _, gallery = delivery.delivery_id.partition("/")
        if not _DELIVERY.fullmatch(delivery.delivery_id):
            raise LiaisonError(Code.REQUEST_INVALID, "A delivery's id is not request/agency/gallery.")
        return cls(delivery.delivery_id, request_id, gallery, digest(delivery.request))

    @property
    def owner(self) -> str:
        """The agency whose gallery is asked."""
        return self.gallery.partition("/")[0]

    @property
    def name(self) -> str:
        """The gallery's name at its agency."""
        return self.gallery.partition("/")[2]

    def decided(self, decision: Decision) -> None:
        """Take over the rules that decided and the policies that were read."""
        self.rules = tuple(RuleName(source=r.source, id=r.id, effect=r.effect) for r in decision.rules)
        self.policies = dict(decision.digests)

    def note_served(self, seconds: float) -> None:
        """Log that the outcome is on this node's disk, and how long it took from the delivery's arrival."""
        _log.info("served", delivery=self.delivery_id, seconds=round(seconds, 4))

    def note_defect(self, error: BaseException) -> None:
        """Log an unexpected error by its kind and place; its words could hold what must not be in a log."""
        places = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)]
        _log.error("defect", delivery=self.delivery_id, kind=type(error).__name__, places=places)


def sealed_answer(case: Case, found: Found, request: ProbeRequest, sign: Sign, at: datetime) -> bytes:
    """The answer of this gallery, signed and sealed to the request's one-time key."""
    answer = Answer(
        request=request.id,
        request_sha256=case.request_sha256,
        gallery=case.gallery,
        engine=found.engine,
        gallery_size=found.size,
        candidates=found.candidates,
        searched_at=stamp(at),
    )
    signed = sign("answer", answer.encode())
    sealed = seal_answer(signed.encode(), case.request_sha256, case.gallery, unb64(request.answer_key))
    if len(sealed) > MAX_SEALED_ANSWER:
        raise LiaisonError(Code.MESSAGE_TOO_LARGE, "The answer is larger than the wire allows.")
    return sealed


def signed_receipt(
    case: Case,
    outcome: Literal["answered", "refused_by_node", "failed"],
    sign: Sign,
    *,
    at: datetime,
    seconds: float,
    error: LiaisonError | None = None,
    answer_sha256: str | None = None,
    candidates: int | None = None,
) -> bytes:
    """What came of a delivery, signed by the owning agency; a signed statement, encoded."""
    reason = error.sentence if error else None
    receipt = Receipt(
        request=case.request_id,
        request_sha256=case.request_sha256,
        gallery=case.gallery,
        outcome=outcome,
        code=error.code.value if error else None,
        reason=reason[:_LONGEST_REASON] if reason else None,
        rules=case.rules,
        answer_sha256=answer_sha256,
        candidates=candidates,
        policies=case.policies,
        log_index=case.log_index,
        log_size=case.log_size,
        at=stamp(at),
        seconds=round(max(seconds, 0.0), 6),
    )
    return sign("receipt", receipt.encode()).encode()
