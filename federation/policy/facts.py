"""What a decision is about: the facts of one request and of one gallery.

The facts are plain values that anybody may have written; `evaluate` refuses words outside the vocabulary and
never raises on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What a policy may know about a request.

    `beneficiary_agency` is the agency that the search is for, the requester's own unless the request says
    otherwise. `approvals` are the roles that have approved. `quality` is unified, 0–100. `searches_today` counts
    the user's earlier searches of this gallery on this day, in UTC. `enroll` asks to keep the probe in a
    gallery, which is never permitted.
    """

    requester_agency: str
    beneficiary_agency: str
    user_roles: frozenset[str]
    training_date: date | None
    purpose: str
    offense: str | None
    probe_source: str
    case_number: str | None
    narrative: str | None
    warrant: str | None
    quality: int | None
    approvals: frozenset[str]
    searches_today: int = 0
    enroll: bool = False

    @property
    def askers(self) -> tuple[str, ...]:
        """The agencies that must be permitted: the requester, and the beneficiary if it is another."""
        if self.requester_agency == self.beneficiary_agency:
            return (self.requester_agency,)
        return (self.requester_agency, self.beneficiary_agency)


@dataclass(frozen=True, slots=True)
class GalleryFacts:
    """The gallery that is asked: whose it is, its name there, and its kind."""

    agency: str
    gallery: str
    kind: str
