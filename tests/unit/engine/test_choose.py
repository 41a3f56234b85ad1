"""Which face is meant: never a guess."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agency_node.engine import Box, Face
from agency_node.engine.base import overlap
from agency_node.engine.choose import dominant_face, face_at, numbered, only_face, pick
from federation.errors import Code, LiaisonError


def face(x: float, y: float, side: float, score: float = 0.99) -> Face:
    return Face((x, y, x + side, y + side), np.zeros((5, 2), np.float32), score)


LEFT, MIDDLE, RIGHT = face(10, 90, 50), face(100, 10, 60), face(300, 40, 70)


def refusal(call: object, *arguments: object) -> LiaisonError:
    assert callable(call)
    with pytest.raises(LiaisonError) as refused:
        call(*arguments)
    return refused.value


def test_no_face_is_said_by_every_way_of_choosing() -> None:
    codes = [
        refusal(only_face, []),
        refusal(pick, [], 1),
        refusal(dominant_face, []),
        refusal(face_at, [], LEFT.box),
    ]
    assert {error.code for error in codes} == {Code.NO_FACE}


def test_several_faces_are_listed_from_left_to_right_and_none_is_taken() -> None:
    error = refusal(only_face, [RIGHT, LEFT, MIDDLE])
    assert error.code is Code.SEVERAL_FACES
    assert "1: at (10, 90), 50 x 50 pixels; 2: at (100, 10), 60 x 60 pixels; 3: at (300, 40)" in error.detail


def test_a_crowd_is_listed_in_part_and_counted_whole() -> None:
    detail = refusal(only_face, [face(60 * n, 0, 50) for n in range(50)]).detail
    assert "20: at" in detail
    assert "21: at" not in detail
    assert "and 30 more" in detail


def test_a_number_means_the_same_face_in_whatever_order_they_were_found() -> None:
    for faces in ([LEFT, MIDDLE, RIGHT], [RIGHT, LEFT, MIDDLE]):
        assert [pick(faces, number) for number in (1, 2, 3)] == [LEFT, MIDDLE, RIGHT] == numbered(faces)


@pytest.mark.parametrize("number", [0, -1, 4])
def test_a_number_that_is_not_there_is_refused(number: int) -> None:
    assert refusal(pick, [LEFT, MIDDLE, RIGHT], number).code is Code.FACE_NOT_THERE


@pytest.mark.parametrize(
    ("faces", "others"),
    [
        ([face(0, 0, 20, 0.75)], 0),
        ([face(0, 0, 100), face(200, 0, 50)], 1),
        ([face(200, 0, 50), face(0, 0, 100), face(300, 0, 20)], 2),
    ],
)
def test_a_portrait_is_of_its_largest_face_and_the_others_are_counted(faces: list[Face], others: int) -> None:
    found, count = dominant_face(faces)
    assert found.area == max(one.area for one in faces)
    assert count == others


@pytest.mark.parametrize(
    "faces",
    [
        [face(0, 0, 100), face(200, 0, 60)],
        [face(0, 0, 100, 0.8), face(200, 0, 40)],
        [face(0, 0, 50), face(200, 0, 50)],
    ],
)
def test_a_picture_of_two_people_is_nobody_s_portrait(faces: list[Face]) -> None:
    assert refusal(dominant_face, faces).code is Code.SEVERAL_FACES


def test_a_signed_box_finds_its_face_and_no_neighbour() -> None:
    faces = [LEFT, MIDDLE, RIGHT]
    assert face_at(faces, (105, 15, 165, 72)) is MIDDLE
    assert refusal(face_at, faces, (200, 10, 260, 70)).code is Code.NO_FACE
    assert refusal(face_at, faces, (140, 50, 200, 110)).code is Code.NO_FACE


edges = st.floats(-1000, 1000)
boxes = st.tuples(edges, edges, st.floats(1, 500), st.floats(1, 500)).map(
    lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3])
)


@given(boxes, boxes)
def test_overlap_is_symmetric_and_between_none_and_all(a: Box, b: Box) -> None:
    assert overlap(a, b) == pytest.approx(overlap(b, a))
    assert 0 <= overlap(a, b) <= 1 + 1e-9
    assert overlap(a, a) == pytest.approx(1)
