"""What a coordinator should know about a policy file before it is published: `hub policy check`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import Final

from federation.policy.load import Parsed, parse, rules_of, written
from federation.policy.model import AgencyPolicy, RefuseRule, Rule, StatutePack
from federation.policy.strict_yaml import Path
from federation.policy.vocabulary import ABSOLUTE_BANS

SOON: Final = timedelta(days=60)
"""How long before its last day a rule or a file is announced as ending."""


class Severity(str, Enum):
    """`error`: the file does not parse and refuses everything. `warning`: it does not do what it seems to do, or
    soon will not. `note`: good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about one place of a file; `rule` is empty where no single rule is meant."""

    severity: Severity
    rule: str
    sentence: str
    line: int = 1
    column: int = 1
    field: str = ""

    def as_json(self) -> dict[str, str | int]:
        """The same as plain values."""
        return {
            "severity": self.severity.value,
            "rule": self.rule,
            "sentence": self.sentence,
            "line": self.line,
            "column": self.column,
            "field": self.field,
        }


def check_text(text: str | bytes, name: str, at: datetime) -> list[Finding]:
    """Everything to say about this file on the day `at` (UTC), errors first, then by place. Never raises.

    `name` is the file's name; a sentence repeats it where the file as a whole is meant.
    """
    today = (at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)).date()
    parsed = parse(text)
    if parsed.policy is None:
        return [
            Finding(
                Severity.ERROR,
                _rule_at(parsed, p.path),
                p.sentence,
                p.place.line,
                p.place.column,
                written(p.path),
            )
            for p in parsed.problems
        ]
    found = [
        Finding(
            severity, rule, sentence, (place := parsed.located.place(path)).line, place.column, written(path)
        )
        for severity, rule, path, sentence in (*_rules(parsed, today), *_whole(parsed, name, today))
    ]
    order = list(Severity)
    return sorted(found, key=lambda f: (order.index(f.severity), f.line, f.column, f.sentence))


Said = tuple[Severity, str, Path, str]


def _rule_at(parsed: Parsed, path: Path) -> str:
    """The id of the rule that a problem stands in, if it has a readable one."""
    node = parsed.located.value
    for step in path[:2]:
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):
            return ""
    rule = node.get("id") if isinstance(node, dict) and len(path) >= 2 else None
    return rule if isinstance(rule, str) else ""


def _rules(parsed: Parsed, today: date) -> Iterator[Said]:
    policy = parsed.policy
    assert policy is not None
    sections: dict[str, str] = {}
    for path, rule in rules_of(policy):
        section = str(path[0])
        yield from _dates_of_rule(rule, path, today)
        if rule.id in sections and sections[rule.id] != section:
            sentence = f"A `{sections[rule.id]}` rule has the id `{rule.id}` too; two names are clearer."
            yield Severity.WARNING, rule.id, (*path, "id"), sentence
        sections.setdefault(rule.id, section)
        if not isinstance(rule, RefuseRule):
            yield from _banned_sources(rule, path)
        if isinstance(policy, AgencyPolicy):
            yield from _never_matching(policy, rule, path)


def _dates_of_rule(rule: Rule, path: Path, today: date) -> Iterator[Said]:
    if rule.until is not None and rule.until < today:
        yield (
            Severity.WARNING,
            rule.id,
            (*path, "until"),
            f"The rule ended on {rule.until} and matches nothing now.",
        )
    elif rule.until is not None and rule.until - today <= SOON:
        yield Severity.WARNING, rule.id, (*path, "until"), f"The rule ends soon, on {rule.until}."
    if rule.from_ is not None and rule.from_ > today:
        yield (
            Severity.NOTE,
            rule.id,
            (*path, "from"),
            f"The rule begins on {rule.from_} and matches nothing before.",
        )


def _banned_sources(rule: Rule, path: Path) -> Iterator[Said]:
    banned = sorted(ABSOLUTE_BANS.keys() & set(rule.probe_sources or ()))
    if not banned:
        return
    words = ", ".join(f"`{word}`" for word in banned)
    never = len(banned) == len(set(rule.probe_sources or ()))
    sentence = f"No policy can permit {words}" + ("; this rule can never take effect." if never else ".")
    yield Severity.WARNING, rule.id, (*path, "probe_sources"), sentence


def _never_matching(policy: AgencyPolicy, rule: Rule, path: Path) -> Iterator[Said]:
    section, kinds = path[0], {gallery.kind for gallery in policy.galleries.values()}
    if section == "share":
        named = {policy.galleries[name].kind for name in rule.galleries} if rule.galleries else kinds
        if not policy.galleries:
            yield Severity.WARNING, rule.id, path, "The file lists no gallery, so this rule can never match."
        elif rule.gallery_kinds and not named & set(rule.gallery_kinds):
            sentence = (
                "None of the galleries that the rule is about is of such a kind, so it can never match."
            )
            yield Severity.WARNING, rule.id, (*path, "gallery_kinds"), sentence
    if section == "refuse":
        for index, name in enumerate(rule.galleries or ()):
            if name not in policy.galleries:
                sentence = f"This file has no gallery `{name}`; the rule refuses only what you ask of others."
                yield Severity.WARNING, rule.id, (*path, "galleries", index), sentence
    if policy.in_force.until and rule.from_ and rule.from_ > policy.in_force.until:
        sentence = f"The rule begins on {rule.from_}, after the policy ends, so it can never match."
        yield Severity.WARNING, rule.id, (*path, "from"), sentence
    if policy.in_force.from_ and rule.until and rule.until < policy.in_force.from_:
        sentence = f"The rule ends on {rule.until}, before the policy begins, so it can never match."
        yield Severity.WARNING, rule.id, (*path, "until"), sentence


def _whole(parsed: Parsed, name: str, today: date) -> Iterator[Said]:
    policy = parsed.policy
    if isinstance(policy, AgencyPolicy):
        yield from _agency_as_a_whole(policy, name, today)
    elif isinstance(policy, StatutePack):
        yield from _statute_as_a_whole(policy, today)


def _agency_as_a_whole(policy: AgencyPolicy, name: str, today: date) -> Iterator[Said]:
    first, last = policy.in_force.from_, policy.in_force.until
    if last is None:
        yield Severity.NOTE, "", ("in_force",), f"{name} has no last day; a yearly review is good practice."
    elif last < today:
        yield Severity.WARNING, "", ("in_force", "until"), f"{name} ended on {last}: everything is refused."
    elif last - today <= SOON:
        yield (
            Severity.WARNING,
            "",
            ("in_force", "until"),
            f"{name} ends soon, on {last}; after it everything is refused.",
        )
    if first is not None and first > today:
        yield (
            Severity.NOTE,
            "",
            ("in_force", "from"),
            f"{name} begins on {first}; before it everything is refused.",
        )
    if not policy.use:
        yield Severity.NOTE, "", (), f"{name} has no `use` rule, so its own people can ask nobody."
    if policy.galleries and not policy.share:
        yield (
            Severity.NOTE,
            "",
            ("galleries",),
            f"{name} has no `share` rule, so nobody can search its galleries.",
        )


def _statute_as_a_whole(policy: StatutePack, today: date) -> Iterator[Said]:
    if policy.effective > today:
        yield Severity.NOTE, "", ("effective",), f"{policy.citation} takes effect on {policy.effective}."
    if policy.sunset is None:
        return
    if policy.sunset < today:
        yield (
            Severity.NOTE,
            "",
            ("sunset",),
            f"{policy.citation} ended on {policy.sunset} and no longer applies.",
        )
    elif policy.sunset - today <= SOON:
        yield Severity.WARNING, "", ("sunset",), f"{policy.citation} ends soon, on {policy.sunset}."
