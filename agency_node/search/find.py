"""From a probe's picture to candidates: the face at the signed place, its template, the gallery, released fields."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from federation.canonical import b64
from federation.probe.answer import Candidate, GallerySize

if TYPE_CHECKING:
    from agency_node.engine.base import FaceEngine
    from agency_node.gallery.gallery import Gallery
    from agency_node.gallery.model import Match

FaceBox = tuple[int, int, int, int]

PHOTO_SIDE = 480
PHOTO_QUALITY = 88
_LONGEST_LINE = 200


@dataclass(frozen=True, slots=True)
class Found:
    """What one gallery gives for one probe: the engine's id, how much was searched, the candidates by rank."""

    engine: str
    size: GallerySize
    candidates: tuple[Candidate, ...]


class Searcher(Protocol):
    """Whatever can look a face up in this node's galleries."""

    def serves(self, gallery: str) -> bool:
        """Whether that gallery is open here."""

    def find(self, gallery: str, picture: bytes, box: FaceBox, limit: int, release: Collection[str]) -> Found:
        """Search a gallery for the face at `box` (pixels x1, y1, x2, y2); at most `limit` candidates, with the
        fields in `release`."""


class GallerySearcher:
    """Searches with a face engine in the galleries that this process holds; blocking, for a worker thread."""

    def __init__(self, engine: FaceEngine, galleries: Mapping[str, Gallery]) -> None:
        self._engine = engine
        self._galleries = galleries

    def serves(self, gallery: str) -> bool:
        """Whether that gallery is open here."""
        return gallery in self._galleries

    def find(self, gallery: str, picture: bytes, box: FaceBox, limit: int, release: Collection[str]) -> Found:
        """See `Searcher.find`. Raises LiaisonError(IMAGE_UNREADABLE, IMAGE_TOO_LARGE, NO_FACE, INDEX_UNAVAILABLE)."""
        from agency_node.engine.choose import face_at
        from agency_node.engine.picture import open_picture

        probe = open_picture(picture)
        face = face_at(self._engine.detect(probe), box)
        held = self._galleries[gallery]
        matches = held.search(self._engine.template(probe, face), limit)
        counts = held.counts()
        return Found(
            self._engine.engine_id,
            GallerySize(subjects=counts.subjects, templates=counts.templates),
            tuple(_candidate(held, match, rank, release) for rank, match in enumerate(matches[:limit], 1)),
        )


def _candidate(gallery: Gallery, match: Match, rank: int, release: Collection[str]) -> Candidate:
    facts = match.facts
    fields: dict[str, object] = {
        "subject-reference": _line(facts.subject_ref),
        "encounter-date": facts.captured_on and facts.captured_on.isoformat(),
        "year-of-birth": facts.year_of_birth,
        "sex": _line(facts.sex),
        "name": _line(facts.name),
        "provenance": _provenance(match),
    }
    names = {
        "subject-reference": "subject",
        "encounter-date": "encounter_date",
        "year-of-birth": "year_of_birth",
    }
    released = {names.get(field, field): value for field, value in fields.items() if field in release}
    if "photo" in release:
        released["photo"] = b64(_photo(gallery.photo(match.encounter_id), match.box))
    similarity = max(-1.0, min(1.0, round(match.similarity, 6)))
    return Candidate.model_validate({"rank": rank, "similarity": similarity, **released})


def _provenance(match: Match) -> dict[str, str] | None:
    facts = match.facts
    known = {
        "url": facts.provenance_url,
        "captured_on": facts.provenance_captured_on and facts.provenance_captured_on.isoformat(),
        "basis": facts.basis,
    }
    return {key: value for key, value in known.items() if value} or None


def _photo(stored: bytes, box: tuple[float, float, float, float]) -> bytes:
    """The photograph as it leaves: the face with its own size around it on every side, since whoever else is in
    the picture was not searched for; at most 480 pixels a side, JPEG, no metadata."""
    import cv2

    from agency_node.engine.picture import encode_jpeg, open_picture

    picture = open_picture(stored)
    margin = max(box[2] - box[0], box[3] - box[1])
    left, top = max(int(box[0] - margin), 0), max(int(box[1] - margin), 0)
    right, bottom = min(int(box[2] + margin), picture.width), min(int(box[3] + margin), picture.height)
    pixels = picture.pixels[top:bottom, left:right]
    scale = PHOTO_SIDE / max(pixels.shape[:2])
    if scale < 1:
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return encode_jpeg(pixels, PHOTO_QUALITY)


def _line(text: str | None) -> str | None:
    return text[:_LONGEST_LINE] if text else None
