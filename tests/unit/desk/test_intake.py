"""From a picture to one face: never the wrong one, never more than the working image, never below the floor."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from agency_node.desk.intake import quality_floor, take_in
from agency_node.engine.picture import open_picture
from federation.canonical import digest
from federation.errors import Code, LiaisonError
from federation.identity.region import Trust

ONE, OTHER = (100.0, 100.0, 200.0, 230.0), (230.0, 100.0, 330.0, 230.0)


def test_the_working_image_is_cropped_encoded_anew_and_described(make_engine: Any, picture: bytes) -> None:
    taken = take_in(picture, make_engine(ONE))
    opened = open_picture(taken.working)
    facts = taken.facts
    assert (facts.original_sha256, facts.working_sha256) == (digest(picture), digest(taken.working))
    assert (facts.width, facts.height) == (opened.width, opened.height)
    assert opened.width * opened.height < 400 * 320
    assert [edit["op"] for edit in facts.edits] == ["crop", "encode"]
    assert 0 <= facts.face_box[0] < facts.face_box[2] <= facts.width


def test_several_faces_are_listed_by_number_and_none_is_taken(make_engine: Any, picture: bytes) -> None:
    with pytest.raises(LiaisonError, match=r"1: at \(100, 100\).*2: at \(230, 100\)") as refusal:
        take_in(picture, make_engine(OTHER, ONE))
    assert refusal.value.code is Code.SEVERAL_FACES


def test_a_picked_face_is_the_one_with_that_number_and_the_other_is_masked(
    make_engine: Any, picture: bytes
) -> None:
    first = take_in(picture, make_engine(OTHER, ONE), face=1)
    second = take_in(picture, make_engine(OTHER, ONE), face=2)
    assert first.working != second.working
    assert "mask" in [edit["op"] for edit in first.facts.edits]
    left, top, right, bottom = first.facts.face_box
    assert (right - left, bottom - top) == (100, 130)


@pytest.mark.parametrize(
    ("boxes", "face", "code"),
    [
        ((), None, Code.NO_FACE),
        ((), 1, Code.NO_FACE),
        ((ONE,), 2, Code.FACE_NOT_THERE),
        ((ONE,), 0, Code.FACE_NOT_THERE),
    ],
)
def test_a_face_that_is_not_there_is_never_replaced_by_another(
    make_engine: Any, picture: bytes, boxes: Any, face: Any, code: Code
) -> None:
    with pytest.raises(LiaisonError) as refusal:
        take_in(picture, make_engine(*boxes), face=face)
    assert refusal.value.code is code


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(99)])
def test_what_is_no_picture_is_refused(make_engine: Any, data: bytes) -> None:
    with pytest.raises(LiaisonError) as refusal:
        take_in(data, make_engine(ONE))
    assert refusal.value.code is Code.IMAGE_UNREADABLE


def test_a_truncated_picture_is_refused(make_engine: Any, picture: bytes) -> None:
    with pytest.raises(LiaisonError) as refusal:
        take_in(picture[: len(picture) // 2], make_engine(ONE))
    assert refusal.value.code is Code.IMAGE_UNREADABLE


def test_a_face_below_the_floor_is_refused_with_what_is_weak(make_engine: Any, picture: bytes) -> None:
    tiny = (100.0, 100.0, 116.0, 121.0)
    with pytest.raises(LiaisonError, match=r"asks for 60\. .*pixels") as refusal:
        take_in(picture, make_engine(tiny), floor=60)
    assert refusal.value.code is Code.PROBE_QUALITY


@pytest.mark.parametrize(
    ("rules", "floor"),
    [
        ("", 0),
        ("limits: {min_quality: 35}\n", 35),
        ("require: [case-number, min-quality:40]\n", 40),
        ("limits: {min_quality: 50}\nrequire: [min-quality:40]\n", 50),
    ],
)
def test_the_floor_is_the_highest_that_the_regions_file_names(region: Any, rules: str, floor: int) -> None:
    policy = f"liaison: region/v1\nregion: delta\nversion: 1\n{rules}"
    trust = Trust.begin("delta", region.root.certificate, region.bundle(policy=policy), region.at)
    assert quality_floor(trust) == floor


@pytest.mark.slow
def test_the_real_engine_takes_the_picked_person_of_a_group() -> None:
    from agency_node.engine import load_engine, pack, weights

    spec = importlib.util.find_spec("insightface")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("insightface is not installed")
    group = (Path(spec.submodule_search_locations[0]) / "data/images/t1.jpg").read_bytes()
    pack.install(pack.pack_folder(), weights.gather)
    engine = load_engine(threads=1)
    with pytest.raises(LiaisonError) as refusal:
        take_in(group, engine)
    assert refusal.value.code is Code.SEVERAL_FACES
    taken = take_in(group, engine, face=2)
    assert len(engine.detect(open_picture(taken.working))) == 1
    assert taken.quality.unified > 40
