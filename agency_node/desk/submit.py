"""Asking: build, sign and seal a request; and check what the hub says when it has taken it.

Signed before asked (promise 1): nothing leaves that the agency's key has not signed. The one-time key, to which
the answers are sealed, exists before the request does and is on disk before anything is sent.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agency_node.desk.details import RequestDetails
from agency_node.desk.directory import GalleryEntry
from agency_node.desk.intake import Intake
from federation.canonical import b64, stamp
from federation.errors import Code, LiaisonError
from federation.identity.hybrid import SealingKey
from federation.identity.keys import Signer
from federation.identity.region import Trust
from federation.identity.statement import SignedStatement, sign
from federation.probe.answer import Cancellation, SubmissionReceipt
from federation.probe.envelope import seal_probe
from federation.probe.request import ProbeRequest, Requester
from protos.liaison.v1 import broker_pb2


@dataclass(frozen=True, slots=True)
class Member:
    """Who asks, and with what it signs. `certificate` is the agency's signing certificate, DER; `policy_digest`
    that of the agency's own policy file."""

    region: str
    agency: str
    signer: Signer
    certificate: bytes
    policy_digest: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that is ready to go: the same bytes however often it is sent. `key` opens the answers."""

    request: ProbeRequest
    statement: SignedStatement
    key: SealingKey
    message: broker_pb2.SubmitRequest

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the request's canonical bytes."""
        return self.statement.digest


def new_request_id() -> str:
    """128 random bits, in hex."""
    return secrets.token_hex(16)


def prepare(
    intake: Intake,
    details: RequestDetails,
    requester: Requester,
    galleries: Sequence[GalleryEntry],
    member: Member,
    request_id: str,
    at: datetime,
) -> Prepared:
    """Build the request, sign it with the agency's key, and seal the working image to each gallery's node.

    Raises LiaisonError(REQUEST_INVALID) naming the field that is wrong.
    """
    key = SealingKey.generate()
    request = ProbeRequest.decode(
        ProbeRequest.model_construct(
            id=request_id,
            region=member.region,
            requester=requester,
            beneficiary=details.beneficiary,
            purpose=details.purpose,
            offense=details.offense,
            probe_source=details.probe_source,
            case_number=details.case_number,
            narrative=details.narrative,
            legal_basis=details.legal_basis,
            warrant=details.warrant,
            attestations=details.attestations,
            probe=intake.facts,
            galleries=tuple(entry.name for entry in galleries),
            candidates=details.candidates,
            created_at=stamp(at),
            expires_at=stamp(at + details.life),
            answer_key=b64(key.public()),
            policy_digest=member.policy_digest,
        ).encode()
    )
    statement = sign("probe-request", request.encode(), member.signer, member.certificate)
    sealed = seal_probe(
        intake.working, statement.digest, {entry.name: entry.sealing_key for entry in galleries}
    )
    message = broker_pb2.SubmitRequest(
        request=statement.encode(),
        ciphertext=sealed.ciphertext,
        keys=[broker_pb2.SealedKey(gallery=name, sealed_key=sealed.keys[name]) for name in request.galleries],
    )
    return Prepared(request, statement, key, message)


def verify_submission(
    receipt: bytes, request: ProbeRequest, request_digest: str, trust: Trust, at: datetime
) -> SubmissionReceipt:
    """The hub's receipt, if the hub signed it for exactly this request and it names exactly the galleries asked.

    Raises LiaisonError(SIGNATURE_INVALID) otherwise, and what `Trust.verify` raises.
    """
    payload = trust.verify(SignedStatement.decode(receipt), "submission", at)
    submission = SubmissionReceipt.decode(payload)
    if (submission.request, submission.request_sha256) != (request.id, request_digest):
        raise LiaisonError(Code.SIGNATURE_INVALID, "The hub's receipt is for another request.")
    named = tuple(sorted(delivery.gallery for delivery in submission.deliveries))
    if named != request.galleries:
        raise LiaisonError(Code.SIGNATURE_INVALID, "The hub's receipt names other galleries than were asked.")
    return submission


def cancellation(request_id: str, reason: str, member: Member, at: datetime) -> bytes:
    """A signed withdrawal of a request, encoded. Raises LiaisonError(REQUEST_INVALID)."""
    document = Cancellation.decode(
        Cancellation.model_construct(request=request_id, reason=reason, at=stamp(at)).encode()
    )
    return sign("cancel", document.encode(), member.signer, member.certificate).encode()
