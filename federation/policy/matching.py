"""Whether one rule is about one request at one gallery, and if not, why not."""

from __future__ import annotations

from datetime import date
from typing import Final

from federation.policy.compiled import CompiledRule
from federation.policy.facts import GalleryFacts, RequestFacts

MATCHED: Final = "Every selector of the rule matches."


def mismatch(
    rule: CompiledRule, request: RequestFacts, gallery: GalleryFacts, agency: str, today: date
) -> str | None:
    """Why the rule is not about this request, or None if it is.

    `agency` is the one that the rule's `agencies` are compared with: who asks, or in `use` rules, who is asked.
    A request without an offence matches no rule that names offences.
    """
    if today < rule.first:
        return f"The rule begins on {rule.first}."
    if today > rule.last:
        return f"The rule ended on {rule.last}."
    if rule.galleries is not None and gallery.gallery not in rule.galleries:
        return f"It is not about the gallery {gallery.gallery}."
    if rule.kinds is not None and gallery.kind not in rule.kinds:
        return f"It is not about {gallery.kind} galleries."
    if rule.agencies is not None and agency not in rule.agencies:
        return f"It does not name {agency}."
    if rule.purposes is not None and request.purpose not in rule.purposes:
        return f"It does not name the purpose {request.purpose}."
    if rule.offenses is not None and request.offense not in rule.offenses:
        return (
            f"It does not name the offence {request.offense}." if request.offense else "No offence is named."
        )
    if rule.probe_sources is not None and request.probe_source not in rule.probe_sources:
        return f"It does not name the probe source {request.probe_source}."
    if rule.roles is not None and rule.roles.isdisjoint(request.user_roles):
        return "The user has none of the roles that it names."
    return None
