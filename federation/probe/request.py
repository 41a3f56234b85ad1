"""The probe request: everything that is asked, except the picture, signed before anybody is asked.

Source: DESIGN §5.2. Its bytes are canonical JSON (RFC 8785); its digest stands for it in seals, log and receipts.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from federation.canonical import unb64, unstamp
from federation.errors import Code, LiaisonError
from federation.identity.hybrid import PUBLIC_BYTES
from federation.model import Document

LONGEST_LIFE = timedelta(days=30)
MOST_GALLERIES = 200
SKEW = timedelta(minutes=5)

Sha256 = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
GalleryName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}/[a-z0-9][a-z0-9-]{0,62}$")]
Line = Annotated[str, Field(min_length=1, max_length=200)]
Prose = Annotated[str, Field(min_length=1, max_length=4000)]


class Requester(Document):
    """Who asks: the agency, its user, the user's roles and the day of their last training (ISO date)."""

    agency: Line
    user: Line
    roles: tuple[Line, ...] = Field(max_length=16)
    training_date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None = None


class ProbeFacts(Document):
    """What is said of the picture: digests of original and working image, size in pixels, the chosen face's box
    (x1, y1, x2, y2 in the working image), quality 0–100, and each edit with its parameters."""

    original_sha256: Sha256
    working_sha256: Sha256
    width: int = Field(ge=1, le=20000)
    height: int = Field(ge=1, le=20000)
    face_box: tuple[int, int, int, int]
    quality: int = Field(ge=0, le=100)
    edits: tuple[dict[str, Any], ...] = Field(default=(), max_length=64)


class ProbeRequest(Document):
    """One request to search galleries for one face."""

    liaison: Literal["probe-request/v1"] = "probe-request/v1"
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    region: Line
    requester: Requester
    beneficiary: Line | None = None
    purpose: Line
    offense: Line | None = None
    probe_source: Line
    case_number: Line | None = None
    narrative: Prose | None = None
    legal_basis: Prose | None = None
    warrant: Line | None = None
    attestations: tuple[Line, ...] = Field(default=(), max_length=16)
    probe: ProbeFacts
    galleries: tuple[GalleryName, ...] = Field(min_length=1, max_length=MOST_GALLERIES)
    candidates: int | None = Field(default=None, ge=1, le=50)
    created_at: str
    expires_at: str
    answer_key: str
    policy_digest: Sha256

    @field_validator("galleries")
    @classmethod
    def _galleries_are_a_set(cls, galleries: tuple[str, ...]) -> tuple[str, ...]:
        if list(galleries) != sorted(set(galleries)):
            raise ValueError("must be sorted and name each gallery once")
        return galleries

    @model_validator(mode="after")
    def _times_and_key_are_right(self) -> ProbeRequest:
        try:
            created, expires = unstamp(self.created_at), unstamp(self.expires_at)
            key = unb64(self.answer_key)
        except LiaisonError as error:
            raise ValueError(error.detail) from error
        if not timedelta(0) < expires - created <= LONGEST_LIFE:
            raise ValueError("must expire after it was made, within 30 days")
        if len(key) != PUBLIC_BYTES:
            raise ValueError("the answer key has the wrong length")
        return self

    @property
    def deadline(self) -> datetime:
        """When nobody may search for it any more."""
        return unstamp(self.expires_at)

    def check_clock(self, now: datetime) -> None:
        """Refuse a request made in the future or past its deadline. Raises LiaisonError(CLOCK_SKEW, REQUEST_EXPIRED).

        A request may be older than the skew allowed, since it may have waited for its node.
        """
        ahead = unstamp(self.created_at) - now
        if ahead > SKEW:
            minutes = int(ahead.total_seconds() // 60)
            raise LiaisonError(Code.CLOCK_SKEW, f"The requester's clock is {minutes} minutes ahead.")
        if now >= self.deadline:
            raise LiaisonError(Code.REQUEST_EXPIRED)

    def check_fresh(self, now: datetime) -> None:
        """As `check_clock`, and refuse one made longer ago than the skew: for the moment it is submitted."""
        self.check_clock(now)
        behind = now - unstamp(self.created_at)
        if behind > SKEW:
            minutes = int(behind.total_seconds() // 60)
            raise LiaisonError(Code.CLOCK_SKEW, f"The requester's clock is {minutes} minutes behind.")
