"""`hub policy check`: what a coordinator is told before a file is published."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.policy import Finding, Severity, check_text

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)

AGENCY = """\
liaison: policy/v1
agency: owner-so
version: 7
jurisdictions: [us-ca]
in_force: {from: 2026-01-01, until: 2026-12-31}
galleries:
  booking: {kind: booking}
share:
  - id: open
    says: Partners may search.
    galleries: [booking]
use:
  - id: all
    says: Our people may ask.
"""
STATUTE = """\
liaison: statute/v1
id: us-ca-test
jurisdiction: us-ca
citation: Test Code §1
effective: 2020-01-01
verified: invented
"""


def check(text: str | bytes) -> list[Finding]:
    return check_text(text, "owner.yaml", NOW)


def test_a_sound_file_has_no_findings() -> None:
    assert check(AGENCY) == []


def test_every_mistake_of_a_file_is_an_error_with_line_column_field_and_rule() -> None:
    found = check(
        AGENCY.replace("version: 7", "version: x").replace("galleries: [booking]", "gallery: [booking]")
    )
    assert [(f.severity, f.rule, f.line, f.column, f.field) for f in found] == [
        (Severity.ERROR, "", 3, 1, "version"),
        (Severity.ERROR, "open", 11, 5, "share[0].gallery"),
    ]
    assert "Did you mean `galleries`?" in found[1].sentence
    assert found[1].as_json()["severity"] == "error"


@pytest.mark.parametrize(
    ("was", "becomes", "severity", "rule", "line", "said"),
    [
        ("    galleries: [booking]", "    until: 2026-06-14", "warning", "open", 11, "ended on 2026-06-14"),
        ("    galleries: [booking]", "    until: 2026-06-15", "warning", "open", 11, "ends soon, on 2026-06-15"),
        ("    galleries: [booking]", "    until: 2026-08-14", "warning", "open", 11, "ends soon, on 2026-08-14"),
        ("    galleries: [booking]", "    from: 2026-06-16", "note", "open", 11, "begins on 2026-06-16"),
        ("    galleries: [booking]", "    from: 2027-01-01", "warning", "open", 11, "after the policy ends"),
        ("    galleries: [booking]", "    until: 2025-12-31", "warning", "open", 11, "before the policy begins"),
        ("    galleries: [booking]", "    gallery_kinds: [public-source]", "warning", "open", 11, "it can never match"),
        ("    galleries: [booking]", "    probe_sources: [sketch]", "warning", "open", 11, "can never take effect"),
        ("    galleries: [booking]", "    probe_sources: [cctv-still, sketch]", "warning", "open", 11, "`sketch`."),
        ("    galleries: [booking]", "    galleries: [bookings]", "error", "open", 11, "Did you mean `booking`?"),
        ("  booking: {kind: booking}\n", "", "error", "", 6, "valid dictionary"),
        ("galleries:\n  booking: {kind: booking}", "galleries: {}", "error", "open", 10, "no gallery `booking`"),
        ("use:", "refuse: [{id: no, says: No., galleries: [cellar]}]\nuse:", "warning", "no", 12, "`cellar`"),
        ("id: all", "id: open", "warning", "open", 13, "has the id `open` too"),
        ("until: 2026-12-31", "until: 2026-06-14", "warning", "", 5, "ended on 2026-06-14: everything is refused"),
        ("until: 2026-12-31", "until: 2026-07-01", "warning", "", 5, "ends soon, on 2026-07-01"),
        ("from: 2026-01-01", "from: 2026-06-16", "note", "", 5, "begins on 2026-06-16"),
        (", until: 2026-12-31", "", "note", "", 5, "has no last day"),
        ("use:\n  - id: all\n    says: Our people may ask.\n", "", "note", "", 1, "has no `use` rule"),
    ],
)  # fmt: skip
def test_what_a_file_does_not_do_as_it_seems_to_is_found_at_its_line(
    was: str, becomes: str, severity: str, rule: str, line: int, said: str
) -> None:
    assert was in AGENCY
    found = check(AGENCY.replace(was, becomes, 1))
    assert (severity, rule, line) in [(f.severity.value, f.rule, f.line) for f in found if said in f.sentence]


def test_an_end_further_away_than_sixty_days_is_not_announced() -> None:
    assert check(AGENCY.replace("    galleries: [booking]", "    until: 2026-08-15")) == []


def test_a_share_rule_without_any_gallery_can_never_match() -> None:
    text = AGENCY.replace("galleries:\n  booking: {kind: booking}\n", "").replace(
        "    galleries: [booking]\n", ""
    )
    assert any("lists no gallery" in found.sentence for found in check(text))


def test_galleries_that_nobody_may_search_are_noted() -> None:
    text = AGENCY.replace(
        "share:\n  - id: open\n    says: Partners may search.\n    galleries: [booking]\n", ""
    )
    assert any("nobody can search its galleries" in found.sentence for found in check(text))


@pytest.mark.parametrize(
    ("sunset", "severity", "said"),
    [
        ("2026-06-14", "note", "ended on 2026-06-14 and no longer applies"),
        ("2026-06-15", "warning", "ends soon, on 2026-06-15"),
        ("2026-08-14", "warning", "ends soon, on 2026-08-14"),
    ],
)
def test_a_statute_past_or_near_its_sunset_says_so(sunset: str, severity: str, said: str) -> None:
    (found,) = check(f"{STATUTE}sunset: {sunset}\n")
    assert (found.severity.value, found.line) == (severity, 7)
    assert said in found.sentence


def test_a_statute_without_a_near_sunset_is_sound_and_a_future_one_is_noted() -> None:
    assert check(STATUTE) == []
    assert check(STATUTE + "sunset: 2026-08-15\n") == []
    (found,) = check(STATUTE.replace("2020-01-01", "2026-06-16"))
    assert "takes effect on 2026-06-16" in found.sentence


def test_an_unknown_kind_of_file_is_an_error() -> None:
    (found,) = check("liaison: watchlist/v1\n")
    assert (found.severity, found.line) == (Severity.ERROR, 1)


@given(st.integers(0, len(AGENCY) - 1), st.text(max_size=4))
def test_checking_never_raises(at: int, new: str) -> None:
    for found in check(AGENCY[:at] + new + AGENCY[at + 1 :]):
        assert found.line >= 1
        assert found.sentence.endswith((".", "?"))
