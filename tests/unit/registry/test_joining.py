"""Joining: one token, one node; a failed join costs nothing; no key but the right one gets in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from federation.canonical import stamp
from federation.errors import Code, LiaisonError
from federation.identity.certificates import identity_of, make_csr, parse_certificate
from federation.identity.keys import new_signing_key, new_tls_key
from federation.identity.spiffe import SpiffeId
from federation.identity.token import JoinToken
from hub.registry.agencies import add_agency, confirm, resume, revoke_node, suspend
from hub.registry.joining import join, renew
from hub.registry.tokens import LONGEST_LIFE
from hub.store.members import Members
from hub.store.tables import CertificateRow, NodeRow, TokenRow


def refused(code: Code) -> Any:
    return pytest.raises(LiaisonError, check=lambda error: error.code is code)


def test_a_node_with_a_token_gets_a_certificate_that_the_root_stands_behind(region: Any) -> None:
    a = region.add("a")
    chain = region.join(a)
    leaf, issuing = map(parse_certificate, chain)
    assert identity_of(leaf) == a.node_id()
    leaf.verify_directly_issued_by(issuing)
    issuing.verify_directly_issued_by(region.hub.root())
    region.admit(a, chain)
    assert [e["event"] for e in region.events("node")] == ["joined"]
    assert [e["use"] for e in region.events("certificate")] == ["tls"]


def test_a_token_survives_its_line_and_the_hub_keeps_only_its_digest(region: Any) -> None:
    region.add("a")
    token = region.token("a")
    assert JoinToken.decode(token.encode()) == token
    assert (token.join, token.broker) == ("127.0.0.1:7444", "127.0.0.1:7443")
    for file in region.hub.home.rglob("*"):
        assert not file.is_file() or token.secret.encode() not in file.read_bytes()


def test_a_token_used_twice_is_refused_the_second_time(region: Any) -> None:
    a = region.add("a")
    secret = region.token("a").secret
    region.join(a, secret=secret)
    with refused(Code.TOKEN_USED):
        region.join(a, "second", secret=secret)


def test_of_two_joins_at_once_with_one_token_exactly_one_succeeds(region: Any) -> None:
    a = region.add("a")
    secret = region.token("a").secret

    def attempt(node: str) -> str:
        try:
            region.join(a, node, secret=secret)
        except LiaisonError as error:
            return error.code.value
        return "joined"

    with ThreadPoolExecutor(8) as pool:
        outcomes = sorted(pool.map(attempt, [f"n{i}" for i in range(8)]))
    assert outcomes == ["joined"] + ["token-used"] * 7
    with region.read() as session:
        assert session.query(NodeRow).count() == session.query(CertificateRow).count() == 1


def test_an_expired_an_unknown_and_another_agencys_token_are_refused(region: Any) -> None:
    a, b = region.add("a"), region.add("b")
    of_a = region.token("a", timedelta(minutes=30)).secret
    with refused(Code.TOKEN_INVALID):
        region.join(b, secret=of_a)
    with refused(Code.TOKEN_INVALID):
        region.join(a, secret=of_a + "x")
    region.at += timedelta(minutes=30)
    with refused(Code.TOKEN_EXPIRED):
        region.join(a, secret=of_a)
    with region.read() as session:
        assert session.query(NodeRow).count() == 0


def test_a_token_lives_a_fortnight_at_most_and_is_not_made_for_strangers(region: Any) -> None:
    region.add("a")
    with refused(Code.REQUEST_INVALID):
        region.token("a", LONGEST_LIFE + timedelta(seconds=1))
    with refused(Code.AGENCY_UNKNOWN):
        region.token("nobody")


def spoilt(region: Any, a: Any, how: str) -> tuple[Any, Code]:
    good = a.application(region.token("a").secret, region.at)
    foreign = SpiffeId.of_node("delta", "b", "main")
    changed = bytearray(good.tls_csr)
    changed[-1] ^= 1
    signing = bytearray(good.signing_csr)
    signing[-1] ^= 1
    return {
        "a tls key for another agency's node": (
            replace(good, tls_csr=make_csr(foreign, a.tls)),
            Code.CERTIFICATE_INVALID,
        ),
        "a tls key for the hub": (
            replace(good, tls_csr=make_csr(SpiffeId.hub("delta"), a.tls)),
            Code.CERTIFICATE_INVALID,
        ),
        "a request that does not prove its key": (
            replace(good, tls_csr=bytes(changed)),
            Code.CERTIFICATE_INVALID,
        ),
        "an agency key signed by another": (
            replace(good, signing_csr=bytes(signing)),
            Code.CERTIFICATE_INVALID,
        ),
        "an agency key for another agency": (
            replace(good, signing_csr=make_csr(SpiffeId.of_agency("delta", "b"), a.signing)),
            Code.CERTIFICATE_INVALID,
        ),
        "an agency key of the wrong kind": (
            replace(good, signing_csr=make_csr(SpiffeId.of_agency("delta", "a"), new_tls_key())),
            Code.CERTIFICATE_INVALID,
        ),
        "no signing request": (replace(good, tls_csr=b"nonsense"), Code.CERTIFICATE_INVALID),
        "a name that is a path": (replace(good, node="../../etc"), Code.REQUEST_INVALID),
        "a clock an hour ahead": (
            replace(good, node_time=stamp(region.at + timedelta(hours=1))),
            Code.CLOCK_SKEW,
        ),
        "a clock six minutes behind": (
            replace(good, node_time=stamp(region.at - timedelta(minutes=6))),
            Code.CLOCK_SKEW,
        ),
        "a clock that is no time": (replace(good, node_time="noon"), Code.REQUEST_INVALID),
    }[how]


@pytest.mark.parametrize(
    "how",
    [
        "a tls key for another agency's node",
        "a tls key for the hub",
        "a request that does not prove its key",
        "an agency key signed by another",
        "an agency key for another agency",
        "an agency key of the wrong kind",
        "no signing request",
        "a name that is a path",
        "a clock an hour ahead",
        "a clock six minutes behind",
        "a clock that is no time",
    ],
)
def test_a_join_that_fails_leaves_nothing_behind_and_does_not_burn_the_token(region: Any, how: str) -> None:
    a = region.add("a")
    application, code = spoilt(region, a, how)
    before = len(region.events("node"))
    with refused(code):
        region.write(lambda t: join(t, region.issuer, application))
    assert len(region.events("node")) == before
    with region.read() as session:
        assert session.query(CertificateRow).count() == session.query(NodeRow).count() == 0
        assert session.query(TokenRow).one().used_at is None
        assert Members(session).agency("a").signing_csr is None
    region.join(a, secret=application.secret)


def test_clock_skew_says_by_how_much(region: Any) -> None:
    a = region.add("a")
    application, _ = spoilt(region, a, "a clock an hour ahead")
    with pytest.raises(LiaisonError, match="3600 s ahead of the hub"):
        region.write(lambda t: join(t, region.issuer, application))


def test_a_second_node_must_bring_the_agencys_own_signing_key(region: Any) -> None:
    a = region.add("a")
    region.join(a)
    region.join(a, "second")
    a.signing = new_signing_key()
    with refused(Code.CERTIFICATE_INVALID):
        region.join(a, "third")


def test_another_key_of_a_confirmed_agency_waits_and_changes_nothing_until_it_is_confirmed(
    region: Any,
) -> None:
    a = region.member("a")
    first, certificate = a.signing, a.certificate
    a.signing = new_signing_key()
    region.join(a, "second")
    with region.read() as session:
        row = Members(session).agency("a")
        assert row.signing_certificate == certificate
        assert row.fingerprint == a.fingerprint
    region.confirm(a)
    with region.read() as session:
        row = Members(session).agency("a")
        assert parse_certificate(row.signing_certificate).public_key() == a.signing.public_key()
        assert row.signing_csr is None
    assert a.signing.public_key() != first.public_key()
    assert [e["rotated"] for e in region.events("agency") if e["event"] == "confirmed"] == [False, True]


def test_only_the_fingerprint_that_was_read_out_confirms(region: Any) -> None:
    a = region.add("a")
    root = region.offline.root(region.hub)
    with refused(Code.STATE_CONFLICT):
        region.write(lambda t: confirm(t, "delta", "a", a.fingerprint, root))
    region.join(a)
    other = region.add("b")
    with refused(Code.FINGERPRINT_MISMATCH):
        region.write(lambda t: confirm(t, "delta", "a", other.fingerprint, root))
    with region.read() as session:
        assert Members(session).agency("a").signing_certificate is None
    spoken = a.fingerprint.lower().replace("-", " ")
    region.write(lambda t: confirm(t, "delta", "a", spoken, root))


def test_a_key_put_into_the_database_without_its_signing_request_is_not_confirmed(region: Any) -> None:
    """Whoever holds the hub's database writes the fingerprint that the coordinator will be told on the telephone."""
    a, thief = region.add("a"), region.add("b")
    region.join(a)

    def tamper(t: Any) -> None:
        row = Members(t.session).agency("a")
        row.signing_csr = make_csr(SpiffeId.of_agency("delta", "a"), thief.signing)
        row.fingerprint = a.fingerprint

    region.write(tamper)
    root = region.offline.root(region.hub)
    with refused(Code.FINGERPRINT_MISMATCH):
        region.write(lambda t: confirm(t, "delta", "a", a.fingerprint, root))


@pytest.mark.parametrize("days", [300, 500])
def test_confirming_again_renews_the_certificate_of_the_same_key(region: Any, days: int) -> None:
    a = region.member("a")
    old = a.certificate
    region.at += timedelta(days=days)
    region.confirm(a)
    new = parse_certificate(a.certificate)
    assert new.public_key() == parse_certificate(old).public_key()
    assert new.not_valid_after_utc > parse_certificate(old).not_valid_after_utc


def test_another_regions_root_confirms_nobody(region: Any, tmp_path: Any) -> None:
    from hub.config import Settings
    from hub.registry.founding import found
    from hub.registry.offline import Offline

    other = found(tmp_path / "other", None, Settings(region="delta"), None, [], lambda: region.at)
    with refused(Code.ROOT_MISMATCH):
        Offline(other.offline).root(region.hub)


def test_renewal_is_for_the_same_identity_only_and_both_certificates_work(region: Any) -> None:
    a = region.add("a")
    chain = region.join(a)
    fresh = region.write(lambda t: renew(t, region.issuer, a.node_id(), make_csr(a.node_id(), new_tls_key())))
    region.admit(a, chain)
    region.admit(a, fresh)
    with refused(Code.CERTIFICATE_INVALID):
        csr = make_csr(SpiffeId.of_node("delta", "b", "main"), new_tls_key())
        region.write(lambda t: renew(t, region.issuer, a.node_id(), csr))


def test_a_revoked_node_is_refused_with_every_certificate_and_may_join_anew(region: Any) -> None:
    a = region.add("a")
    chain = region.join(a)
    region.write(lambda t: revoke_node(t, "a", "main", "Stolen."))
    with refused(Code.CERTIFICATE_REVOKED):
        region.admit(a, chain)
    with refused(Code.STATE_CONFLICT):
        region.write(lambda t: revoke_node(t, "a", "main", "Again."))
    again = region.join(a)
    region.admit(a, again)
    with refused(Code.CERTIFICATE_REVOKED):
        region.admit(a, chain)
    assert region.events("revocation")[0]["because"] == "Stolen."
    assert region.events("node")[-1]["event"] == "joined again"


def test_a_suspended_agency_is_out_until_the_suspension_is_lifted(region: Any) -> None:
    a = region.member("a")
    with region.read() as session:
        serial = int(session.query(CertificateRow).one().serial)
    region.write(lambda t: suspend(t, "a", "Audit finding 7."))
    with region.read() as session, refused(Code.NOT_AUTHORIZED):
        Members(session).admit(a.node_id(), serial)
    with refused(Code.NOT_AUTHORIZED):
        region.token("a")
    region.write(lambda t: resume(t, "a", "Closed."))
    with region.read() as session:
        Members(session).admit(a.node_id(), serial)


def test_a_certificate_admits_only_the_node_that_it_was_issued_to(region: Any) -> None:
    a, b = region.add("a"), region.add("b")
    chain = region.join(a)
    region.join(b)
    serial = parse_certificate(chain[0]).serial_number
    with region.read() as session:
        with refused(Code.CERTIFICATE_INVALID):
            Members(session).admit(b.node_id(), serial)
        with refused(Code.IDENTITY_UNKNOWN):
            Members(session).admit(a.node_id(), x509.random_serial_number())


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a" * 64, "a/b"])
def test_an_agency_has_a_name_that_fits_certificates_and_paths(region: Any, name: str) -> None:
    with refused(Code.REQUEST_INVALID):
        region.write(lambda t: add_agency(t, name, "Name"))


def test_an_agency_is_entered_once(region: Any) -> None:
    region.add("a")
    with refused(Code.AGENCY_EXISTS):
        region.add("a")


def test_another_agencys_certificate_put_into_the_database_renews_nothing(region: Any) -> None:
    a, b = region.member("a"), region.member("b")

    def tamper(t: Any) -> None:
        Members(t.session).agency("a").signing_certificate = b.certificate

    region.write(tamper)
    root = region.offline.root(region.hub)
    with refused(Code.CERTIFICATE_INVALID):
        region.write(lambda t: confirm(t, "delta", "a", b.fingerprint, root))
    assert a.fingerprint != b.fingerprint
