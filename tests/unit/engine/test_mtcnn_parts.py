"""The arithmetic of the detector, without its networks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agency_node.engine.mtcnn import CELL, GREY, STRIDE, crop, lightened, pyramid, squares, suppress, tiles


@given(st.integers(12, 200), st.integers(12, 200), st.sampled_from([24, 32, 64]))
def test_every_cell_of_a_level_lies_whole_in_a_tile(height: int, width: int, side: int) -> None:
    level = np.zeros((height, width, 3), np.uint8)
    seen = set()
    for left, top, tile in tiles(level, side):
        assert left % STRIDE == top % STRIDE == 0
        assert min(tile.shape[:2]) >= CELL or (left, top) == (0, 0)
        rows, columns = ((size - CELL) // STRIDE + 1 for size in tile.shape[:2])
        seen |= {(top + STRIDE * y, left + STRIDE * x) for y in range(rows) for x in range(columns)}
    cells = {(y, x) for y in range(0, height - CELL + 1, STRIDE) for x in range(0, width - CELL + 1, STRIDE)}
    assert cells <= seen


def test_the_pyramid_ends_where_a_face_fills_the_picture() -> None:
    levels = list(pyramid(np.zeros((100, 300, 3), np.uint8), smallest=24))
    assert levels[0][1].shape == (50, 150, 3)
    assert min(levels[-1][1].shape[:2]) >= CELL
    assert min(levels[-1][1].shape[:2]) * 0.709 < CELL
    assert list(pyramid(np.zeros((10, 300, 3), np.uint8), smallest=24)) == []


coordinates = st.lists(st.floats(0, 100, width=32), min_size=2, max_size=2)
rows = st.lists(st.tuples(coordinates, coordinates, st.floats(0, 1, width=32)), max_size=25).map(
    lambda all_: np.array(
        [[*a, a[0] + b[0] + 1, a[1] + b[1] + 1, s] for a, b, s in all_], np.float32
    ).reshape(-1, 5)
)


@given(rows, st.sampled_from([0.3, 0.5, 0.7]), st.booleans())
def test_suppression_keeps_the_best_and_no_two_that_overlap(
    boxes: np.ndarray, threshold: float, smaller: bool
) -> None:
    kept = suppress(boxes, threshold, smaller=smaller)
    assert suppress(kept, threshold, smaller=smaller).tolist() == kept.tolist()
    assert (np.diff(kept[:, 4]) <= 0).all()
    if len(boxes):
        assert kept[0, 4] == boxes[:, 4].max()


@given(rows)
def test_a_square_holds_its_box_about_the_same_centre(boxes: np.ndarray) -> None:
    wide = squares(boxes)
    size = wide[:, 2:4] - wide[:, :2]
    assert np.allclose(size[:, 0], size[:, 1], atol=1e-3)
    assert (wide[:, :2] <= boxes[:, :2] + 1e-3).all()
    assert (wide[:, 2:4] >= boxes[:, 2:4] - 1e-3).all()


@pytest.mark.parametrize(
    "box", [(-5, -5, 5, 5), (8, 8, 30, 30), (-50, -50, -20, -20), (2, 3, 4, 6), (100, 0, 110, 10)]
)
def test_what_lies_outside_a_picture_is_grey(box: tuple[int, int, int, int]) -> None:
    picture = np.full((20, 10, 3), 200, np.uint8)
    x1, y1, x2, y2 = box
    cut = crop(picture, x1, y1, x2, y2)
    expected = np.full((y2 - y1, x2 - x1), GREY)
    for y in range(y1, y2):
        for x in range(x1, x2):
            if 0 <= y < 20 and 0 <= x < 10:
                expected[y - y1, x - x1] = 200
    assert (cut == expected[:, :, None]).all()


def test_only_a_dark_picture_is_lightened() -> None:
    dark, bright = np.full((8, 8, 3), 40, np.uint8), np.full((8, 8, 3), 200, np.uint8)
    assert lightened(bright) is bright
    assert lightened(dark).min() == 255
    assert lightened(np.zeros((8, 8, 3), np.uint8)).max() == 0
