"""From a photograph's bytes to the face that is enrolled."""

from __future__ import annotations

from typing import Protocol

from agency_node.engine import FaceEngine, open_picture
from agency_node.engine.choose import dominant_face
from agency_node.engine.quality import assess
from agency_node.gallery import EnrolledFace


class PhotoReader(Protocol):
    """Finds the face of a portrait and makes its template."""

    def read(self, photo: bytes) -> EnrolledFace:
        """Return the face; raises IMAGE_UNREADABLE, IMAGE_TOO_LARGE, NO_FACE or SEVERAL_FACES."""


class EngineReader:
    """Reads photographs with a face engine; a face is taken only if the picture says whose portrait it is."""

    def __init__(self, engine: FaceEngine) -> None:
        self._engine = engine

    def read(self, photo: bytes) -> EnrolledFace:
        picture = open_picture(photo)
        face, others = dominant_face(self._engine.detect(picture))
        x1, y1, x2, y2 = (float(edge) for edge in face.box)
        return EnrolledFace(
            template=self._engine.template(picture, face),
            box=(x1, y1, x2, y2),
            landmarks=tuple((float(x), float(y)) for x, y in face.landmarks),
            quality=assess(picture, face).unified,
            flags=(f"other-faces:{others}",) if others else (),
        )
