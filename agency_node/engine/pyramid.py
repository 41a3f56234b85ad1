"""A picture at many sizes: the levels and tiles that P-Net searches, the patches that R-Net and O-Net look at.

Shrinking starts from the smallest half of the picture that has the pixels for it: never by more than two, bilinear
interpolation then takes in every pixel. Averaging over the whole picture's pixels took as long as a third of the
networks' own time, for the same faces and templates as good.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

CELL = 12  # what one output of P-Net sees, in pixels
STRIDE = 2  # distance between two outputs of P-Net, in pixels
FACTOR = 0.709  # from one level of the pyramid to the next: the area halves
TILE = 256  # side of a tile in pixels; what P-Net makes of 640 does not fit the caches and takes 1.4 times as long
GREY = 127  # what lies outside the picture; close to zero after scaling


class Halves:
    """A picture (uint8 H×W×3) and its halves, quarters and so on, each made when it is first asked for.

    A pixel of half number k covers 2^k × 2^k pixels of the picture; what is left over at the right and lower edge,
    less than one of its pixels, is in none.
    """

    def __init__(self, pixels: Pixels) -> None:
        self._halves = [pixels]

    @property
    def area(self) -> int:
        """Pixels of the picture."""
        height, width = self._halves[0].shape[:2]
        return int(height * width)

    def half(self, number: int) -> Pixels:
        """The picture halved that many times."""
        while len(self._halves) <= number:
            last = self._halves[-1]
            height, width = last.shape[0] // 2, last.shape[1] // 2
            whole = last[: 2 * height, : 2 * width]
            self._halves.append(
                np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
            )
        return self._halves[number]

    def pyramid(self, smallest: float) -> Iterator[tuple[float, Pixels]]:
        """Yield (scale, level) from where a face of `smallest` pixels is a cell to the last that holds one."""
        height, width = self._halves[0].shape[:2]
        scale = CELL / smallest
        while min(height, width) * scale >= CELL:
            number = max(0, int(-math.log2(scale)))
            source, rest = self.half(number), scale * 2**number
            size = [max(CELL, round(side * rest)) for side in (source.shape[1], source.shape[0])]
            yield scale, np.asarray(cv2.resize(source, size), np.uint8)
            scale *= FACTOR

    def patches(self, boxes: Floats, side: int) -> tuple[Floats, Floats]:
        """Cut boxes N×4 out, scaled to side×side: (the boxes as they were cut, N×3×side×side for a network).

        A box is cut at whole pixels of the half it is taken from; outside the picture lies grey.
        """
        shrink = (boxes[:, 2:4] - boxes[:, :2]).min(axis=1) / side
        most = min(self._halves[0].shape[:2]).bit_length() - 1  # further halves of a narrow picture are empty
        numbers = np.minimum(np.log2(np.maximum(shrink, 1)).astype(int), most)
        units = np.exp2(numbers)[:, None]
        whole = np.rint(boxes[:, :4] / units)
        cut = np.empty((len(boxes), side, side, 3), np.uint8)
        places = zip(cut, numbers.tolist(), whole.astype(int).tolist(), strict=True)
        for patch, number, (x1, y1, x2, y2) in places:
            cv2.resize(crop(self.half(number), x1, y1, x2, y2), (side, side), dst=patch)
        return (whole * units).astype(np.float32), scaled(cut)


def tiles(level: Pixels, side: int = TILE) -> Iterator[tuple[int, int, Pixels]]:
    """Yield (x, y, tile) such that every cell of P-Net lies whole in one tile; side and overlap are even."""
    height, width = level.shape[:2]
    step = side - CELL + STRIDE
    for top in range(0, max(height - CELL, 0) + 1, step):
        for left in range(0, max(width - CELL, 0) + 1, step):
            yield left, top, level[top : top + side, left : left + side]


def scaled(pixels: Pixels) -> Floats:
    """N×H×W×3 uint8 BGR to N×3×H×W float32 RGB, about -1 to 1."""
    count, height, width = pixels.shape[:3]
    planes = np.empty((count, 3, height, width), np.float32)
    # Splitting first is a third quicker than reading every third byte.
    for colour, plane in enumerate(cv2.split(pixels.reshape(-1, width, 3))):
        np.subtract(plane.reshape(count, height, width), np.float32(127.5), out=planes[:, 2 - colour])
    planes *= np.float32(1 / 128)
    return planes


def crop(pixels: Pixels, x1: int, y1: int, x2: int, y2: int) -> Pixels:
    """Cut a box that may reach past the picture; what lies outside is grey."""
    inside = pixels[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)]
    if inside.shape[:2] == (y2 - y1, x2 - x1):
        return inside
    patch = np.full((y2 - y1, x2 - x1, 3), GREY, np.uint8)
    top, left = max(-y1, 0), max(-x1, 0)
    patch[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return patch
