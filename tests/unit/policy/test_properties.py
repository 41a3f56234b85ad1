"""What holds of every decision, whatever the files and the request say."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from federation.policy import (
    AgencyPolicy,
    GalleryFacts,
    Outcome,
    PolicySet,
    RegionPolicy,
    RequestFacts,
    Sourced,
    StatutePack,
    evaluate,
)
from federation.policy.offences import CLASSES, OFFENCES
from federation.policy.vocabulary import GALLERY_KINDS, PROBE_SOURCES, PURPOSES, RELEASED_FIELDS, ROLES

DAY = date(2026, 6, 15)
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
AGENCIES = ["asker-pd", "friend-pd", "owner-so"]


def few(words: Any, most: int = 3) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(sorted(words)), min_size=1, max_size=most, unique=True)


# Few purposes, offences and sources, so that rules and requests meet often.
SELECTORS: dict[str, st.SearchStrategy[Any]] = {
    "galleries": few(["booking", "public"]),
    "gallery_kinds": few(["booking", "public-source"]),
    "agencies": few([*AGENCIES, "any"]),
    "purposes": few(["criminal-investigation", "missing-person", "protest-monitoring"]),
    "offenses": few(["class:violent", "class:any", "nibrs:120", "nibrs:220"]),
    "probe_sources": few(["cctv-still", "social-media", "live-video"]),
    "roles": few(["requester", "examiner"]),
    "from": st.dates(DAY - timedelta(2), DAY + timedelta(2)),
    "until": st.dates(DAY - timedelta(2), DAY + timedelta(2)),
}
REQUIREMENTS = few(
    [
        "case-number",
        "narrative",
        "warrant",
        "supervisor-approval",
        "two-examiners",
        "trained-within:90d",
        "min-quality:50",
    ]
)
LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "candidates": st.integers(1, 60),
        "fmr_at_most": st.sampled_from([1e-5, 1e-4, 1e-3]),
        "per_user_per_day": st.integers(1, 5),
        "min_quality": st.integers(0, 100),
    },
)


@st.composite
def rules(draw: st.DrawFn, *, bare: bool = True, shares: bool = False) -> list[dict[str, Any]]:
    found = []
    for index in range(draw(st.integers(0, 3))):
        keys = draw(st.lists(st.sampled_from(sorted(SELECTORS)), max_size=2, unique=True))
        rule: dict[str, Any] = {"id": f"r{index}", "says": f"Rule {index}."}
        rule |= {key: draw(SELECTORS[key]) for key in keys}
        if not bare:
            rule |= draw(st.fixed_dictionaries({}, optional={"requires": REQUIREMENTS, "limits": LIMITS}))
        if shares and draw(st.booleans()):
            rule["release"] = draw(few(RELEASED_FIELDS, 5))
        found.append(rule)
    return found


@st.composite
def raw_sets(draw: st.DrawFn, *, bare: bool = False) -> dict[str, Any]:
    """Region, statutes and three agencies as plain data, so that a test can change one and compare."""

    def agency(name: str) -> dict[str, Any]:
        return {
            "liaison": "policy/v1",
            "agency": name,
            "version": 1,
            "jurisdictions": draw(few(["us-ca", "us-md-bay", "us-nv"], 2)),
            "galleries": {"booking": {"kind": "booking"}, "public": {"kind": "public-source"}},
            "share": draw(rules(bare=bare, shares=not bare)),
            "use": draw(rules(bare=bare)),
            "refuse": draw(rules())[:1],
        }

    def statute(name: str) -> dict[str, Any]:
        return {
            "liaison": "statute/v1",
            "id": name,
            "jurisdiction": draw(st.sampled_from(["us-ca", "us-md"])),
            "citation": "Code",
            "effective": draw(SELECTORS["from"]),
            "verified": "invented",
            "allow": draw(rules(bare=bare)),
            "refuse": draw(rules())[:1],
            "require": [] if bare else draw(st.just([]) | REQUIREMENTS),
        }

    return {
        "region": {
            "liaison": "region/v1",
            "region": "delta",
            "version": 1,
            "refuse": draw(rules())[:1],
            "require": [] if bare else draw(st.just([]) | REQUIREMENTS),
            "limits": {} if bare else draw(LIMITS),
            "adopts": draw(st.sampled_from([[], ["s0"]])),
        },
        "statutes": [statute(f"s{index}") for index in range(draw(st.integers(1, 2)))],
        "agencies": {name: agency(name) for name in AGENCIES},
    }


requests = st.builds(
    RequestFacts,
    requester_agency=st.sampled_from(AGENCIES),
    beneficiary_agency=st.sampled_from(AGENCIES),
    user_roles=st.frozensets(st.sampled_from(["requester", "examiner"])),
    training_date=st.none() | st.dates(DAY - timedelta(200), DAY + timedelta(2)),
    purpose=st.sampled_from(["criminal-investigation", "missing-person", "protest-monitoring"]),
    offense=st.sampled_from([None, "nibrs:120", "nibrs:220", "nibrs:09A"]),
    probe_source=st.sampled_from(["cctv-still", "cctv-still", "social-media", "live-video"]),
    case_number=st.sampled_from([None, "26-1"]),
    narrative=st.sampled_from([None, "Why."]),
    warrant=st.sampled_from([None, "SW-1"]),
    quality=st.none() | st.integers(0, 100),
    approvals=st.frozensets(st.sampled_from(["supervisor", "examiner"])),
    searches_today=st.integers(0, 6),
)
galleries = st.sampled_from(
    [GalleryFacts("owner-so", "booking", "booking"), GalleryFacts("owner-so", "public", "public-source")]
)


def built(raw: dict[str, Any], request: RequestFacts) -> PolicySet:
    agencies = {n: Sourced(AgencyPolicy.model_validate(a), f"sha256:{n}") for n, a in raw["agencies"].items()}
    return PolicySet(
        region=Sourced(RegionPolicy.model_validate(raw["region"]), "sha256:region"),
        statutes=tuple(Sourced(StatutePack.model_validate(s), f"sha256:{s['id']}") for s in raw["statutes"]),
        requester=agencies[request.requester_agency],
        beneficiary=agencies[request.beneficiary_agency],
        owner=agencies["owner-so"],
    )


def places_for_refuse(raw: dict[str, Any], request: RequestFacts) -> list[dict[str, Any]]:
    used = {request.requester_agency, request.beneficiary_agency, "owner-so"}
    return [raw["region"], *raw["statutes"], *(raw["agencies"][name] for name in sorted(used))]


@given(raw_sets(), requests, galleries, st.data())
@settings(max_examples=50)
def test_adding_a_refuse_rule_never_permits_more(
    raw: dict[str, Any], request: RequestFacts, gallery: GalleryFacts, data: st.DataObject
) -> None:
    before = evaluate(request, gallery, built(raw, request), NOW)
    place = data.draw(st.sampled_from(places_for_refuse(raw, request)))
    (new, *_) = data.draw(rules().filter(bool))
    place["refuse"] = [*place["refuse"], {**new, "id": "new"}]
    after = evaluate(request, gallery, built(raw, request), NOW)
    assert after.outcome.rank <= before.outcome.rank


def narrowed(raw: dict[str, Any], data: st.DataObject) -> bool:
    """Add one selector to one rule that permits; False if there is none to narrow."""
    files = [*raw["statutes"], *raw["agencies"].values()]
    permitting = [rule for file in files for part in ("share", "use", "allow") for rule in file.get(part, ())]
    if not permitting:
        return False
    rule = data.draw(st.sampled_from(permitting))
    free = sorted(SELECTORS.keys() - rule.keys())
    key = data.draw(st.sampled_from(free))
    rule[key] = data.draw(SELECTORS[key])
    return True


@given(raw_sets(bare=True), requests, galleries, st.data())
@settings(max_examples=50)
def test_narrowing_a_rule_that_permits_never_permits_more(
    raw: dict[str, Any], request: RequestFacts, gallery: GalleryFacts, data: st.DataObject
) -> None:
    before = evaluate(request, gallery, built(raw, request), NOW)
    if narrowed(raw, data):
        assert evaluate(request, gallery, built(raw, request), NOW).outcome.rank <= before.outcome.rank


@given(raw_sets(), requests, galleries, st.data())
@settings(max_examples=50)
def test_narrowing_a_rule_that_permits_opens_no_gallery_that_the_rules_kept_closed(
    raw: dict[str, Any], request: RequestFacts, gallery: GalleryFacts, data: st.DataObject
) -> None:
    """With requirements, rules that match add up: one that matches no longer asks for nothing. But what was
    refused because no rule permitted it stays refused."""
    before = evaluate(request, gallery, built(raw, request), NOW)
    closed = before.outcome is Outcome.DENY and any(
        rule.id in {"no-use-rule", "no-share-rule", "no-allow-rule"} or rule.effect in {"refuse", "ban"}
        for rule in before.rules
    )
    if narrowed(raw, data) and closed:
        assert evaluate(request, gallery, built(raw, request), NOW).outcome is Outcome.DENY


@given(raw_sets(), requests, galleries, st.randoms(use_true_random=False))
@settings(max_examples=50)
def test_the_order_of_rules_and_statutes_never_matters(
    raw: dict[str, Any], request: RequestFacts, gallery: GalleryFacts, random: Any
) -> None:
    before = evaluate(request, gallery, built(raw, request), NOW)
    random.shuffle(raw["statutes"])
    for file in (raw["region"], *raw["statutes"], *raw["agencies"].values()):
        for part in ("share", "use", "allow", "refuse", "require"):
            if part in file:
                random.shuffle(file[part])
    after = evaluate(request, gallery, built(raw, request), NOW)
    assert sorted(after.trace) == sorted(before.trace)
    assert replace(after, trace=()) == replace(before, trace=())


@given(raw_sets(), requests, galleries)
@settings(max_examples=50)
def test_every_decision_names_a_rule_says_why_and_can_be_written_down(
    raw: dict[str, Any], request: RequestFacts, gallery: GalleryFacts
) -> None:
    decision = evaluate(request, gallery, built(raw, request), NOW)
    assert decision.rules
    assert decision.reason
    assert all(step.why for step in decision.trace)
    assert json.loads(json.dumps(decision.as_json(), allow_nan=False))["decision"] == decision.outcome.value
    if decision.outcome is Outcome.PERMIT:
        assert not decision.missing
    if decision.outcome is Outcome.WAIT:
        assert set(decision.missing) <= {"warrant", "supervisor-approval"}
        assert decision.missing


@given(raw_sets(), requests, galleries)
@settings(max_examples=120)
def test_what_is_owed_is_at_least_as_strict_as_every_rule_that_matched(
    raw: dict[str, Any], request: RequestFacts, gallery: GalleryFacts
) -> None:
    decision = evaluate(request, gallery, built(raw, request), NOW)
    if decision.outcome is Outcome.DENY:
        return
    owed = decision.obligations
    matched = {(step.source, step.rule_id, step.effect) for step in decision.trace if step.matched}
    limits = [raw["region"]["limits"]]
    for file in (*raw["statutes"], *raw["agencies"].values()):
        for part in ("share", "use", "allow"):
            for rule in file.get(part, ()):
                if (file.get("agency") or file["id"], rule["id"], part) in matched:
                    limits.append(rule.get("limits", {}))
                    if part == "share":
                        assert owed.release <= set(rule.get("release", ["subject-reference"]))
    assert all(owed.candidates <= limit.get("candidates", 10**6) for limit in limits)
    assert all((owed.fmr_at_most or 2) <= limit.get("fmr_at_most", 2) for limit in limits)
    assert all((owed.per_user_per_day or 10**6) <= limit.get("per_user_per_day", 10**6) for limit in limits)
    assert all(owed.min_quality >= limit.get("min_quality", 0) for limit in limits)
    assert request.quality is None or request.quality >= owed.min_quality


words = st.text(max_size=8)
maybe = st.none() | words


@given(
    raw_sets(),
    st.builds(
        RequestFacts,
        requester_agency=words | st.sampled_from(AGENCIES),
        beneficiary_agency=words | st.sampled_from(AGENCIES),
        user_roles=st.frozensets(words | st.sampled_from(sorted(ROLES))),
        training_date=st.none() | st.dates() | st.datetimes(),
        purpose=words | st.sampled_from(sorted(PURPOSES)),
        offense=maybe | st.sampled_from(sorted(OFFENCES)) | st.sampled_from(sorted(CLASSES)),
        probe_source=words | st.sampled_from(sorted(PROBE_SOURCES)),
        case_number=maybe,
        narrative=maybe,
        warrant=maybe,
        quality=st.none() | st.integers(),
        approvals=st.frozensets(words | st.sampled_from(sorted(ROLES))),
        searches_today=st.integers(),
        enroll=st.booleans(),
    ),
    st.builds(GalleryFacts, agency=words | st.just("owner-so"), gallery=words | st.just("booking"),
              kind=words | st.sampled_from(sorted(GALLERY_KINDS))),
    st.datetimes() | st.datetimes(timezones=st.timezones()),
    st.sets(st.sampled_from(["region", "requester", "beneficiary", "owner"])),
)  # fmt: skip
@settings(max_examples=60)
def test_evaluation_never_raises_whatever_the_facts_the_clock_and_the_files_that_are_missing(
    raw: dict[str, Any], request: RequestFacts, gallery: GalleryFacts, at: datetime, without: set[str]
) -> None:
    known = replace(request, requester_agency="asker-pd", beneficiary_agency="friend-pd")
    policies = replace(built(raw, known), **dict.fromkeys(without))
    decision = evaluate(request, gallery, policies, at)
    assert decision.rules
    if without - {"beneficiary"}:
        assert decision.outcome is Outcome.DENY
