"""From signed statements to what the policy evaluator reads: the same on the hub and on every node.

A policy file is known everywhere by the digest of its exact text (`federation.policy.digest`): in a request's
`policy_digest`, in a node's statement, in decisions and receipts.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime
from functools import lru_cache

from federation.errors import Code, LiaisonError
from federation.identity.node import PolicyStatement
from federation.identity.region import RegionBundle, Trust
from federation.identity.statement import SignedStatement
from federation.policy.compiled import PolicySet, Sourced
from federation.policy.facts import RequestFacts
from federation.policy.load import digest, load_agency, load_region, load_statute
from federation.policy.model import AgencyPolicy, RegionPolicy, StatutePack
from federation.probe.request import ProbeRequest

POLICY_LIMIT = 4 << 20


def facts_of(
    request: ProbeRequest, searches_today: int, approvals: Collection[str] = frozenset()
) -> RequestFacts:
    """What the policies may know of a request. Raises LiaisonError(REQUEST_INVALID) for a day that does not exist.

    `searches_today` counts the user's earlier searches of the gallery on this UTC day, as whoever decides has seen
    them; `approvals` are the roles that have approved.
    """
    return RequestFacts(
        requester_agency=request.requester.agency,
        beneficiary_agency=request.beneficiary or request.requester.agency,
        user_roles=frozenset(request.requester.roles),
        training_date=_day(request.requester.training_date),
        purpose=request.purpose,
        offense=request.offense,
        probe_source=request.probe_source,
        case_number=request.case_number,
        narrative=request.narrative,
        warrant=request.warrant,
        quality=request.probe.quality,
        approvals=frozenset(approvals),
        searches_today=searches_today,
    )


def source_policy(text: bytes, agency: str) -> Sourced[AgencyPolicy]:
    """An agency's policy from its exact text. Raises LiaisonError(POLICY_INVALID), also if it names another agency."""
    sourced = _agency(text)
    if sourced.policy.agency != agency:
        raise LiaisonError(
            Code.POLICY_INVALID, f"It is the policy of {sourced.policy.agency}, not of {agency}."
        )
    return sourced


def open_policy(
    signed: SignedStatement, trust: Trust, agency: str, at: datetime
) -> tuple[PolicyStatement, Sourced[AgencyPolicy]]:
    """A published policy, if `agency` signed it and the file says what the statement says.

    Raises what `Trust.verify` raises, or LiaisonError(POLICY_INVALID).
    """
    payload = trust.verify(signed, "policy", at, agency=agency)
    statement = PolicyStatement.decode(payload, limit=POLICY_LIMIT)
    policy = source_policy(statement.text.encode(), agency)
    if (statement.agency, statement.version) != (agency, policy.policy.version):
        raise LiaisonError(
            Code.POLICY_INVALID, "The statement names another agency or version than the file."
        )
    return statement, policy


def policy_set(
    bundle: RegionBundle,
    *,
    requester: Sourced[AgencyPolicy] | None,
    beneficiary: Sourced[AgencyPolicy] | None,
    owner: Sourced[AgencyPolicy] | None,
) -> PolicySet:
    """All that one decision needs, with region and statutes from the coordinator's bundle.

    Raises LiaisonError(POLICY_INVALID) when the bundle's own files do not parse or are of another region.
    """
    region, statutes = _regional(bundle.region, bundle.policy, bundle.statutes)
    return PolicySet(region, statutes, requester, beneficiary, owner)


@lru_cache(maxsize=256)
def _agency(text: bytes) -> Sourced[AgencyPolicy]:
    return Sourced(load_agency(text), digest(text))


@lru_cache(maxsize=4)
def _regional(
    name: str, policy: str, packs: tuple[str, ...]
) -> tuple[Sourced[RegionPolicy], tuple[Sourced[StatutePack], ...]]:
    """The region's files, parsed once for all decisions under one bundle."""
    region = load_region(policy.encode())
    if region.region != name:
        raise LiaisonError(Code.POLICY_INVALID, "The region's policy is that of another region.")
    statutes = tuple(Sourced(load_statute(pack.encode()), digest(pack.encode())) for pack in packs)
    return Sourced(region, digest(policy.encode())), statutes


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise LiaisonError(Code.REQUEST_INVALID, "The training date is not a day.") from error
