"""How good a face is for a search: six things that can be measured and explained, each 0 to 100.

The unified score is half the mean and half the weakest of the six, because one thing that is bad enough spoils a
search whatever the others are. The curves below were drawn by hand from photographs of known degradations; they are
comparable within this engine and are no promise of accuracy, which only calibration gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from agency_node.engine.align import aligned
from agency_node.engine.base import Face
from agency_node.engine.picture import Picture

Curve = Sequence[tuple[float, float]]
Grey = npt.NDArray[np.float32]

INTER_EYE: Curve = [(8, 0), (20, 50), (40, 85), (60, 100)]
FACE_SIZE: Curve = [(20, 0), (40, 50), (80, 85), (112, 100)]
SHARPNESS: Curve = [(0.03, 0), (0.07, 40), (0.11, 80), (0.16, 100)]
BRIGHTNESS: Curve = [(10, 0), (35, 35), (80, 90), (100, 100), (170, 100), (200, 70), (240, 0)]
CONTRAST: Curve = [(3, 0), (12, 50), (25, 100)]
CLIPPED: Curve = [(0.1, 100), (0.5, 0)]
TURNED: Curve = [(0.1, 100), (0.25, 70), (0.6, 0)]
TILTED: Curve = [(0.15, 100), (0.4, 0)]
BLOCKS: Curve = [(1.5, 100), (2.0, 70), (3.5, 0)]
LEVEL = 0.56  # where the nose lies between eyes and mouth when the head is level


@dataclass(frozen=True, slots=True)
class Component:
    """One measured thing: the value in its own unit, its score 0 to 100, and a sentence."""

    value: float
    score: int
    says: str


@dataclass(frozen=True, slots=True)
class Quality:
    """The quality of one face: `unified` 0 to 100, and the components by name."""

    unified: int
    components: dict[str, Component]

    def as_json(self) -> dict[str, object]:
        """The same for a machine."""
        parts = {
            name: {"value": round(part.value, 3), "score": part.score, "says": part.says}
            for name, part in self.components.items()
        }
        return {"unified": self.unified, "components": parts}


def assess(picture: Picture, face: Face) -> Quality:
    """Measure a face; a pure function of the pixels and the landmarks."""
    crop = aligned(picture.pixels, face)
    inner = np.asarray(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), np.float32)[16:96, 16:96]
    components = {
        "inter_eye": _distance(face),
        "size": _size(face),
        "sharpness": _sharpness(inner),
        "exposure": _exposure(inner),
        "pose": _pose(face),
        "compression": _compression(picture, face),
    }
    scores = [part.score for part in components.values()]
    return Quality(round((sum(scores) / len(scores) + min(scores)) / 2), components)


def _score(curve: Curve, value: float) -> int:
    return round(float(np.interp(value, [at for at, _ in curve], [score for _, score in curve])))


def _word(score: int, good: str, fair: str, poor: str) -> str:
    return good if score >= 70 else fair if score >= 40 else poor


def _distance(face: Face) -> Component:
    value = face.inter_eye
    score = _score(INTER_EYE, value)
    judged = _word(score, "enough", "less than is good", "too few for a dependable search")
    return Component(value, score, f"The eyes are {value:.0f} pixels apart, {judged}.")


def _size(face: Face) -> Component:
    score = _score(FACE_SIZE, face.height)
    judged = _word(score, "large enough", "small", "very small")
    return Component(face.height, score, f"The face is {face.height:.0f} pixels high, {judged}.")


def _sharpness(inner: Grey) -> Component:
    """Fine detail against contrast, in the aligned crop, so that enlarged small faces count as blurred."""
    detail = cv2.Laplacian(cv2.GaussianBlur(inner, (0, 0), 1.0), cv2.CV_32F)
    value = float(detail.std() / max(inner.std(), 1.0))
    score = _score(SHARPNESS, value)
    return Component(value, score, f"The face is {_word(score, 'sharp', 'a little blurred', 'blurred')}.")


def _exposure(inner: Grey) -> Component:
    """Mean brightness 0 to 255, lowered by flatness and by clipped areas."""
    value = float(inner.mean())
    clipped = float(((inner <= 2) | (inner >= 253)).mean())
    parts = {
        f"The face is {'dark' if value < 128 else 'glaring'}.": _score(BRIGHTNESS, value),
        "The face has little contrast.": _score(CONTRAST, float(inner.std())),
        "Parts of the face are clipped to black or white.": _score(CLIPPED, clipped),
    }
    worst = min(parts, key=lambda says: parts[says])
    return Component(value, parts[worst], worst if parts[worst] < 70 else "The face is well lit.")


def _pose(face: Face) -> Component:
    """How far the nose lies off the line between eyes and mouth, in eye distances, and off its usual height."""
    points = face.landmarks.astype(np.float64)
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    across = (points[1] - points[0]) / max(face.inter_eye, 1e-6)
    down = np.array([-across[1], across[0]])
    turned = abs(float((points[2] - eyes) @ across)) / max(face.inter_eye, 1e-6)
    length = float((mouth - eyes) @ down)
    tilted = abs(float((points[2] - eyes) @ down) / length - LEVEL) if length > 1e-6 else 1.0
    scores = _score(TURNED, turned), _score(TILTED, tilted)
    way = "to the side" if scores[0] <= scores[1] else "up or down"
    judged = _word(
        min(scores),
        "The face looks at the camera.",
        f"The face is turned a little {way}.",
        f"The face is turned {way}.",
    )
    return Component(turned, min(scores), judged)


def _compression(picture: Picture, face: Face) -> Component:
    """Steps at every eighth pixel against those between: the blocks that JPEG leaves in a picture not scaled since."""
    x1, y1, x2, y2 = (max(int(edge), 0) for edge in face.box)
    grey = np.asarray(cv2.cvtColor(picture.pixels[y1:y2, x1:x2], cv2.COLOR_BGR2GRAY), np.float32)
    value = float(np.mean([_steps(grey), _steps(grey.T)]))
    score = _score(BLOCKS, value)
    judged = _word(score, "No strong", "Some", "Strong")
    return Component(value, score, f"{judged} traces of compression.")


def _steps(grey: Grey) -> float:
    steps = np.abs(np.diff(grey, axis=0)).mean(axis=1)
    if len(steps) < 16:
        return 1.0
    phases = [float(steps[start::8].mean()) for start in range(8)]
    return max(phases) / max(float(np.median(phases)), 0.5)
