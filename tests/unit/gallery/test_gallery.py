"""Enrolling and searching one gallery, with an index in memory."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from agency_node.gallery import Standing
from federation.errors import Code, LiaisonError


def test_an_enrolled_subject_is_found_with_everything_that_was_recorded(
    gallery, direction, enrolment
) -> None:
    gallery.enroll([enrolment(direction(0), "S-1", "E-7", name="Ada Example", year_of_birth=1970)])
    [match] = gallery.search(direction(0), 5)
    assert (match.subject_ref, match.encounter_ref) == ("S-1", "E-7")
    assert match.similarity == pytest.approx(1.0)
    assert (match.facts.name, match.facts.year_of_birth) == ("Ada Example", 1970)
    assert match.facts.captured_on == date(2024, 2, 29)
    assert (match.box, match.quality, match.flags) == ((1.0, 2.0, 3.0, 4.0), 80, ("other-faces:1",))
    assert gallery.photo(match.encounter_id) == b"photo of S-1 E-7"


def test_an_empty_gallery_finds_nobody(gallery, direction) -> None:
    assert gallery.search(direction(0), 10) == []


def test_candidates_come_by_similarity_and_no_more_than_asked(gallery, direction, enrolment) -> None:
    gallery.enroll([enrolment(direction(n, towards=0, lean=n / 10), f"S-{n}") for n in range(1, 10)])
    found = gallery.search(direction(0), 4)
    assert [match.subject_ref for match in found] == ["S-9", "S-8", "S-7", "S-6"]


def test_a_subject_with_many_encounters_takes_one_place_only(gallery, direction, enrolment) -> None:
    crowd = [enrolment(direction(0, towards=1, lean=n / 1000), "often-booked", f"{n}") for n in range(300)]
    others = [enrolment(direction(n, towards=0, lean=0.5), f"S-{n}") for n in range(2, 8)]
    gallery.enroll(crowd + others)
    found = gallery.search(direction(0), 7)
    assert [match.subject_ref for match in found].count("often-booked") == 1
    assert len(found) == 7
    assert found[0].encounter_ref == "0"


def test_a_changed_photograph_replaces_the_template_and_the_old_photograph(
    gallery, home, direction, enrolment
) -> None:
    gallery.enroll([enrolment(direction(0), "S-1", photo=b"first")])
    gallery.enroll([enrolment(direction(1), "S-1", photo=b"second")])
    [match] = gallery.search(direction(0), 5)
    assert match.similarity == pytest.approx(0.0)
    assert gallery.photo(match.encounter_id) == b"second"
    assert len(list((home.path / "photos").rglob("*.bin"))) == 1
    assert home.index.count() == 1
    assert gallery.counts().encounters == 1


def test_a_row_is_new_unchanged_or_changed_without_its_photograph_being_decoded(
    gallery, direction, enrolment
) -> None:
    row = enrolment(direction(0), "S-1", photo=b"picture")
    assert gallery.standing(row.facts, row.photo) is Standing.NEW
    gallery.enroll([row])
    assert gallery.standing(row.facts, row.photo) is Standing.UNCHANGED
    assert gallery.standing(row.facts, b"another") is Standing.PHOTO_CHANGED
    renamed = enrolment(direction(0), "S-1", name="Corrected")
    assert gallery.standing(renamed.facts, row.photo) is Standing.FACTS_CHANGED
    gallery.correct(renamed.facts)
    assert gallery.standing(renamed.facts, row.photo) is Standing.UNCHANGED
    assert gallery.search(direction(0), 1)[0].facts.name == "Corrected"


def test_the_same_encounter_number_of_two_subjects_is_two_encounters(gallery, direction, enrolment) -> None:
    gallery.enroll([enrolment(direction(0), "S-1", "01.jpg"), enrolment(direction(1), "S-2", "01.jpg")])
    assert gallery.counts().encounters == 2


def test_whatever_the_index_says_only_what_the_records_hold_is_found(
    gallery, home, direction, enrolment
) -> None:
    gallery.enroll([enrolment(direction(0), "S-1")])
    home.index.upsert([424242], direction(3).reshape(1, -1))
    assert [match.subject_ref for match in gallery.search(direction(3), 5)] == ["S-1"]


def test_another_engine_sees_none_of_these_templates_and_enrolls_its_own(
    home, stack, direction, enrolment
) -> None:
    row = enrolment(direction(0), "S-1")
    home.open(stack).enroll([row])
    home.index = type(home.index)(dimension=512)  # each engine has its own collection
    other = home.open(stack, engine_id="engine@2")
    other.reconcile()
    assert other.search(direction(0), 5) == []
    assert other.standing(row.facts, row.photo) is Standing.NEW
    other.enroll([row])
    assert len(other.search(direction(0), 5)) == 1
    assert len(list((home.path / "photos").rglob("*.bin"))) == 1


def test_two_galleries_of_a_node_do_not_see_each_other(home, stack, direction, enrolment) -> None:
    home.open(stack).enroll([enrolment(direction(0), "S-1")])
    home.index = type(home.index)(dimension=512)
    other = home.open(stack, name="missing")
    other.reconcile()
    assert other.search(direction(0), 5) == []
    assert other.counts().subjects == 0
    assert home.open(stack).counts().subjects == 1


def test_what_was_imported_without_the_index_is_found_after_a_refresh(
    home, stack, direction, enrolment
) -> None:
    server = home.open(stack)
    importer = home.open(stack, holds_index=False)
    importer.enroll([enrolment(direction(0), "S-1")])
    assert importer.counts().pending == 1
    assert server.refresh() == 1
    assert server.refresh() == 0
    assert server.counts().pending == 0
    assert len(server.search(direction(0), 1)) == 1


def test_a_process_without_the_index_cannot_search(home, stack, direction) -> None:
    with pytest.raises(LiaisonError) as refused:
        home.open(stack, holds_index=False).search(direction(0), 1)
    assert refused.value.code is Code.GALLERY_BUSY


def test_an_index_that_lost_or_gained_rows_is_made_equal_to_the_records(
    gallery, home, direction, enrolment
) -> None:
    gallery.enroll([enrolment(direction(n), f"S-{n}") for n in range(6)])
    true_ids = home.index.ids()
    home.index.delete(sorted(true_ids)[:3])
    home.index.upsert([99, 98], np.stack([direction(7), direction(8)]))
    gallery.reconcile()
    assert home.index.ids() == true_ids
    assert gallery.search(direction(0), 1)[0].similarity == pytest.approx(1.0)


def test_an_encounter_of_another_gallery_has_no_photograph_here(
    home, stack, gallery, direction, enrolment
) -> None:
    gallery.enroll([enrolment(direction(0), "S-1")])
    [match] = gallery.search(direction(0), 1)
    with pytest.raises(LiaisonError) as refused:
        home.open(stack, name="missing").photo(match.encounter_id)
    assert refused.value.code is Code.GALLERY_DAMAGED


def test_sweeping_removes_photographs_that_no_record_knows_and_no_others(
    gallery, home, direction, enrolment
) -> None:
    gallery.enroll([enrolment(direction(0), "S-1")])
    kept = next((home.path / "photos").rglob("*.bin"))
    orphan = home.path / "photos" / "booking" / "00" / f"{0:032x}.bin"
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"orphan")
    (kept.parent / "unfinished.part").write_bytes(b"half")
    assert gallery.sweep() == 1
    assert [path for path in (home.path / "photos").rglob("*") if path.is_file()] == [kept]
