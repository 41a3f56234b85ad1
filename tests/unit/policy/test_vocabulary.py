"""The words of the language: complete, and each with its meaning."""

from __future__ import annotations

import pytest

from federation.policy.offences import CLASSES, NIBRS, OFFENCES, expand
from federation.policy.vocabulary import (
    GALLERY_KINDS,
    PROBE_SOURCES,
    PURPOSES,
    RELEASED_FIELDS,
    REQUIREMENTS,
    ROLES,
    Requirement,
    parse_requirement,
)


@pytest.mark.parametrize(
    "vocabulary", [PURPOSES, PROBE_SOURCES, GALLERY_KINDS, RELEASED_FIELDS, ROLES, REQUIREMENTS, CLASSES]
)
def test_every_word_has_a_sentence(vocabulary: dict[str, str]) -> None:
    assert all(says.endswith(".") for says in vocabulary.values())


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("violent", {"09A", "11A", "11B", "11C", "120", "13A"}),
        ("drug", {"35A", "35B"}),
        ("sex", {"11A", "11B", "11C", "11D", "36A", "36B"}),
    ],
)
def test_a_class_holds_exactly_the_codes_that_its_page_names(name: str, codes: set[str]) -> None:
    assert expand([f"class:{name}"]) == {f"nibrs:{code}" for code in codes}


def test_property_holds_burglary_and_theft_and_leaves_robbery_to_violent() -> None:
    held = expand(["class:property"])
    assert {"nibrs:220", "nibrs:23C", "nibrs:240", "nibrs:290"} <= held
    assert "nibrs:120" not in held


def test_any_holds_every_code_and_words_unite() -> None:
    assert expand(["class:any"]) == OFFENCES == {f"nibrs:{code}" for code in NIBRS}
    assert expand(["class:drug", "nibrs:120"]) == {"nibrs:35A", "nibrs:35B", "nibrs:120"}
    assert expand([]) == frozenset()


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("warrant", Requirement("warrant")),
        ("trained-within:365d", Requirement("trained-within:365d", days=365)),
        ("min-quality:0", Requirement("min-quality:0", quality=0)),
        ("min-quality:100", Requirement("min-quality:100", quality=100)),
        ("min-quality:101", None),
        ("min-quality:040", None),
        ("trained-within:0d", None),
        ("trained-within:365", None),
        ("trained-within:<n>d", None),
        ("warrant ", None),
        ("warrant\n", None),
        ("", None),
    ],
)
def test_a_requirement_is_understood_whole_or_not_at_all(word: str, meaning: Requirement | None) -> None:
    assert parse_requirement(word) == meaning
