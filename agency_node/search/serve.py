"""Serving one delivery: the order of checks that stands between a sealed probe and a gallery."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from agency_node.link.store import NodeStore, Outcome, Searched, user_mark
from agency_node.link.witness import Offered
from agency_node.search.find import Searcher
from agency_node.search.receipts import Case, sealed_answer, signed_receipt
from federation.canonical import digest
from federation.errors import Code, LiaisonError
from federation.identity.hybrid import SealingKey
from federation.identity.region import Trust
from federation.identity.statement import SignedStatement
from federation.log.checkpoint import Checkpoint
from federation.log.entry import parse_entry
from federation.policy.compiled import Sourced
from federation.policy.decision import Decision
from federation.policy.decision import Outcome as Verdict
from federation.policy.evaluate import evaluate
from federation.policy.facts import GalleryFacts
from federation.policy.model import AgencyPolicy
from federation.probe.decide import facts_of, open_policy, policy_set, source_policy
from federation.probe.envelope import open_probe
from federation.probe.logged import check_logged
from federation.probe.request import ProbeRequest
from protos.liaison.v1 import broker_pb2 as pb

DEFAULT_CANDIDATES = 20
# The delivery could not be judged now; it stays in the inbox and the hub sends it again.
INTERRUPTIONS = frozenset({Code.HUB_UNREACHABLE, Code.LOG_UNAVAILABLE, Code.STORAGE_FAILED})


class LogView(Protocol):
    """The log as this node knows it (`LogWitness`)."""

    async def see(self, note: bytes, offered: Offered) -> Checkpoint:
        """Accept a checkpoint, or raise."""

    def check_inclusion(
        self, entry: bytes, index: int, checkpoint: Checkpoint, proof: list[bytes], /
    ) -> None:
        """Check that an entry is in the log of a checkpoint that `see` returned, or raise."""


@dataclass(frozen=True, slots=True)
class Context:
    """What serving needs of its node: who it is, what it believes, what it keeps, and what searches.

    `own_policy` returns the bytes of the node's own policy file as they are now. `sign` signs a payload as a
    statement of a kind with the agency's key. `searcher` is None at a node without galleries.
    """

    agency: str
    trust: Callable[[], Trust]
    log: LogView
    store: NodeStore
    own_policy: Callable[[], bytes]
    sealing_key: SealingKey
    sign: Callable[[str, bytes], SignedStatement]
    searcher: Searcher | None
    clock: Callable[[], datetime]
    timer: Callable[[], float]


async def serve(delivery: pb.Delivery, context: Context, claim: Callable[[], Awaitable[None]]) -> Outcome:
    """Serve one delivery, once. The rules it keeps, in this order; the first that fails decides:

    1. The delivery is for a gallery of this agency, and holds a request that names this gallery.
    2. It goes into the inbox, on disk, and is claimed. If it was served before, the stored outcome is the outcome;
       if its id came before with other contents, it is refused.
    3. The request was not made in the future, and its deadline has not passed.
    4. The requesting agency signed the request, for this region.
    5. A log entry records exactly this request and commits to its bytes; it is in the log of a checkpoint that
       continues every checkpoint that this node has seen.
    6. The policies agree: the node's own file as it is now, the region's and the statutes from the coordinator's
       bundle, and the requester's (and the beneficiary's) as they signed them, the requester's being the one that
       the request names.
    7. Only now is the probe opened; it must be the picture whose digest was signed.
    8. The face at the signed place is searched for, and at most as many candidates, with at most the fields that
       policy releases, are answered, signed, and sealed to the request's one-time key.

    Whatever ends it, the outcome holds a receipt signed by this agency, so that "not searched" is never silent,
    and is on the disk before it is returned. Raises only what says that the delivery could not be judged now
    (`INTERRUPTIONS`), so that it stays in the inbox, unserved; REQUEST_INVALID for a delivery whose id names nothing
    that a receipt could be about; and KEY_UNREADABLE when nothing can be signed.
    """
    started = context.timer()
    case = Case.of(delivery)
    outcome: Outcome | None = None
    try:
        request, signed = _read(delivery, case, context)
        outcome = context.store.receive(case.delivery_id, request.id, case.request_sha256, context.clock())
        await claim()
        if outcome is not None:
            return outcome
        case.in_inbox = True
        request.check_clock(context.clock())
        _check_signature(request, signed, context)
        await _check_log(request, signed, delivery.proof, case, context)
        searched = _counted(request, case, context)
        decision = _decide(request, delivery, case, searched, context)
        outcome = await _search(request, delivery, case, decision, context, started)
        outcome = Outcome(outcome.receipt, outcome.sealed_answer, searched)
    except LiaisonError as error:
        if error.code in INTERRUPTIONS and not case.permitted:
            raise
        outcome = _refuse(case, error, context, started)
    except Exception as error:
        case.note_defect(error)
        outcome = _refuse(case, LiaisonError(Code.INTERNAL), context, started)
    if case.in_inbox:
        context.store.answer(case.delivery_id, outcome)
    case.note_served(context.timer() - started)
    return outcome


def _read(delivery: pb.Delivery, case: Case, context: Context) -> tuple[ProbeRequest, SignedStatement]:
    """Rule 1."""
    signed = SignedStatement.decode(delivery.request)
    case.request_sha256 = signed.digest
    request = ProbeRequest.decode(signed.payload)
    if delivery.delivery_id != f"{request.id}/{case.gallery}" or case.gallery not in request.galleries:
        raise LiaisonError(
            Code.REQUEST_INVALID, "The delivery names a gallery that the request does not ask."
        )
    if case.owner != context.agency:
        raise LiaisonError(Code.GALLERY_UNKNOWN, "The gallery is another agency's.")
    return request, signed


def _check_signature(request: ProbeRequest, signed: SignedStatement, context: Context) -> None:
    """Rule 4."""
    trust = context.trust()
    if request.region != trust.region:
        raise LiaisonError(Code.NOT_AUTHORIZED, "The request was made in another region.")
    trust.verify(signed, "probe-request", context.clock(), agency=request.requester.agency)


async def _check_log(
    request: ProbeRequest, signed: SignedStatement, proof: pb.LogProof, case: Case, context: Context
) -> None:
    """Rule 5."""
    check_logged(parse_entry(proof.entry), request, signed.payload, proof.salt)
    checkpoint = await context.log.see(proof.checkpoint, Offered(proof.since, list(proof.consistency)))
    context.log.check_inclusion(proof.entry, proof.index, checkpoint, list(proof.inclusion))
    case.log_index, case.log_size = proof.index, checkpoint.size


def _counted(request: ProbeRequest, case: Case, context: Context) -> Searched:
    mark = user_mark(request.requester.agency, request.requester.user)
    return Searched(mark, case.gallery, context.clock().date())


def _decide(
    request: ProbeRequest, delivery: pb.Delivery, case: Case, searched: Searched, context: Context
) -> Decision:
    """Rule 6."""
    now = context.clock()
    text = context.own_policy()
    if not text:
        raise LiaisonError(Code.POLICY_MISSING)
    owner = source_policy(text, context.agency)
    declared = owner.policy.galleries.get(case.name)
    if declared is None or context.searcher is None or not context.searcher.serves(case.name):
        raise LiaisonError(Code.GALLERY_ABSENT)
    requester = _asking_policy(delivery.requester_policy, request.requester.agency, context)
    if requester.digest != request.policy_digest:
        raise LiaisonError(
            Code.SIGNATURE_INVALID, "The requester's policy is not the one that the request names."
        )
    beneficiary = None
    if request.beneficiary not in (None, request.requester.agency):
        assert request.beneficiary is not None
        beneficiary = _asking_policy(delivery.beneficiary_policy, request.beneficiary, context, newest=True)
    policies = policy_set(context.trust().bundle, requester=requester, beneficiary=beneficiary, owner=owner)
    facts = facts_of(request, context.store.searches(searched))
    gallery = GalleryFacts(context.agency, case.name, declared.kind)
    decision = evaluate(facts, gallery, policies, now)
    case.decided(decision)
    if decision.outcome is not Verdict.PERMIT:
        denied = decision.outcome is Verdict.DENY
        raise LiaisonError(Code.POLICY_DENIES if denied else Code.APPROVAL_MISSING, decision.reason)
    return decision


def _asking_policy(
    encoded: bytes, agency: str, context: Context, *, newest: bool = False
) -> Sourced[AgencyPolicy]:
    """A policy as its agency signed it. With `newest`, refuse one older than this node has seen: nothing that the
    requester signed says which version it is."""
    if not encoded:
        raise LiaisonError(Code.POLICY_MISSING, f"The policy of {agency} did not come with the request.")
    signed = SignedStatement.decode(encoded)
    statement, policy = open_policy(signed, context.trust(), agency, context.clock())
    if newest and statement.version < context.store.policy_version(agency):
        raise LiaisonError(Code.POLICY_ROLLBACK, f"An older policy of {agency} came with the request.")
    context.store.note_policy_version(agency, statement.version)
    return policy


async def _search(
    request: ProbeRequest,
    delivery: pb.Delivery,
    case: Case,
    decision: Decision,
    context: Context,
    started: float,
) -> Outcome:
    """Rules 7 and 8."""
    assert context.searcher is not None
    obligations = decision.obligations
    if obligations.fmr_at_most is not None:
        raise LiaisonError(
            Code.POLICY_DENIES,
            "The rule limits the false match rate, which cannot be kept while the gallery is not calibrated.",
        )
    case.permitted = True
    picture = open_probe(
        delivery.ciphertext, delivery.sealed_key, case.request_sha256, case.gallery, context.sealing_key
    )
    if "sha256:" + hashlib.sha256(picture).hexdigest() != request.probe.working_sha256:
        raise LiaisonError(Code.SEAL_BROKEN, "The picture is not the one that the request describes.")
    limit = min(obligations.candidates, request.candidates or DEFAULT_CANDIDATES)
    found = await asyncio.to_thread(
        context.searcher.find, case.name, picture, request.probe.face_box, limit, obligations.release
    )
    sealed = sealed_answer(case, found, request, context.sign, context.clock())
    receipt = signed_receipt(
        case,
        "answered",
        context.sign,
        at=context.clock(),
        seconds=context.timer() - started,
        answer_sha256=digest(sealed),
        candidates=len(found.candidates),
    )
    return Outcome(receipt, sealed)


def _refuse(case: Case, error: LiaisonError, context: Context, started: float) -> Outcome:
    failed = case.permitted or error.code is Code.INTERNAL
    receipt = signed_receipt(
        case,
        "failed" if failed else "refused_by_node",
        context.sign,
        at=context.clock(),
        seconds=context.timer() - started,
        error=error,
    )
    return Outcome(receipt)
