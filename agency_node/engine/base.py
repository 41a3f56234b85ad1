"""What a face engine is: it finds faces, and turns each into a template that can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from agency_node.engine.picture import Picture

Box: TypeAlias = tuple[float, float, float, float]
Template: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A face in a picture.

    `box` is (x1, y1, x2, y2) in pixels of the picture and may reach past its edges; `landmarks` is float32[5, 2]:
    the eye on the left of the picture, the other eye, the tip of the nose, the corner of the mouth on the left,
    the other corner; `score` is the detector's confidence, 0 to 1.
    """

    box: Box
    landmarks: npt.NDArray[np.float32]
    score: float

    @property
    def width(self) -> float:
        """Width of the box in pixels."""
        return self.box[2] - self.box[0]

    @property
    def height(self) -> float:
        """Height of the box in pixels."""
        return self.box[3] - self.box[1]

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        return max(self.width, 0.0) * max(self.height, 0.0)

    @property
    def inter_eye(self) -> float:
        """Distance between the centres of the eyes in pixels."""
        return float(np.linalg.norm(self.landmarks[1] - self.landmarks[0]))


class FaceEngine(Protocol):
    """An engine, named by its pack and by its weights; templates of different `engine_id` are never compared."""

    @property
    def engine_id(self) -> str:
        """`<name>@<first 12 hex digits of a SHA-256 over the weights>`."""
        ...

    @property
    def name(self) -> str:
        """The name of the pack."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a template."""
        ...

    def detect(self, picture: Picture) -> list[Face]:
        """Find the faces, from left to right."""
        ...

    def template(self, picture: Picture, face: Face) -> Template:
        """Make the template of one face: float32[dimension], of unit length."""
        ...

    def templates(self, picture: Picture, faces: Sequence[Face]) -> list[Template]:
        """Make the templates of several faces of one picture."""
        ...


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return shared / (areas - shared)
