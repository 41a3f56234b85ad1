"""Where photographs come from: one interface, whatever the source is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from agency_node.gallery import EncounterFacts
from federation.errors import Code, LiaisonError

# A 40-megapixel picture is smaller than this in every format that is read, except an uncompressed one.
LARGEST_FILE = 128 * 1024 * 1024
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
_LONGEST_TEXT = 300
_LONGEST_URL = 2000


@dataclass(frozen=True, slots=True)
class Row:
    """One photograph to import: what is known about it, how to read it, and where it stands in the source."""

    facts: EncounterFacts
    read: Callable[[], bytes]
    where: str


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be imported, and why."""

    where: str
    error: LiaisonError


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a whole source comes from, for sources whose rows do not say it themselves."""

    url: str | None = None
    captured_on: date | None = None
    basis: str | None = None


class Source(Protocol):
    """Yields rows; a row that is broken is yielded as such, and the rest goes on."""

    def total(self) -> int:
        """Return how many rows there are, for the progress bar."""

    def rows(self) -> Iterator[Row | BadRow]:
        """Yield the rows in a stable order."""


def read_photo(path: Path) -> bytes:
    """Return a file's bytes; raises FILE_MISSING, or IMAGE_TOO_LARGE before reading what is too large."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise LiaisonError(Code.IMAGE_TOO_LARGE, "The file is over 128 MB.")
        return path.read_bytes()
    except OSError:
        raise LiaisonError(Code.FILE_MISSING, f"The picture {path.name!r} cannot be read.") from None


def checked(facts: EncounterFacts, today: date) -> EncounterFacts:
    """Return the facts if they can be true and kept; raises ROW_INVALID naming the one that cannot."""
    if not facts.subject_ref or not facts.encounter_ref:
        raise bad("It needs a subject and an encounter.")
    for key, value in facts.as_json().items():
        longest = _LONGEST_URL if key == "provenance_url" else _LONGEST_TEXT
        if isinstance(value, str) and (len(value) > longest or not value.isprintable()):
            raise bad(f"The text of {key} is too long or holds signs that cannot be printed.")
    for day in (facts.captured_on, facts.provenance_captured_on):
        if day is not None and not date(1900, 1, 1) <= day <= today:
            raise bad("A date of capture lies in the future or before 1900.")
    if facts.year_of_birth is not None and not 1850 <= facts.year_of_birth <= today.year:
        raise bad("The year of birth cannot be right.")
    if facts.provenance_url is not None and not _is_web_address(facts.provenance_url):
        raise bad("The provenance URL must begin with http:// or https:// and name a site.")
    return facts


def bad(detail: str) -> LiaisonError:
    """Return the error of a row that is not well formed."""
    return LiaisonError(Code.ROW_INVALID, detail)


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)
