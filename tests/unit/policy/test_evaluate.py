"""The evaluator, case by case: each step of DESIGN §6, and what no policy can lift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
import yaml

from federation.policy import (
    Decision,
    GalleryFacts,
    Outcome,
    PolicySet,
    RequestFacts,
    RuleRef,
    Sourced,
    StatutePack,
    digest,
    evaluate,
    load_agency,
    load_region,
    load_statute,
)
from federation.policy.vocabulary import ABSOLUTE_BANS, PROBE_SOURCES

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)

ASKER: dict[str, Any] = {
    "liaison": "policy/v1",
    "agency": "asker-pd",
    "version": 3,
    "jurisdictions": ["us-ca"],
    "use": [{"id": "all", "says": "Anything."}],
}
FRIEND: dict[str, Any] = {
    "liaison": "policy/v1",
    "agency": "friend-pd",
    "version": 1,
    "jurisdictions": ["us-nv"],
    "use": [{"id": "friends", "says": "Anything."}],
}
OWNER: dict[str, Any] = {
    "liaison": "policy/v1",
    "agency": "owner-so",
    "version": 7,
    "jurisdictions": ["us-ca-delta"],
    "in_force": {"from": date(2026, 1, 1), "until": date(2026, 12, 31)},
    "galleries": {"booking": {"kind": "booking"}},
    "share": [{"id": "open", "says": "Partners may search.", "release": ["photo", "subject-reference"]}],
}
REGION: dict[str, Any] = {"liaison": "region/v1", "region": "delta", "version": 2}
STATUTE: dict[str, Any] = {
    "liaison": "statute/v1",
    "id": "us-ca-test",
    "jurisdiction": "us-ca",
    "citation": "Test Code §1",
    "effective": date(2026, 1, 1),
    "verified": "invented for this test",
}
REQUEST = RequestFacts(
    requester_agency="asker-pd",
    beneficiary_agency="asker-pd",
    user_roles=frozenset({"requester"}),
    training_date=date(2026, 6, 1),
    purpose="criminal-investigation",
    offense="nibrs:120",
    probe_source="cctv-still",
    case_number="26-100",
    narrative="Seen on camera while leaving the shop.",
    warrant=None,
    quality=60,
    approvals=frozenset(),
)
GALLERY = GalleryFacts("owner-so", "booking", "booking")


def agency(base: Mapping[str, Any], **changes: Any) -> Sourced[Any]:
    text = yaml.safe_dump({**base, **changes}).encode()
    return Sourced(load_agency(text), digest(text))


def region(**changes: Any) -> Sourced[Any]:
    text = yaml.safe_dump({**REGION, **changes}).encode()
    return Sourced(load_region(text), digest(text))


def statute(**changes: Any) -> Sourced[StatutePack]:
    text = yaml.safe_dump({**STATUTE, **changes}).encode()
    return Sourced(load_statute(text), digest(text))


def rule(**selectors: Any) -> dict[str, Any]:
    return {"id": "r1", "says": "The rule of this test.", **selectors}


def files(**changes: Any) -> PolicySet:
    standard = PolicySet(region(), (), agency(ASKER), None, agency(OWNER))
    return replace(standard, **changes)


def decide(policies: PolicySet | None = None, at: datetime = NOW, **facts: Any) -> Decision:
    return evaluate(replace(REQUEST, **facts), GALLERY, policies or files(), at)


def assert_denied_by(decision: Decision, *ref: str) -> None:
    assert decision.outcome is Outcome.DENY
    assert RuleRef(*ref) in decision.rules
    assert decision.obligations.candidates == 0
    assert decision.obligations.release == frozenset()


def test_what_every_file_agrees_to_is_permitted_and_names_the_rules() -> None:
    decision = decide()
    assert decision.outcome is Outcome.PERMIT
    assert decision.rules == (RuleRef("asker-pd", "all", "use"), RuleRef("owner-so", "open", "share"))
    assert decision.reason == "Permitted by rule open of owner-so: Partners may search."
    assert decision.versions == {"asker-pd": 3, "owner-so": 7, "region": 2}
    assert set(decision.digests) == {"asker-pd", "owner-so", "region"}


# --- Step 0: words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "facts",
    [
        {"purpose": "curiosity"},
        {"purpose": ""},
        {"offense": "120"},
        {"offense": "class:violent"},
        {"offense": "nibrs:999"},
        {"probe_source": "webcam"},
        {"user_roles": frozenset({"chief"})},
        {"approvals": frozenset({"supervisor-approval"})},
        {"requester_agency": "Asker PD"},
        {"beneficiary_agency": "Jane Doe, 1 Main Street"},
    ],
)
def test_a_word_outside_the_vocabulary_is_refused_and_never_repeated(facts: dict[str, Any]) -> None:
    decision = decide(**facts)
    assert_denied_by(decision, "liaison", "unknown-word", "refuse")
    said = decision.reason + " ".join(step.why for step in decision.trace)
    assert not any(isinstance(word, str) and word and word in said for word in facts.values())


def test_a_gallery_kind_outside_the_vocabulary_is_refused() -> None:
    decision = evaluate(REQUEST, replace(GALLERY, kind="watchlist"), files(), NOW)
    assert_denied_by(decision, "liaison", "unknown-word", "refuse")


# --- Step 1: absolute bans -------------------------------------------------------------------------------


@pytest.mark.parametrize("source", sorted(ABSOLUTE_BANS))
def test_no_policy_can_lift_the_ban_on_a_probe_source(source: str) -> None:
    eager = agency(OWNER, share=[rule(probe_sources=[source])])
    assert_denied_by(decide(files(owner=eager), probe_source=source), "liaison", f"no-{source}", "ban")


def test_the_banned_probe_sources_are_the_five_of_the_design() -> None:
    assert set(ABSOLUTE_BANS) == {"live-video", "generated", "composite", "sketch", "look-alike"}
    assert set(ABSOLUTE_BANS) < set(PROBE_SOURCES)


def test_no_policy_can_lift_the_ban_on_enrolling_a_probe() -> None:
    assert_denied_by(decide(enroll=True), "liaison", "no-enroll", "ban")


def test_a_ban_decides_even_when_there_is_no_policy_at_all() -> None:
    nothing = PolicySet(None, (), None, None, None)
    assert decide(nothing, enroll=True).rules == (RuleRef("liaison", "no-enroll", "ban"),)


# --- The files that must be there ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missing", "source"), [("region", "region"), ("requester", "asker-pd"), ("owner", "owner-so")]
)
def test_without_a_policy_everything_is_refused(missing: str, source: str) -> None:
    assert_denied_by(decide(files(**{missing: None})), source, "no-policy", "refuse")


def test_the_file_of_another_agency_counts_for_nothing() -> None:
    assert_denied_by(
        decide(files(owner=agency({**OWNER, "agency": "else-pd"}))), "owner-so", "wrong-agency", "refuse"
    )


@pytest.mark.parametrize(
    ("day", "outcome"),
    [
        (datetime(2025, 12, 31, 23, 59, tzinfo=UTC), Outcome.DENY),
        (datetime(2026, 1, 1, 0, 0, tzinfo=UTC), Outcome.PERMIT),
        (datetime(2026, 12, 31, 23, 59, tzinfo=UTC), Outcome.PERMIT),
        (datetime(2027, 1, 1, 0, 0, tzinfo=UTC), Outcome.DENY),
        (datetime(2026, 12, 31, 20, 0, tzinfo=timezone(timedelta(hours=-8))), Outcome.DENY),  # 2027 in UTC
        (datetime(2026, 12, 31, 12, 0), Outcome.PERMIT),  # noqa: DTZ001 - a time without a zone is taken as UTC
    ],
)
def test_a_file_counts_on_its_first_and_last_day_in_utc_and_not_beyond(
    day: datetime, outcome: Outcome
) -> None:
    decision = decide(at=day)
    assert decision.outcome is outcome
    assert (RuleRef("owner-so", "not-in-force", "refuse") in decision.rules) == (outcome is Outcome.DENY)


def test_a_gallery_that_the_owner_does_not_list_is_refused() -> None:
    decision = evaluate(REQUEST, replace(GALLERY, gallery="cellar"), files(), NOW)
    assert_denied_by(decision, "owner-so", "unknown-gallery", "refuse")


def test_a_gallery_kind_that_contradicts_the_owner_is_refused() -> None:
    decision = evaluate(REQUEST, replace(GALLERY, kind="public-source"), files(), NOW)
    assert_denied_by(decision, "owner-so", "wrong-kind", "refuse")


def test_a_statute_that_the_region_adopts_and_nobody_has_refuses_everything() -> None:
    decision = decide(files(region=region(adopts=["us-md-2-503"])))
    assert_denied_by(decision, "us-md-2-503", "no-statute", "refuse")


# --- Step 2: refuse --------------------------------------------------------------------------------------

REFUSE = {"refuse": [rule(offenses=["nibrs:120"])]}


@pytest.mark.parametrize(
    ("changed", "source"),
    [
        ({"region": region(**REFUSE)}, "region"),
        ({"requester": agency(ASKER, **REFUSE)}, "asker-pd"),
        ({"owner": agency(OWNER, **REFUSE)}, "owner-so"),
        ({"statutes": (statute(**REFUSE),)}, "us-ca-test"),
    ],
)
def test_a_refuse_rule_in_any_file_overrides_every_permission(changed: dict[str, Any], source: str) -> None:
    decision = decide(files(**changed))
    assert_denied_by(decision, source, "r1", "refuse")
    assert "r1" in decision.reason
    assert "The rule of this test." in decision.reason
    assert decide(files(**changed), offense="nibrs:13A").outcome is Outcome.PERMIT


def test_a_refuse_rule_of_the_beneficiary_counts_and_so_does_one_that_names_it() -> None:
    friend = agency(FRIEND, **REFUSE)
    decision = decide(files(beneficiary=friend), beneficiary_agency="friend-pd")
    assert_denied_by(decision, "friend-pd", "r1", "refuse")
    owner = agency(OWNER, refuse=[rule(agencies=["friend-pd"])])
    decision = decide(files(beneficiary=agency(FRIEND), owner=owner), beneficiary_agency="friend-pd")
    assert_denied_by(decision, "owner-so", "r1", "refuse")
    assert decide(files(owner=owner)).outcome is Outcome.PERMIT


def test_two_versions_of_one_agencys_file_both_get_to_refuse() -> None:
    inward = agency(OWNER, use=[{"id": "u", "says": "Anything."}])
    stricter = agency({**OWNER, "version": 8}, **REFUSE)
    policies = files(requester=inward, owner=stricter)
    assert_denied_by(
        decide(policies, requester_agency="owner-so", beneficiary_agency="owner-so"),
        "owner-so",
        "r1",
        "refuse",
    )


# --- Selectors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selector", "facts", "matches"),
    [
        ({"galleries": ["booking"]}, {}, True),
        ({"gallery_kinds": ["booking"]}, {}, True),
        ({"gallery_kinds": ["public-source"]}, {}, False),
        ({"agencies": ["any"]}, {}, True),
        ({"agencies": ["asker-pd"]}, {}, True),
        ({"agencies": ["other-pd"]}, {}, False),
        ({"purposes": ["criminal-investigation", "missing-person"]}, {}, True),
        ({"purposes": ["missing-person"]}, {}, False),
        ({"offenses": ["nibrs:120"]}, {}, True),
        ({"offenses": ["nibrs:13A"]}, {}, False),
        ({"offenses": ["class:violent"]}, {}, True),
        ({"offenses": ["class:violent"]}, {"offense": "nibrs:220"}, False),
        ({"offenses": ["class:property"]}, {"offense": "nibrs:220"}, True),
        ({"offenses": ["class:drug"]}, {"offense": "nibrs:35A"}, True),
        ({"offenses": ["class:sex"]}, {"offense": "nibrs:11D"}, True),
        ({"offenses": ["class:any"]}, {"offense": "nibrs:720"}, True),
        ({"offenses": ["class:any"]}, {"offense": None}, False),
        ({"probe_sources": ["cctv-still"]}, {}, True),
        ({"probe_sources": ["social-media"]}, {}, False),
        ({"roles": ["examiner", "requester"]}, {}, True),
        ({"roles": ["examiner"]}, {}, False),
        ({"roles": ["requester"]}, {"user_roles": frozenset()}, False),
        ({"from": date(2026, 6, 15)}, {}, True),
        ({"from": date(2026, 6, 16)}, {}, False),
        ({"until": date(2026, 6, 15)}, {}, True),
        ({"until": date(2026, 6, 14)}, {}, False),
        ({"purposes": ["criminal-investigation"], "roles": ["examiner"]}, {}, False),
    ],
)
def test_a_rule_matches_when_all_its_selectors_do(
    selector: dict[str, Any], facts: dict[str, Any], matches: bool
) -> None:
    shared = decide(files(owner=agency(OWNER, share=[rule(**selector)])), **facts)
    assert (shared.outcome is Outcome.PERMIT) == matches
    refused = decide(files(owner=agency(OWNER, refuse=[rule(**selector)])), **facts)
    assert (refused.outcome is Outcome.DENY) == matches
    (step,) = [step for step in shared.trace if step.rule_id == "r1"]
    assert step.matched == matches
    assert step.why


# --- Step 3: statutes ------------------------------------------------------------------------------------

ALLOW = {"allow": [rule(offenses=["nibrs:13A"])]}


def test_a_statute_that_lists_what_is_allowed_refuses_the_rest() -> None:
    policies = files(statutes=(statute(**ALLOW),))
    decision = decide(policies)
    assert_denied_by(decision, "us-ca-test", "no-allow-rule", "allow")
    assert "Test Code §1" in decision.reason
    allowed = decide(policies, offense="nibrs:13A")
    assert allowed.outcome is Outcome.PERMIT
    assert RuleRef("us-ca-test", "r1", "allow") in allowed.rules


def test_a_statute_whose_allow_rules_have_all_ended_refuses() -> None:
    ended = statute(allow=[rule(until=date(2026, 5, 1))])
    assert_denied_by(decide(files(statutes=(ended,))), "us-ca-test", "no-allow-rule", "allow")


@pytest.mark.parametrize(
    ("day", "outcome"),
    [
        (datetime(2026, 2, 28, tzinfo=UTC), Outcome.PERMIT),
        (datetime(2026, 3, 1, tzinfo=UTC), Outcome.DENY),
        (datetime(2026, 8, 31, 23, 59, tzinfo=UTC), Outcome.DENY),
        (datetime(2026, 9, 1, tzinfo=UTC), Outcome.PERMIT),
    ],
)
def test_a_statute_counts_from_its_effective_day_to_its_sunset(day: datetime, outcome: Outcome) -> None:
    pack = statute(effective=date(2026, 3, 1), sunset=date(2026, 8, 31), **REFUSE)
    decision = decide(files(statutes=(pack,)), at=day)
    assert decision.outcome is outcome
    (step,) = [step for step in decision.trace if step.source == "us-ca-test"]
    assert step.matched == (outcome is Outcome.DENY)


@pytest.mark.parametrize(
    ("jurisdiction", "applies"),
    [
        ("us", True),
        ("us-ca", True),
        ("us-ca-delta", True),  # the owner's county
        ("us-ca-delta-port", False),
        ("us-c", False),
        ("us-md", False),
        ("us-nv", False),
    ],
)
def test_a_statute_applies_where_an_agency_stands_under_its_jurisdiction(
    jurisdiction: str, applies: bool
) -> None:
    pack = statute(jurisdiction=jurisdiction, **REFUSE)
    assert (decide(files(statutes=(pack,))).outcome is Outcome.DENY) == applies


def test_a_statute_of_the_beneficiarys_jurisdiction_applies() -> None:
    policies = files(statutes=(statute(jurisdiction="us-nv", **REFUSE),), beneficiary=agency(FRIEND))
    assert_denied_by(decide(policies, beneficiary_agency="friend-pd"), "us-ca-test", "r1", "refuse")


def test_a_statute_that_the_region_adopts_applies_to_everybody_in_it() -> None:
    pack = statute(jurisdiction="us-md", **REFUSE)
    adopting = region(adopts=["us-ca-test"])
    assert_denied_by(decide(files(statutes=(pack,), region=adopting)), "us-ca-test", "r1", "refuse")


# --- Steps 4 and 5: use and share ------------------------------------------------------------------------


def test_without_a_matching_use_rule_of_the_requester_it_is_refused() -> None:
    for use in ([], [rule(agencies=["other-so"])], [rule(gallery_kinds=["public-source"])]):
        decision = decide(files(requester=agency(ASKER, use=use)))
        assert_denied_by(decision, "asker-pd", "no-use-rule", "use")


def test_in_use_rules_agencies_are_those_who_are_asked() -> None:
    use = [rule(agencies=["owner-so"])]
    assert decide(files(requester=agency(ASKER, use=use))).outcome is Outcome.PERMIT


def test_without_a_matching_share_rule_of_the_owner_it_is_refused() -> None:
    decision = decide(files(owner=agency(OWNER, share=[])))
    assert_denied_by(decision, "owner-so", "no-share-rule", "share")


def test_an_agency_needs_its_own_rules_to_search_its_own_gallery() -> None:
    own = {"requester_agency": "owner-so", "beneficiary_agency": "owner-so"}
    without = agency(OWNER)
    assert_denied_by(decide(files(requester=without, owner=without), **own), "owner-so", "no-use-rule", "use")
    both = agency(OWNER, use=[rule()], share=[rule(agencies=["any"])])
    assert decide(files(requester=both, owner=both), **own).outcome is Outcome.PERMIT


@pytest.mark.parametrize(
    ("agencies", "use", "outcome"),
    [
        ([["any"]], [rule()], Outcome.PERMIT),
        ([["asker-pd", "friend-pd"]], [rule()], Outcome.PERMIT),
        ([["asker-pd"], ["friend-pd"]], [rule()], Outcome.PERMIT),
        ([["asker-pd"]], [rule()], Outcome.DENY),
        ([["friend-pd"]], [rule()], Outcome.DENY),
        ([["any"]], [], Outcome.DENY),
    ],
)
def test_a_search_for_another_agency_needs_both_to_be_permitted(
    agencies: list[list[str]], use: list[dict[str, Any]], outcome: Outcome
) -> None:
    share = [{"id": f"s{i}", "says": "Shared.", "agencies": names} for i, names in enumerate(agencies)]
    policies = files(beneficiary=agency(FRIEND, use=use), owner=agency(OWNER, share=share))
    assert decide(policies, beneficiary_agency="friend-pd").outcome is outcome


def test_a_search_for_an_agency_without_a_policy_is_refused() -> None:
    assert_denied_by(decide(beneficiary_agency="friend-pd"), "friend-pd", "no-policy", "refuse")


# --- Step 6: requirements and limits ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "unmet", "met"),
    [
        ("case-number", {"case_number": None}, {"case_number": "26-1"}),
        ("case-number", {"case_number": "  "}, {"case_number": "26-1"}),
        ("narrative", {"narrative": ""}, {"narrative": "Because."}),
        ("trained-within:30d", {"training_date": None}, {"training_date": date(2026, 6, 15)}),
        ("trained-within:30d", {"training_date": date(2026, 5, 15)}, {"training_date": date(2026, 5, 16)}),
        ("trained-within:30d", {"training_date": date(2026, 6, 16)}, {"training_date": date(2026, 6, 1)}),
        ("min-quality:40", {"quality": None}, {"quality": 40}),
        ("min-quality:40", {"quality": 39}, {"quality": 41}),
    ],
)
def test_what_only_a_new_request_can_meet_is_refused_by_name(
    word: str, unmet: dict[str, Any], met: dict[str, Any]
) -> None:
    policies = files(owner=agency(OWNER, share=[rule(requires=[word])]))
    decision = decide(policies, **unmet)
    assert_denied_by(decision, "owner-so", "r1", "share")
    assert decision.missing == (word,)
    assert word in decision.reason
    assert decide(policies, **met).outcome is Outcome.PERMIT


@pytest.mark.parametrize(
    ("word", "met"),
    [
        ("warrant", {"warrant": "SW-2026-1"}),
        ("supervisor-approval", {"approvals": frozenset({"supervisor"})}),
    ],
)
def test_what_somebody_can_still_give_makes_the_request_wait(word: str, met: dict[str, Any]) -> None:
    policies = files(owner=agency(OWNER, share=[rule(requires=[word], limits={"candidates": 7})]))
    decision = decide(policies, approvals=frozenset({"examiner"}))
    assert decision.outcome is Outcome.WAIT
    assert decision.missing == (word,)
    assert decision.rules == (RuleRef("owner-so", "r1", "share"),)
    assert decision.obligations.candidates == 7
    assert decision.reason == f"Waits for {word}, which rule r1 of owner-so requires: The rule of this test."
    assert decide(policies, **met).outcome is Outcome.PERMIT


def test_a_request_that_lacks_both_is_refused_and_told_everything_at_once() -> None:
    policies = files(owner=agency(OWNER, share=[rule(requires=["supervisor-approval", "narrative"])]))
    decision = decide(policies, narrative=None)
    assert decision.outcome is Outcome.DENY
    assert decision.missing == ("narrative", "supervisor-approval")


@pytest.mark.parametrize(
    ("changed", "ref"),
    [
        ({"region": region(require=["narrative"])}, ("region", "require", "require")),
        ({"statutes": (statute(require=["narrative"]),)}, ("us-ca-test", "require", "require")),
        ({"statutes": (statute(allow=[rule(requires=["narrative"])]),)}, ("us-ca-test", "r1", "allow")),
        ({"requester": agency(ASKER, use=[rule(requires=["narrative"])])}, ("asker-pd", "r1", "use")),
        ({"owner": agency(OWNER, share=[rule(requires=["narrative"])])}, ("owner-so", "r1", "share")),
    ],
)
def test_requirements_of_all_files_count(changed: dict[str, Any], ref: tuple[str, str, str]) -> None:
    decision = decide(files(**changed), narrative=None)
    assert_denied_by(decision, *ref)
    assert decision.missing == ("narrative",)


def test_a_rule_that_does_not_match_asks_for_nothing() -> None:
    share = [rule(), {"id": "r2", "says": "Other.", "purposes": ["missing-person"], "requires": ["warrant"]}]
    assert decide(files(owner=agency(OWNER, share=share))).outcome is Outcome.PERMIT


def test_rules_that_match_together_add_up_to_the_strictest() -> None:
    share = [
        rule(
            limits={"candidates": 30, "fmr_at_most": 0.001, "min_quality": 40},
            release=["photo", "sex", "name"],
        ),
        {
            "id": "r2",
            "says": "Second.",
            "requires": ["two-examiners"],
            "limits": {"candidates": 12, "per_user_per_day": 9, "min_quality": 55},
            "release": ["photo", "sex", "provenance"],
        },
    ]
    owner = agency(OWNER, share=share, review={"examiners": 1, "blind": False}, retention={"probe_days": 30})
    asker = agency(
        ASKER, review={"examiners": 1, "blind": False}, retention={"probe_days": 10, "lead_days": 99}
    )
    limits = region(limits={"candidates": 50, "fmr_at_most": 0.0001, "per_user_per_day": 20})
    owed = decide(files(region=limits, requester=asker, owner=owner)).obligations
    assert owed.candidates == 12
    assert owed.fmr_at_most == 0.0001
    assert owed.min_quality == 55
    assert owed.per_user_per_day == 9
    assert owed.release == {"photo", "sex"}
    assert (owed.examiners, owed.blind) == (2, False)
    assert (owed.retention.probe_days, owed.retention.no_lead_days, owed.retention.lead_days) == (
        10,
        None,
        99,
    )


def test_where_no_file_says_anything_the_defaults_are_careful() -> None:
    owed = decide(files(owner=agency(OWNER, share=[rule()]))).obligations
    assert (owed.candidates, owed.examiners, owed.blind) == (20, 2, True)
    assert owed.release == {"subject-reference"}
    assert owed.fmr_at_most is None


def test_a_minimum_quality_among_the_limits_is_a_requirement() -> None:
    for changed in (
        {"region": region(limits={"min_quality": 61})},
        {"owner": agency(OWNER, share=[rule(limits={"min_quality": 61})])},
    ):
        assert decide(files(**changed)).missing == ("min-quality:61",)
        assert decide(files(**changed), quality=61).outcome is Outcome.PERMIT


def test_when_the_days_searches_are_spent_it_is_refused_by_the_rule_that_counts_them() -> None:
    policies = files(owner=agency(OWNER, share=[rule(limits={"per_user_per_day": 3})]))
    assert decide(policies, searches_today=2).outcome is Outcome.PERMIT
    decision = decide(policies, searches_today=3)
    assert_denied_by(decision, "owner-so", "r1", "share")
    assert "3 searches per user and day" in decision.reason
    assert_denied_by(
        decide(files(region=region(limits={"per_user_per_day": 1})), searches_today=1),
        "region",
        "limits",
        "require",
    )


# --- The record ------------------------------------------------------------------------------------------


def test_the_trace_holds_every_rule_whatever_decided() -> None:
    policies = files(
        region=region(refuse=[rule(id="g1", purposes=["protest-monitoring"])], require=["case-number"]),
        statutes=(statute(allow=[rule(id="a1")], refuse=[rule(id="f1", roles=["auditor"])]),),
        requester=agency(ASKER, use=[rule(id="u1"), rule(id="u2", purposes=["missing-person"])]),
        owner=agency(OWNER, share=[rule(id="s1"), rule(id="s2", roles=["auditor"])], refuse=[rule(id="n1")]),
    )
    decision = decide(policies)
    assert decision.outcome is Outcome.DENY
    assert {(step.rule_id, step.matched) for step in decision.trace if step.source != "liaison"} == {
        ("g1", False), ("a1", True), ("f1", False), ("u1", True), ("u2", False),
        ("s1", True), ("s2", False), ("n1", True),
    }  # fmt: skip


def test_a_decision_as_json_is_plain_and_keeps_its_keys() -> None:
    said = decide().as_json()
    assert list(said) == [
        "decision", "rules", "missing", "obligations", "reason", "trace", "digests", "versions",
    ]  # fmt: skip
    assert said["decision"] == "permit"
    assert said["rules"][0] == {"source": "asker-pd", "id": "all", "effect": "use"}
    assert said["obligations"]["release"] == ["photo", "subject-reference"]
    assert yaml.safe_load(yaml.safe_dump(said)) == said


def test_the_trace_says_for_whom_a_rule_matches_when_it_does_not_for_both() -> None:
    share = [{"id": "s1", "says": "Shared.", "agencies": ["asker-pd"]}]
    policies = files(beneficiary=agency(FRIEND), owner=agency(OWNER, share=share))
    (step,) = [
        step for step in decide(policies, beneficiary_agency="friend-pd").trace if step.rule_id == "s1"
    ]
    assert (step.matched, step.why) == (True, "It matches for asker-pd only. It does not name friend-pd.")
