"""The files under `policies/`: sound, and deciding as their comments say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from federation.policy import (
    AgencyPolicy,
    Decision,
    GalleryFacts,
    Outcome,
    PolicySet,
    RequestFacts,
    RuleRef,
    Severity,
    Sourced,
    check_text,
    digest,
    evaluate,
    load_agency,
    load_region,
    load_statute,
)

POLICIES = Path(__file__).parents[3] / "policies"
FILES = sorted(
    path.relative_to(POLICIES).as_posix() for path in POLICIES.rglob("*.yaml") if ".cases." not in path.name
)
DAY = datetime(2026, 11, 21, tzinfo=UTC)

SAN_JOAQUIN = GalleryFacts("san-joaquin-so", "booking", "booking")
EASTPORT = GalleryFacts("eastport-pd", "booking", "booking")
VALLEY = GalleryFacts("valley-records", "public", "public-source")

ROBBERY = RequestFacts(
    requester_agency="mill-creek-pd",
    beneficiary_agency="mill-creek-pd",
    user_roles=frozenset({"requester"}),
    training_date=date(2026, 3, 1),
    purpose="criminal-investigation",
    offense="nibrs:120",
    probe_source="cctv-still",
    case_number="26-1187",
    narrative="The man in the still took the till at knife point.",
    warrant=None,
    quality=None,
    approvals=frozenset(),
)


def decide(gallery: GalleryFacts, request: RequestFacts = ROBBERY) -> Decision:
    def agency(name: str) -> Sourced[AgencyPolicy]:
        text = (POLICIES / f"agencies/{name}.yaml").read_bytes()
        return Sourced(load_agency(text, name), digest(text))

    region = (POLICIES / "region.yaml").read_bytes()
    packs = [path.read_bytes() for path in sorted((POLICIES / "statutes").glob("*.yaml"))]
    policies = PolicySet(
        region=Sourced(load_region(region), digest(region)),
        statutes=tuple(Sourced(load_statute(text), digest(text)) for text in packs),
        requester=agency(request.requester_agency),
        beneficiary=None,
        owner=agency(gallery.agency),
    )
    return evaluate(request, gallery, policies, DAY)


@pytest.mark.parametrize("name", FILES)
def test_a_shipped_file_has_no_errors_and_no_warnings(name: str) -> None:
    found = check_text((POLICIES / name).read_bytes(), name, DAY)
    assert [finding for finding in found if finding.severity is not Severity.NOTE] == []


def test_all_kinds_of_files_are_shipped() -> None:
    assert {name.split("/")[0] for name in FILES} == {"region.yaml", "agencies", "statutes"}


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("agencies/")])
def test_a_shipped_agency_is_in_force_for_two_years_in_california(name: str) -> None:
    policy = load_agency((POLICIES / name).read_bytes(), name)
    assert name == f"agencies/{policy.agency}.yaml"
    assert policy.jurisdictions == ("us-ca",)
    assert (policy.in_force.from_, policy.in_force.until) == (date(2026, 1, 1), date(2027, 12, 31))


def test_a_robbery_is_permitted_by_the_sheriff_and_the_records_office() -> None:
    sheriff, records = decide(SAN_JOAQUIN), decide(VALLEY)
    assert (sheriff.outcome, records.outcome) == (Outcome.PERMIT, Outcome.PERMIT)
    assert RuleRef("san-joaquin-so", "violent-felony-assist", "share") in sheriff.rules
    assert RuleRef("valley-records", "serious-offence-with-narrative", "share") in records.rules
    assert "provenance" in records.obligations.release


def test_a_robbery_is_refused_by_eastport_by_a_named_rule() -> None:
    decision = decide(EASTPORT)
    assert decision.outcome is Outcome.DENY
    assert decision.rules == (RuleRef("eastport-pd", "no-robbery-until-mou", "refuse"),)
    assert "memorandum" in decision.reason


def test_the_records_office_wants_to_know_why() -> None:
    decision = decide(VALLEY, replace(ROBBERY, narrative=None))
    assert (decision.outcome, decision.missing) == (Outcome.DENY, ("narrative",))


def test_a_missing_person_waits_for_a_supervisor() -> None:
    request = replace(ROBBERY, purpose="missing-person", offense=None)
    waiting = decide(SAN_JOAQUIN, request)
    assert (waiting.outcome, waiting.missing) == (Outcome.WAIT, ("supervisor-approval",))
    assert (
        decide(SAN_JOAQUIN, replace(request, approvals=frozenset({"supervisor"}))).outcome is Outcome.PERMIT
    )


@pytest.mark.parametrize("purpose", ["immigration-enforcement", "protest-monitoring", "other-administrative"])
@pytest.mark.parametrize("gallery", [SAN_JOAQUIN, EASTPORT, VALLEY], ids=lambda gallery: gallery.agency)
def test_the_region_refuses_what_it_was_not_made_for(gallery: GalleryFacts, purpose: str) -> None:
    decision = decide(gallery, replace(ROBBERY, purpose=purpose))
    assert decision.outcome is Outcome.DENY
    assert any(rule.source == "region" for rule in decision.rules)


def test_the_expired_moratorium_on_body_cameras_no_longer_refuses() -> None:
    decision = decide(SAN_JOAQUIN, replace(ROBBERY, probe_source="body-camera-still"))
    (step,) = [step for step in decision.trace if step.source == "us-ca-ab1215"]
    assert (step.matched, step.why) == (False, "The statute ended on 2022-12-31.")
