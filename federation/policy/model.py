"""The three kinds of policy file, as strict models: an agency's policy, a region's policy, a statute pack.

Nothing is coerced and nothing unknown parses. The models hold what the file says; what it means is `evaluate`'s
to say, and what contradicts itself is found by `load` and `check`. DESIGN §6 is the language.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from federation.policy.offences import OFFENCE_WORDS
from federation.policy.strict_yaml import shown
from federation.policy.vocabulary import (
    GALLERY_KINDS,
    PROBE_SOURCES,
    PURPOSES,
    RELEASED_FIELDS,
    REQUIREMENTS,
    ROLES,
    parse_requirement,
)

ANY_AGENCY: Final = "any"

ID_PATTERN: Final = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
"""How agencies, galleries, regions and statutes are named."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence that proposes the nearest known word, with a space before it, or nothing."""
    near = difflib.get_close_matches(word[:100], list(known), n=1, cutoff=0.6)
    return f" Did you mean `{near[0]}`?" if near else ""


def _unknown(word: str, what: str, known: Iterable[str]) -> PydanticCustomError:
    sentence = f"`{shown(word)}` is not {what}.{did_you_mean(word, known)}"
    return PydanticCustomError("unknown_word", "{sentence}", {"sentence": sentence})


def _known(what: str, vocabulary: Mapping[str, str]) -> Callable[[str], str]:
    def check(word: str) -> str:
        if word not in vocabulary:
            raise _unknown(word, what, vocabulary)
        return word

    return check


def _enum(vocabulary: Mapping[str, str]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "enum": list(vocabulary)})


def _requirement(word: str) -> str:
    if parse_requirement(word) is None:
        raise _unknown(word, "a requirement", REQUIREMENTS)
    return word


Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
RuleId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
Jurisdiction = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z0-9]+)*$", max_length=63)]
Sentence = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"\S")]

Purpose = Annotated[str, AfterValidator(_known("a purpose", PURPOSES)), _enum(PURPOSES)]
OffenceWord = Annotated[
    str, AfterValidator(_known("a NIBRS offence or a class of offences", OFFENCE_WORDS)), _enum(OFFENCE_WORDS)
]
ProbeSource = Annotated[str, AfterValidator(_known("a probe source", PROBE_SOURCES)), _enum(PROBE_SOURCES)]
GalleryKind = Annotated[str, AfterValidator(_known("a kind of gallery", GALLERY_KINDS)), _enum(GALLERY_KINDS)]
Role = Annotated[str, AfterValidator(_known("a role", ROLES)), _enum(ROLES)]
ReleasedField = Annotated[
    str, AfterValidator(_known("a field that can be released", RELEASED_FIELDS)), _enum(RELEASED_FIELDS)
]
RequirementWord = Annotated[str, AfterValidator(_requirement)]

_LIST = Field(strict=False)  # a YAML list becomes a tuple; its entries stay strict
_SELECTOR = Field(strict=False, min_length=1)  # an empty list names nothing, so it is a mistake


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Limits(_Strict):
    """Upper bounds of one search; where several files set one, the strictest counts."""

    candidates: Annotated[int, Field(ge=1, le=1000)] | None = None
    fmr_at_most: Annotated[float, Field(gt=0, le=1)] | None = None
    per_user_per_day: Annotated[int, Field(ge=1)] | None = None
    min_quality: Annotated[int, Field(ge=0, le=100)] | None = None


class Rule(_Strict):
    """What every rule has: a name, a sentence for people, its basis, its dates, and selectors.

    A selector that is None matches anything; a rule matches when all its selectors do. `from_` and `until` are
    days in UTC, both included.
    """

    id: RuleId
    says: Sentence
    basis: Sentence | None = None
    from_: date | None = Field(default=None, alias="from")
    until: date | None = None
    galleries: Annotated[tuple[Id, ...], _SELECTOR] | None = None
    gallery_kinds: Annotated[tuple[GalleryKind, ...], _SELECTOR] | None = None
    agencies: Annotated[tuple[Id, ...], _SELECTOR] | None = None
    purposes: Annotated[tuple[Purpose, ...], _SELECTOR] | None = None
    offenses: Annotated[tuple[OffenceWord, ...], _SELECTOR] | None = None
    probe_sources: Annotated[tuple[ProbeSource, ...], _SELECTOR] | None = None
    roles: Annotated[tuple[Role, ...], _SELECTOR] | None = None


class RefuseRule(Rule):
    """A rule that overrides every permission."""


class PermitRule(Rule):
    """A `use` rule of an agency or an `allow` rule of a statute: permits, and may ask for something."""

    requires: Annotated[tuple[RequirementWord, ...], _LIST] = ()
    limits: Limits = Limits()


class ShareRule(PermitRule):
    """A rule by which an agency opens its galleries.

    It releases the subject's reference and nothing else unless it says so.
    """

    release: Annotated[tuple[ReleasedField, ...], _LIST] = ("subject-reference",)


class Gallery(_Strict):
    """A gallery that an agency offers."""

    kind: GalleryKind
    title: Sentence | None = None
    retention_days: Annotated[int, Field(ge=1)] | None = None


class InForce(_Strict):
    """The days on which a file counts, both included, in UTC; a bound left out is open."""

    from_: date | None = Field(default=None, alias="from")
    until: date | None = None


class Review(_Strict):
    """How many examiners compare the candidates, and whether all but the first do so blind."""

    examiners: Annotated[int, Field(ge=1, le=5)] = 2
    blind: bool = True


class Retention(_Strict):
    """Days that a probe, a result without a lead, and a lead are kept; None where the file does not say."""

    probe_days: Annotated[int, Field(ge=1)] | None = None
    no_lead_days: Annotated[int, Field(ge=1)] | None = None
    lead_days: Annotated[int, Field(ge=1)] | None = None


class AgencyPolicy(_Strict):
    """One agency's file, `liaison: policy/v1`."""

    liaison: Literal["policy/v1"]
    agency: Id
    version: Annotated[int, Field(ge=1)]
    jurisdictions: Annotated[tuple[Jurisdiction, ...], _SELECTOR]
    in_force: InForce = InForce()
    galleries: dict[Id, Gallery] = {}
    share: Annotated[tuple[ShareRule, ...], _LIST] = ()
    refuse: Annotated[tuple[RefuseRule, ...], _LIST] = ()
    use: Annotated[tuple[PermitRule, ...], _LIST] = ()
    review: Review = Review()
    retention: Retention = Retention()


class RegionPolicy(_Strict):
    """The region's file, `liaison: region/v1`: it refuses, requires and limits, and never permits."""

    liaison: Literal["region/v1"]
    region: Id
    version: Annotated[int, Field(ge=1)]
    refuse: Annotated[tuple[RefuseRule, ...], _LIST] = ()
    require: Annotated[tuple[RequirementWord, ...], _LIST] = ()
    limits: Limits = Limits()
    adopts: Annotated[tuple[Id, ...], _LIST] = ()


class StatutePack(_Strict):
    """One statute or ordinance, `liaison: statute/v1`.

    It counts from `effective` to `sunset`, both included. `verified` says in words how its text was checked.
    """

    liaison: Literal["statute/v1"]
    id: Id
    jurisdiction: Jurisdiction
    citation: Sentence
    effective: date
    sunset: date | None = None
    verified: Sentence
    allow: Annotated[tuple[PermitRule, ...], _LIST] = ()
    refuse: Annotated[tuple[RefuseRule, ...], _LIST] = ()
    require: Annotated[tuple[RequirementWord, ...], _LIST] = ()


PolicyFile = AgencyPolicy | RegionPolicy | StatutePack

FORMATS: Final[Mapping[str, type[AgencyPolicy] | type[RegionPolicy] | type[StatutePack]]] = {
    "policy/v1": AgencyPolicy,
    "region/v1": RegionPolicy,
    "statute/v1": StatutePack,
}
"""Which model a file's `liaison` line asks for."""
