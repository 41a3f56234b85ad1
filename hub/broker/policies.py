"""The policies that the hub decides with: each published file is opened once, and counts as long as its signature."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from federation.errors import LiaisonError
from federation.identity.certificates import parse_certificate
from federation.identity.region import Trust
from federation.identity.statement import SignedStatement
from federation.policy.compiled import PolicySet, Sourced
from federation.policy.model import AgencyPolicy
from federation.probe.decide import open_policy, policy_set
from hub.store.tables import AgencyRow

_log = structlog.get_logger()

# Agency → its signed policy, encoded.
Published = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class _Opened:
    """What a signed policy came to under one bundle; `until` is the last moment of the signer's certificate."""

    signed: bytes
    bundle: int
    until: datetime | None
    policy: Sourced[AgencyPolicy] | None


def published(session: Session, agencies: Iterable[str]) -> Published:
    """The signed policies of these agencies, as they are stored; of a suspended one, none."""
    rows = session.execute(
        select(AgencyRow.id, AgencyRow.policy).where(
            AgencyRow.id.in_(sorted(set(agencies))), AgencyRow.suspended_at.is_(None)
        )
    )
    return {agency: policy for agency, policy in rows if policy is not None}


class Policies:
    """Published policies by agency. The caches are replaced whole, so that any thread may read them."""

    def __init__(self) -> None:
        self._agencies: dict[str, _Opened] = {}
        self._region: tuple[int, PolicySet] | None = None

    def region(self, trust: Trust) -> PolicySet:
        """The region's file and statutes, without any agency. Raises LiaisonError(POLICY_INVALID)."""
        known = self._region
        if known is None or known[0] != trust.bundle.version:
            files = policy_set(trust.bundle, requester=None, beneficiary=None, owner=None)
            known = self._region = (trust.bundle.version, files)
        return known[1]

    def of_agency(
        self, published: Published, agency: str, trust: Trust, at: datetime
    ) -> Sourced[AgencyPolicy] | None:
        """The policy that an agency has published, or None: none there, or one that is not to be believed."""
        signed = published.get(agency)
        if signed is None:
            return None
        known = self._agencies.get(agency)
        if known is None or known.signed != signed or known.bundle != trust.bundle.version:
            known = self._agencies[agency] = _open(signed, agency, trust, at)
        return known.policy if known.until is None or at <= known.until else None

    def for_pair(
        self, published: Published, askers: tuple[str, ...], owner: str, trust: Trust, at: datetime
    ) -> PolicySet:
        """All that decides one request at one owner's galleries; `askers` are the requester and any beneficiary."""
        requester, *beneficiary = (self.of_agency(published, asker, trust, at) for asker in askers)
        return replace(
            self.region(trust),
            requester=requester,
            beneficiary=beneficiary[0] if beneficiary else None,
            owner=self.of_agency(published, owner, trust, at),
        )


def _open(encoded: bytes, agency: str, trust: Trust, at: datetime) -> _Opened:
    try:
        signed = SignedStatement.decode(encoded)
        _, policy = open_policy(signed, trust, agency, at)
        until = parse_certificate(signed.certificate).not_valid_after_utc
    except LiaisonError as error:
        _log.warning("policy-not-usable", agency=agency, code=error.code.value)
        return _Opened(encoded, trust.bundle.version, None, None)
    return _Opened(encoded, trust.bundle.version, until, policy)
