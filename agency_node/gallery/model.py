"""What a gallery holds, in the words of the field."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from enum import Enum
from typing import Any

from agency_node.gallery.index import Vectors

Box = tuple[float, float, float, float]
Point = tuple[float, float]

_DATES = ("captured_on", "provenance_captured_on")


@dataclass(frozen=True, slots=True)
class GalleryDeclaration:
    """What the agency's policy file says about one gallery."""

    kind: str
    title: str | None = None
    retention_days: int | None = None


@dataclass(frozen=True, slots=True)
class EncounterFacts:
    """One capture of one subject, as the source records it.

    `encounter_ref` is unique within a subject. `basis` is the lawful basis on which the photograph is kept;
    provenance says where and when a public-source photograph was found.
    """

    subject_ref: str
    encounter_ref: str
    captured_on: date | None = None
    name: str | None = None
    year_of_birth: int | None = None
    sex: str | None = None
    race: str | None = None
    provenance_url: str | None = None
    provenance_captured_on: date | None = None
    basis: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the facts with dates as ISO 8601 text; facts that are not known are left out."""
        return {
            key: value.isoformat() if isinstance(value, date) else value
            for key, value in asdict(self).items()
            if value is not None
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> EncounterFacts:
        """Return the facts that `as_json` wrote."""
        dates = {key: date.fromisoformat(document[key]) for key in _DATES if key in document}
        return cls(**(document | dates))


@dataclass(frozen=True, slots=True, eq=False)
class EnrolledFace:
    """The face that was enrolled from a photograph.

    `template` is float32 of unit length; `box` (x1, y1, x2, y2) and `landmarks` are in pixels of the upright
    photograph; `quality` is 0 to 100; `flags` are remarks for a person, such as "other-faces:2".
    """

    template: Vectors
    box: Box
    landmarks: tuple[Point, ...]
    quality: int
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Enrolment:
    """A photograph that is to be enrolled: what is known about it, its bytes and its face."""

    facts: EncounterFacts
    photo: bytes
    face: EnrolledFace


class Standing(Enum):
    """How a row of a source stands to what the gallery holds."""

    NEW = "new"
    UNCHANGED = "unchanged"
    FACTS_CHANGED = "facts-changed"
    PHOTO_CHANGED = "photo-changed"


@dataclass(frozen=True, slots=True)
class Match:
    """A subject whose best template is near the probe: a candidate before calibration and policy.

    `similarity` is the inner product of unit vectors, -1 to 1; `encounter_id` finds the photograph.
    """

    template_id: int
    encounter_id: int
    similarity: float
    facts: EncounterFacts
    box: Box
    quality: int
    flags: tuple[str, ...]

    @property
    def subject_ref(self) -> str:
        """The owner's reference of the person."""
        return self.facts.subject_ref

    @property
    def encounter_ref(self) -> str:
        """The owner's reference of the capture."""
        return self.facts.encounter_ref


@dataclass(frozen=True, slots=True)
class Counts:
    """How much a gallery holds; `templates` are those of the present engine, `pending` wait for the index."""

    subjects: int
    encounters: int
    templates: int
    pending: int
