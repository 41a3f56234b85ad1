"""Which face is meant: never a guess.

A person picks by number; an import takes a face only if it is alone or clearly the portrait's; a node takes the face
that the signed box marks. In every other case the answer is an error that lists what there is.
"""

from __future__ import annotations

from collections.abc import Sequence

from agency_node.engine.base import Box, Face, overlap
from federation.errors import Code, LiaisonError

DOMINANT_RATIO = 3.0  # how many times the area of every other face a portrait's face has
DOMINANT_SCORE = 0.9
SAME_FACE = 0.3  # intersection over union from which two boxes mark one face
_LISTED = 20


def only_face(faces: Sequence[Face]) -> Face:
    """Return the face of a picture that has exactly one; raise NO_FACE or SEVERAL_FACES otherwise."""
    if not faces:
        raise LiaisonError(Code.NO_FACE)
    if len(faces) > 1:
        raise LiaisonError(Code.SEVERAL_FACES, listing(faces))
    return faces[0]


def pick(faces: Sequence[Face], number: int) -> Face:
    """Return the face with that number, from 1, left to right; raise NO_FACE or FACE_NOT_THERE."""
    if not faces:
        raise LiaisonError(Code.NO_FACE)
    if not 1 <= number <= len(faces):
        raise LiaisonError(Code.FACE_NOT_THERE, listing(faces))
    return numbered(faces)[number - 1]


def dominant_face(faces: Sequence[Face]) -> tuple[Face, int]:
    """Return the face that a portrait is of, and how many others there are, for the importer to flag.

    That is the only face, or one of high score and at least three times the area of every other. Raises NO_FACE, or
    SEVERAL_FACES when the picture does not say whose portrait it is.
    """
    if len(faces) < 2:
        return only_face(faces), 0
    largest, second = sorted(faces, key=lambda face: -face.area)[:2]
    if largest.score < DOMINANT_SCORE or largest.area < DOMINANT_RATIO * second.area:
        raise LiaisonError(Code.SEVERAL_FACES, listing(faces))
    return largest, len(faces) - 1


def face_at(faces: Sequence[Face], box: Box) -> Face:
    """Return the face that overlaps a given box best; raise NO_FACE if none overlaps it by 0.3 or more."""
    best = max(faces, key=lambda face: overlap(face.box, box), default=None)
    if best is None or overlap(best.box, box) < SAME_FACE:
        raise LiaisonError(Code.NO_FACE, "There is none where the request marks one.")
    return best


def numbered(faces: Sequence[Face]) -> list[Face]:
    """The faces in the order of their numbers: left to right, then top to bottom."""
    return sorted(faces, key=lambda face: (face.box[0], face.box[1]))


def listing(faces: Sequence[Face]) -> str:
    """One sentence that numbers the faces, with place and size in pixels."""
    parts = [
        f"{number}: at ({face.box[0]:.0f}, {face.box[1]:.0f}), {face.width:.0f} x {face.height:.0f} pixels"
        for number, face in enumerate(numbered(faces), start=1)
    ]
    more = f"; and {len(parts) - _LISTED} more" if len(parts) > _LISTED else ""
    return f"From left to right: {'; '.join(parts[:_LISTED])}{more}."
