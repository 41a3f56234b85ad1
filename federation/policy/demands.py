"""What matching rules ask for: which requirements a request does not meet, and the obligations that remain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import NamedTuple

from federation.policy.compiled import CompiledRule
from federation.policy.decision import DEFAULT_CANDIDATES, Obligations, RuleRef
from federation.policy.facts import RequestFacts
from federation.policy.model import AgencyPolicy, Limits, Retention
from federation.policy.vocabulary import Requirement


class Demand(NamedTuple):
    """One requirement with the rule that makes it, and the words of that rule."""

    requirement: Requirement
    rule: RuleRef
    says: str


def unmet(demands: Iterable[Demand], request: RequestFacts, today: date) -> list[Demand]:
    """The demands that the request does not meet, in a stable order."""
    return sorted(demand for demand in demands if not _meets(request, demand.requirement, today))


def _meets(request: RequestFacts, requirement: Requirement, today: date) -> bool:
    if requirement.days is not None:
        return _trained(request.training_date, requirement.days, today)
    if requirement.quality is not None:
        return request.quality is not None and request.quality >= requirement.quality
    if requirement.word == "case-number":
        return _said(request.case_number)
    if requirement.word == "narrative":
        return _said(request.narrative)
    if requirement.word == "warrant":
        return _said(request.warrant)
    if requirement.word == "supervisor-approval":
        return "supervisor" in request.approvals
    return requirement.word == "two-examiners"  # owed after the search; see `obligations`


def _trained(day: date | None, within: int, today: date) -> bool:
    """Whether the training lies 0 to `within` days back; one that lies ahead has not happened."""
    if day is None:
        return False
    day = day.date() if isinstance(day, datetime) else day
    return 0 <= (today - day).days <= within


def _said(text: str | None) -> bool:
    return bool(text and text.strip())


def demands_of_limits(limits: Limits, rule: RuleRef, says: str) -> list[Demand]:
    """The least quality that these limits set, as a demand."""
    if limits.min_quality is None:
        return []
    word = f"min-quality:{limits.min_quality}"
    return [Demand(Requirement(word, quality=limits.min_quality), rule, says)]


def obligations(
    demands: Sequence[Demand],
    limits: Sequence[Limits],
    shares: Sequence[CompiledRule],
    parties: Sequence[AgencyPolicy],
) -> Obligations:
    """Everything that is owed, at its strictest.

    `shares` are the share rules that matched, at least one; `parties` the files of requester, beneficiary and
    owner, whose review and retention add up too.
    """
    qualities = [d.requirement.quality for d in demands if d.requirement.quality is not None]
    two = 2 if any(d.requirement.word == "two-examiners" for d in demands) else 1
    return Obligations(
        candidates=_lowest(limit.candidates for limit in limits) or DEFAULT_CANDIDATES,
        fmr_at_most=min((x.fmr_at_most for x in limits if x.fmr_at_most is not None), default=None),
        min_quality=max(qualities, default=0),
        per_user_per_day=_lowest(limit.per_user_per_day for limit in limits),
        release=frozenset.intersection(*(share.release for share in shares)),
        examiners=max(two, *(party.review.examiners for party in parties)),
        blind=any(party.review.blind for party in parties),
        retention=Retention(
            probe_days=_lowest(party.retention.probe_days for party in parties),
            no_lead_days=_lowest(party.retention.no_lead_days for party in parties),
            lead_days=_lowest(party.retention.lead_days for party in parties),
        ),
    )


def _lowest(values: Iterable[int | None]) -> int | None:
    return min((value for value in values if value is not None), default=None)
