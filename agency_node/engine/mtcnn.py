"""Detection by MTCNN: proposals over an image pyramid, refined twice, with five landmarks.

Zhang, Zhang, Li, Qiao: "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks", 2016.
The pyramid is cut into tiles that overlap by one receptive field, so memory does not grow with the picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from agency_node.engine.base import Face, overlap
from agency_node.engine.session import open_session

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

CELL = 12  # what one output of P-Net sees, in pixels
STRIDE = 2  # distance between two outputs of P-Net, in pixels
FACTOR = 0.709  # from one level of the pyramid to the next: the area halves
TILE = 640  # side of a tile in pixels
BATCH = 32  # patches in one call of R-Net or O-Net; 256 left 40 MB more behind and saved no time
PROPOSALS = 4000  # kept at most after P-Net, the best first
TIGHT = 512  # a picture up to this side in which no face is found may be a tight crop of one
DARK = 140  # a picture whose brightest hundredth is below this is searched lightened as well
SAME = 0.3  # overlap from which two boxes mark one face
_SHIFTS = np.array([[0, 0], [0.05, 0], [-0.05, 0], [0, 0.05], [0, -0.05]], np.float32)
_SIZES = (0.9, 1.0, 1.1)
GREY = 127  # what lies outside the picture; close to zero after scaling


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
        boxes = self._propose(pixels)
        boxes = self._refine(pixels, boxes)
        return self._finish(pixels, boxes)

    def _propose(self, pixels: Pixels) -> Floats:
        """P-Net over the pyramid: float32 N×5, squares with a score."""
        found = [np.zeros((0, 5), np.float32)]
        tuning = self._tuning
        large = pixels.shape[0] * pixels.shape[1] > tuning.large
        for scale, level in pyramid(pixels, tuning.smallest_in_large if large else tuning.smallest):
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

    def _refine(self, pixels: Pixels, boxes: Floats) -> Floats:
        """R-Net: fewer and better boxes, float32 N×5, squares with a score."""
        found = [np.zeros((0, 5), np.float32)]
        for some in batches(boxes):
            whole = np.rint(some[:, :4])
            offsets, scores = self._rnet.run(["boxes", "scores"], {"input": patches(pixels, whole, 24)})
            found.append(np.concatenate([moved(whole, offsets), scores[:, 1:]], axis=1))
        kept = np.concatenate(found)
        return squares(suppress(kept[kept[:, 4] > self._tuning.refined], 0.7))

    def _finish(self, pixels: Pixels, boxes: Floats) -> list[Face]:
        """O-Net: the boxes that hold a face, with landmarks."""
        found = [np.zeros((0, 15), np.float32)]
        found.extend(self._outputs(pixels, some) for some in batches(boxes))
        kept = np.concatenate(found)
        kept = suppress(kept[kept[:, 4] > self._tuning.final], 0.6, smaller=True)
        faces = [self._settled(pixels, row) for row in kept[np.argsort(kept[:, 0], kind="stable")]]
        return [face for face in faces if self._is_sure(face, pixels)]

    def _is_sure(self, face: Face, pixels: Pixels) -> bool:
        tuning = self._tuning
        portrait = face.area >= tuning.portrait * pixels.shape[0] * pixels.shape[1]
        return face.score >= (tuning.sure_in_portrait if portrait else tuning.sure)

    def _settled(self, pixels: Pixels, row: Floats) -> Face:
        """Average score and landmarks over crops around the refined box.

        One crop alone is not to be trusted. Its landmarks move by a pixel or two when the picture is cut or scaled
        a little, and then the template of the working image is not that of the original: similarity 0.64 in the
        worst of 29 faces, 0.99 so. And folds of cloth score up to 0.99 in one crop, but 0.83 at most over all,
        where faces in group pictures have 0.98 and more.
        """
        square = squares(row[None, :5])[:, :4]
        refined = squares(self._outputs(pixels, square)[:, :5])[0, :4]
        centre, half = (refined[:2] + refined[2:]) / 2, (refined[2] - refined[0]) / 2
        middles = centre + _SHIFTS * 2 * half
        around = [np.concatenate([middles - half * by, middles + half * by], axis=1) for by in _SIZES]
        mean = self._outputs(pixels, np.concatenate(around).astype(np.float32)).mean(axis=0)
        x1, y1, x2, y2 = (float(edge) for edge in row[:4])
        landmarks = np.stack([mean[5:10], mean[10:15]], axis=1).astype(np.float32)
        return Face((x1, y1, x2, y2), landmarks, float(mean[4]))

    def _outputs(self, pixels: Pixels, boxes: Floats) -> Floats:
        """O-Net on boxes N×4 or more: float32 N×15 (box, score, five x, five y)."""
        whole = np.rint(boxes[:, :4])
        offsets, points, scores = self._onet.run(
            ["boxes", "landmarks", "scores"], {"input": patches(pixels, whole, 48)}
        )
        side = whole[:, 2:4] - whole[:, :2]
        xs = whole[:, :1] + points[:, :5] * side[:, :1]
        ys = whole[:, 1:2] + points[:, 5:] * side[:, 1:]
        return np.concatenate([moved(whole, offsets), scores[:, 1:], xs, ys], axis=1).astype(np.float32)


def _shifted(face: Face, by: float) -> Face:
    x1, y1, x2, y2 = face.box
    return Face((x1 + by, y1 + by, x2 + by, y2 + by), face.landmarks + np.float32(by), face.score)


def lightened(pixels: Pixels) -> Pixels:
    """Stretch a picture whose brightest hundredth is dark to the full range; return another as it is."""
    bright = float(np.percentile(pixels[::4, ::4], 99))
    if bright >= DARK:
        return pixels
    return np.asarray(np.clip(pixels * np.float32(255 / max(bright, 8.0)), 0, 255), np.uint8)


def pyramid(pixels: Pixels, smallest: float) -> Iterator[tuple[float, Pixels]]:
    """Yield (scale, picture) from the largest level to the last one that holds a cell."""
    height, width = pixels.shape[:2]
    scale = CELL / smallest
    while min(height, width) * scale >= CELL:
        size = (round(width * scale), round(height * scale))
        shrinks = scale < 1
        yield scale, cv2.resize(pixels, size, interpolation=_smooth(shrinks))
        scale *= FACTOR


def _smooth(shrinks: bool) -> int:
    return cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR


def tiles(level: Pixels, side: int = TILE) -> Iterator[tuple[int, int, Pixels]]:
    """Yield (x, y, tile) such that every cell of P-Net lies whole in one tile; side and overlap are even."""
    height, width = level.shape[:2]
    step = side - CELL + STRIDE
    for top in range(0, max(height - CELL, 0) + 1, step):
        for left in range(0, max(width - CELL, 0) + 1, step):
            yield left, top, level[top : top + side, left : left + side]


def scaled(pixels: Pixels) -> Floats:
    """N×H×W×3 uint8 BGR to N×3×H×W float32 RGB, about -1 to 1."""
    planes = pixels[..., ::-1].transpose(0, 3, 1, 2)
    return (np.ascontiguousarray(planes, dtype=np.float32) - 127.5) / 128.0


def patches(pixels: Pixels, boxes: Floats, side: int) -> Floats:
    """Cut whole-numbered boxes out, scaled to side×side; outside the picture lies grey."""
    cut = np.empty((len(boxes), side, side, 3), np.uint8)
    for index, box in enumerate(boxes.astype(int)):
        patch = crop(pixels, *box)
        shrinks = patch.shape[0] > side
        cut[index] = cv2.resize(patch, (side, side), interpolation=_smooth(shrinks))
    return scaled(cut)


def crop(pixels: Pixels, x1: int, y1: int, x2: int, y2: int) -> Pixels:
    """Cut a box that may reach past the picture; what lies outside is grey."""
    inside = pixels[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)]
    if inside.shape[:2] == (y2 - y1, x2 - x1):
        return inside
    patch = np.full((y2 - y1, x2 - x1, 3), GREY, np.uint8)
    top, left = max(-y1, 0), max(-x1, 0)
    patch[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return patch


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


def suppress(rows: Floats, threshold: float, *, smaller: bool = False) -> Floats:
    """Non-maximum suppression: the best rows first, none overlapping a better one by more than the threshold.

    Rows are (x1, y1, x2, y2, score, ...). Overlap is intersection over union, or over the smaller of the two boxes.
    """
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
        whole = np.minimum(area[best], area[rest]) if smaller else area[best] + area[rest] - shared
        left = rest[shared <= threshold * whole]
    return rows[kept]
