"""A picture at many sizes: nothing is lost between tiles, and a patch lies where its box says."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agency_node.engine.pyramid import CELL, GREY, STRIDE, Halves, Pixels, crop, scaled, tiles


def slope(height: int, width: int) -> Pixels:
    """A picture whose colours tell where one is: blue grows to the right, green downwards."""
    ys, xs = np.mgrid[0:height, 0:width]
    planes = [xs * 255 / width, ys * 255 / height, np.full((height, width), 40)]
    return np.asarray(np.rint(np.stack(planes, axis=2)), np.uint8)


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
    levels = list(Halves(np.zeros((100, 300, 3), np.uint8)).pyramid(smallest=24))
    assert levels[0][1].shape == (50, 150, 3)
    assert min(levels[-1][1].shape[:2]) >= CELL
    assert min(levels[-1][1].shape[:2]) * 0.709 < CELL
    assert list(Halves(np.zeros((10, 300, 3), np.uint8)).pyramid(smallest=24)) == []


@given(st.integers(1, 300), st.integers(1, 300), st.floats(12, 40))
def test_every_level_holds_a_cell_and_is_as_large_as_its_scale_says(
    height: int, width: int, smallest: float
) -> None:
    for scale, level in Halves(np.zeros((height, width, 3), np.uint8)).pyramid(smallest):
        assert min(level.shape[:2]) >= CELL
        assert abs(level.shape[0] - height * scale) < 1.6
        assert abs(level.shape[1] - width * scale) < 1.6


def test_a_level_is_as_good_as_one_averaged_from_the_whole_picture() -> None:
    picture = cv2.GaussianBlur(
        np.random.default_rng(4).integers(0, 255, (401, 603, 3)).astype(np.uint8), (0, 0), 6
    )
    for _, level in Halves(picture).pyramid(20):
        whole = cv2.resize(picture, level.shape[1::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(level.astype(int) - whole).mean() < 2


@pytest.mark.parametrize("size", [10, 24, 31, 48, 95, 200, 399])
@pytest.mark.parametrize("side", [24, 48])
def test_a_patch_shows_what_its_box_marks(size: int, side: int) -> None:
    asked = np.array([[101.3, 57.6, 101.3 + size, 57.6 + size]], np.float32)
    boxes, planes = Halves(slope(600, 700)).patches(asked, side)
    (x1, y1, x2, y2), unit = boxes[0], max(1.0, size / side)
    assert planes.shape == (1, 3, side, side)
    assert np.abs(boxes - asked).max() <= unit / 2
    red, green, blue = planes[0] * 128 + 127.5
    assert np.abs(red - 40).max() == 0
    assert abs(blue.mean() * 700 / 255 - (x1 + x2 - 1) / 2) < 1 + unit
    assert abs(green.mean() * 600 / 255 - (y1 + y2 - 1) / 2) < 1 + unit


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (3, 40)])
def test_a_box_far_larger_than_the_picture_is_cut_all_the_same(size: tuple[int, int]) -> None:
    boxes, planes = Halves(np.full((*size, 3), 255, np.uint8)).patches(
        np.array([[-2000, -2000, 2000, 2000]], np.float32), 24
    )
    assert boxes.tolist() == [[-2000, -2000, 2000, 2000]]
    assert np.median(planes) == np.float32((GREY - 127.5) / 128)


def test_patches_of_nothing_are_none() -> None:
    boxes, planes = Halves(slope(20, 20)).patches(np.zeros((0, 4), np.float32), 24)
    assert (boxes.shape, planes.shape) == ((0, 4), (0, 3, 24, 24))


def test_scaling_turns_bgr_bytes_into_rgb_planes_about_zero() -> None:
    pixels = np.array([[[[0, 127, 255], [1, 128, 254]]]], np.uint8)
    planes = scaled(pixels)
    assert planes.dtype == np.float32
    assert planes.tolist() == [
        [
            [[127.5 / 128, 126.5 / 128]],
            [[-0.5 / 128, 0.5 / 128]],
            [[-127.5 / 128, -126.5 / 128]],
        ]
    ]


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
