"""Opening pictures that nobody vouches for."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from agency_node.engine.picture import encode_jpeg, encode_png, open_picture
from federation.errors import Code, LiaisonError


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def sample(size: tuple[int, int] = (60, 40)) -> Image.Image:
    """A picture without any symmetry, smooth enough for JPEG."""
    ys, xs = np.mgrid[0 : size[1], 0 : size[0]]
    planes = [xs * 200 / size[0] + 20, ys * 200 / size[1] + 20, (xs + 2 * ys) * 80 / size[0]]
    return Image.fromarray(np.stack(planes, axis=2).astype(np.uint8))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_claiming(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


BAD = {
    "nothing": (b"", Code.IMAGE_UNREADABLE),
    "a text file": (b"Dear detective,\nplease find attached", Code.IMAGE_UNREADABLE),
    "a truncated JPEG": (saved(sample((600, 400)), "JPEG")[:2000], Code.IMAGE_UNREADABLE),
    "a truncated PNG": (saved(sample((600, 400)), "PNG")[:1500], Code.IMAGE_UNREADABLE),
    "a truncated WebP": (saved(sample((600, 400)), "WEBP")[:300], Code.IMAGE_UNREADABLE),
    "a truncated TIFF": (saved(sample((600, 400)), "TIFF")[:900], Code.IMAGE_UNREADABLE),
    "a PNG without pixels enough": (png_claiming(500, 500), Code.IMAGE_UNREADABLE),
    "a PNG with a broken checksum": (
        saved(sample(), "PNG").replace(b"IHDR\0\0\0", b"IHDR\0\0\1"),
        Code.IMAGE_UNREADABLE,
    ),
    "a GIF": (saved(sample(), "GIF"), Code.IMAGE_UNREADABLE),
    "an EPS, which would start a program": (saved(sample(), "EPS"), Code.IMAGE_UNREADABLE),
    "a PDF": (saved(sample(), "PDF"), Code.IMAGE_UNREADABLE),
    "a bomb": (png_claiming(100_000, 100_000), Code.IMAGE_TOO_LARGE),
    "a picture of no width": (png_claiming(0, 100), Code.IMAGE_UNREADABLE),
    "50 megapixels that compress to little": (
        saved(Image.new("1", (10_000, 5_000)), "PNG"),
        Code.IMAGE_TOO_LARGE,
    ),
    "one pixel column too many": (png_claiming(40_001, 1_000), Code.IMAGE_TOO_LARGE),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_picture_is_refused_with_a_code_and_no_warning(name: str) -> None:
    data, code = BAD[name]
    with pytest.raises(LiaisonError) as refused:
        open_picture(data)
    assert refused.value.code is code


@given(st.binary(max_size=300), st.sampled_from(["JPEG", "PNG", "WEBP", "BMP", "TIFF"]), st.integers(0, 400))
def test_whatever_bytes_come_the_answer_is_a_picture_or_a_liaison_error(
    junk: bytes, kind: str, at: int
) -> None:
    whole = saved(sample((20, 10)), kind)
    damaged = whole[:at] + junk + whole[at + len(junk) :]
    code = None
    try:
        picture = open_picture(damaged)
    except LiaisonError as error:
        code = error.code
    assert code in (None, Code.IMAGE_UNREADABLE, Code.IMAGE_TOO_LARGE)
    assert code or (picture.pixels.dtype == np.uint8 and picture.pixels.shape[2] == 3)


def test_pixels_are_bgr_and_read_only_and_the_digest_is_of_the_bytes() -> None:
    data = saved(Image.new("RGB", (3, 2), (200, 100, 50)), "PNG")
    picture = open_picture(data)
    assert picture.pixels.tolist() == [[[50, 100, 200]] * 3] * 2
    assert (picture.width, picture.height, picture.format) == (3, 2, "PNG")
    assert len(picture.sha256) == 64
    with pytest.raises(ValueError, match="read-only"):
        picture.pixels[0, 0, 0] = 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_exif_orientation_gives_the_same_upright_picture(orientation: int, kind: str) -> None:
    undo = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    upright = sample()
    stored = upright if undo is None else upright.transpose(Image.Transpose(undo))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = (
        {"quality": 100, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    )
    data = saved(stored, kind, exif=exif, **options)
    expected = np.asarray(upright)[:, :, ::-1].astype(int)
    found = open_picture(data).pixels.astype(int)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= (6 if kind == "JPEG" else 0)
    assert ImageOps.exif_transpose(Image.open(io.BytesIO(data))).size == upright.size


GREY = Image.fromarray(np.full((4, 4), 128, np.uint8))
MODES = {
    "grey": (saved(GREY, "PNG"), (128, 128, 128)),
    "black and white": (saved(Image.new("1", (4, 4), 1), "PNG"), (255, 255, 255)),
    "palette": (saved(Image.new("RGB", (4, 4), (0, 0, 255)).convert("P"), "PNG"), (255, 0, 0)),
    "half transparent": (saved(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), "PNG"), (127, 127, 127)),
    "grey with transparency": (saved(Image.new("LA", (4, 4), (0, 0)), "PNG"), (255, 255, 255)),
    "sixteen bit": (saved(Image.fromarray(np.full((4, 4), 0x8080, np.uint16)), "PNG"), (128, 128, 128)),
    "sixteen bit TIFF": (saved(Image.fromarray(np.full((4, 4), 0x8080, np.uint16)), "TIFF"), (128, 128, 128)),
    "CMYK": (saved(Image.new("CMYK", (16, 16), (0, 0, 0, 0)), "JPEG", quality=100), (255, 255, 255)),
}


@pytest.mark.parametrize("name", MODES)
def test_every_mode_becomes_eight_bit_colour(name: str) -> None:
    data, expected = MODES[name]
    assert np.abs(open_picture(data).pixels[2, 2].astype(int) - expected).max() <= 1


def test_floating_grey_is_stretched_over_what_it_spans() -> None:
    values = np.linspace(-3, 5, 16, dtype=np.float32).reshape(4, 4)
    pixels = open_picture(saved(Image.fromarray(values), "TIFF")).pixels
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_of_an_animation_the_first_frame_is_taken() -> None:
    first, second = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 255))
    data = saved(first, "PNG", save_all=True, append_images=[second])
    assert open_picture(data).pixels[0, 0].tolist() == [0, 0, 255]


def test_metadata_never_survives_re_encoding() -> None:
    exif = Image.Exif()
    exif[0x010E] = "taken at the home of a witness"
    exif[0x8825] = {1: "N", 2: (37.0, 57.0, 0.0)}
    data = saved(sample(), "JPEG", exif=exif, comment=b"a witness", icc_profile=b"a witness" * 20)
    assert b"witness" in data
    pixels = open_picture(data).pixels
    for written in (encode_jpeg(pixels), encode_png(pixels)):
        again = Image.open(io.BytesIO(written))
        assert b"witness" not in written
        assert not dict(again.getexif())
        assert not {"icc_profile", "comment", "exif"} & set(again.info)


def test_a_png_keeps_every_pixel_and_a_jpeg_full_colour_resolution() -> None:
    pixels = open_picture(saved(sample(), "PNG")).pixels
    assert np.array_equal(open_picture(encode_png(pixels)).pixels, pixels)
    assert Image.open(io.BytesIO(encode_jpeg(pixels))).layer[1][1:3] == (1, 1)


@pytest.mark.parametrize("height", [1, 255, 256, 257, 600])
def test_every_row_of_a_tall_picture_is_taken(height: int) -> None:
    pixels = np.random.default_rng(height).integers(0, 255, (height, 3, 3)).astype(np.uint8)
    assert np.array_equal(open_picture(encode_png(pixels)).pixels, pixels)
