"""The working image: what of a picture leaves the agency, and the record of how it was made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from agency_node.engine.base import Box, Face
from agency_node.engine.picture import Picture, encode_jpeg, encode_png

MARGIN = 0.9  # kept around the face on each side, as a part of its larger side
VEIL = 0.15  # by how much the mask of a bystander's face is larger than its box on each side
HALO = 0.3  # what is spared around the chosen face, as a part of its larger side
LARGEST = 1600  # pixels; the longer side of a working image
LOSSLESS = 512  # pixels; up to this side the image is a PNG
QUALITY = 95
GREY = 127

Pixels = npt.NDArray[np.uint8]
Edges = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class WorkingImage:
    """An encoded picture of one face.

    `data` is a PNG or JPEG without metadata; `box` marks the face in it, in its pixels; `edits` are the steps that
    made it from the upright original, in order, ready for JSON.
    """

    data: bytes
    box: Box
    edits: list[dict[str, Any]]


def working_image(picture: Picture, faces: Sequence[Face], chosen: Face) -> WorkingImage:
    """Cut out the chosen face with its surroundings, mask every other face that reaches into it, and re-encode.

    The resolution stays that of the picture unless the cut is larger than 1600 pixels.
    """
    frame = _frame(picture, chosen)
    left, top, right, bottom = frame
    pixels = np.array(picture.pixels[top:bottom, left:right])
    edits: list[dict[str, Any]] = [{"op": "crop", "box": list(frame)}]
    for other in faces:
        if other is not chosen:
            edits.extend(_mask(pixels, frame, other, chosen))
    box = (chosen.box[0] - left, chosen.box[1] - top, chosen.box[2] - left, chosen.box[3] - top)
    scale = min(1.0, LARGEST / max(pixels.shape[:2]))
    if scale < 1.0:
        size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        box = (box[0] * scale, box[1] * scale, box[2] * scale, box[3] * scale)
        edits.append({"op": "scale", "width": size[0], "height": size[1]})
    if max(pixels.shape[:2]) <= LOSSLESS:
        return WorkingImage(encode_png(pixels), box, [*edits, {"op": "encode", "format": "png"}])
    encoded = {"op": "encode", "format": "jpeg", "quality": QUALITY}
    return WorkingImage(encode_jpeg(pixels, QUALITY), box, [*edits, encoded])


def _frame(picture: Picture, face: Face) -> Edges:
    margin = MARGIN * max(face.width, face.height)
    return _within(picture, _grown(face.box, margin))


def _grown(box: Box, by: float) -> Box:
    return box[0] - by, box[1] - by, box[2] + by, box[3] + by


def _within(picture: Picture, box: Box) -> Edges:
    """Round a box outwards and keep it inside the picture."""
    xs = np.clip([np.floor(box[0]), np.ceil(box[2])], 0, picture.width)
    ys = np.clip([np.floor(box[1]), np.ceil(box[3])], 0, picture.height)
    return int(xs[0]), int(ys[0]), int(xs[1]), int(ys[1])


def _mask(pixels: Pixels, frame: Edges, other: Face, chosen: Face) -> list[dict[str, Any]]:
    """Paint another face grey, but for what lies inside the chosen face's own box.

    The rim around the other face gives way to a rim around the chosen one, which its template needs.
    """
    rim = _grown(other.box, VEIL * max(other.width, other.height))
    halo = _grown(chosen.box, HALO * max(chosen.width, chosen.height))
    steps = []
    for covered, spared in ((rim, halo), (other.box, chosen.box)):
        box, own = _local(covered, frame), _local(spared, frame)
        if box[0] < box[2] and box[1] < box[3]:
            kept = pixels[own[1] : own[3], own[0] : own[2]].copy()
            pixels[box[1] : box[3], box[0] : box[2]] = GREY
            pixels[own[1] : own[3], own[0] : own[2]] = kept
            steps.append({"op": "mask", "box": list(box), "except": list(own)})
    return steps


def _local(box: Box, frame: Edges) -> Edges:
    """A box in the pixels of a frame, cut at its edges."""
    left, top, right, bottom = frame
    xs = np.clip([np.floor(box[0]), np.ceil(box[2])], left, right) - left
    ys = np.clip([np.floor(box[1]), np.ceil(box[3])], top, bottom) - top
    return int(xs[0]), int(ys[0]), int(xs[1]), int(ys[1])
