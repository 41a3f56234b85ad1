"""The default engine on real photographs: it finds faces and tells people apart."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from agency_node.engine import Face, FaceEngine, Picture, open_picture, pack
from agency_node.engine.align import aligned, similarity
from agency_node.engine.base import overlap
from agency_node.engine.choose import dominant_face, face_at, only_face
from agency_node.engine.mtcnn import Mtcnn
from agency_node.engine.picture import Pixels, encode_jpeg, encode_png, from_pixels
from agency_node.engine.quality import assess
from agency_node.engine.working import working_image
from federation.errors import LiaisonError

pytestmark = pytest.mark.slow


def picture_of(pixels: Pixels) -> Picture:
    return from_pixels(np.ascontiguousarray(pixels), "0" * 64, "PNG")


def resized(picture: Picture, by: float) -> Pixels:
    size = (round(picture.width * by), round(picture.height * by))
    return np.asarray(
        cv2.resize(picture.pixels, size, interpolation=cv2.INTER_AREA if by < 1 else cv2.INTER_CUBIC)
    )


@pytest.fixture(scope="module")
def faces(eye: FaceEngine, group: Picture) -> list[Face]:
    return eye.detect(group)


def test_all_six_people_are_found_from_left_to_right(faces: list[Face]) -> None:
    assert len(faces) == 6
    lefts = [face.box[0] for face in faces]
    assert lefts == sorted(lefts)
    for face in faces:
        left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
        assert left_eye[0] < right_eye[0]
        assert left_mouth[0] < right_mouth[0]
        assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
        assert face.box[0] < nose[0] < face.box[2]


@pytest.mark.parametrize("scale", [0.3, 0.4, 0.6, 1.7, 3.0])
def test_the_same_people_are_found_at_every_size(
    scale: float, eye: FaceEngine, group: Picture, faces: list[Face]
) -> None:
    found = eye.detect(picture_of(resized(group, scale)))
    assert len(found) == 6
    for face, original in zip(found, faces, strict=True):
        x1, y1, x2, y2 = (edge / scale for edge in face.box)
        assert overlap((x1, y1, x2, y2), original.box) > 0.6


def test_faces_of_forty_pixels_are_found_in_a_picture_of_24_megapixels(
    eye: FaceEngine, group: Picture
) -> None:
    small = resized(group, 0.4)
    canvas = np.full((4000, 6000, 3), 90, np.uint8)
    canvas[:, ::2] = 110
    canvas[3500 : 3500 + small.shape[0], 5300 : 5300 + small.shape[1]] = small
    found = eye.detect(picture_of(canvas))
    assert len(found) == 6
    assert all(face.box[0] > 5300 and face.box[1] > 3500 for face in found)
    assert min(face.width for face in found) < 42


def test_tiles_change_nothing(
    pack_files: dict[str, bytes], group: Picture, faces: list[Face], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agency_node.engine.pyramid.tiles.__defaults__", (128,))
    found = Mtcnn(pack_files, 1).detect(group.pixels)
    assert len(found) == len(faces)
    for one, other in zip(found, faces, strict=True):
        assert overlap(one.box, other.box) > 0.9


def test_a_picture_without_people_has_no_face(eye: FaceEngine) -> None:
    noise = np.random.default_rng(5).integers(0, 255, (60, 80, 3)).astype(np.uint8)
    for pixels in (noise, cv2.resize(noise, (800, 600)), np.zeros((300, 300, 3), np.uint8)):
        assert eye.detect(picture_of(pixels)) == []


@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (11, 11), (12, 12)])
def test_a_picture_too_small_for_a_face_has_none(size: tuple[int, int], eye: FaceEngine) -> None:
    assert eye.detect(picture_of(np.full((*size, 3), 128, np.uint8))) == []


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_picture_stored_turned_gives_the_same_template(
    orientation: int, eye: FaceEngine, astronaut: Picture
) -> None:
    upright = Image.fromarray(astronaut.pixels[:, :, ::-1])
    turn = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}[
        orientation
    ]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = io.BytesIO()
    upright.transpose(turn).save(stored, "PNG", exif=exif)
    turned = open_picture(stored.getvalue())
    assert np.array_equal(turned.pixels, astronaut.pixels)
    first, second = (eye.template(one, only_face(eye.detect(one))) for one in (astronaut, turned))
    assert np.array_equal(first, second)


def test_a_template_has_unit_length_and_is_the_same_every_time(
    eye: FaceEngine, group: Picture, faces: list[Face]
) -> None:
    templates = eye.templates(group, faces)
    for face, template in zip(faces, templates, strict=True):
        assert template.dtype == np.float32
        assert template.shape == (eye.dimension,)
        assert float(np.linalg.norm(template)) == pytest.approx(1, abs=1e-5)
        assert np.array_equal(eye.template(group, face), template)
    assert eye.engine_id == pack.engine_id()


DEGRADED: dict[str, Callable[[Pixels], Pixels]] = {
    "half as large": lambda pixels: np.asarray(cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=3)),
    "JPEG of quality 20": lambda pixels: open_picture(encode_jpeg(pixels, 20)).pixels,
    "dark": lambda pixels: (pixels * 0.25).astype(np.uint8),
    "blurred": lambda pixels: np.asarray(cv2.GaussianBlur(pixels, (0, 0), 1.5)),
    "mirrored": lambda pixels: np.asarray(pixels[:, ::-1]),
}


@pytest.mark.parametrize("how", DEGRADED)
def test_a_degraded_picture_is_nearest_to_the_same_person(
    how: str, eye: FaceEngine, group: Picture, faces: list[Face]
) -> None:
    enrolled = np.stack(eye.templates(group, faces))
    probe = picture_of(DEGRADED[how](group.pixels))
    found = eye.detect(probe)
    order = list(range(6))[:: -1 if how == "mirrored" else 1]
    likeness = np.stack(eye.templates(probe, found)) @ enrolled.T
    assert likeness.argmax(axis=1).tolist() == order


def test_different_people_are_less_alike_than_one_person(
    eye: FaceEngine, group: Picture, faces: list[Face]
) -> None:
    templates = np.stack(eye.templates(group, faces))
    others = (templates @ templates.T)[~np.eye(6, dtype=bool)]
    assert others.max() < 0.35


@pytest.mark.filterwarnings("ignore:`estimate` is deprecated:FutureWarning")
def test_alignment_is_that_of_insightface(group: Picture, faces: list[Face]) -> None:
    face_align = pytest.importorskip("insightface.utils.face_align")
    for face in faces:
        theirs = face_align.norm_crop(group.pixels, face.landmarks).astype(int)
        assert np.abs(aligned(group.pixels, face) - theirs).max() <= 2
        assert np.allclose(similarity(face.landmarks), face_align.estimate_norm(face.landmarks), atol=1e-3)


def test_a_probe_cut_to_the_face_s_own_edges_is_still_found(
    eye: FaceEngine, group: Picture, faces: list[Face]
) -> None:
    for face in faces:
        x1, y1, x2, y2 = (int(edge) for edge in face.box)
        cut = cv2.resize(
            group.pixels[y1:y2, x1:x2], None, fx=45 / (y2 - y1), fy=45 / (y2 - y1), interpolation=3
        )
        probe = picture_of(np.asarray(cut))
        found = only_face(eye.detect(probe))
        assert float(eye.template(probe, found) @ eye.template(group, face)) > 0.6


def test_the_working_image_holds_one_face_and_keeps_its_template(
    eye: FaceEngine, group: Picture, faces: list[Face]
) -> None:
    for chosen in faces:
        working = working_image(group, faces, chosen)
        sent = open_picture(working.data)
        found = eye.detect(sent)
        same = only_face(found)
        assert face_at(found, working.box) is same
        assert float(eye.template(sent, same) @ eye.template(group, chosen)) > 0.98
        assert working.edits[0]["op"] == "crop"
        assert working.edits[-1]["op"] == "encode"


def test_no_pixel_of_a_bystander_s_face_leaves_the_agency(group: Picture, faces: list[Face]) -> None:
    marked = group.pixels.copy()
    for other in faces[1:]:
        x1, y1, x2, y2 = (int(edge) for edge in other.box)
        marked[y1:y2, x1:x2] = (255, 0, 255)
    neighbour = faces[1]
    near = Face(
        (neighbour.box[0] - 130, neighbour.box[1], neighbour.box[0] - 30, neighbour.box[3]),
        faces[0].landmarks,
        1.0,
    )
    working = working_image(picture_of(marked), [*faces, near], near)
    sent = open_picture(working.data).pixels.astype(int)
    magenta = (sent[:, :, 0] > 230) & (sent[:, :, 1] < 25) & (sent[:, :, 2] > 230)
    assert "mask" in [edit["op"] for edit in working.edits]
    assert not magenta.any()


def test_a_large_face_is_scaled_to_the_cap_and_the_box_with_it(eye: FaceEngine, astronaut: Picture) -> None:
    large = picture_of(resized(astronaut, 8))
    chosen, _ = dominant_face(eye.detect(large))
    working = working_image(large, [chosen], chosen)
    sent = open_picture(working.data)
    assert max(sent.width, sent.height) == 1600
    assert sent.format == "JPEG"
    assert [edit["op"] for edit in working.edits] == ["crop", "scale", "encode"]
    assert overlap(only_face(eye.detect(sent)).box, working.box) > 0.8


def test_quality_falls_with_what_spoils_a_picture_and_says_which(eye: FaceEngine, astronaut: Picture) -> None:
    def measured(pixels: Pixels) -> tuple[int, str]:
        picture = picture_of(pixels)
        quality = assess(picture, only_face(eye.detect(picture)))
        parts = quality.components
        assert all(0 <= part.score <= 100 and part.says.endswith(".") for part in parts.values())
        return quality.unified, min(parts, key=lambda name: parts[name].score)

    good, _ = measured(astronaut.pixels)
    small, why_small = measured(resized(astronaut, 0.3))
    blurred, why_blurred = measured(np.asarray(cv2.GaussianBlur(astronaut.pixels, (0, 0), 3)))
    dark, why_dark = measured((astronaut.pixels * 0.12).astype(np.uint8))
    squeezed, why_squeezed = measured(open_picture(encode_jpeg(astronaut.pixels, 5)).pixels)
    assert good > 85
    assert max(small, blurred, dark, squeezed) < 75
    assert (why_blurred, why_dark, why_squeezed) == ("sharpness", "exposure", "compression")
    assert why_small in ("inter_eye", "size", "sharpness")


def test_the_first_portrait_of_each_person_finds_the_others(
    eye: FaceEngine, people: dict[str, list[Path]]
) -> None:
    def template(path: Path) -> np.ndarray:
        picture = open_picture(path.read_bytes())
        face, _ = dominant_face(eye.detect(picture))
        return eye.template(picture, face)

    some = dict(list(people.items())[:10])
    enrolled = np.stack([template(paths[0]) for paths in some.values()])
    for place, paths in enumerate(some.values()):
        for path in (paths[4], paths[-1]):
            assert int((enrolled @ template(path)).argmax()) == place


def test_nothing_but_liaison_errors_comes_out_of_small_odd_pictures(eye: FaceEngine) -> None:
    rng = np.random.default_rng(9)
    for _ in range(20):
        shape = (*rng.integers(1, 70, 2), 3)
        picture = open_picture(encode_png(rng.integers(0, 255, shape).astype(np.uint8)))
        with contextlib.suppress(LiaisonError):
            assess(picture, only_face(eye.detect(picture)))
