"""Deciding each gallery of a request by itself: a refusal is that gallery's outcome, not an error of the request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from federation.canonical import stamp
from federation.errors import Code
from federation.identity.region import Trust
from federation.policy.decision import Decision, Outcome
from federation.policy.evaluate import evaluate
from federation.policy.facts import GalleryFacts
from federation.probe.answer import RuleName
from federation.probe.decide import facts_of
from federation.probe.delivery import SENTENCES, DeliveryState
from federation.probe.request import ProbeRequest
from hub.broker.policies import Policies, published
from hub.broker.serving import Served, galleries_of
from hub.store.tables import DeliveryRow, RequestRow

_LONGEST_REASON = 1000


@dataclass(frozen=True, slots=True)
class Decided:
    """One gallery's first state, and what the log says of the decision."""

    gallery: str
    state: DeliveryState
    reason: str
    code: Code | None
    rules: tuple[RuleName, ...]
    facts: dict[str, Any]


def served_galleries(session: Session, request: ProbeRequest) -> dict[str, Served]:
    """The galleries of the request that some node serves, by full name."""
    known = galleries_of(session, owners_of(request))
    return {gallery: known[gallery] for gallery in request.galleries if gallery in known}


def owners_of(request: ProbeRequest) -> set[str]:
    """The agencies whose galleries are asked."""
    return {gallery.partition("/")[0] for gallery in request.galleries}


def decide(
    session: Session,
    request: ProbeRequest,
    served: Mapping[str, Served],
    policies: Policies,
    trust: Trust,
    at: datetime,
) -> list[Decided]:
    """Every gallery of the request decided, in their order. Raises LiaisonError: POLICY_INVALID, REQUEST_INVALID."""
    searches = _searches_today(session, request, at)
    askers = {request.requester.agency, request.beneficiary or request.requester.agency}
    signed = published(session, owners_of(request) | askers)
    decided = []
    for gallery in request.galleries:
        if gallery not in served:
            decided.append(_unknown(request.id, gallery))
            continue
        owner, _, name = gallery.partition("/")
        facts = facts_of(request, searches[gallery])
        files = policies.for_pair(signed, facts.askers, owner, trust, at)
        decision = evaluate(facts, GalleryFacts(owner, name, served[gallery].kind), files, at)
        decided.append(_decided(request.id, gallery, decision))
    return decided


def _searches_today(session: Session, request: ProbeRequest, at: datetime) -> Counter[str]:
    """How often the user's requests of this UTC day went to each gallery; refusals are no searches."""
    midnight = stamp(at.replace(hour=0, minute=0, second=0, microsecond=0))
    rows = session.execute(
        select(DeliveryRow.agency, DeliveryRow.gallery, func.count())
        .join(RequestRow, RequestRow.id == DeliveryRow.request_id)
        .where(
            RequestRow.agency == request.requester.agency,
            RequestRow.user == request.requester.user,
            RequestRow.accepted_at >= midnight,
            DeliveryRow.state != DeliveryState.REFUSED_BY_HUB.value,
        )
        .group_by(DeliveryRow.agency, DeliveryRow.gallery)
    )
    return Counter({f"{agency}/{gallery}": count for agency, gallery, count in rows})


def _unknown(request_id: str, gallery: str) -> Decided:
    reason = "Not searched: no gallery of that name is registered."
    facts = {
        "request": request_id,
        "gallery": gallery,
        "decision": Outcome.DENY.value,
        "code": Code.GALLERY_UNKNOWN.value,
    }
    return Decided(gallery, DeliveryState.REFUSED_BY_HUB, reason, Code.GALLERY_UNKNOWN, (), facts)


def _decided(request_id: str, gallery: str, decision: Decision) -> Decided:
    state, code, reason = {
        Outcome.PERMIT: (DeliveryState.QUEUED, None, SENTENCES[DeliveryState.QUEUED]),
        Outcome.WAIT: (DeliveryState.AWAITING_APPROVAL, Code.APPROVAL_MISSING, decision.reason),
        Outcome.DENY: (DeliveryState.REFUSED_BY_HUB, Code.POLICY_DENIES, decision.reason),
    }[decision.outcome]
    facts = {
        "request": request_id,
        "gallery": gallery,
        "decision": decision.outcome.value,
        "rules": [rule._asdict() for rule in decision.rules],
        "missing": list(decision.missing),
        "policies": dict(sorted(decision.digests.items())),
    }
    rules = tuple(RuleName(source=rule.source, id=rule.id, effect=rule.effect) for rule in decision.rules)
    return Decided(gallery, state, reason[:_LONGEST_REASON], code, rules, facts)
