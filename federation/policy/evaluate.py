"""The evaluator: whether one request may search one gallery, and which rule says so.

A pure function of the request's facts, the gallery's facts, the policy files and the clock. Hub and node run the
same one, each over its own files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Final

from federation.policy.compiled import REGION, CompiledRule, PolicySet, Sourced
from federation.policy.decision import (
    NO_OBLIGATIONS,
    Decision,
    Ground,
    Obligations,
    Outcome,
    RuleRef,
    TraceStep,
)
from federation.policy.demands import Demand, demands_of_limits, obligations, unmet
from federation.policy.facts import GalleryFacts, RequestFacts
from federation.policy.matching import MATCHED, mismatch
from federation.policy.model import ID_PATTERN, Limits, RegionPolicy, StatutePack
from federation.policy.offences import OFFENCES
from federation.policy.standing import Standing
from federation.policy.vocabulary import (
    ABSOLUTE_BANS,
    GALLERY_KINDS,
    MET_WHILE_WAITING,
    NEVER_ENROLL,
    PROBE_SOURCES,
    PURPOSES,
    ROLES,
)

LIAISON: Final = "liaison"
"""The source of rules that stand in no file."""

_ID = re.compile(ID_PATTERN.strip("^$"))


def evaluate(request: RequestFacts, gallery: GalleryFacts, policies: PolicySet, at: datetime) -> Decision:
    """Decide one request at one gallery; never raises on facts that parse.

    `at` is the moment of the decision; days are counted in UTC, and a time without a zone is taken as UTC.
    """
    moment = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return _Evaluation(request, gallery, policies, moment.date()).decide()


class _Evaluation:
    """One decision under way. The rules it keeps, in the order in which the first that fails decides:

    0. Every word of the facts is in the vocabulary; otherwise nothing else is looked at.
    1. Live video, generated, composite, sketch and look-alike probes, and enrolling a probe, are always refused.
    -  Every file that must be there is there, in force and about this gallery (`Standing` lists these rules).
    2. No `refuse` rule matches: not the region's, not that of a statute which applies, and not that of the
       requester, the beneficiary or the owner. It is enough that it matches for one of those who ask.
    3. Each statute which applies and lists `allow` rules has one that matches for each of those who ask.
    4. The requester has a matching `use` rule, and so has the beneficiary.
    5. The owner has a `share` rule that matches for the requester, and one that matches for the beneficiary.
    6. What the region, the statutes and all matching `use`, `allow` and `share` rules require and limit is added
       up. Unmet and possible only in a new request: refused. Unmet and still possible: waits.
    7. Otherwise permitted, with the obligations.

    From step 1 on every rule is tried, whatever decides, so that the trace is whole. Nothing depends on the order
    of rules or files.
    """

    def __init__(
        self, request: RequestFacts, gallery: GalleryFacts, policies: PolicySet, today: date
    ) -> None:
        self._request = request
        self._askers = request.askers
        self._gallery = gallery
        self._today = today
        self._files = Standing(request, gallery, policies, today)
        self._trace: list[TraceStep] = []

    def decide(self) -> Decision:
        """Take all steps, then let the first that objects decide."""
        unknown = self._unknown_words()
        if unknown:
            self._trace += [TraceStep(*ground.rule, True, ground.sentence) for ground in unknown]
            return self._deny(unknown)
        bans = self._bans()
        self._trace += self._files.idle
        refused = self._refused()
        allows, not_allowed = self._allowed()
        uses, not_used = self._used()
        shares, not_shared = self._shared()
        for grounds in (bans, self._files.grounds, refused, not_allowed, not_used, not_shared):
            if grounds:
                return self._deny(grounds)
        return self._add_up([*allows, *uses, *shares], shares)

    # --- Steps 0 to 5: may it be asked at all? ----------------------------------------------------------

    def _unknown_words(self) -> list[Ground]:
        """The facts that are not words of the language. What they hold is not repeated: it may be a name."""
        request, gallery = self._request, self._gallery
        ids = (request.requester_agency, request.beneficiary_agency, gallery.agency, gallery.gallery)
        known = {
            "purpose": request.purpose in PURPOSES,
            "offence": request.offense is None or request.offense in OFFENCES,
            "probe source": request.probe_source in PROBE_SOURCES,
            "roles of the user": request.user_roles <= ROLES.keys(),
            "approvals": request.approvals <= ROLES.keys(),
            "kind of gallery": gallery.kind in GALLERY_KINDS,
            "names of agencies and gallery": all(_ID.fullmatch(name) for name in ids),
        }
        rule = RuleRef(LIAISON, "unknown-word", "refuse")
        return [
            Ground(
                rule,
                f"In the request, the {fact} cannot be understood: the policy language has no such word.",
            )
            for fact, understood in known.items()
            if not understood
        ]

    def _bans(self) -> list[Ground]:
        source = self._request.probe_source
        tried = [(ban, source == ban, says) for ban, says in ABSOLUTE_BANS.items()]
        grounds = []
        for ban, matched, says in (*tried, ("enroll", self._request.enroll, NEVER_ENROLL)):
            rule = RuleRef(LIAISON, f"no-{ban}", "ban")
            self._trace.append(
                TraceStep(*rule, matched, says if matched else "The request does not ask for it.")
            )
            if matched:
                grounds.append(Ground(rule, f"{says} No policy can permit it."))
        return grounds

    def _refused(self) -> list[Ground]:
        return [
            Ground(rule.ref, f"{_named(rule.ref)} says: {rule.says}")
            for file in self._files.refusing()
            for rule in file.compiled.refuse
            if self._matches_for(rule, self._askers)
        ]

    def _allowed(self) -> tuple[list[CompiledRule], list[Ground]]:
        matched: list[CompiledRule] = []
        grounds = []
        for pack in self._files.statutes:
            if not pack.compiled.allow:
                continue
            found, complete = self._permitting(pack.compiled.allow)
            matched += found
            if not complete:
                sentence = f"{pack.policy.citation} lists what is allowed, and this is not among it."
                grounds.append(Ground(RuleRef(pack.policy.id, "no-allow-rule", "allow"), sentence))
        return matched, grounds

    def _used(self) -> tuple[list[CompiledRule], list[Ground]]:
        matched: list[CompiledRule] = []
        grounds = []
        for file in self._files.users:
            found = [rule for rule in file.compiled.use if self._matches_for(rule, (self._gallery.agency,))]
            matched += found
            if not found:
                agency = file.policy.agency
                sentence = f"No `use` rule of {agency} lets its people make this search."
                grounds.append(Ground(RuleRef(agency, "no-use-rule", "use"), sentence))
        return matched, grounds

    def _shared(self) -> tuple[list[CompiledRule], list[Ground]]:
        owner = self._files.owner
        matched, complete = self._permitting(owner.compiled.share if owner else ())
        if complete:
            return matched, []
        agency = self._gallery.agency
        sentence = f"No `share` rule of {agency} opens this gallery to this request."
        return matched, [Ground(RuleRef(agency, "no-share-rule", "share"), sentence)]

    def _permitting(self, rules: Iterable[CompiledRule]) -> tuple[list[CompiledRule], bool]:
        """The rules that match for anybody who asks, and whether everybody who asks has one."""
        matched: list[CompiledRule] = []
        served: set[str] = set()
        for rule in rules:
            agencies = self._matches_for(rule, self._askers)
            if agencies:
                matched.append(rule)
                served.update(agencies)
        return matched, len(served) == len(self._askers)

    def _matches_for(self, rule: CompiledRule, agencies: Sequence[str]) -> Sequence[str]:
        """The agencies for which the rule matches; leaves one step in the trace."""
        served: list[str] = []
        why = MATCHED
        for agency in agencies:
            miss = mismatch(rule, self._request, self._gallery, agency, self._today)
            if miss is None:
                served.append(agency)
            else:
                why = miss
        if served and why is not MATCHED:
            why = f"It matches for {served[0]} only. {why}"
        self._trace.append(TraceStep(rule.source, rule.id, rule.effect, bool(served), why))
        return served

    # --- Steps 6 and 7: what does it take? --------------------------------------------------------------

    def _add_up(self, rules: Sequence[CompiledRule], shares: Sequence[CompiledRule]) -> Decision:
        demands, limits = self._demanded(rules)
        spent = [
            Ground(
                rule,
                f"{_named(rule)} allows {limit.per_user_per_day} searches per user and day; they are spent.",
            )
            for limit, rule in limits
            if limit.per_user_per_day is not None and self._request.searches_today >= limit.per_user_per_day
        ]
        missing = unmet(demands, self._request, self._today)
        words = tuple(sorted({demand.requirement.word for demand in missing}))
        final = [demand for demand in missing if demand.requirement.word not in MET_WHILE_WAITING]
        if spent or final:
            return self._deny([*(Ground(demand.rule, _asks(demand)) for demand in final), *spent], words)
        parties = [file.policy for file in self._files.parties()]
        owed = obligations(demands, [limit for limit, _ in limits], shares, parties)
        if missing:
            return self._answer(
                Outcome.WAIT, {demand.rule for demand in missing}, words, owed, _waits(missing)
            )
        deciding = {rule.ref for rule in rules}
        return self._answer(
            Outcome.PERMIT, deciding, (), owed, _permits(min(shares, key=lambda share: share.id))
        )

    def _demanded(self, rules: Iterable[CompiledRule]) -> tuple[list[Demand], list[tuple[Limits, RuleRef]]]:
        demands: list[Demand] = []
        limits: list[tuple[Limits, RuleRef]] = []
        for rule in rules:
            demands += [Demand(requirement, rule.ref, rule.says) for requirement in rule.requires]
            demands += demands_of_limits(rule.limits, rule.ref, rule.says)
            limits.append((rule.limits, rule.ref))
        for pack in self._files.statutes:
            demands += self._required(pack, f"{pack.policy.citation} requires it of every search.")
        region = self._files.region
        if region is not None:
            demands += self._required(region, "The region requires it of every search.")
            ref = RuleRef(REGION, "limits", "require")
            demands += demands_of_limits(region.policy.limits, ref, "The region sets this limit.")
            limits.append((region.policy.limits, ref))
            if region.policy.limits != Limits():
                self._trace.append(TraceStep(*ref, True, "The region limits every search."))
        return demands, limits

    def _required(self, file: Sourced[RegionPolicy] | Sourced[StatutePack], says: str) -> list[Demand]:
        rule = RuleRef(file.compiled.source, "require", "require")
        if file.compiled.requires:
            self._trace.append(TraceStep(*rule, True, says))
        return [Demand(requirement, rule, says) for requirement in file.compiled.requires]

    # --- Answers ----------------------------------------------------------------------------------------

    def _deny(self, grounds: Sequence[Ground], missing: tuple[str, ...] = ()) -> Decision:
        rules = {ground.rule for ground in grounds}
        return self._answer(Outcome.DENY, rules, missing, NO_OBLIGATIONS, f"Refused: {min(grounds).sentence}")

    def _answer(
        self,
        outcome: Outcome,
        rules: Iterable[RuleRef],
        missing: tuple[str, ...],
        owed: Obligations,
        reason: str,
    ) -> Decision:
        seen = [(file.compiled, file.digest) for file in self._files.seen]
        return Decision(
            outcome=outcome,
            rules=tuple(sorted(rules)),
            missing=missing,
            obligations=owed,
            reason=reason,
            trace=tuple(self._trace),
            digests={file.source: digest for file, digest in seen},
            versions={file.source: file.version for file, _ in seen if file.version is not None},
        )


def _named(rule: RuleRef) -> str:
    source = "the region" if rule.source == REGION else rule.source
    return source if rule.effect == "require" else f"rule {rule.id} of {source}"


def _asks(demand: Demand) -> str:
    asks = f"{_named(demand.rule)} requires {demand.requirement.word}, which this request does not meet"
    return f"{asks}; a new request may. {demand.says}"


def _waits(missing: Sequence[Demand]) -> str:
    words = " and ".join(sorted({demand.requirement.word for demand in missing}))
    return f"Waits for {words}, which {_named(missing[0].rule)} requires: {missing[0].says}"


def _permits(share: CompiledRule) -> str:
    return f"Permitted by rule {share.id} of {share.source}: {share.says}"
