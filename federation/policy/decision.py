"""What the evaluator answers: an outcome, the rules that decided, what is missing, the obligations and the trace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, NamedTuple

from federation.policy.model import Retention

DEFAULT_CANDIDATES: Final = 20
"""How long a candidate list may be where no file says; the FBI's NGI-IPS has the same default."""


class Outcome(str, Enum):
    """The three answers; `wait` becomes `permit` once somebody gives what is missing."""

    DENY = "deny"
    WAIT = "wait"
    PERMIT = "permit"

    @property
    def rank(self) -> int:
        """Zero for the strictest."""
        return _RANK[self]


_RANK: Final = {Outcome.DENY: 0, Outcome.WAIT: 1, Outcome.PERMIT: 2}


class RuleRef(NamedTuple):
    """A rule's name: the file it stands in (agency, `region`, statute id or `liaison`), its id, and its effect.

    `effect` is share, use, refuse, allow, ban or require.
    """

    source: str
    id: str
    effect: str


class Ground(NamedTuple):
    """One reason to refuse: the rule, and the sentence for the person who asked."""

    rule: RuleRef
    sentence: str


class TraceStep(NamedTuple):
    """One rule as it was tried: whether it matched, and in words why, or why not."""

    source: str
    rule_id: str
    effect: str
    matched: bool
    why: str


@dataclass(frozen=True, slots=True)
class Obligations:
    """What the parties owe when the search is made; all zero and empty on a denial.

    `candidates` is the longest list that may be answered, `fmr_at_most` the largest false match rate of a
    candidate (None: no bound), `min_quality` the least unified quality of the probe, `release` the fields that may
    travel with a candidate, `examiners` how many compare, `blind` whether the later ones do so blind.
    """

    candidates: int = 0
    fmr_at_most: float | None = None
    min_quality: int = 0
    per_user_per_day: int | None = None
    release: frozenset[str] = frozenset()
    examiners: int = 0
    blind: bool = False
    retention: Retention = field(default_factory=Retention)

    def as_json(self) -> dict[str, Any]:
        """The same as plain values, in a stable order."""
        return {
            "candidates": self.candidates,
            "fmr_at_most": self.fmr_at_most,
            "min_quality": self.min_quality,
            "per_user_per_day": self.per_user_per_day,
            "release": sorted(self.release),
            "examiners": self.examiners,
            "blind": self.blind,
            "retention": self.retention.model_dump(),
        }


NO_OBLIGATIONS: Final = Obligations()


@dataclass(frozen=True, slots=True)
class Decision:
    """One answer for one request at one gallery.

    `rules` are those that decided, never none. `missing` names requirements that are not met. `reason` is one
    sentence for the person who asked. `digests` and `versions` name every file that was used, by source.
    """

    outcome: Outcome
    rules: tuple[RuleRef, ...]
    missing: tuple[str, ...]
    obligations: Obligations
    reason: str
    trace: tuple[TraceStep, ...]
    digests: Mapping[str, str]
    versions: Mapping[str, int]

    def as_json(self) -> dict[str, Any]:
        """The decision as plain values with stable keys, as it is logged and shown."""
        return {
            "decision": self.outcome.value,
            "rules": [rule._asdict() for rule in self.rules],
            "missing": list(self.missing),
            "obligations": self.obligations.as_json(),
            "reason": self.reason,
            "trace": [step._asdict() for step in self.trace],
            "digests": dict(sorted(self.digests.items())),
            "versions": dict(sorted(self.versions.items())),
        }
