"""Which statements of the directory are believed, and which galleries a request may name."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agency_node.desk.directory import choose_galleries, read_directory
from federation.canonical import stamp
from federation.errors import Code, LiaisonError
from federation.identity.region import Trust
from protos.liaison.v1 import registry_pb2


@pytest.fixture
def trust(region: Any) -> Trust:
    return Trust.begin("delta", region.root.certificate, region.bundle(), region.at)


def listed(agency: str, statement: Any, node: str = "n1") -> registry_pb2.DirectoryNode:
    return registry_pb2.DirectoryNode(agency=agency, node=node, statement=statement.encode())


def test_a_statement_of_the_agency_itself_gives_its_galleries(region: Any, trust: Trust) -> None:
    found = read_directory([listed("tracy-pd", region.node_statement("tracy-pd"))], trust, region.at)
    entry = found.galleries["tracy-pd/booking"]
    assert entry.sealing_key == region.agencies["tracy-pd"].sealing.public()
    assert (entry.kind, entry.subjects, found.dropped) == ("booking", 9, ())


def test_a_statement_signed_by_anybody_else_is_dropped_and_named(region: Any, trust: Trust) -> None:
    genuine = region.node_statement("tracy-pd")
    forgeries = [
        listed("tracy-pd", region.agencies["stockton-pd"].sign("node", genuine.payload)),
        listed("tracy-pd", region.hub.sign("node", genuine.payload)),
        listed("tracy-pd", region.agencies["tracy-pd"].sign("policy", genuine.payload)),
        listed("stockton-pd", genuine),
        listed("tracy-pd", genuine, node="n2"),
        # An empty agency must not make the hub's own signature count.
        listed("", region.hub.sign("node", genuine.payload)),
        registry_pb2.DirectoryNode(agency="tracy-pd", node="n1", statement=b"{}"),
        registry_pb2.DirectoryNode(agency="tracy-pd", node="n1"),
    ]
    for forgery in forgeries:
        found = read_directory([forgery], trust, region.at)
        assert not found.galleries
        assert [dropped.agency for dropped in found.dropped] == [forgery.agency]


def test_a_revoked_signer_is_dropped(region: Any) -> None:
    from federation.identity.certificates import parse_certificate

    serial = parse_certificate(region.agencies["tracy-pd"].certificate).serial_number
    bundle = region.bundle(revoked_signers=(str(serial),))
    trust = Trust.begin("delta", region.root.certificate, bundle, region.at)
    found = read_directory([listed("tracy-pd", region.node_statement("tracy-pd"))], trust, region.at)
    assert [dropped.code for dropped in found.dropped] == [Code.CERTIFICATE_REVOKED]


def test_a_sealing_key_of_the_wrong_length_is_dropped(region: Any, trust: Trust) -> None:
    short = region.node_statement("tracy-pd", sealing_key="AAAA")
    assert not read_directory([listed("tracy-pd", short)], trust, region.at).galleries


def test_of_two_nodes_with_one_gallery_the_newer_statement_counts(region: Any, trust: Trust) -> None:
    older = listed("tracy-pd", region.node_statement("tracy-pd"))
    later = stamp(region.at + timedelta(seconds=9))
    newer = listed("tracy-pd", region.node_statement("tracy-pd", node="n2", issued_at=later), node="n2")
    for order in ([older, newer], [newer, older]):
        assert read_directory(order, trust, region.at).galleries["tracy-pd/booking"].node == "n2"


def test_all_galleries_are_asked_unless_some_are_named(region: Any, trust: Trust) -> None:
    nodes = [listed(name, region.node_statement(name)) for name in ("tracy-pd", "stockton-pd")]
    found = read_directory(nodes, trust, region.at)
    assert [entry.name for entry in choose_galleries(found, ())] == [
        "stockton-pd/booking",
        "tracy-pd/booking",
    ]
    assert choose_galleries(found, ("all",)) == choose_galleries(found, ())
    named = choose_galleries(found, ("tracy-pd/booking", "tracy-pd/booking"))
    assert [entry.name for entry in named] == ["tracy-pd/booking"]


def test_an_unknown_gallery_is_refused_with_the_nearest_known(region: Any, trust: Trust) -> None:
    found = read_directory([listed("tracy-pd", region.node_statement("tracy-pd"))], trust, region.at)
    with pytest.raises(LiaisonError, match="Did you mean `tracy-pd/booking`") as refusal:
        choose_galleries(found, ("tracy-pd/bookings",))
    assert refusal.value.code is Code.GALLERY_UNKNOWN


def test_an_empty_region_is_an_error_and_not_an_empty_search(region: Any, trust: Trust) -> None:
    with pytest.raises(LiaisonError) as refusal:
        choose_galleries(read_directory([], trust, region.at), ())
    assert refusal.value.code is Code.GALLERY_UNKNOWN
