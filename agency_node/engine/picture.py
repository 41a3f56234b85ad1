"""Opening a picture that nobody vouches for, and writing one from its pixels alone.

Rules that this file keeps: a picture's declared size is checked before a pixel is decoded; only five formats are
tried; whatever is wrong with the bytes ends in IMAGE_UNREADABLE or IMAGE_TOO_LARGE; nothing of the metadata
survives, because what is written is made from the pixels; nothing touches the disk.
"""

from __future__ import annotations

import hashlib
import io
import threading
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps

from federation.errors import Code, LiaisonError

Pixels = npt.NDArray[np.uint8]

MAX_PIXELS = 40_000_000
# Python's warning filters belong to the whole process; and one large picture at a time is enough for its memory.
_ONE_AT_A_TIME = threading.Lock()
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
_ROWS = 256
_SIXTEEN_BIT = ("I", "I;16", "I;16L", "I;16B", "I;16N")


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded picture.

    `pixels` is uint8 H×W×3 in BGR, upright (EXIF orientation applied) and read-only; `sha256` is the hex digest of
    the original bytes; `format` is Pillow's name of the original format.
    """

    pixels: Pixels
    sha256: str
    format: str

    @property
    def width(self) -> int:
        """Width in pixels, upright."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels, upright."""
        return int(self.pixels.shape[0])


def open_picture(data: bytes) -> Picture:
    """Decode a JPEG, PNG, WebP, BMP or TIFF picture.

    Of a picture with several frames the first is taken. Transparency is laid on white, 16-bit and floating grey is
    brought to 8 bits, CMYK and palettes become colours.

    Raises IMAGE_TOO_LARGE if the declared size is over 40 megapixels, IMAGE_UNREADABLE for everything else.
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                _check_size(image)
                name = str(image.format)
                flat = _eight_bit(_decoded(image))
                ImageOps.exif_transpose(flat, in_place=True)
                pixels = _bgr(flat)
        except LiaisonError:
            raise
        except Image.DecompressionBombError as error:
            raise _too_large("It declares more pixels than any camera takes.") from error
        except Exception as error:
            # Pillow's decoders raise whatever their parsing trips over: SyntaxError, struct.error, KeyError, OSError.
            raise LiaisonError(Code.IMAGE_UNREADABLE) from error
    return from_pixels(pixels, hashlib.sha256(data).hexdigest(), name)


def _bgr(image: Image.Image) -> Pixels:
    """Take the pixels of an RGB image, some rows at a time: all at once Pillow makes two copies on the way."""
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _ROWS):
        bottom = min(top + _ROWS, height)
        rows = image.crop((0, top, width, bottom)).tobytes("raw", "BGR")
        pixels[top:bottom] = np.frombuffer(rows, np.uint8).reshape(-1, width, 3)
    return pixels


def from_pixels(pixels: Pixels, sha256: str, name: str) -> Picture:
    """Make a picture of BGR pixels (uint8 H×W×3) whose origin is known by its digest."""
    pixels.setflags(write=False)
    return Picture(pixels, sha256, name)


def encode_jpeg(pixels: Pixels, quality: int = 95) -> bytes:
    """Write BGR pixels as JPEG with full colour resolution (4:4:4) and no metadata."""
    out = io.BytesIO()
    _image(pixels).save(out, "JPEG", quality=quality, subsampling=0)
    return out.getvalue()


def encode_png(pixels: Pixels) -> bytes:
    """Write BGR pixels as PNG without metadata."""
    out = io.BytesIO()
    _image(pixels).save(out, "PNG")
    return out.getvalue()


def _image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels[:, :, ::-1]))


def _too_large(detail: str) -> LiaisonError:
    return LiaisonError(Code.IMAGE_TOO_LARGE, detail)


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _too_large(f"It declares {width} x {height} pixels.")
    if width < 1 or height < 1:
        raise LiaisonError(Code.IMAGE_UNREADABLE)


def _decoded(image: Image.Image) -> Image.Image:
    """Decode the first frame whole; a truncated file is an error, whatever other code has set globally."""
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise LiaisonError(
            Code.IMAGE_UNREADABLE, "The decoder of this process is set to accept damaged files."
        )
    image.load()
    return image


def _eight_bit(image: Image.Image) -> Image.Image:
    """Bring any mode to RGB, keeping the EXIF orientation where `exif_transpose` finds it."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    orientation = image.getexif().get(0x0112, 1)
    if image.mode in (*_SIXTEEN_BIT, "F"):
        flat = Image.fromarray(_stretched(np.asarray(image))).convert("RGB")
    elif image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        flat = Image.new("RGB", image.size, (255, 255, 255))
        flat.paste(layer, mask=layer.getchannel("A"))
    else:
        flat = image.convert("RGB")
    flat.getexif()[0x0112] = orientation
    return flat


def _stretched(values: npt.NDArray[np.generic]) -> Pixels:
    """Grey of more than 8 bits to 8: 16-bit files use their whole range, floating ones what they span."""
    wide = np.nan_to_num(values.astype(np.float32))
    if np.issubdtype(values.dtype, np.floating):
        low, high = float(wide.min()), float(wide.max())
        high = max(high, low + 1e-6)
    else:
        low, high = 0.0, 65535.0
    return np.asarray(np.clip((wide - low) * (255.0 / (high - low)), 0, 255).round(), np.uint8)
