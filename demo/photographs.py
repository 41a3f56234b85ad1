"""The demo's people: photographs that installed packages carry, and probes made from them by stated degradations.

Each person here has one photograph only, so a probe is a damaged copy of the photograph that is enrolled. That shows
the path from probe to candidate list; it says nothing about accuracy. Accuracy needs several photographs of each
person: `make demo PHOTOS=<folder>`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from agency_node.engine import FaceEngine, open_picture
from agency_node.engine.picture import Pixels, encode_jpeg

Step = dict[str, Any]
# The margin around a face in a portrait, as a share of the face's box.
_MARGIN = 0.9


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe with what is known of it: who it shows (None: nobody enrolled), and how it was made."""

    id: str
    picture: bytes
    truth: str | None
    made_by: list[Step]
    face: int | None = None


@dataclass(frozen=True, slots=True)
class Cast:
    """Who is enrolled where, and who is looked for. `enrolled`: gallery → person → photographs by file name."""

    enrolled: dict[str, dict[str, dict[str, Path | bytes]]]
    probes: list[Probe]
    notes: list[str] = field(default_factory=list)


def packaged_cast(engine: FaceEngine, answering: tuple[str, str], closed: str) -> Cast:
    """Six people of InsightFace's sample group picture and scikit-image's astronaut (NASA, public domain)."""
    portraits = packaged_portraits(engine)
    group = _group_picture()
    booking, public = answering
    enrolled = {
        booking: _pick(portraits, "astronaut", "group-1", "group-2", "group-3"),
        public: _pick(portraits, "astronaut", "group-3", "group-4", "group-5"),
        closed: _pick(portraits, "astronaut", "group-1"),
    }
    recipes: list[tuple[str, str | None, list[Step]]] = [
        (
            "astronaut",
            "astronaut",
            [{"op": "downscale", "face_px": 56}, {"op": "blur", "sigma": 1.0}, {"op": "jpeg", "quality": 40}],
        ),
        ("group-1", "group-1", [{"op": "light", "gain": 0.4}, {"op": "jpeg", "quality": 30}]),
        ("group-4", "group-4", [{"op": "crop", "margin": 0.35}, {"op": "downscale", "face_px": 48}]),
        ("group-6", None, [{"op": "blur", "sigma": 1.2}, {"op": "jpeg", "quality": 50}]),
    ]
    probes = [
        Probe(f"{name}-degraded", degrade(portraits[name], steps), truth, steps)
        for name, truth, steps in recipes
    ]
    probes.append(Probe("group-picture-face-3", group, "group-3", [{"op": "pick", "face": 3}], face=3))
    return Cast(enrolled, probes)


def folder_cast(folder: Path, answering: tuple[str, str], closed: str) -> Cast:
    """The people of a folder of one folder a person: the first photograph by name is enrolled, the others are probes.

    People go to the two answering galleries in turn; every third is copied to the closed one.
    """
    people = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    empty: dict[str, dict[str, dict[str, Path | bytes]]] = {gallery: {} for gallery in (*answering, closed)}
    cast = Cast(empty, [])
    for index, person in enumerate(people):
        photographs = sorted(
            path for path in person.iterdir() if path.is_file() and not path.name.startswith(".")
        )
        if not photographs:
            cast.notes.append(f"{person.name}: no photographs")
            continue
        first, *others = photographs
        cast.enrolled[answering[index % 2]][person.name] = {first.name: first}
        if index % 3 == 0:
            cast.enrolled[closed][person.name] = {first.name: first}
        cast.probes.extend(
            Probe(f"{person.name}/{path.name}", path.read_bytes(), person.name, []) for path in others
        )
    return cast


def degrade(portrait: bytes, steps: list[Step]) -> bytes:
    """A portrait after the steps: what a camera on a wall makes of a face. JPEG unless a step says how."""
    picture = open_picture(portrait)
    pixels, quality = picture.pixels, 90
    for step in steps:
        match step["op"]:
            case "downscale":
                # A portrait's face is its width less the margins on both sides.
                face = pixels.shape[1] / (1 + 2 * _MARGIN)
                scale = step["face_px"] / face
                pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            case "blur":
                pixels = cv2.GaussianBlur(pixels, (0, 0), step["sigma"])
            case "light":
                pixels = np.clip(pixels.astype(np.float32) * step["gain"], 0, 255).astype(np.uint8)
            case "crop":
                cut = (_MARGIN - step["margin"]) / (1 + 2 * _MARGIN)
                height, width = pixels.shape[:2]
                top, left = int(height * cut), int(width * cut)
                pixels = pixels[top : height - top, left : width - left]
            case "jpeg":
                quality = step["quality"]
            case other:
                raise ValueError(other)
    return encode_jpeg(np.ascontiguousarray(pixels), quality=quality)


def astronaut() -> bytes:
    """Scikit-image's astronaut: Eileen Collins, photographed by NASA; public domain."""
    return (resources.files("skimage") / "data" / "astronaut.png").read_bytes()


def _group_picture() -> bytes:
    return (resources.files("insightface") / "data" / "images" / "t1.jpg").read_bytes()


def packaged_portraits(engine: FaceEngine) -> dict[str, bytes]:
    """Portraits by person; the people of the group picture are numbered from left to right."""
    portraits: dict[str, bytes] = {}
    for name, data in (("group", _group_picture()), ("astronaut", astronaut())):
        picture = open_picture(data)
        for number, face in enumerate(engine.detect(picture), start=1):
            key = f"{name}-{number}" if name == "group" else name
            portraits.setdefault(key, encode_jpeg(_portrait(picture.pixels, face.box)))
    return portraits


def _portrait(pixels: Pixels, box: tuple[float, float, float, float]) -> Pixels:
    x1, y1, x2, y2 = box
    across, down = (x2 - x1) * _MARGIN, (y2 - y1) * _MARGIN
    height, width = pixels.shape[:2]
    left, right = max(0, int(x1 - across)), min(width, int(x2 + across))
    top, bottom = max(0, int(y1 - down)), min(height, int(y2 + down))
    return np.ascontiguousarray(pixels[top:bottom, left:right])


def _pick(portraits: dict[str, bytes], *people: str) -> dict[str, dict[str, Path | bytes]]:
    return {person: {"photograph.jpg": portraits[person]} for person in people}
