"""Which policy files count for one request at one gallery today, and what is wrong with those that should."""

from __future__ import annotations

from collections.abc import Set
from datetime import date
from typing import TypeAlias

from federation.policy.compiled import REGION, PolicySet, Sourced
from federation.policy.decision import Ground, RuleRef, TraceStep
from federation.policy.facts import GalleryFacts, RequestFacts
from federation.policy.model import AgencyPolicy, RegionPolicy, StatutePack

AnyFile: TypeAlias = Sourced[AgencyPolicy] | Sourced[RegionPolicy] | Sourced[StatutePack]


class Standing:
    """The files that count, after these rules:

    - The region, the requester, the beneficiary and the owner each have a policy, of their own name and in force.
    - The owner's policy lists the gallery, with the kind that the hub knows it by.
    - Every statute that the region adopts is there.
    - A statute applies when it is in force and the requester, the beneficiary or the owner stands under its
      jurisdiction, or the region adopts it.

    `grounds` say which of them does not hold; `users` (requester, beneficiary), `owner` and `region` are only files
    that are sound. `seen` is every file that was looked at, and `idle` the trace of statutes that do not apply.
    """

    def __init__(
        self, request: RequestFacts, gallery: GalleryFacts, policies: PolicySet, today: date
    ) -> None:
        self._today = today
        self.grounds: list[Ground] = []
        self.idle: list[TraceStep] = []
        self.seen: list[AnyFile] = []
        self.region = policies.region
        if self.region is None:
            self._lacks(REGION, "no-policy", "The region has no policy.")
        else:
            self.seen.append(self.region)
        asked_by = [(policies.requester, request.requester_agency)]
        if request.beneficiary_agency != request.requester_agency:
            asked_by.append((policies.beneficiary, request.beneficiary_agency))
        self.users = [found for file, agency in asked_by if (found := self._party(file, agency)) is not None]
        self.owner = self._party(policies.owner, gallery.agency)
        self._check_gallery(gallery)
        self.statutes = self._applying(policies)

    def parties(self) -> list[Sourced[AgencyPolicy]]:
        """The files of requester, beneficiary and owner, each once."""
        owner = [] if self.owner is None or any(self.owner is user for user in self.users) else [self.owner]
        return [*self.users, *owner]

    def refusing(self) -> list[AnyFile]:
        """The files whose `refuse` rules count."""
        region = [] if self.region is None else [self.region]
        return [*region, *self.statutes, *self.parties()]

    def _party(self, file: Sourced[AgencyPolicy] | None, agency: str) -> Sourced[AgencyPolicy] | None:
        """The file if it is this agency's and in force; otherwise None, and a ground to refuse."""
        if file is None:
            self._lacks(agency, "no-policy", f"{agency} has no policy.")
            return None
        if not any(file is known for known in self.seen):
            self.seen.append(file)
        if file.policy.agency != agency:
            sentence = f"The policy that stands for {agency} is that of another agency."
            self._lacks(agency, "wrong-agency", sentence)
            return None
        if not file.compiled.first <= self._today <= file.compiled.last:
            self._lacks(agency, "not-in-force", f"The policy of {agency} is not in force on {self._today}.")
            return None
        return file

    def _lacks(self, source: str, rule_id: str, sentence: str) -> None:
        self.grounds.append(Ground(RuleRef(source, rule_id, "refuse"), sentence))

    def _check_gallery(self, gallery: GalleryFacts) -> None:
        if self.owner is None:
            return
        owner, name = gallery.agency, gallery.gallery
        listed = self.owner.policy.galleries.get(name)
        if listed is None:
            self._lacks(owner, "unknown-gallery", f"The policy of {owner} lists no gallery {name}.")
        elif listed.kind != gallery.kind:
            sentence = f"By its owner's policy {owner}/{name} is of kind {listed.kind}, not {gallery.kind}."
            self._lacks(owner, "wrong-kind", sentence)

    def _applying(self, policies: PolicySet) -> list[Sourced[StatutePack]]:
        packs = sorted(policies.statutes, key=lambda pack: (pack.policy.id, pack.digest))
        self.seen.extend(packs)
        adopted = frozenset(self.region.policy.adopts) if self.region else frozenset[str]()
        for absent in sorted(adopted - {pack.policy.id for pack in packs}):
            self._lacks(
                absent, "no-statute", f"The region adopts {absent}, and that statute pack is not here."
            )
        under = frozenset[str]().union(*(party.compiled.jurisdictions for party in self.parties()))
        applying = []
        for pack in packs:
            why = self._why_idle(pack, under, adopted)
            if why is None:
                applying.append(pack)
                continue
            rules = (*pack.compiled.refuse, *pack.compiled.allow)
            self.idle += [TraceStep(rule.source, rule.id, rule.effect, False, why) for rule in rules]
        return applying

    def _why_idle(self, pack: Sourced[StatutePack], under: Set[str], adopted: Set[str]) -> str | None:
        if self._today < pack.compiled.first:
            return f"The statute takes effect on {pack.compiled.first}."
        if self._today > pack.compiled.last:
            return f"The statute ended on {pack.compiled.last}."
        if pack.policy.jurisdiction in under or pack.policy.id in adopted:
            return None
        return f"Nobody involved stands under {pack.policy.jurisdiction}, and the region has not adopted it."
