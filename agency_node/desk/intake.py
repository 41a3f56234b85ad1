"""From a picture that somebody hands in to the one face that is searched, or a sentence that says why not.

Nothing leaves the agency but the working image: the chosen face with its surroundings, every other face masked, no
metadata. What was done to get there is listed as edits, and both digests are signed with the request.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from agency_node.engine.base import FaceEngine
from agency_node.engine.choose import only_face, pick
from agency_node.engine.picture import open_picture
from agency_node.engine.quality import Quality, assess
from agency_node.engine.working import working_image
from federation.canonical import digest
from federation.errors import Code, LiaisonError
from federation.identity.region import Trust
from federation.policy.load import load_region
from federation.policy.vocabulary import parse_requirement
from federation.probe.request import ProbeFacts
from federation.wire import MAX_CIPHERTEXT

_LARGEST_FILE = 64 << 20
_SEAL_OVERHEAD = 1024
_WEAK = 70


@dataclass(frozen=True, slots=True)
class Intake:
    """`working` is the picture that will be sealed (PNG or JPEG); `facts` is what the request says of it."""

    working: bytes = field(repr=False)
    facts: ProbeFacts
    quality: Quality


def take_in(data: bytes, engine: FaceEngine, *, face: int | None = None, floor: int = 0) -> Intake:
    """Open a picture, find the face, judge it, and make the working image.

    `face` is a number from 1, left to right; it may be left out only when there is exactly one face. `floor` is the
    least unified quality, 0–100.

    Raises LiaisonError(IMAGE_UNREADABLE, IMAGE_TOO_LARGE, NO_FACE, SEVERAL_FACES listing the faces by number,
    FACE_NOT_THERE, PROBE_QUALITY with what is wrong with the face).
    """
    if len(data) > _LARGEST_FILE:
        raise LiaisonError(Code.IMAGE_TOO_LARGE, f"The file is larger than {_LARGEST_FILE >> 20} MB.")
    picture = open_picture(data)
    faces = engine.detect(picture)
    chosen = only_face(faces) if face is None else pick(faces, face)
    quality = assess(picture, chosen)
    if quality.unified < floor:
        raise LiaisonError(
            Code.PROBE_QUALITY,
            f"Its quality is {quality.unified} of 100, and the region asks for {floor}. {weaknesses(quality)}".rstrip(),
        )
    made = working_image(picture, faces, chosen)
    if len(made.data) > MAX_CIPHERTEXT - _SEAL_OVERHEAD:
        raise LiaisonError(Code.MESSAGE_TOO_LARGE)
    upright = open_picture(made.data)
    left, top, right, bottom = (round(edge) for edge in made.box)
    facts = ProbeFacts(
        original_sha256=digest(data),
        working_sha256=digest(made.data),
        width=upright.width,
        height=upright.height,
        face_box=(left, top, right, bottom),
        quality=quality.unified,
        edits=tuple(made.edits),
    )
    return Intake(made.data, facts, quality)


def weaknesses(quality: Quality) -> str:
    """The sentences about what is weak in a face, the weakest first; empty when nothing is."""
    weak = sorted(
        (part for part in quality.components.values() if part.score < _WEAK), key=lambda part: part.score
    )
    return " ".join(part.says for part in weak)


def quality_floor(trust: Trust) -> int:
    """The least quality that the region's rules ask of a probe, 0–100: its limit or its requirement.

    A gallery's own rules may ask for more; they are decided at the hub and at the gallery's node.
    """
    region = load_region(trust.bundle.policy)
    asked = [parsed.quality for word in region.require if (parsed := parse_requirement(word))]
    return max([region.limits.min_quality or 0, *(quality for quality in asked if quality is not None)])
