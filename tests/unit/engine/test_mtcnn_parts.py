"""The arithmetic of the detector, without its networks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agency_node.engine.mtcnn import lightened, squares, suppress, suppress_smaller

coordinates = st.lists(st.floats(0, 100, width=32), min_size=2, max_size=2)
score = st.floats(0.0078125, 1, width=32)
rows = st.lists(st.tuples(coordinates, coordinates, score), max_size=25).map(
    lambda all_: np.array(
        [[*a, a[0] + b[0] + 1, a[1] + b[1] + 1, s] for a, b, s in all_], np.float32
    ).reshape(-1, 5)
)


def shared(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Intersection over union, and over the smaller box."""
    sides = np.maximum(np.minimum(a[2:4], b[2:4]) - np.maximum(a[:2], b[:2]), 0)
    areas = [float(np.prod(box[2:4] - box[:2])) for box in (a, b)]
    inside = float(np.prod(sides))
    return inside / (sum(areas) - inside), inside / min(areas)


@given(rows, st.sampled_from([0.3, 0.5, 0.7]), st.sampled_from([(suppress, 0), (suppress_smaller, 1)]))
def test_suppression_keeps_the_best_and_drops_only_what_overlaps_a_better_one(
    boxes: np.ndarray, threshold: float, how: tuple[Callable[[np.ndarray, float], np.ndarray], int]
) -> None:
    function, measure = how
    kept = function(boxes, threshold)
    assert function(kept, threshold).tolist() == kept.tolist()
    assert (np.diff(kept[:, 4]) <= 0).all()
    assert {tuple(row) for row in kept.tolist()} <= {tuple(row) for row in boxes.tolist()}
    for place, row in enumerate(kept):
        assert all(shared(row, better)[measure] <= threshold + 1e-4 for better in kept[:place])
    for row in boxes:
        assert any(
            row.tolist() == one.tolist()
            or (one[4] >= row[4] and shared(row, one)[measure] >= threshold - 1e-4)
            for one in kept
        )


@given(rows)
def test_a_square_holds_its_box_about_the_same_centre(boxes: np.ndarray) -> None:
    wide = squares(boxes)
    size = wide[:, 2:4] - wide[:, :2]
    assert np.allclose(size[:, 0], size[:, 1], atol=1e-3)
    assert (wide[:, :2] <= boxes[:, :2] + 1e-3).all()
    assert (wide[:, 2:4] >= boxes[:, 2:4] - 1e-3).all()


def test_only_a_dark_picture_is_lightened() -> None:
    dark, bright = np.full((8, 8, 3), 40, np.uint8), np.full((8, 8, 3), 200, np.uint8)
    assert lightened(bright) is bright
    assert lightened(dark).min() == 255
    assert lightened(np.zeros((8, 8, 3), np.uint8)).max() == 0


@pytest.mark.parametrize(("lit", "changed"), [(0.005, True), (0.03, False)])
def test_what_counts_as_dark_is_the_brightest_hundredth(lit: float, changed: bool) -> None:
    picture = np.full((400, 400, 3), 30, np.uint8)
    picture[: round(400 * lit)] = 250
    assert (lightened(picture) is not picture) is changed
