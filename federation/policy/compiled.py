"""Policy files as the evaluator reads them: each compiled once, then shared by all decisions under that version."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Generic, TypeVar

from federation.policy.decision import RuleRef
from federation.policy.model import (
    ANY_AGENCY,
    AgencyPolicy,
    Limits,
    PermitRule,
    PolicyFile,
    RegionPolicy,
    Rule,
    ShareRule,
    StatutePack,
)
from federation.policy.offences import expand
from federation.policy.vocabulary import Requirement, parse_requirement

P = TypeVar("P", bound=PolicyFile)

REGION = "region"
"""The source by which a decision names the region's file."""

Words = frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class CompiledRule:
    """One rule with its selectors as sets (None matches anything) and its classes of offences written out."""

    source: str
    id: str
    effect: str
    ref: RuleRef
    says: str
    first: date
    last: date
    galleries: Words | None
    kinds: Words | None
    agencies: Words | None
    purposes: Words | None
    offenses: Words | None
    probe_sources: Words | None
    roles: Words | None
    requires: tuple[Requirement, ...]
    limits: Limits
    release: Words


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """A file's rules by section, and what it demands as a whole."""

    source: str
    version: int | None
    first: date
    last: date
    share: tuple[CompiledRule, ...]
    refuse: tuple[CompiledRule, ...]
    use: tuple[CompiledRule, ...]
    allow: tuple[CompiledRule, ...]
    requires: tuple[Requirement, ...]
    jurisdictions: Words
    """Of an agency: every jurisdiction it stands under, the wider ones included (`us-ca` stands under `us`)."""


@dataclass(frozen=True)
class Sourced(Generic[P]):
    """A policy file with the digest of its exact bytes. Keep it while the version is in use: it compiles once."""

    policy: P
    digest: str

    @cached_property
    def compiled(self) -> Compiled:
        """The file as the evaluator reads it."""
        return compile_file(self.policy)


@dataclass(frozen=True)
class PolicySet:
    """The files that one decision needs; None where there is none, which refuses.

    `beneficiary` may be None when the requester asks for itself.
    """

    region: Sourced[RegionPolicy] | None
    statutes: tuple[Sourced[StatutePack], ...]
    requester: Sourced[AgencyPolicy] | None
    beneficiary: Sourced[AgencyPolicy] | None
    owner: Sourced[AgencyPolicy] | None


def compile_file(policy: PolicyFile) -> Compiled:
    """Turn a parsed file into sets that a decision can test quickly."""
    source, version, first, last, jurisdictions = _head(policy)

    def section(name: str) -> tuple[CompiledRule, ...]:
        return tuple(_rule(rule, source, name) for rule in getattr(policy, name, ()))

    return Compiled(
        source=source,
        version=version,
        first=first or date.min,
        last=last or date.max,
        share=section("share"),
        refuse=section("refuse"),
        use=section("use"),
        allow=section("allow"),
        requires=_requirements(getattr(policy, "require", ())),
        jurisdictions=jurisdictions,
    )


def _head(policy: PolicyFile) -> tuple[str, int | None, date | None, date | None, Words]:
    if isinstance(policy, AgencyPolicy):
        under = _wider(policy.jurisdictions)
        return policy.agency, policy.version, policy.in_force.from_, policy.in_force.until, under
    if isinstance(policy, StatutePack):
        return policy.id, None, policy.effective, policy.sunset, frozenset({policy.jurisdiction})
    return REGION, policy.version, None, None, frozenset()


def _wider(jurisdictions: Iterable[str]) -> Words:
    found: set[str] = set()
    for jurisdiction in jurisdictions:
        parts = jurisdiction.split("-")
        found.update("-".join(parts[:length]) for length in range(1, len(parts) + 1))
    return frozenset(found)


def _rule(rule: Rule, source: str, effect: str) -> CompiledRule:
    anybody = rule.agencies is None or ANY_AGENCY in rule.agencies
    return CompiledRule(
        source=source,
        id=rule.id,
        effect=effect,
        ref=RuleRef(source, rule.id, effect),
        says=rule.says,
        first=rule.from_ or date.min,
        last=rule.until or date.max,
        galleries=_words(rule.galleries),
        kinds=_words(rule.gallery_kinds),
        agencies=None if anybody else _words(rule.agencies),
        purposes=_words(rule.purposes),
        offenses=None if rule.offenses is None else expand(rule.offenses),
        probe_sources=_words(rule.probe_sources),
        roles=_words(rule.roles),
        requires=_requirements(rule.requires if isinstance(rule, PermitRule) else ()),
        limits=rule.limits if isinstance(rule, PermitRule) else Limits(),
        release=frozenset(rule.release if isinstance(rule, ShareRule) else ()),
    )


def _words(words: Iterable[str] | None) -> Words | None:
    return None if words is None else frozenset(words)


def _requirements(words: Iterable[str]) -> tuple[Requirement, ...]:
    return tuple(requirement for word in words if (requirement := parse_requirement(word)) is not None)
