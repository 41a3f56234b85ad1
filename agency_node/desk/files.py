"""What `--output` writes: result, receipts, photographs and the contact sheet, for their owner's eyes only."""

from __future__ import annotations

import json
import os
from pathlib import Path

from agency_node.desk.outcome import GalleryOutcome, SearchResult
from agency_node.desk.sheet import SheetCandidate, SheetGallery, contact_sheet
from federation.canonical import unb64
from federation.errors import Code, LiaisonError
from federation.probe.delivery import DeliveryState


def write_files(folder: Path, result: SearchResult) -> None:
    """Write everything of a search into `folder` (made with mode 0700 when it is not there; files have 0600).

    Raises LiaisonError(FILE_MISSING) when the folder cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(folder / "result.json", json.dumps(result.as_json(), indent=2, ensure_ascii=False).encode())
        for outcome in result.outcomes:
            _write_outcome(folder, outcome)
        if result.working:
            _write(folder / "candidates.png", sheet_of(result))
    except OSError as error:
        raise LiaisonError(Code.FILE_MISSING, f"{folder} cannot be written.") from error


def sheet_of(result: SearchResult, *, titles: dict[str, str] | None = None, most: int = 12) -> bytes:
    """The contact sheet of a search, PNG, with at most `most` candidates of each gallery.

    `titles` are the galleries' titles by `agency/gallery`.
    """
    return contact_sheet(
        result.working,
        [sheet_gallery(outcome, (titles or {}).get(outcome.gallery, "")) for outcome in result.outcomes],
        most=most,
    )


def sheet_gallery(outcome: GalleryOutcome, title: str = "") -> SheetGallery:
    """A gallery's panel."""
    return SheetGallery(
        name=outcome.gallery,
        title=title,
        searched=outcome.status is DeliveryState.ANSWERED,
        reason=outcome.reason,
        rule=outcome.rule,
        candidates=[
            SheetCandidate(c.rank, c.similarity, c.fmr, c.subject, unb64(c.photo) if c.photo else None)
            for c in outcome.candidates
        ],
    )


def _write_outcome(folder: Path, outcome: GalleryOutcome) -> None:
    stem = outcome.gallery.replace("/", "--")
    if outcome.signed_receipt:
        _write(folder / f"{stem}.receipt.json", outcome.signed_receipt)
    for candidate in outcome.candidates:
        if candidate.photo:
            _write(folder / f"{stem}--{candidate.rank:02d}.jpg", unb64(candidate.photo))


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    os.fchmod(descriptor, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
