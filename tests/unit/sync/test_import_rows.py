"""Importing: incremental, resumable, and never silent about what it leaves out."""

from __future__ import annotations

from datetime import date

import pytest

from agency_node.gallery import EncounterFacts
from agency_node.sync import FolderSource, ManifestSource, Provenance, import_rows
from federation.errors import Code, LiaisonError


@pytest.fixture
def folder(source_folder, today):
    """Write pictures by path and return the folder as a source."""

    def write(pictures: dict[str, str], **options) -> FolderSource:
        for name, text in pictures.items():
            path = source_folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return FolderSource(source_folder, today=today, **options)

    return write


THREE = {"S-1/a.jpg": "face 1", "S-2/a.jpg": "face 2", "S-3/a.jpg": "face 3 crowd"}


def test_every_good_row_is_in_and_what_a_person_should_see_is_flagged(gallery, reader, folder) -> None:
    done: list[int] = []
    report = import_rows(gallery, reader, folder(THREE), done.append)
    assert (report.added, report.changed, report.unchanged, report.skipped) == (3, 0, 0, [])
    assert report.flagged == [("S-3/a.jpg", "other-faces:2")]
    assert done == [1, 2, 3]
    assert gallery.search(reader.template(2), 1)[0].subject_ref == "S-2"


def test_a_second_import_decodes_nothing(gallery, reader, folder) -> None:
    import_rows(gallery, reader, folder(THREE))
    reader.read_photos.clear()
    report = import_rows(gallery, reader, folder(THREE))
    assert (report.added, report.unchanged) == (0, 3)
    assert reader.read_photos == []


def test_a_changed_photograph_replaces_the_old_one_and_the_rest_is_left_alone(
    gallery, reader, folder
) -> None:
    import_rows(gallery, reader, folder(THREE))
    reader.read_photos.clear()
    report = import_rows(gallery, reader, folder({"S-2/a.jpg": "face 9"}))
    assert (report.added, report.changed, report.unchanged) == (0, 1, 2)
    assert reader.read_photos == [b"face 9"]
    assert gallery.search(reader.template(9), 1)[0].similarity == pytest.approx(1.0)
    assert gallery.counts().templates == 3


def test_a_dry_run_says_the_same_and_does_nothing(gallery, reader, folder) -> None:
    report = import_rows(gallery, reader, folder(THREE), dry_run=True)
    assert (report.dry_run, report.added) == (True, 3)
    assert reader.read_photos == []
    assert gallery.counts().encounters == 0


def test_rows_that_cannot_be_enrolled_are_skipped_with_their_reason(gallery, reader, folder) -> None:
    report = import_rows(
        gallery,
        reader,
        folder(
            {"a.jpg": "nobody", "b.jpg": "several", "c.jpg": "garbage", "d.gif": "face 4", "e.jpg": "face 5"}
        ),
    )
    assert report.added == 1
    assert [(skipped.where, skipped.code) for skipped in report.skipped] == [
        ("a.jpg", Code.NO_FACE),
        ("b.jpg", Code.SEVERAL_FACES),
        ("c.jpg", Code.IMAGE_UNREADABLE),
        ("d.gif", Code.IMAGE_UNREADABLE),
    ]
    assert gallery.counts().subjects == 1
    assert report.as_json()["skipped"][0]["error"] == "no-face"


def test_a_photograph_that_becomes_bad_leaves_the_old_one_in_place(gallery, reader, folder) -> None:
    import_rows(gallery, reader, folder(THREE))
    report = import_rows(gallery, reader, folder({"S-1/a.jpg": "garbage"}))
    assert [skipped.where for skipped in report.skipped] == ["S-1/a.jpg"]
    assert gallery.search(reader.template(1), 1)[0].similarity == pytest.approx(1.0)


def test_two_rows_of_one_encounter_never_fight_over_it(gallery, reader, folder) -> None:
    source = folder({"S-1/a.jpg": "face 1", "S-1/a.png": "face 2"})
    first, second = import_rows(gallery, reader, source), import_rows(gallery, reader, source)
    assert [skipped.where for skipped in first.skipped] == ["S-1/a.png"]
    assert (second.unchanged, second.changed) == (1, 0)


def test_corrected_facts_are_taken_over_without_decoding(gallery, reader, source_folder, today) -> None:
    (source_folder / "a.jpg").write_text("face 1")

    def manifest(name: str) -> ManifestSource:
        path = source_folder / "manifest.csv"
        path.write_text(f"subject,encounter,captured,picture,name\nS-1,E-1,2020-01-01,a.jpg,{name}\n")
        return ManifestSource(path, today=today)

    import_rows(gallery, reader, manifest("Ada"))
    report = import_rows(gallery, reader, manifest("Ada Example"))
    assert (report.changed, len(reader.read_photos)) == (1, 1)
    assert gallery.search(reader.template(1), 1)[0].facts.name == "Ada Example"
    assert gallery.counts().templates == 1


def test_a_public_source_photograph_needs_provenance_and_basis(public_gallery, reader, folder) -> None:
    whole = Provenance("https://example.org", date(2025, 1, 1), "Order 7")
    partial = [
        Provenance(),
        Provenance(None, whole.captured_on, whole.basis),
        Provenance(whole.url, None, whole.basis),
        Provenance(whole.url, whole.captured_on, None),
    ]
    for provenance in partial:
        report = import_rows(public_gallery, reader, folder({"a.jpg": "face 1"}, provenance=provenance))
        assert [skipped.code for skipped in report.skipped] == [Code.ROW_INVALID]
    assert public_gallery.counts().encounters == 0
    report = import_rows(public_gallery, reader, folder({"a.jpg": "face 1"}, provenance=whole))
    assert (report.added, report.skipped) == (1, [])


def test_a_fault_of_the_gallery_is_not_blamed_on_the_row(gallery, reader, folder, monkeypatch) -> None:
    def fail(_facts: EncounterFacts, _photo: bytes) -> None:
        raise LiaisonError(Code.STORAGE_FAILED)

    monkeypatch.setattr(gallery, "standing", fail)
    with pytest.raises(LiaisonError) as raised:
        import_rows(gallery, reader, folder(THREE))
    assert raised.value.code is Code.STORAGE_FAILED


def test_an_import_that_stops_half_way_is_completed_by_the_next(gallery, reader, folder, monkeypatch) -> None:
    many = folder({f"S-{n:03}/a.jpg": f"face {n}" for n in range(80)})
    read = reader.read

    def power_cut(photo: bytes):
        if len(reader.read_photos) == 50:
            raise KeyboardInterrupt
        return read(photo)

    monkeypatch.setattr(reader, "read", power_cut)
    with pytest.raises(KeyboardInterrupt):
        import_rows(gallery, reader, many)
    kept = gallery.counts().templates
    assert 0 < kept <= 50
    monkeypatch.undo()
    report = import_rows(gallery, reader, many)
    assert (report.added, report.unchanged) == (80 - kept, kept)
    assert gallery.counts().templates == 80
