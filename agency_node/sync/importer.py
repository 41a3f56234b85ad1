"""Importing a source into a gallery: incremental, resumable, and never silent about what it leaves out.

A row is the same as before when its encounter and the bytes of its photograph are: then nothing is decoded. Rows are
enrolled in small batches, each durable when it is done; an import that was killed is simply run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from agency_node.gallery import EncounterFacts, Enrolment, Gallery, Standing
from agency_node.sync.reading import PhotoReader
from agency_node.sync.source import BadRow, Row, Source, bad
from federation.errors import Code, LiaisonError

_ROWS_PER_BATCH = 32
_BYTES_PER_BATCH = 64 * 1024 * 1024
# Exit codes of the catalogue's band "what was handed in": a fault of the row, not of the gallery.
_FAULT_OF_THE_ROW = range(10, 20)

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row that was left out: where it stands in the source, and why."""

    where: str
    code: Code
    sentence: str


@dataclass(slots=True)
class ImportReport:
    """What an import did, or with `dry_run` would do before looking at the photographs themselves.

    `flagged` are rows that are in and that a person should look at: (where, flag).
    """

    dry_run: bool = False
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    flagged: list[tuple[str, str]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the report for a machine."""
        return {
            "dry_run": self.dry_run,
            "added": self.added,
            "changed": self.changed,
            "unchanged": self.unchanged,
            "skipped": [{"where": s.where, "error": s.code.value, "says": s.sentence} for s in self.skipped],
            "flagged": [{"where": where, "flag": flag} for where, flag in self.flagged],
        }


def import_rows(
    gallery: Gallery,
    reader: PhotoReader,
    source: Source,
    progress: Progress = lambda _done: None,
    *,
    dry_run: bool = False,
) -> ImportReport:
    """Bring a source's rows into a gallery; `progress` is told how many rows are done.

    A row that cannot be imported is skipped and named in the report. Raises what the gallery raises
    (GALLERY_DAMAGED, STORAGE_FAILED, INDEX_UNAVAILABLE); what was enrolled until then stays. Only for the process
    that holds the import lock (`Galleries.importing`).
    """
    report = ImportReport(dry_run=dry_run)
    batch = _Batch(gallery)
    for done, row in enumerate(_once_each(source), start=1):
        try:
            if isinstance(row, BadRow):
                raise row.error
            _import_row(row, gallery, reader, batch, report)
        except LiaisonError as error:
            if error.entry.exit not in _FAULT_OF_THE_ROW:
                raise
            report.skipped.append(Skipped(row.where, error.code, error.sentence))
        progress(done)
    batch.enroll()
    return report


def _import_row(row: Row, gallery: Gallery, reader: PhotoReader, batch: _Batch, report: ImportReport) -> None:
    _check_lawful(gallery.declaration.kind, row.facts)
    photo = row.read()
    standing = gallery.standing(row.facts, photo)
    if standing is Standing.UNCHANGED:
        report.unchanged += 1
        return
    if standing is Standing.FACTS_CHANGED:
        if not report.dry_run:
            gallery.correct(row.facts)
    elif not report.dry_run:
        face = reader.read(photo)
        batch.add(Enrolment(row.facts, photo, face))
        report.flagged.extend((row.where, flag) for flag in face.flags)
    if standing is Standing.NEW:
        report.added += 1
    else:
        report.changed += 1


class _Batch:
    """Enrolments that are not in the gallery yet, few enough to be held in memory."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._waiting: list[Enrolment] = []
        self._bytes = 0

    def add(self, enrolment: Enrolment) -> None:
        self._waiting.append(enrolment)
        self._bytes += len(enrolment.photo)
        if len(self._waiting) >= _ROWS_PER_BATCH or self._bytes >= _BYTES_PER_BATCH:
            self.enroll()

    def enroll(self) -> None:
        if self._waiting:
            self._gallery.enroll(self._waiting)
        self._waiting = []
        self._bytes = 0


def _once_each(source: Source) -> Iterator[Row | BadRow]:
    """Yield each encounter once; a second row of the same encounter is bad, or each import would undo the last."""
    seen: set[int] = set()
    for row in source.rows():
        if isinstance(row, Row):
            key = hash((row.facts.subject_ref, row.facts.encounter_ref))
            if key in seen:
                yield BadRow(
                    row.where, bad("The same encounter of the same subject stands in the source already.")
                )
                continue
            seen.add(key)
        yield row


def _check_lawful(kind: str, facts: EncounterFacts) -> None:
    if kind == "public-source" and not (
        facts.provenance_url and facts.provenance_captured_on and facts.basis
    ):
        raise bad(
            "A public-source photograph needs its URL, the day it was captured there, and a lawful basis."
        )
