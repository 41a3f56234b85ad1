"""Taking a request: verify, decide every gallery, log, queue; in one transaction, or nothing.

The order of checks, each of which ends the call when it fails:

1. sizes; the statement's signature, by the calling node's own agency; the request's form and region;
2. the request's id: the same id with the same contents is answered again from the store, with other contents it is a
   replay, which is refused and logged;
3. the requester's clock, and the deadline;
4. the policy file that the requester's agency named, which must be the one that it has published;
5. a sealed key for every gallery that a node serves, and for none that was not asked.

Then each gallery is decided by itself; a refusal there is an outcome, not an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from federation.canonical import canonical, digest, stamp
from federation.errors import Code, LiaisonError
from federation.identity.region import Trust
from federation.identity.spiffe import check_name
from federation.identity.statement import SignedStatement
from federation.log import EntryType
from federation.policy.offences import OFFENCES
from federation.policy.vocabulary import PROBE_SOURCES, PURPOSES
from federation.probe.answer import SubmissionReceipt, SubmittedDelivery
from federation.probe.delivery import DeliveryState
from federation.probe.logged import request_facts
from federation.probe.request import MOST_GALLERIES, ProbeRequest
from federation.wire import MAX_CIPHERTEXT
from hub.broker.decisions import Decided, decide, served_galleries
from hub.broker.policies import Policies, published
from hub.store.tables import DeliveryRow, RequestRow
from hub.store.writer import Transaction
from protos.liaison.v1 import broker_pb2

_LONGEST_KEY = 4096
_SHORTEST_CIPHERTEXT = 12 + 16  # nonce and tag
_NOTHING_SEALED = "No probe was sealed, though there are galleries to send it to."

Sign = Callable[[str, bytes], SignedStatement]


class AlarmError(LiaisonError):
    """A refusal that must be in the log although nothing else of the call is."""

    def __init__(self, code: Code, detail: str, event: EntryType, facts: dict[str, Any]) -> None:
        super().__init__(code, detail)
        self.event = event
        self.facts = facts


@dataclass(frozen=True, slots=True)
class Submission:
    """A request whose signature, form and sizes are right. `payload_digest` stands for all that was sent."""

    request: ProbeRequest
    statement: SignedStatement
    ciphertext: bytes
    keys: Mapping[str, bytes]
    payload_digest: str


def open_submission(message: broker_pb2.SubmitRequest, agency: str, trust: Trust, at: datetime) -> Submission:
    """Check 1. Raises LiaisonError: MESSAGE_TOO_LARGE, REQUEST_INVALID, NOT_AUTHORIZED, or a signature's errors."""
    if len(message.ciphertext) > MAX_CIPHERTEXT:
        raise LiaisonError(Code.MESSAGE_TOO_LARGE, f"A sealed probe has at most {MAX_CIPHERTEXT} bytes.")
    if len(message.keys) > MOST_GALLERIES or any(len(k.sealed_key) > _LONGEST_KEY for k in message.keys):
        raise LiaisonError(Code.REQUEST_INVALID, "There are too many sealed keys, or one is too long.")
    statement = SignedStatement.decode(message.request)
    request = ProbeRequest.decode(trust.verify(statement, "probe-request", at, agency=agency))
    if request.requester.agency != agency:
        raise LiaisonError(Code.NOT_AUTHORIZED, "The request names another agency as its requester.")
    if request.region != trust.region:
        raise LiaisonError(Code.REQUEST_INVALID, "The request is for another region.")
    _check_words(request)
    keys = {key.gallery: key.sealed_key for key in message.keys}
    if len(keys) != len(message.keys) or not keys.keys() <= set(request.galleries):
        raise LiaisonError(
            Code.REQUEST_INVALID, "A sealed key is there twice, or for a gallery that was not asked."
        )
    if keys and (len(message.ciphertext) < _SHORTEST_CIPHERTEXT or not all(keys.values())):
        raise LiaisonError(Code.REQUEST_INVALID, _NOTHING_SEALED)
    parts = {
        "request": statement.digest,
        "ciphertext": digest(message.ciphertext),
        "keys": {gallery: digest(key) for gallery, key in keys.items()},
    }
    return Submission(request, statement, message.ciphertext, keys, digest(canonical(parts)))


def _check_words(request: ProbeRequest) -> None:
    """Let only words of the closed vocabularies into the log, which is public and for ever."""
    known = {
        "purpose": request.purpose in PURPOSES,
        "probe source": request.probe_source in PROBE_SOURCES,
        "offence": request.offense is None or request.offense in OFFENCES,
    }
    for field, understood in known.items():
        if not understood:
            raise LiaisonError(Code.REQUEST_INVALID, f"The {field} is not a word of the policy language.")
    for agency in (request.beneficiary, *(gallery.partition("/")[0] for gallery in request.galleries)):
        if agency is not None:
            check_name(agency, "An agency's id")


def take(
    transaction: Transaction, submission: Submission, node: str, trust: Trust, policies: Policies, sign: Sign
) -> bool:
    """Checks 2 to 5, the decisions, and everything that is written. False when it was taken before.

    Raises AlarmError (REQUEST_REPLAYED, STATE_CONFLICT) and LiaisonError (CLOCK_SKEW, REQUEST_EXPIRED, POLICY_MISSING,
    POLICY_INVALID, REQUEST_INVALID).
    """
    session, request = transaction.session, submission.request
    if _taken_before(session, submission, node):
        return False
    request.check_fresh(transaction.at)
    _check_policy(session, request, node, policies, trust, transaction.at)
    served = served_galleries(session, request)
    unsealed = [name for name in served if name not in submission.keys]
    if unsealed:
        raise LiaisonError(Code.REQUEST_INVALID, f"There is no sealed key for {unsealed[0]}.")
    decided = decide(session, request, served, policies, trust, transaction.at)
    _write(transaction, submission, decided, sign)
    return True


def _taken_before(session: Session, submission: Submission, node: str) -> bool:
    request = submission.request
    known = session.get(RequestRow, request.id)
    if known is None:
        return False
    if (known.agency, known.payload_digest) == (request.requester.agency, submission.payload_digest):
        return True
    facts = {
        "request": request.id,
        "agency": request.requester.agency,
        "node": node,
        "request_sha256": submission.statement.digest,
    }
    raise AlarmError(Code.REQUEST_REPLAYED, "", EntryType.REPLAY_ALARM, facts)


def _check_policy(
    session: Session, request: ProbeRequest, node: str, policies: Policies, trust: Trust, at: datetime
) -> None:
    agency = request.requester.agency
    policy = policies.of_agency(published(session, [agency]), agency, trust, at)
    if policy is None:
        raise LiaisonError(Code.POLICY_MISSING, f"{agency} has published no policy that the hub can use.")
    if policy.digest != request.policy_digest:
        facts = {
            "agency": agency,
            "node": node,
            "request": request.id,
            "hub_digest": policy.digest,
            "node_digest": request.policy_digest,
        }
        sentence = f"The request was made under another policy file than the one that {agency} has published."
        raise AlarmError(Code.STATE_CONFLICT, sentence, EntryType.DIVERGENCE, facts)


def _write(transaction: Transaction, submission: Submission, decided: list[Decided], sign: Sign) -> None:
    request, statement, now = submission.request, submission.statement, transaction.now
    leaf = transaction.append(EntryType.REQUEST, request_facts(request), statement.payload)
    for one in decided:
        transaction.append(EntryType.DECISION, one.facts)
    receipt = SubmissionReceipt(
        request=request.id,
        request_sha256=statement.digest,
        accepted_at=now,
        log_index=leaf.index,
        deliveries=tuple(
            SubmittedDelivery(gallery=one.gallery, state=one.state.value, reason=one.reason, rules=one.rules)
            for one in decided
        ),
    )
    open_ones = {one.gallery for one in decided if one.state is not DeliveryState.REFUSED_BY_HUB}
    deadline = stamp(request.deadline)
    transaction.session.add(
        RequestRow(
            id=request.id,
            agency=request.requester.agency,
            user=request.requester.user,
            statement=statement.encode(),
            digest=statement.digest,
            payload_digest=submission.payload_digest,
            ciphertext=submission.ciphertext if open_ones else None,
            accepted_at=now,
            deadline=deadline,
            log_index=leaf.index,
            receipt=sign("submission", receipt.encode()).encode(),
        )
    )
    transaction.session.flush()  # deliveries refer to the request's row
    for one in decided:
        owner, _, name = one.gallery.partition("/")
        transaction.session.add(
            DeliveryRow(
                id=f"{request.id}/{one.gallery}",
                request_id=request.id,
                agency=owner,
                gallery=name,
                state=one.state.value,
                reason=one.reason,
                code=one.code.value if one.code else None,
                rules=[rule.model_dump() for rule in one.rules],
                deadline=deadline,
                sealed_key=submission.keys[one.gallery] if one.gallery in open_ones else None,
                updated_at=now,
                version=1,
            )
        )
