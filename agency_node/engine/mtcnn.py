"""Detection by MTCNN: proposals over an image pyramid, refined twice, with five landmarks.

Zhang, Zhang, Li, Qiao: "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks", 2016.
The pyramid is cut into tiles that overlap by one receptive field, so memory does not grow with the picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from agency_node.engine.base import Face, overlap
from agency_node.engine.pyramid import CELL, STRIDE, Floats, Halves, Pixels, crop, scaled, tiles
from agency_node.engine.session import open_session

BATCH = 16  # patches in one call of R-Net or O-Net; more save no time and leave more memory behind
PROPOSALS = 4000  # kept at most after P-Net, the best first
TIGHT = 512  # a picture up to this side in which no face is found may be a tight crop of one
DARK = 140  # a picture whose brightest hundredth is below this is searched lightened as well
SAME = 0.3  # overlap from which two boxes mark one face
_SHIFTS = np.array([[0, 0], [0.05, 0], [-0.05, 0], [0, 0.05], [0, -0.05]], np.float32)
_SIZES = (0.9, 1.0, 1.1)


@dataclass(frozen=True, slots=True)
class Tuning:
    """How picky the three stages are.

    `smallest` is the least face height in pixels that is looked for, `smallest_in_large` the same in pictures of more
    than `large` pixels. `proposal`, `refined` and `final` are the scores asked of the three networks. A face's own
    score, the mean over shifted crops, must reach `sure`; that of one which fills `portrait` of the picture or more
    must only reach `sure_in_portrait`, because there is little else that it could be.
    """

    smallest: float = 20.0
    smallest_in_large: float = 28.0
    large: int = 4_000_000
    proposal: float = 0.6
    refined: float = 0.7
    final: float = 0.7
    sure: float = 0.9
    sure_in_portrait: float = 0.5
    portrait: float = 1 / 16


class Mtcnn:
    """The detector. Build it from `pnet.onnx`, `rnet.onnx` and `onet.onnx`."""

    def __init__(
        self, nets: Mapping[str, bytes], threads: int | None = None, tuning: Tuning | None = None
    ) -> None:
        self._pnet = open_session(nets["pnet.onnx"], threads)
        self._rnet = open_session(nets["rnet.onnx"], threads)
        self._onet = open_session(nets["onet.onnx"], threads)
        self._tuning = tuning or Tuning()

    def detect(self, pixels: Pixels) -> list[Face]:
        """Find the faces in a BGR picture (uint8 H×W×3), from left to right."""
        faces = self._cascade(pixels)
        light = lightened(pixels)
        if light is not pixels:
            # Some faces lie in the dark and others in a lit corner of the same picture: look for both.
            more = [
                face
                for face in self._cascade(light)
                if all(overlap(face.box, one.box) < SAME for one in faces)
            ]
            faces = sorted([*faces, *more], key=lambda face: face.box[0])
        if faces or max(pixels.shape) > TIGHT:
            return faces
        # A crop that ends at the face's edge lacks the surroundings that the networks were trained with.
        margin = max(pixels.shape) // 2
        height, width = pixels.shape[:2]
        padded = crop(light, -margin, -margin, width + margin, height + margin)
        return [_shifted(face, -margin) for face in self._cascade(padded)]

    def _cascade(self, pixels: Pixels) -> list[Face]:
        halves = Halves(pixels)
        return self._finish(halves, self._refine(halves, self._propose(halves)))

    def _propose(self, halves: Halves) -> Floats:
        """P-Net over the pyramid: float32 N×5, squares with a score."""
        found = [np.zeros((0, 5), np.float32)]
        tuning = self._tuning
        large = halves.area > tuning.large
        for scale, level in halves.pyramid(tuning.smallest_in_large if large else tuning.smallest):
            boxes = [self._propose_tile(tile, x, y) for x, y, tile in tiles(level)]
            kept = suppress(np.concatenate(boxes), 0.5)
            kept[:, :4] /= scale
            found.append(kept)
        return squares(suppress(np.concatenate(found), 0.7)[:PROPOSALS])

    def _propose_tile(self, tile: Pixels, left: int, top: int) -> Floats:
        offsets, scores = self._pnet.run(["boxes", "scores"], {"input": scaled(tile[None])})
        rows, columns = np.nonzero(scores[0, 1] > self._tuning.proposal)
        corner = np.stack([columns * STRIDE + left, rows * STRIDE + top], axis=1)
        boxes = np.concatenate([corner, corner + CELL], axis=1) + offsets[0][:, rows, columns].T * CELL
        return np.concatenate([boxes, scores[0, 1, rows, columns][:, None]], axis=1).astype(np.float32)

    def _refine(self, halves: Halves, boxes: Floats) -> Floats:
        """R-Net: fewer and better boxes, float32 N×5, squares with a score."""
        found = [np.zeros((0, 5), np.float32)]
        for some in batches(boxes):
            whole, planes = halves.patches(some, 24)
            offsets, scores = self._rnet.run(["boxes", "scores"], {"input": planes})
            found.append(np.concatenate([moved(whole, offsets), scores[:, 1:]], axis=1))
        kept = np.concatenate(found)
        return squares(suppress(kept[kept[:, 4] > self._tuning.refined], 0.7))

    def _finish(self, halves: Halves, boxes: Floats) -> list[Face]:
        """O-Net: the boxes that hold a face, with landmarks."""
        kept = self._outputs(halves, boxes)
        kept = suppress_smaller(kept[kept[:, 4] > self._tuning.final], 0.6)
        faces = self._settled(halves, kept[np.argsort(kept[:, 0], kind="stable")])
        return [face for face in faces if self._is_sure(face, halves.area)]

    def _is_sure(self, face: Face, area: int) -> bool:
        tuning = self._tuning
        portrait = face.area >= tuning.portrait * area
        return face.score >= (tuning.sure_in_portrait if portrait else tuning.sure)

    def _settled(self, halves: Halves, rows: Floats) -> list[Face]:
        """Average score and landmarks over crops around the refined boxes.

        One crop alone is not to be trusted. Its landmarks move by a pixel or two when the picture is cut or scaled
        a little, and then the template of the working image is not that of the original: similarity 0.64 in the
        worst of 29 faces, 0.99 so. And folds of cloth score up to 0.99 in one crop, but 0.83 at most over all,
        where faces in group pictures have 0.98 and more.
        """
        refined = squares(self._outputs(halves, squares(rows[:, :5]))[:, :5])[:, None, :4]
        centre, half = (refined[..., :2] + refined[..., 2:]) / 2, (refined[..., 2:3] - refined[..., :1]) / 2
        middles = centre + _SHIFTS * 2 * half
        around = [np.concatenate([middles - half * by, middles + half * by], axis=2) for by in _SIZES]
        outputs = self._outputs(halves, np.concatenate(around, axis=1).reshape(-1, 4).astype(np.float32))
        means = outputs.reshape(len(rows), len(_SHIFTS) * len(_SIZES), 15).mean(axis=1)
        return [_face(row[:4], mean) for row, mean in zip(rows, means, strict=True)]

    def _outputs(self, halves: Halves, boxes: Floats) -> Floats:
        """O-Net on boxes N×4 or more: float32 N×15 (box, score, five x, five y)."""
        found = [np.zeros((0, 15), np.float32)]
        for some in batches(boxes):
            whole, planes = halves.patches(some, 48)
            offsets, points, scores = self._onet.run(["boxes", "landmarks", "scores"], {"input": planes})
            side = whole[:, 2:4] - whole[:, :2]
            xs = whole[:, :1] + points[:, :5] * side[:, :1]
            ys = whole[:, 1:2] + points[:, 5:] * side[:, 1:]
            found.append(np.concatenate([moved(whole, offsets), scores[:, 1:], xs, ys], axis=1))
        return np.concatenate(found)


def _face(box: Floats, mean: Floats) -> Face:
    x1, y1, x2, y2 = (float(edge) for edge in box)
    landmarks = np.stack([mean[5:10], mean[10:15]], axis=1).astype(np.float32)
    return Face((x1, y1, x2, y2), landmarks, float(mean[4]))


def _shifted(face: Face, by: float) -> Face:
    x1, y1, x2, y2 = face.box
    return Face((x1 + by, y1 + by, x2 + by, y2 + by), face.landmarks + np.float32(by), face.score)


def lightened(pixels: Pixels) -> Pixels:
    """Stretch a picture whose brightest hundredth is dark to the full range; return another as it is."""
    sample = np.ascontiguousarray(pixels[::4, ::4]).reshape(-1, 1)
    below = np.cumsum(cv2.calcHist([sample], [0], None, [256], [0, 256]))
    bright = int(np.searchsorted(below, 0.99 * sample.size))
    if bright >= DARK:
        return pixels
    return np.asarray(cv2.convertScaleAbs(pixels, alpha=255 / max(bright, 8)), np.uint8)


def batches(boxes: Floats) -> Iterator[Floats]:
    """Cut boxes into runs of at most BATCH."""
    for start in range(0, len(boxes), BATCH):
        yield boxes[start : start + BATCH]


def moved(boxes: Floats, offsets: Floats) -> Floats:
    """Move the corners by offsets in units of the box's own size."""
    size = boxes[:, 2:4] - boxes[:, :2]
    return (boxes[:, :4] + offsets * np.tile(size, 2)).astype(np.float32)


def squares(boxes: Floats) -> Floats:
    """Widen each box to a square about its centre."""
    size = boxes[:, 2:4] - boxes[:, :2]
    half = size.max(axis=1, keepdims=True, initial=2.0) / 2
    centre = boxes[:, :2] + size / 2
    return np.concatenate([centre - half, centre + half, boxes[:, 4:]], axis=1).astype(np.float32)


def suppress(rows: Floats, threshold: float) -> Floats:
    """Non-maximum suppression: the best rows first, none whose box overlaps that of a better one too much.

    Rows are (x1, y1, x2, y2, score, ...) with scores above 0; too much is an intersection over union of more than
    the threshold.
    """
    sides = rows[:, 2:4] - rows[:, :2]
    boxes = np.concatenate([rows[:, :2], sides], axis=1)
    kept = cv2.dnn.NMSBoxes(boxes.tolist(), rows[:, 4].tolist(), 0.0, threshold)
    return rows[np.asarray(kept, np.intp).reshape(-1)]


def suppress_smaller(rows: Floats, threshold: float) -> Floats:
    """The same, but the overlap is the intersection over the smaller of the two boxes: one face in another is none."""
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    area = np.prod(np.maximum(rows[:, 2:4] - rows[:, :2], 0), axis=1)
    left = np.arange(len(rows))
    kept: list[int] = []
    while left.size:
        best, rest = left[0], left[1:]
        kept.append(int(best))
        low = np.maximum(rows[best, :2], rows[rest, :2])
        high = np.minimum(rows[best, 2:4], rows[rest, 2:4])
        shared = np.prod(np.maximum(high - low, 0), axis=1)
        left = rest[shared <= threshold * np.minimum(area[best], area[rest])]
    return rows[kept]
