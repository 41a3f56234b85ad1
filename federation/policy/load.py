"""From the bytes of a policy file to its model, or to one clear sentence with the place of the mistake."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from federation.errors import Code, LiaisonError
from federation.policy.model import (
    FORMATS,
    AgencyPolicy,
    PolicyFile,
    RegionPolicy,
    Rule,
    StatutePack,
    did_you_mean,
)
from federation.policy.strict_yaml import Located, Path, Place, StrictYamlError, read, shown

P = TypeVar("P", AgencyPolicy, RegionPolicy, StatutePack)

SECTIONS = ("share", "refuse", "use", "allow")
"""The sections of a file that hold rules."""

RESERVED = frozenset({"any", "liaison", "region"})
"""Ids that a decision or a selector uses for something else."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One reason why a file does not parse: where, which field, and a sentence."""

    place: Place
    path: Path
    sentence: str

    def __str__(self) -> str:
        field = f", at `{written(self.path)}`" if self.path else ""
        return f"{self.place}{field}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class Parsed:
    """What came of a file: its model if there is no problem, and where everything stands."""

    policy: PolicyFile | None
    problems: tuple[Problem, ...]
    located: Located


def digest(text: bytes) -> str:
    """The name of exactly these bytes: `sha256:` and 64 hexadecimal digits."""
    return f"sha256:{hashlib.sha256(text).hexdigest()}"


def load_agency(text: str | bytes, name: str = "policy.yaml") -> AgencyPolicy:
    """Parse an agency's policy; raises LiaisonError(POLICY_INVALID) that names `name`, line, column and field."""
    return _load(text, name, AgencyPolicy)


def load_region(text: str | bytes, name: str = "region.yaml") -> RegionPolicy:
    """Parse the region's policy; raises LiaisonError(POLICY_INVALID) that names `name`, line, column and field."""
    return _load(text, name, RegionPolicy)


def load_statute(text: str | bytes, name: str = "statute.yaml") -> StatutePack:
    """Parse a statute pack; raises LiaisonError(POLICY_INVALID) that names `name`, line, column and field."""
    return _load(text, name, StatutePack)


def parse(text: str | bytes, model: type[PolicyFile] | None = None) -> Parsed:
    """Parse a file as `model`, or as whatever its `liaison` line says, and collect every problem. Never raises."""
    try:
        located = read(text)
    except StrictYamlError as error:
        return Parsed(None, (Problem(error.place, (), error.sentence),), Located())
    wanted = _format(located, model)
    if isinstance(wanted, Problem):
        return Parsed(None, (wanted,), located)
    try:
        policy = wanted.model_validate(located.value)
    except ValidationError as error:
        # What is missing comes last: more often than not, a misspelt field explains it.
        errors = sorted(error.errors(include_url=False), key=lambda details: details["type"] == "missing")
        problems = dict.fromkeys(_explained(details, wanted, located) for details in errors)
        return Parsed(None, tuple(problems), located)
    contradictions = tuple(
        sorted(
            (Problem(located.place(path), path, sentence) for path, sentence in _contradictions(policy)),
            key=lambda p: (p.place, p.sentence),
        )
    )
    return Parsed(None if contradictions else policy, contradictions, located)


def written(path: Sequence[str | int]) -> str:
    """A path as people write it: `share[0].limits.candidates`."""
    parts = (f"[{step}]" if isinstance(step, int) else f".{shown(step)}" for step in path)
    return "".join(parts).lstrip(".")


def _load(text: str | bytes, name: str, model: type[P]) -> P:
    parsed = parse(text, model)
    if isinstance(parsed.policy, model):
        return parsed.policy
    more = len(parsed.problems) - 1
    others = f" ({more} more; `hub policy check` lists them all.)" if more else ""
    raise LiaisonError(Code.POLICY_INVALID, f"{name}, {parsed.problems[0]}{others}")


def _format(located: Located, model: type[PolicyFile] | None) -> type[PolicyFile] | Problem:
    """The model to validate with, or why the file is none that we know."""
    start = Place(1, 1)
    if not isinstance(located.value, dict):
        return Problem(start, (), "A policy file is a map that begins with `liaison: policy/v1`.")
    says = located.value.get("liaison")
    found = FORMATS.get(says) if isinstance(says, str) else None
    expected = next((word for word, known in FORMATS.items() if known is model), None)
    if found is not None and model in (None, found):
        return found
    place = located.place(("liaison",))
    wanted = (
        f"`liaison: {expected}`"
        if expected
        else "`liaison:` followed by " + ", ".join(f"`{f}`" for f in FORMATS)
    )
    if "liaison" not in located.value:
        return Problem(
            start, ("liaison",), f"The file does not say what it is; its first line should be {wanted}."
        )
    return Problem(
        place, ("liaison",), f"This is not the kind of file that is expected here, which is {wanted}."
    )


def _explained(details: ErrorDetails, model: type[PolicyFile], located: Located) -> Problem:
    """A pydantic error in our words, at its place."""
    path: Path = tuple(step for step in details["loc"] if step != "[key]")
    place = located.place(path)
    kind = details["type"]
    field = shown(str(path[-1])) if path else ""
    if kind == "extra_forbidden":
        hint = did_you_mean(str(path[-1]), _fields(model, path[:-1]))
        return Problem(place, path, f"`{field}` is not a field here.{hint}")
    if kind == "missing":
        return Problem(place, path, f"The field `{field}` is missing.")
    if kind == "string_pattern_mismatch":
        return Problem(
            place, path, "This is not well formed: lower-case letters, digits and hyphens are expected."
        )
    message = details["msg"] if kind == "unknown_word" else f"{details['msg']}."
    return Problem(place, path, message)


def _fields(model: type[PolicyFile], path: Path) -> list[str]:
    """The names that a map at this path may use, for "did you mean"."""
    schema: Any = model.model_json_schema(by_alias=True)
    definitions = schema.get("$defs", {})
    node = schema
    for step in path:
        node = _inside(node, step, definitions)
    return list(_resolved(node, definitions).get("properties", {}))


def _inside(node: Any, step: str | int, definitions: Any) -> Any:
    node = _resolved(node, definitions)
    if isinstance(step, int):
        return node.get("items", {})
    extra = node.get("additionalProperties")
    return node.get("properties", {}).get(step, extra if isinstance(extra, dict) else {})


def _resolved(node: Any, definitions: Any) -> Any:
    for choice in node.get("anyOf", ()):
        if choice.get("type") != "null":
            node = choice
    if "$ref" in node:
        node = definitions[node["$ref"].rsplit("/", 1)[-1]]
    return node


def rules_of(policy: PolicyFile) -> Iterator[tuple[Path, Rule]]:
    """Every rule of a file with its path, section by section."""
    for section in SECTIONS:
        for index, rule in enumerate(getattr(policy, section, ())):
            yield (section, index), rule


def _contradictions(policy: PolicyFile) -> Iterator[tuple[Path, str]]:
    """What no single field shows: dates out of order, ids given twice, rules about galleries that are not there."""
    own = policy.agency if isinstance(policy, AgencyPolicy) else getattr(policy, "id", "")
    if own in RESERVED:
        yield (), f"`{own}` has a meaning of its own in the policy language; choose another id."
    seen: set[tuple[str | int, str]] = set()
    for path, rule in rules_of(policy):
        if _out_of_order(rule.from_, rule.until):
            yield (
                (*path, "until"),
                f"The rule `{rule.id}` ends on {rule.until}, before it begins on {rule.from_}.",
            )
        if (path[0], rule.id) in seen:
            yield (*path, "id"), f"Another `{path[0]}` rule has the id `{rule.id}` already."
        seen.add((path[0], rule.id))
    if isinstance(policy, StatutePack) and _out_of_order(policy.effective, policy.sunset):
        yield ("sunset",), f"The statute ends on {policy.sunset}, before it begins on {policy.effective}."
    if isinstance(policy, AgencyPolicy):
        yield from _contradictions_of_agency(policy)


def _contradictions_of_agency(policy: AgencyPolicy) -> Iterator[tuple[Path, str]]:
    if _out_of_order(policy.in_force.from_, policy.in_force.until):
        yield (
            ("in_force", "until"),
            f"The policy ends on {policy.in_force.until}, before it begins on {policy.in_force.from_}.",
        )
    for index, rule in enumerate(policy.share):
        for entry, gallery in enumerate(rule.galleries or ()):
            if gallery not in policy.galleries:
                yield (
                    ("share", index, "galleries", entry),
                    f"This file has no gallery `{gallery}`.{did_you_mean(gallery, policy.galleries)}",
                )


def _out_of_order(first: date | None, last: date | None) -> bool:
    return first is not None and last is not None and last < first
