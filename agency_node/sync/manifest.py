"""A CSV manifest with pictures beside it as a source.

The first line names the columns, each further line is one row: `subject`, `encounter`, `captured` (YYYY-MM-DD) and
`picture` (a path inside the manifest's folder), and if known `year_of_birth`, `sex`, `race`, `name`,
`provenance_url`, `provenance_captured`, `basis`. UTF-8, with or without a byte order mark. A field may be quoted
and may not contain a line break: so a stray quotation mark spoils its own line only.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date
from functools import partial
from pathlib import Path

from agency_node.gallery import EncounterFacts
from agency_node.sync.source import BadRow, Row, bad, checked, read_photo
from federation.errors import Code, LiaisonError

REQUIRED = ("subject", "encounter", "captured", "picture")
OPTIONAL = ("year_of_birth", "sex", "race", "name", "provenance_url", "provenance_captured", "basis")


class ManifestSource:
    """The rows of a manifest.

    Raises FILE_MISSING when it is not there, and MANIFEST_INVALID when its first line does not name the right
    columns; nothing is imported then.
    """

    def __init__(self, manifest: Path, *, today: date) -> None:
        self._manifest = manifest
        self._folder = manifest.parent.resolve()
        self._today = today
        try:
            self._columns = next((_fields(line) for _, line in self._lines()), [])
        except LiaisonError as error:
            if error.code is Code.ROW_INVALID:
                raise LiaisonError(Code.MANIFEST_INVALID, "Its first line cannot be read as CSV.") from None
            raise
        self._check_columns()

    def total(self) -> int:
        return sum(1 for _ in self._lines()) - 1

    def rows(self) -> Iterator[Row | BadRow]:
        lines = self._lines()
        next(lines)
        for number, line in lines:
            where = f"line {number}"
            try:
                yield self._row(line, where)
            except LiaisonError as error:
                yield BadRow(where, error)

    def _lines(self) -> Iterator[tuple[int, str]]:
        """Yield the lines that are not blank, with their numbers from 1; bytes that are not UTF-8 stay visible."""
        try:
            with self._manifest.open(encoding="utf-8-sig", errors="surrogateescape") as file:
                for number, line in enumerate(file, start=1):
                    if line.strip():
                        yield number, line.rstrip("\n")
        except OSError:
            raise LiaisonError(Code.FILE_MISSING, f"The manifest {self._manifest} cannot be read.") from None

    def _check_columns(self) -> None:
        missing = [name for name in REQUIRED if name not in self._columns]
        unknown = [name for name in self._columns if name not in (*REQUIRED, *OPTIONAL)]
        if missing:
            raise LiaisonError(Code.MANIFEST_INVALID, f"Columns are missing: {', '.join(missing)}.")
        if unknown:
            names = ", ".join(ascii(name) for name in unknown)
            raise LiaisonError(Code.MANIFEST_INVALID, f"Columns are not known: {names}.")
        if len(set(self._columns)) < len(self._columns):
            raise LiaisonError(Code.MANIFEST_INVALID, "A column is named twice.")

    def _row(self, line: str, where: str) -> Row:
        fields = _fields(line)
        if len(fields) != len(self._columns):
            raise bad(f"It has {len(fields)} fields, and the first line names {len(self._columns)}.")
        row = {name: value for name, value in zip(self._columns, fields, strict=True) if value}
        facts = EncounterFacts(
            subject_ref=row.get("subject", ""),
            encounter_ref=row.get("encounter", ""),
            captured_on=_day(row, "captured"),
            name=row.get("name"),
            year_of_birth=_year(row.get("year_of_birth")),
            sex=row.get("sex"),
            race=row.get("race"),
            provenance_url=row.get("provenance_url"),
            provenance_captured_on=_day(row, "provenance_captured"),
            basis=row.get("basis"),
        )
        return Row(checked(facts, self._today), partial(read_photo, self._picture(row)), where)

    def _picture(self, row: dict[str, str]) -> Path:
        if "picture" not in row:
            raise bad("It names no picture.")
        try:
            path = (self._folder / row["picture"]).resolve()
        except (OSError, ValueError, RuntimeError):
            raise bad("The picture's path cannot be used.") from None
        if not path.is_relative_to(self._folder):
            raise bad("The picture's path leads out of the manifest's folder.")
        return path


def _fields(line: str) -> list[str]:
    try:
        line.encode("utf-8")
        [fields] = csv.reader([line], strict=True)
    except UnicodeEncodeError:
        raise bad("It is not UTF-8.") from None
    except (csv.Error, ValueError):
        raise bad("It cannot be read as CSV.") from None
    return [field.strip() for field in fields]


def _day(row: dict[str, str], column: str) -> date | None:
    text = row.get(column)
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise bad(f"The date in {column} must be written YYYY-MM-DD.") from None


def _year(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) == 4):
        raise bad("The year of birth must be a year of four digits.")
    return int(text)
