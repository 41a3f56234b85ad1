"""A folder of photographs as a source.

A folder in it is a subject, its name the reference, and every picture in it an encounter, its file name without the
suffix the reference. A picture that lies directly in the folder is a subject of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from functools import partial
from pathlib import Path

from agency_node.gallery import EncounterFacts
from agency_node.sync.source import PICTURE_SUFFIXES, BadRow, Provenance, Row, bad, checked, read_photo
from federation.errors import Code, LiaisonError

# What lies beside photographs and is no photograph. Anything else is named, so that nobody believes it imported.
_COMPANIONS = frozenset({".txt", ".md", ".csv", ".json", ".html", ".pdf", ".xml"})
_CLUTTER = frozenset({"thumbs.db", "desktop.ini"})


class FolderSource:
    """The photographs under a folder; `provenance` holds for all of them.

    Raises FILE_MISSING when there is no such folder or no picture in it.
    """

    def __init__(self, folder: Path, *, today: date, provenance: Provenance | None = None) -> None:
        if not folder.is_dir():
            raise LiaisonError(Code.FILE_MISSING, f"There is no folder {folder}.")
        self._folder = folder
        self._today = today
        self._provenance = provenance or Provenance()
        self._files = sorted(path for path in _files(folder) if not _is_beside(path))
        if not self._files:
            raise LiaisonError(Code.FILE_MISSING, f"There are no pictures in {folder}.")

    def total(self) -> int:
        return len(self._files)

    def rows(self) -> Iterator[Row | BadRow]:
        for path in self._files:
            where = _legible(path.relative_to(self._folder))
            try:
                yield self._row(path, where)
            except LiaisonError as error:
                yield BadRow(where, error)

    def _row(self, path: Path, where: str) -> Row:
        if path.suffix.lower() not in PICTURE_SUFFIXES:
            raise LiaisonError(
                Code.IMAGE_UNREADABLE, "Its name is not that of a JPEG, PNG, WebP, BMP or TIFF."
            )
        if not path.resolve().is_relative_to(self._folder.resolve()):
            raise bad("It is a link that leads out of the folder.")
        flat = path.parent == self._folder
        facts = EncounterFacts(
            subject_ref=path.stem if flat else path.parent.name,
            encounter_ref=path.stem,
            provenance_url=self._provenance.url,
            provenance_captured_on=self._provenance.captured_on,
            basis=self._provenance.basis,
        )
        return Row(checked(facts, self._today), partial(read_photo, path), where)


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from (inner for inner in path.iterdir() if not inner.is_dir())
        else:
            yield path


def _legible(path: Path) -> str:
    """Name a file so that no terminal is upset by it."""
    return str(path) if str(path).isprintable() else ascii(str(path))


def _is_beside(path: Path) -> bool:
    name = path.name.lower()
    return name.startswith(".") or name in _CLUTTER or path.suffix.lower() in _COMPANIONS
