"""A CSV manifest as a source: what is right is yielded, what is wrong is named, whatever the bytes."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agency_node.sync import BadRow, ManifestSource, Row
from federation.errors import Code, LiaisonError

HEADER = (
    "subject,encounter,captured,picture,year_of_birth,sex,race,name,provenance_url,provenance_captured,basis"
)


@pytest.fixture
def manifest(source_folder, today):
    def write(text: str | bytes) -> ManifestSource:
        path = source_folder / "manifest.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        (source_folder / "a.jpg").write_bytes(b"face 1")
        return ManifestSource(path, today=today)

    return write


def test_every_column_reaches_the_facts(manifest) -> None:
    [row] = manifest(
        HEADER
        + '\nS-1,E-1,2024-02-29,a.jpg,1970,F,as recorded,"Example, Ada",https://example.org/x,2025-01-02,Order 7\n'
    ).rows()
    assert isinstance(row, Row)
    facts = row.facts
    assert (facts.subject_ref, facts.encounter_ref, facts.captured_on) == ("S-1", "E-1", date(2024, 2, 29))
    assert (facts.name, facts.year_of_birth, facts.sex, facts.race) == (
        "Example, Ada",
        1970,
        "F",
        "as recorded",
    )
    assert (facts.provenance_url, facts.basis) == ("https://example.org/x", "Order 7")
    assert facts.provenance_captured_on == date(2025, 1, 2)
    assert row.read() == b"face 1"


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_byte_order_mark_and_line_ends_do_not_matter(manifest, start: bytes, end: bytes) -> None:
    lines = [b"subject,encounter,captured,picture", b"S-1,E-1,,a.jpg", b"", "Zoë,E-2,,a.jpg".encode(), b""]
    source = manifest(start + end.join(lines))
    assert [row.facts.subject_ref for row in source.rows()] == ["S-1", "Zoë"]
    assert source.total() == 2


BAD_ROWS = {
    "too few fields": "S-1,E-1",
    "too many fields": "S-1,E-1,,a.jpg,more",
    "no subject": ",E-1,,a.jpg",
    "no encounter": "S-1,,,a.jpg",
    "no picture": "S-1,E-1,,",
    "a date that is none": "S-1,E-1,2024-02-30,a.jpg",
    "a date in words": "S-1,E-1,29 February,a.jpg",
    "a date in the future": "S-1,E-1,2126-05-01,a.jpg",
    "a path that climbs out": "S-1,E-1,,../../../etc/passwd",
    "an absolute path": "S-1,E-1,,/etc/passwd",
    "a path with a zero byte": "S-1,E-1,,a\0.jpg",
    "a stray quotation mark": 'S-1,"E-1,,a.jpg',
    "a reference with a line of control signs": "S-\x1b[2J,E-1,,a.jpg",
    "a reference without end": f"{'S' * 5000},E-1,,a.jpg",
}


@pytest.mark.parametrize("line", BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_a_broken_row_is_named_by_its_line_and_the_others_are_there(manifest, line: str) -> None:
    source = manifest(f"subject,encounter,captured,picture\nS-0,E-0,,a.jpg\n{line}\nS-9,E-9,,a.jpg\n")
    first, broken, last = source.rows()
    assert isinstance(first, Row)
    assert isinstance(last, Row)
    assert isinstance(broken, BadRow)
    assert broken.where == "line 3"
    assert broken.error.code is Code.ROW_INVALID
    assert "passwd" not in broken.error.sentence


@pytest.mark.parametrize(
    "fields", ["1849,,", "3000,,", "19700,,", "abcd,,", ",ftp://example.org,", ",https://,", ",,2126-01-01"]
)
def test_facts_that_cannot_be_true_make_a_row_bad(manifest, fields: str) -> None:
    header = "subject,encounter,captured,picture,year_of_birth,provenance_url,provenance_captured"
    [row] = manifest(f"{header}\nS-1,E-1,,a.jpg,{fields}\n").rows()
    assert isinstance(row, BadRow)


def test_a_line_that_is_not_utf_8_spoils_itself_only(manifest) -> None:
    source = manifest(b"subject,encounter,captured,picture\nZo\xeb,E-1,,a.jpg\nS-2,E-2,,a.jpg\n")
    bad, good = source.rows()
    assert isinstance(bad, BadRow)
    assert isinstance(good, Row)


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ("", "subject"),
        ("subject,encounter,picture", "captured"),
        ("subject,encounter,captured,picture,shoe_size", "shoe_size"),
        ("subject,encounter,captured,picture,subject", "twice"),
        ('subject,"encounter', "CSV"),
    ],
)
def test_a_first_line_without_the_right_columns_stops_everything_and_says_which(
    manifest, header, named
) -> None:
    with pytest.raises(LiaisonError) as refused:
        manifest(header + "\nS-1,E-1,,a.jpg\n")
    assert refused.value.code is Code.MANIFEST_INVALID
    assert named in refused.value.sentence


def test_a_manifest_that_is_not_there_is_said_to_be_missing(source_folder, today) -> None:
    with pytest.raises(LiaisonError) as refused:
        ManifestSource(source_folder / "manifest.csv", today=today)
    assert refused.value.code is Code.FILE_MISSING


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_whatever_the_bytes_it_ends_in_rows_or_in_an_error_of_the_catalogue(
    manifest, noise, with_header
) -> None:
    if not with_header:
        with pytest.raises(LiaisonError, match="manifest"):
            manifest(noise)
        return
    for row in manifest(b"subject,encounter,captured,picture\n" + noise).rows():
        assert isinstance(row, Row | BadRow)
        assert row.where.isprintable()
