"""The contact sheet holds a panel for every gallery, and opens no picture carelessly."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from agency_node.desk.sheet import SheetCandidate, SheetGallery, contact_sheet


def size(png: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(png)).size


def test_a_refused_gallery_has_a_panel_of_its_own(picture: bytes) -> None:
    candidates = [SheetCandidate(rank, 0.5, photo=picture) for rank in range(1, 13)]
    searched = SheetGallery("a/g", "Title", searched=True, reason="Searched.", candidates=candidates)
    refused = SheetGallery("b/g", "Title", searched=False, reason="Never.", rule="b/no")
    alone = size(contact_sheet(picture, [searched]))
    both = size(contact_sheet(picture, [searched, refused]))
    assert both[0] == alone[0]
    assert both[1] > alone[1]


@pytest.mark.parametrize("photo", [None, b"no picture", b"\xff\xd8\xff"])
def test_a_photograph_that_is_withheld_or_broken_leaves_the_sheet_whole(picture: bytes, photo: Any) -> None:
    candidate = SheetCandidate(1, -0.2, subject="x" * 300, photo=photo, fmr=1e-5)
    gallery = SheetGallery("a/g", "t" * 300, searched=True, reason="word " * 90, candidates=[candidate])
    assert size(contact_sheet(picture, [gallery]))[0] > 1000


def test_a_sheet_without_galleries_still_carries_the_probe(picture: bytes) -> None:
    assert size(contact_sheet(picture, []))[1] > 300
