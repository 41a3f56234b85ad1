"""A folder of photographs as a source."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agency_node.sync import BadRow, FolderSource, Provenance, Row
from federation.errors import Code, LiaisonError


def references(source: FolderSource) -> list[tuple[str, str]]:
    return [(row.facts.subject_ref, row.facts.encounter_ref) for row in source.rows() if isinstance(row, Row)]


def test_folders_are_subjects_and_their_files_encounters(source_folder, today) -> None:
    for name in ("S-2/b.jpg", "S-1/a.JPG", "S-1/b.png"):
        path = source_folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
    source = FolderSource(source_folder, today=today)
    assert references(source) == [("S-1", "a"), ("S-1", "b"), ("S-2", "b")]
    assert [row.read() for row in source.rows()] == [b"S-1/a.JPG", b"S-1/b.png", b"S-2/b.jpg"]
    assert source.total() == 3


def test_a_picture_that_lies_directly_in_the_folder_is_a_subject(source_folder, today) -> None:
    (source_folder / "ada.jpg").write_bytes(b"x")
    assert references(FolderSource(source_folder, today=today)) == [("ada", "ada")]


def test_what_lies_beside_photographs_is_left_alone_and_what_could_be_one_is_named(
    source_folder, today
) -> None:
    for name in ("README.md", ".hidden.jpg", "Thumbs.db", "notes.txt", "a.heic", "b.jpg"):
        (source_folder / name).write_bytes(b"x")
    rows = list(FolderSource(source_folder, today=today).rows())
    assert [row.where for row in rows] == ["a.heic", "b.jpg"]
    assert isinstance(rows[0], BadRow)
    assert rows[0].error.code is Code.IMAGE_UNREADABLE


def test_a_link_that_leads_out_of_the_folder_is_refused(source_folder, tmp_path, today) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"x")
    (source_folder / "S-1").mkdir()
    (source_folder / "S-1" / "a.jpg").symlink_to(tmp_path / "secret.jpg")
    [row] = FolderSource(source_folder, today=today).rows()
    assert isinstance(row, BadRow)
    assert row.error.code is Code.ROW_INVALID


def test_one_provenance_holds_for_all_rows(source_folder, today) -> None:
    (source_folder / "ada.jpg").write_bytes(b"x")
    provenance = Provenance("https://example.org/board", today, "Order 7")
    [row] = FolderSource(source_folder, today=today, provenance=provenance).rows()
    assert isinstance(row, Row)
    assert (row.facts.provenance_url, row.facts.provenance_captured_on, row.facts.basis) == (
        "https://example.org/board",
        today,
        "Order 7",
    )


@pytest.mark.parametrize("name", ["absent", "."])
def test_a_folder_that_is_absent_or_empty_is_an_error_at_once(source_folder, today, name: str) -> None:
    with pytest.raises(LiaisonError) as refused:
        FolderSource(source_folder / name, today=today)
    assert refused.value.code is Code.FILE_MISSING


def test_a_picture_that_goes_away_before_it_is_read_says_so(source_folder, today) -> None:
    path = source_folder / "ada.jpg"
    path.write_bytes(b"x")
    [row] = FolderSource(source_folder, today=today).rows()
    path.unlink()
    with pytest.raises(LiaisonError) as refused:
        row.read()
    assert refused.value.code is Code.FILE_MISSING


def test_a_name_that_would_upset_a_terminal_is_bad_and_is_named_legibly(source_folder, today) -> None:
    for name in (b"a\x1b[2J.jpg", b"b\xff.jpg"):
        Path(os.fsdecode(os.fsencode(source_folder) + b"/" + name)).write_bytes(b"x")
    for row in FolderSource(source_folder, today=today).rows():
        assert isinstance(row, BadRow)
        assert row.where.isprintable()
