"""Promises 1 and 4, tried by whoever has taken over the hub: its home, its keys, its database, but nothing offline."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agency_node.desk.submit import Prepared
from demo.blind import look
from federation.canonical import canonical, digest
from federation.errors import Code
from federation.identity.certificates import der, make_signing_certificate
from federation.identity.keys import Signer, new_signing_key
from federation.identity.spiffe import SpiffeId
from federation.identity.statement import SignedStatement, sign
from federation.probe.answer import Receipt
from federation.probe.delivery import SENTENCES, DeliveryState
from hub.broker import submit
from hub.broker.decisions import Decided
from hub.config import Hub, load_hub
from hub.store.writer import Writer

AGENCIES = ("mill-creek-pd", "san-joaquin-so", "valley-records")
GALLERY, PUBLIC = "san-joaquin-so/booking", "valley-records/public"

pytestmark = pytest.mark.slow


def by_the_issuing_ca(federation: Any, hub: Hub) -> tuple[Signer, bytes]:
    """A key of the attacker's, certified as the agency's by the CA that the hub holds."""
    key = new_signing_key()
    identity = SpiffeId.of_agency(hub.region, "mill-creek-pd")
    return key, der(
        make_signing_certificate(identity, key.public_key(), hub.load_issuing(), datetime.now(UTC))
    )


def by_the_hub_itself(federation: Any, hub: Hub) -> tuple[Signer, bytes]:
    """The hub's own signing key, which the root certified as the hub's."""
    return hub.load_hub_signer()


def by_the_attackers_key_under_the_agencys_certificate(federation: Any, hub: Hub) -> tuple[Signer, bytes]:
    """The agency's real certificate, which is no secret, with a key that is not the one it names."""
    return new_signing_key(), federation.prepared(GALLERY).statement.certificate


FORGERIES = {
    by_the_issuing_ca: Code.CERTIFICATE_INVALID,
    by_the_hub_itself: Code.NOT_AUTHORIZED,
    by_the_attackers_key_under_the_agencys_certificate: Code.SIGNATURE_INVALID,
}


@pytest.fixture(scope="module")
def delivered(federation: Any) -> dict[Any, Prepared]:
    """A request of each forger, and under None one that the agency did sign: all in the hub's log and queue."""
    stage = federation.stage
    stage.hub.stop()
    hub = load_hub(stage.hub_home)
    made: dict[Any, Prepared] = {None: federation.prepared(GALLERY)}
    for forge in FORGERIES:
        asked = federation.prepared(GALLERY)
        signer, certificate = forge(federation, hub)
        made[forge] = replace(
            asked, statement=sign("probe-request", asked.statement.payload, signer, certificate)
        )
    for asked in made.values():
        _enter(hub, asked)
    stage.start_hub()
    return made


@pytest.mark.parametrize("forger", FORGERIES)
def test_a_request_that_the_hub_invents_and_logs_is_refused_by_the_node(
    federation: Any, delivered: Any, forger: Any
) -> None:
    asked = delivered[forger]
    receipt = _receipt(federation, asked)
    assert (receipt.outcome, receipt.code) == ("refused_by_node", FORGERIES[forger].value)
    assert receipt.request_sha256 == asked.digest
    assert receipt.answer_sha256 is None
    assert not federation.was_searched(asked.request.id, GALLERY)


def test_the_same_way_in_is_open_to_a_request_that_the_agency_did_sign(
    federation: Any, delivered: Any
) -> None:
    """The control: nothing but the signature stopped the forged ones."""
    asked = delivered[None]
    assert _receipt(federation, asked).outcome == "answered"
    assert federation.was_searched(asked.request.id, GALLERY)


def test_nothing_at_the_hub_shows_a_face_or_names_a_subject_while_it_searches_or_after(
    federation: Any, tmp_path: Path
) -> None:
    hub_home = federation.stage.hub_home
    working = federation.intake.working
    with federation.away("valley-records"):
        handed_in = federation.search("--no-wait", "--gallery", GALLERY, "--gallery", PUBLIC)
        asked = federation.hub_rows("SELECT statement, ciphertext FROM request WHERE id = ?", handed_in["id"])
        # The desk made the same working image as this test did, and its ciphertext waits at the hub now.
        assert federation.intake.facts.working_sha256.encode() in SignedStatement.decode(asked[0][0]).payload
        assert len(asked[0][1]) > len(working)
        _check_blind(federation, hub_home)
    output = tmp_path / "found"
    result = federation.search("--resume", handed_in["id"], "--output", str(output))
    assert [one["status"] for one in result["deliveries"]] == ["answered", "answered"]
    shown = [path.read_bytes() for path in output.rglob("*.jpg")]
    assert shown, "the answers release photographs, and the desk has them"
    _check_blind(federation, hub_home, *shown)
    assert federation.hub_rows("SELECT ciphertext FROM request WHERE id = ?", handed_in["id"]) == [(None,)]


def test_the_look_at_the_hubs_disk_would_find_a_probe_that_is_there(federation: Any, tmp_path: Path) -> None:
    """The control: a copy of the hub's home with the probe hidden in its database."""
    copy = tmp_path / "hub"
    shutil.copytree(federation.stage.hub_home, copy)
    with (copy / "hub.db").open("ab") as database:
        database.write(b"x" * 99 + federation.intake.working)
    seen = look(copy, [federation.intake.working])
    assert seen.known > 0
    assert seen.decodable > 0


def _check_blind(federation: Any, hub_home: Path, *photographs: bytes) -> None:
    enrolled = [person for people in federation.cast.enrolled.values() for person in people.values()]
    pictures = [federation.intake.working, *photographs]
    pictures += [probe.picture for probe in federation.cast.probes]
    pictures += [photograph for person in enrolled for photograph in person.values()]
    seen = look(hub_home, pictures)
    assert seen.files > 5
    assert (seen.known, seen.decodable) == (0, 0)
    people = {person.encode() for people in federation.cast.enrolled.values() for person in people}
    for path in hub_home.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert [person for person in people if person in content] == []


def _enter(hub: Hub, asked: Prepared) -> None:
    """Put a request into the hub's log and queue with its own code and keys, past all of its checks."""
    signer, certificate = hub.load_hub_signer()
    keys = {key.gallery: key.sealed_key for key in asked.message.keys}
    taken = submit.Submission(
        asked.request,
        asked.statement,
        asked.message.ciphertext,
        keys,
        digest(canonical({"id": asked.request.id})),
    )
    queued = DeliveryState.QUEUED
    facts = {"request": asked.request.id, "gallery": GALLERY, "outcome": "permit"}
    decided = [Decided(GALLERY, queued, SENTENCES[queued], None, (), facts)]
    engine = hub.open_database()
    writer = Writer(engine, hub.load_log_signer(), lambda: datetime.now(UTC))
    try:
        writer.write(
            lambda tx: submit._write(
                tx, taken, decided, lambda kind, payload: sign(kind, payload, signer, certificate)
            )
        )
    finally:
        writer.close()
        engine.dispose()


def _receipt(federation: Any, asked: Prepared) -> Receipt:
    """What the gallery's agency signed about it, once the real hub has it."""
    query = "SELECT receipt FROM delivery WHERE id = ? AND receipt IS NOT NULL"
    [(encoded,)] = federation.eventually(lambda: federation.hub_rows(query, f"{asked.request.id}/{GALLERY}"))
    signed = SignedStatement.decode(encoded)
    trust = load_hub(federation.stage.hub_home).trust(datetime.now(UTC))
    return Receipt.decode(trust.verify(signed, "receipt", datetime.now(UTC), agency="san-joaquin-so"))
