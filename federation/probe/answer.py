"""What comes back: the answer (sealed, for the requester) and the receipts (signed, for everybody's files)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from federation.model import Document
from federation.probe.request import GalleryName, Line, Sha256

# A similarity is the cosine of two templates; it is never shown as a percentage.
Similarity = Annotated[float, Field(ge=-1.0, le=1.0)]
LIMIT = 12 << 20


class Candidate(Document):
    """One candidate: a lead at most. What policy does not release is absent. `photo` is a JPEG, base64."""

    rank: int = Field(ge=1)
    similarity: Similarity
    fmr: float | None = Field(default=None, gt=0, le=1)
    subject: Line | None = None
    encounter_date: Line | None = None
    photo: str | None = None
    year_of_birth: int | None = None
    sex: Line | None = None
    name: Line | None = None
    provenance: dict[str, str] | None = None


class GallerySize(Document):
    """How much was searched."""

    subjects: int = Field(ge=0)
    templates: int = Field(ge=0)


class Answer(Document):
    """What one gallery found. `calibration` is null until the gallery is calibrated; then scores carry an FMR."""

    liaison: Literal["answer/v1"] = "answer/v1"
    request: str
    request_sha256: Sha256
    gallery: GalleryName
    engine: Line
    gallery_size: GallerySize
    calibration: dict[str, Any] | None = None
    candidates: tuple[Candidate, ...] = ()
    searched_at: str


class RuleName(Document):
    """A rule that decided: `source` is an agency, `region`, a statute or `liaison`."""

    source: Line
    id: Line
    effect: Line


class Receipt(Document):
    """What the owning agency signs about one delivery, whatever came of it. It names no face and no candidate.

    `answer_sha256` is that of the sealed answer, so that the hub can check it without opening anything.
    `outcome`: `answered`, `refused_by_node` or `failed`; `code` is an error of the catalogue when not answered.
    """

    liaison: Literal["receipt/v1"] = "receipt/v1"
    request: str
    request_sha256: Sha256
    gallery: GalleryName
    outcome: Literal["answered", "refused_by_node", "failed"]
    code: Line | None = None
    reason: Line | Annotated[str, Field(max_length=1000)] | None = None
    rules: tuple[RuleName, ...] = ()
    answer_sha256: Sha256 | None = None
    candidates: int | None = Field(default=None, ge=0)
    policies: dict[str, str] = Field(default_factory=dict)
    log_index: int | None = Field(default=None, ge=0)
    log_size: int | None = Field(default=None, ge=0)
    at: str
    seconds: float = Field(ge=0)


class SubmittedDelivery(Document):
    """What the hub decided for one gallery when it took the request."""

    gallery: GalleryName
    state: Line
    reason: Annotated[str, Field(max_length=1000)]
    rules: tuple[RuleName, ...] = ()


class SubmissionReceipt(Document):
    """What the hub signs when it takes a request: where in the log it stands, and each delivery's first state."""

    liaison: Literal["submission/v1"] = "submission/v1"
    request: str
    request_sha256: Sha256
    accepted_at: str
    log_index: int = Field(ge=0)
    deliveries: tuple[SubmittedDelivery, ...]


class Cancellation(Document):
    """A requester's withdrawal of a request, signed by its agency."""

    liaison: Literal["cancel/v1"] = "cancel/v1"
    request: str
    reason: Annotated[str, Field(max_length=1000)]
    at: str
