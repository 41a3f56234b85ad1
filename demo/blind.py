"""Can anybody who holds the hub's disk see a face? Looks for the pictures themselves, and for any picture at all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from agency_node.engine import open_picture
from federation.errors import LiaisonError

_SLICE = 48
_STEPS = 16
_SIGNATURES = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF....WEBP", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Look:
    """What was looked at, and what was found: slices of known pictures, and places where a picture decodes."""

    files: int
    bytes: int
    known: int
    decodable: int

    @property
    def blind(self) -> bool:
        """Whether nothing was found."""
        return self.known == 0 and self.decodable == 0


def look(folder: Path, pictures: Iterable[bytes]) -> Look:
    """Read every file under `folder` and search it for slices of `pictures` and for anything that decodes."""
    contents = [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]
    slices = {piece for picture in pictures for piece in _slices(picture)}
    known = sum(piece in content for content in contents for piece in slices)
    decodable = sum(
        _decodes(content[found.start() :]) for content in contents for found in _signatures(content)
    )
    return Look(len(contents), sum(map(len, contents)), known, decodable)


def _signatures(content: bytes) -> Iterator[re.Match[bytes]]:
    return _SIGNATURES.finditer(content)


def _slices(picture: bytes) -> set[bytes]:
    """Slices from all over the picture, but not from its header, which says nothing of the face."""
    start = len(picture) // 4
    stride = max(1, (len(picture) - start - _SLICE) // _STEPS)
    return {picture[at : at + _SLICE] for at in range(start, len(picture) - _SLICE, stride)}


def _decodes(data: bytes) -> bool:
    try:
        open_picture(data)
    except LiaisonError:
        return False
    return True
