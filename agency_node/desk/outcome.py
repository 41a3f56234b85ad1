"""What came of a search at each gallery: never a list without a status, never a status without a sentence.

"Not searched" never looks like "no match": an outcome has candidates only when its status is `answered`, and an
answer that does not verify counts as a failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from federation.errors import CATALOGUE, Code
from federation.probe.answer import Answer, Candidate, Receipt, RuleName
from federation.probe.delivery import SENTENCES, DeliveryState
from protos.liaison.v1 import broker_pb2

LEAD_WORDING = (
    "A candidate is an investigative lead, never an identification. It is not probable cause and must be "
    "corroborated by other evidence before anyone is arrested."
)
NOT_CALIBRATED = "not calibrated"


_DECIDED = frozenset(
    {
        DeliveryState.ANSWERED,
        DeliveryState.REFUSED_BY_HUB,
        DeliveryState.REFUSED_BY_NODE,
        DeliveryState.AWAITING_APPROVAL,
    }
)


@dataclass(frozen=True, slots=True)
class GalleryOutcome:
    """One delivery as the requester sees it.

    `rules` are those that decided, the deciding one first. `receipt` is the owning agency's receipt once it
    verified, `signed_receipt` the statement as it came, `receipt_digest` what stands for it elsewhere. `answer` is
    there only for `answered`.
    """

    gallery: str
    status: DeliveryState
    reason: str
    code: str | None = None
    rules: tuple[RuleName, ...] = ()
    answer: Answer | None = None
    receipt: Receipt | None = None
    receipt_digest: str | None = None
    signed_receipt: bytes | None = field(default=None, repr=False)

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The candidates of an answered delivery, best first; empty otherwise."""
        return self.answer.candidates if self.answer else ()

    @property
    def rule(self) -> str | None:
        """The deciding rule as `source/id`: of an answer the owner's share rule, of a refusal or a wait the first that
        is named; None where no rule decided, as when time ran out."""
        if self.status not in _DECIDED:
            return None
        shares = [rule for rule in self.rules if rule.effect == "share"]
        chosen = (shares if self.status is DeliveryState.ANSWERED and shares else list(self.rules))[:1]
        return f"{chosen[0].source}/{chosen[0].id}" if chosen else None

    def as_json(self) -> dict[str, Any]:
        """For machines: photographs are left out, `fmr` is null while the gallery is not calibrated."""
        agency, _, gallery = self.gallery.partition("/")
        return {
            "agency": agency,
            "gallery": gallery,
            "status": self.status.value,
            "reason": self.reason,
            "rule": self.rule,
            "rules": [rule.model_dump() for rule in self.rules],
            "code": self.code,
            "engine": self.answer.engine if self.answer else None,
            "gallery_size": self.answer.gallery_size.model_dump() if self.answer else None,
            "candidates": [_candidate_json(candidate) for candidate in self.candidates],
            "receipt": self._receipt_json(),
        }

    def _receipt_json(self) -> dict[str, Any] | None:
        if self.receipt is None:
            return None
        return {
            "sha256": self.receipt_digest,
            "answer_sha256": self.receipt.answer_sha256,
            "log_index": self.receipt.log_index,
            "log_size": self.receipt.log_size,
            "at": self.receipt.at,
            "seconds": self.receipt.seconds,
        }


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One search: its id, what the probe is called, an outcome for every gallery asked, and seconds it took.

    `log_index` says where in the log the request was proven to be. `working` is the picture that
    was sealed (JPEG or PNG), kept out of the JSON.
    """

    id: str
    probe: str
    outcomes: tuple[GalleryOutcome, ...]
    seconds: float
    log_index: int | None = None
    notes: tuple[str, ...] = ()
    working: bytes = field(default=b"", repr=False)

    @property
    def answered(self) -> bool:
        """Whether at least one gallery was searched."""
        return any(outcome.status is DeliveryState.ANSWERED for outcome in self.outcomes)

    def as_json(self) -> dict[str, Any]:
        """The shape that `search --json`, the demo's report and the bench share."""
        return {
            "id": self.id,
            "probe": self.probe,
            "deliveries": [outcome.as_json() for outcome in self.outcomes],
            "log": {"index": self.log_index},
            "notes": list(self.notes),
            "wording": LEAD_WORDING,
            "seconds": round(self.seconds, 3),
        }

    def failure(self) -> Code | None:
        """The error to end with when no gallery answered; None when one did."""
        if self.answered:
            return None
        statuses = {outcome.status for outcome in self.outcomes}
        if statuses <= {DeliveryState.REFUSED_BY_HUB, DeliveryState.REFUSED_BY_NODE}:
            return Code.POLICY_DENIES
        known = {code.value: code for code in Code}
        for outcome in self.outcomes:
            if outcome.status is DeliveryState.FAILED and outcome.code in known:
                return known[outcome.code]
        if DeliveryState.AWAITING_APPROVAL in statuses:
            return Code.APPROVAL_MISSING
        return Code.REQUEST_EXPIRED if statuses & _TOO_LATE else Code.STATE_CONFLICT


_TOO_LATE = {DeliveryState.EXPIRED, DeliveryState.UNREACHABLE}


def from_status(status: broker_pb2.DeliveryStatus) -> GalleryOutcome:
    """What the hub says of a delivery; an unknown state counts as a failure."""
    try:
        state = DeliveryState(status.state)
    except ValueError:
        return failed(status.gallery, Code.STATE_CONFLICT, "The hub named a state that is not known here.")
    return GalleryOutcome(
        status.gallery,
        state,
        status.reason or SENTENCES[state],
        status.code or None,
        rule_names(status.rules),
    )


def failed(gallery: str, code: Code, detail: str = "") -> GalleryOutcome:
    """Not searched, as far as anyone can prove: the reason starts with that."""
    says = f"{CATALOGUE[code].says} {detail}".rstrip()
    return GalleryOutcome(gallery, DeliveryState.FAILED, f"No usable answer: {says}", code.value)


def rule_names(rules: Sequence[broker_pb2.Rule]) -> tuple[RuleName, ...]:
    """The wire's rules; one with an empty or overlong part is left out."""
    return tuple(
        RuleName(source=rule.source, id=rule.id, effect=rule.effect)
        for rule in rules
        if all(0 < len(part) <= 200 for part in (rule.source, rule.id, rule.effect))
    )


def _candidate_json(candidate: Candidate) -> dict[str, Any]:
    values = candidate.model_dump(mode="json", exclude={"photo"})
    released = {key: value for key, value in values.items() if value is not None}
    return {"subject": None, "fmr": None, **released, "photo": candidate.photo is not None}
