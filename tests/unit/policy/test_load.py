"""Reading policy files: what parses, and how each mistake is named."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import Code, LiaisonError
from federation.policy import digest, load_agency, load_region, load_statute

GOOD = """\
liaison: policy/v1
agency: owner-so
version: 7
jurisdictions: [us-ca]
in_force: {from: 2026-01-01, until: 2026-12-31}
galleries:
  booking: {kind: booking, title: County booking photographs, retention_days: 3650}
share:
  - id: violent-felony-assist
    says: Partner agencies may search in violent felony cases.
    basis: Regional MOU 2025-14 §3
    galleries: [booking]
    agencies: [any]
    purposes: [criminal-investigation]
    offenses: [class:violent, nibrs:120]
    probe_sources: [cctv-still]
    requires: [case-number, trained-within:365d]
    limits: {candidates: 20, fmr_at_most: 1e-4, per_user_per_day: 10, min_quality: 40}
    release: [photo, subject-reference]
refuse:
  - {id: no-immigration, says: Never for immigration enforcement., purposes: [immigration-enforcement]}
use:
  - id: booking-only
    says: Only booking photographs.
    gallery_kinds: [booking]
review: {examiners: 2, blind: true}
retention: {probe_days: 30, no_lead_days: 7, lead_days: 1095}
"""


def refusal(text: str | bytes) -> str:
    with pytest.raises(LiaisonError) as caught:
        load_agency(text, "owner.yaml")
    assert caught.value.code is Code.POLICY_INVALID
    assert caught.value.detail.startswith("owner.yaml, line ")
    return caught.value.detail


def test_the_file_of_the_design_parses_as_written() -> None:
    policy = load_agency(GOOD)
    assert (policy.agency, policy.version, policy.in_force.until) == ("owner-so", 7, date(2026, 12, 31))
    (share,) = policy.share
    assert share.offenses == ("class:violent", "nibrs:120")
    assert share.limits.fmr_at_most == 1e-4
    assert share.release == ("photo", "subject-reference")
    assert policy.use[0].gallery_kinds == ("booking",)


def test_a_byte_order_mark_and_windows_line_ends_are_read() -> None:
    assert load_agency(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()) == load_agency(GOOD)


def test_the_digest_names_the_exact_bytes() -> None:
    assert digest(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("version: 7", "version: seven", "line 3, column 1, at `version`"),
        ("version: 7", 'version: "7"', "at `version`"),
        ("version: 7", "version: 7.0", "at `version`"),
        ("version: 7", "version: true", "at `version`"),
        ("version: 7", "version: 0", "at `version`"),
        ("version: 7\n", "", "The field `version` is missing."),
        ("agency: owner-so", "agency: Owner SO", "lower-case letters"),
        ("agency: owner-so", "agency: region", "`region` has a meaning of its own"),
        ("agency: owner-so", "agency: any", "`any` has a meaning of its own"),
        ("jurisdictions: [us-ca]", "jurisdictions: []", "at `jurisdictions`"),
        ("policy/v1", "policy/v2", "line 1, column 1, at `liaison`"),
        ("policy/v1", "region/v1", "which is `liaison: policy/v1`"),
        ("candidates: 20", "candidats: 20", "line 18, column 14, at `share[0].limits.candidats`:"),
        ("candidates: 20", "candidats: 20", "is not a field here. Did you mean `candidates`?"),
        ("candidates: 20", "candidates: 0", "at `share[0].limits.candidates`"),
        ("fmr_at_most: 1e-4", "fmr_at_most: 1e-4%", "at `share[0].limits.fmr_at_most`"),
        ("fmr_at_most: 1e-4", "fmr_at_most: .inf", "at `share[0].limits.fmr_at_most`"),
        ("fmr_at_most: 1e-4", "fmr_at_most: 1e999", "at `share[0].limits.fmr_at_most`"),
        ("min_quality: 40", "min_quality: 101", "at `share[0].limits.min_quality`"),
        ("purposes: [criminal-investigation]", "purpose: [criminal-investigation]", "Did you mean `purposes`?"),
        ("[criminal-investigation]", "[criminal-investigations]", "Did you mean `criminal-investigation`?"),
        ("[criminal-investigation]", "[]", "at `share[0].purposes`"),
        ("[criminal-investigation]", "criminal-investigation", "at `share[0].purposes`"),
        ("nibrs:120", "nibrs:12O", "line 15, column 31, at `share[0].offenses[1]`: `nibrs:12O` is not"),
        ("class:violent", "class:violence", "Did you mean `class:violent`?"),
        ("cctv-still", "cctv", "is not a probe source"),
        ("trained-within:365d", "trained-within:1y", "is not a requirement"),
        ("trained-within:365d", "trained-within:0d", "is not a requirement"),
        ("trained-within:365d", "min-quality:101", "is not a requirement"),
        ("[photo, subject-reference]", "[photos]", "Did you mean `photo`?"),
        ("kind: booking", "kind: bookings", "at `galleries.booking.kind`"),
        ("galleries: [booking]", "galleries: [bokking]", "This file has no gallery `bokking`. Did you mean `booking`?"),
        ("until: 2026-12-31", "until: 2025-12-31", "line 5, column 30, at `in_force.until`: The policy ends"),
        ("until: 2026-12-31", "until: 2026-02-30", "There is no day 2026-02-30."),
        ("until: 2026-12-31", 'until: "2026-12-31"', "at `in_force.until`"),
        ("blind: true", "blind: yes", "at `review.blind`"),
        ("blind: true", "blind: 1", "at `review.blind`"),
        ("gallery_kinds: [booking]", "release: [photo]", "`release` is not a field here."),
        ("    says: Only booking photographs.\n", "", "line 23, column 5, at `use[0].says`: The field"),
        ("says: Only booking photographs.", 'says: "  "', "at `use[0].says`"),
        ("id: booking-only", "id: booking only", "at `use[0].id`"),
        ("\nuse:", "\nshare:", "line 22, column 1: The key `share` is given twice, first on line 8."),
        ("candidates: 20", "candidates: 20, candidates: 30", "given twice"),
        ("version: 7", "version: &v 7", "Anchors"),
        ("version: 7", "version: *v", "Aliases"),
        ("version: 7", "version: !!int 7", "Tags"),
        ("version: 7", "version: !!python/object/apply:os.system [ls]", "Tags"),
        ("version: 7", "? [a]\n: 7", "A key must be a plain word."),
        ("version: 7", "<<: {version: 7}", "`<<` is not a field here."),
        ("version: 7", "version: [7", "This is not YAML"),
        ("version: 7", "version: \x07", "This is not YAML"),
        ("version: 7", "\tversion: 7", "This is not YAML"),
    ],
)  # fmt: skip
def test_each_mistake_is_refused_with_its_place_and_what_was_meant(was: str, becomes: str, said: str) -> None:
    assert was in GOOD
    assert said in refusal(GOOD.replace(was, becomes, 1))


def test_rules_of_one_section_have_different_ids_and_dates_in_order() -> None:
    twice = GOOD.replace("review:", "  - {id: booking-only, says: Again.}\nreview:")
    assert "Another `use` rule has the id `booking-only` already." in refusal(twice)
    backwards = GOOD.replace("gallery_kinds: [booking]", "from: 2026-05-02\n    until: 2026-05-01")
    assert "ends on 2026-05-01, before it begins on 2026-05-02" in refusal(backwards)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "The file is empty."),
        (b"# only a comment\n", "The file is empty."),
        (b"---\n", "A policy file is a map"),
        (b"- a\n- b\n", "A policy file is a map"),
        (b"agency: x\n", "The file does not say what it is"),
        (GOOD.encode("utf-16"), "not UTF-8"),
        (GOOD.encode("latin-1"), "line 11, column 33"),
        (b"a: \x00", "This is not YAML"),
        (b"x" * 1_000_001, "larger than 1,000,000 bytes"),
        (GOOD.encode() + b"---\n" + GOOD.encode(), "A second document begins here"),
        (b"a: " + b"[" * 5000, "nested deeper"),
        (b"a: &a [x,x]\nb: &b [*a,*a]\n", "Anchors"),
        ("liaison: \ud800", "UTF-8"),
    ],
)
def test_what_is_no_policy_file_at_all_is_refused(text: str | bytes, said: str) -> None:
    assert said in refusal(text)


def test_several_mistakes_name_the_first_and_count_the_others() -> None:
    said = refusal(GOOD.replace("version: 7", "version: x").replace("blind: true", "blind: x"))
    assert "line 3" in said
    assert "1 more" in said


def test_an_error_shows_a_strange_word_short_and_printable() -> None:
    said = refusal(GOOD.replace("[criminal-investigation]", '["' + "\\e" * 10 + "x" * 5000 + '"]'))
    assert said.isprintable()
    assert len(said) < 300


def test_region_and_statute_files_are_read_by_their_own_models() -> None:
    region = load_region("liaison: region/v1\nregion: delta\nversion: 1\nadopts: [us-md-2-503]\n")
    assert region.adopts == ("us-md-2-503",)
    statute = (
        "liaison: statute/v1\nid: us-x\njurisdiction: us\ncitation: C\neffective: 2024-10-01\nverified: no\n"
    )
    pack = load_statute(statute)
    assert (pack.effective, pack.sunset, pack.verified) == (date(2024, 10, 1), None, "no")
    with pytest.raises(LiaisonError, match="at `sunset`"):
        load_statute(statute + "sunset: 2024-09-30\n")
    with pytest.raises(LiaisonError, match="share"):
        load_region("liaison: region/v1\nregion: delta\nversion: 1\nshare: []\n")


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_bytes_end_in_a_policy_or_in_the_library_s_own_error(text: bytes | str) -> None:
    for load in (load_agency, load_region, load_statute):
        with pytest.raises(LiaisonError) as caught:
            load(text)
        assert caught.value.code is Code.POLICY_INVALID


def paths(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every map of a document."""
    if isinstance(node, dict):
        return [path] + [found for key, value in node.items() for found in paths(value, (*path, key))]
    if isinstance(node, list):
        return [found for index, value in enumerate(node) for found in paths(value, (*path, index))]
    return []


MAPS = [
    path for path in paths(yaml.safe_load(GOOD)) if path != ("galleries",)
]  # whose keys are the agency's own


@given(
    st.sampled_from(MAPS), st.from_regex(r"[a-z_]{1,12}", fullmatch=True), st.integers() | st.text(max_size=5)
)
def test_an_unknown_field_never_parses_wherever_it_stands(
    path: tuple[Any, ...], key: str, value: Any
) -> None:
    document = yaml.safe_load(GOOD)
    document["share"][0]["limits"]["fmr_at_most"] = 0.0001
    node = document
    for step in path:
        node = node[step]
    node[f"{key}_x"] = value
    with pytest.raises(LiaisonError, match="is not a field here"):
        load_agency(yaml.safe_dump(document, allow_unicode=True))


@given(st.integers(0, len(GOOD) - 1), st.text(max_size=3))
def test_a_file_with_any_character_changed_parses_or_is_refused_by_the_catalogue(at: int, new: str) -> None:
    try:
        load_agency(GOOD[:at] + new + GOOD[at + 1 :])
    except LiaisonError as error:
        assert error.code is Code.POLICY_INVALID  # noqa: PT017 - a change may also leave a valid file
