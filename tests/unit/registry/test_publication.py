"""What agencies publish: their own words, in their own hand, never older than before."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from federation.canonical import b64
from federation.errors import Code, LiaisonError
from federation.identity.certificates import der, make_root, make_signing_certificate
from federation.identity.keys import new_signing_key, new_tls_key
from federation.identity.node import GalleryStatement
from federation.identity.spiffe import SpiffeId
from federation.identity.statement import SignedStatement
from federation.log import NoteSigner
from hub.registry.agencies import revoke_node, suspend
from hub.store.members import Members


def refused(code: Code) -> Any:
    return pytest.raises(LiaisonError, check=lambda error: error.code is code)


def listed(region: Any) -> list[tuple[str, str]]:
    with region.read() as session:
        return [(entry.agency, entry.node) for entry in Members(session).directory()]


def test_a_policy_and_a_node_statement_are_stored_logged_and_listed(region: Any) -> None:
    a = region.member("a")
    policy, node = a.policy(region.at), a.node(region.at)
    region.publish(a.node_id(), node, policy)
    assert listed(region) == [("a", "main")]
    with region.read() as session:
        stored = Members(session).policy("a")
        entry = Members(session).directory()[0]
    assert stored == policy
    assert SignedStatement.decode(entry.statement) == node
    assert [(e["agency"], e["version"]) for e in region.events("policy")] == [("a", 1)]


def test_publishing_the_same_again_logs_nothing_new(region: Any) -> None:
    a = region.member("a")
    for _ in range(2):
        region.publish(a.node_id(), a.policy(region.at), a.node(region.at))
    assert len(region.events("policy")) == 1
    assert [e["event"] for e in region.events("node")] == ["joined", "published"]


def test_a_policy_never_goes_back_and_a_version_never_changes(region: Any) -> None:
    a = region.member("a")
    region.publish(a.node_id(), a.policy(region.at, version=2))
    with refused(Code.POLICY_ROLLBACK):
        region.publish(a.node_id(), a.policy(region.at, version=1))
    with refused(Code.POLICY_ROLLBACK):
        region.publish(a.node_id(), a.policy(region.at, version=2, title="Another"))
    region.publish(a.node_id(), a.policy(region.at, version=3, title="Another"))
    assert [e["version"] for e in region.events("policy")] == [2, 3]


def test_a_node_publishes_for_its_own_agency_only(region: Any) -> None:
    a, b = region.member("a"), region.member("b")
    with refused(Code.NOT_AUTHORIZED):
        region.publish(b.node_id(), a.policy(region.at))
    with refused(Code.NOT_AUTHORIZED):
        region.publish(b.node_id(), a.node(region.at))
    with refused(Code.NOT_AUTHORIZED):
        region.publish(b.node_id(), b.policy(region.at, agency="a"))
    region.join(a, "second")
    with refused(Code.NOT_AUTHORIZED):
        region.publish(a.node_id("second"), a.node(region.at, "main"))


def test_a_forged_statement_is_refused(region: Any) -> None:
    a = region.member("a")
    good = a.policy(region.at)
    with refused(Code.SIGNATURE_INVALID):
        region.publish(a.node_id(), replace(good, payload=good.payload.replace(b"Booking", b"Looking")))
    with refused(Code.SIGNATURE_INVALID):
        region.publish(a.node_id(), replace(good, kind="node"))
    a.signing = new_signing_key()
    with refused(Code.SIGNATURE_INVALID):
        region.publish(a.node_id(), a.policy(region.at))


def test_a_hub_that_makes_its_own_agency_certificate_is_not_believed(region: Any) -> None:
    """The issuing key is what a thief of the hub has; a home-made root of the same name is what he can make."""
    a = region.member("a")
    identity = SpiffeId.of_agency("delta", "a")
    a.signing = new_signing_key()
    for authority in (region.hub.load_issuing(), make_root("delta", new_tls_key(), region.at)):
        a.certificate = der(make_signing_certificate(identity, a.signing.public_key(), authority, region.at))
        with refused(Code.CERTIFICATE_INVALID):
            region.publish(a.node_id(), a.policy(region.at))


def test_an_agency_that_is_not_confirmed_publishes_nothing(region: Any) -> None:
    a = region.member("a")
    b = region.add("b")
    region.join(b)
    b.certificate = a.certificate
    with refused(Code.AGENCY_NOT_CONFIRMED):
        region.publish(b.node_id(), b.policy(region.at))


def test_an_invalid_policy_is_refused_with_its_place(region: Any) -> None:
    a = region.member("a")
    with pytest.raises(LiaisonError, match=r"a\.yaml, .*line|a\.yaml, \d+") as caught:
        region.publish(a.node_id(), a.policy(region.at, title='", colour: "red'))
    assert caught.value.code is Code.POLICY_INVALID


def test_of_several_statements_all_are_taken_or_none(region: Any) -> None:
    a = region.member("a")
    with refused(Code.REQUEST_INVALID):
        region.publish(a.node_id(), a.policy(region.at), a.node(region.at, sealing_key=b64(b"short")))
    with region.read() as session:
        assert Members(session).policy("a") is None
    assert region.events("policy") == []


def test_an_older_node_statement_does_not_come_back(region: Any) -> None:
    a = region.member("a")
    old = a.node(region.at)
    region.at += timedelta(minutes=1)
    region.publish(a.node_id(), a.node(region.at))
    with refused(Code.POLICY_ROLLBACK):
        region.publish(a.node_id(), old)
    with refused(Code.CLOCK_SKEW):
        region.publish(a.node_id(), a.node(region.at + timedelta(hours=1)))


def test_a_node_statement_needs_a_witness_key_and_galleries_named_once(region: Any) -> None:
    a = region.member("a")
    wrong = NoteSigner("a/main", a.witness).verifier_key().encode()
    with refused(Code.REQUEST_INVALID):
        region.publish(a.node_id(), a.node(region.at, witness_vkey=wrong))
    gallery = GalleryStatement(name="x", kind="booking", title="X", engine="e", subjects=0, templates=0)
    with refused(Code.REQUEST_INVALID):
        region.publish(a.node_id(), a.node(region.at, galleries=(gallery, gallery)))


def test_a_node_that_decides_with_another_file_is_an_event_once(region: Any) -> None:
    a = region.member("a")
    region.publish(a.node_id(), a.policy(region.at))
    for _ in range(2):
        region.publish(a.node_id(), a.node(region.at, policy_digest="sha256:" + "0" * 64))
    assert [e["node_digest"][-2:] for e in region.events("divergence")] == ["00"]


def test_counts_change_every_night_without_a_log_entry(region: Any) -> None:
    a = region.member("a")
    for subjects in (1, 2):
        gallery = GalleryStatement(
            name="x", kind="booking", title="X", engine="e", subjects=subjects, templates=subjects
        )
        region.publish(a.node_id(), a.node(region.at, galleries=(gallery,)))
    assert [e["event"] for e in region.events("node")] == ["joined", "published"]


def test_suspended_and_revoked_members_are_not_in_the_directory(region: Any) -> None:
    a, b = region.member("a"), region.member("b")
    for agency in (a, b):
        region.publish(agency.node_id(), agency.node(region.at))
    assert listed(region) == [("a", "main"), ("b", "main")]
    region.write(lambda t: suspend(t, "a", "Audit."))
    region.write(lambda t: revoke_node(t, "b", "main", "Stolen."))
    assert listed(region) == []


def test_a_node_that_joins_again_is_not_listed_with_its_lost_keys(region: Any) -> None:
    a = region.member("a")
    region.publish(a.node_id(), a.node(region.at))
    region.join(a)
    assert listed(region) == []
