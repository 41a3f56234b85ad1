"""Joining over real TLS: who answers is looked at before the secret is shown, and the home changes last."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from agency_node.config import Node, load_node
from agency_node.link.channel import as_liaison, call_errors, open_anonymous_channel, open_channel
from agency_node.link.join import join, shown_by
from agency_node.link.membership import GalleryCounts, publish, refresh_membership, signing_certificate
from agency_node.link.renew import renew, renewal_due
from agency_node.link.trust import TrustKeeper, load_trust
from federation.canonical import stamp
from federation.errors import Code, LiaisonError
from federation.identity.certificates import parse_certificate, pem
from federation.identity.keys import fingerprint
from federation.identity.node import NodeStatement, PolicyStatement
from federation.identity.spiffe import SpiffeId
from federation.wire import CODE_KEY
from protos.liaison.v1 import registry_pb2 as pb
from protos.liaison.v1 import registry_pb2_grpc as rpc

Hub = Any


def now() -> datetime:
    return datetime.now(UTC)


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def joined(node: Node, hub: Hub) -> tuple[Node, TrustKeeper]:
    member = (await join(node, hub.token(), now())).node
    return member, TrustKeeper(member, load_trust(member, now()))


async def test_joining_pins_the_root_and_makes_the_node_a_member(node: Node, hub: Hub) -> None:
    result = await join(node, hub.token(), now())
    assert result.node.joined
    assert str(result.node.identity) == "spiffe://delta/agency/eastport-pd/node/n1"
    assert result.fingerprint == fingerprint(node.signer().public_key())
    assert load_trust(result.node, now()).bundle.version == 1
    assert "# The face engine." in node.settings_path.read_text()


async def test_the_request_shows_keys_by_proof_and_never_a_key(node: Node, hub: Hub) -> None:
    await join(node, hub.token(), now())
    [request] = hub.joins
    sent = request.SerializeToString()
    for key in (node.home / "keys").iterdir():
        assert key.read_bytes() not in sent
    assert hub.signing_public == node.signer().public_key()


async def test_joining_again_with_a_new_token_is_no_error(node: Node, hub: Hub) -> None:
    member, _ = await joined(node, hub)
    again = await join(member, hub.token(), now())
    assert again.node.joined


async def _refused(node: Node, hub: Hub, token: str, at: datetime | None = None) -> Code:
    before = everything_in(node.home)
    with pytest.raises(LiaisonError) as caught:
        await join(node, token, at or now())
    assert everything_in(node.home) == before
    return caught.value.code


async def test_a_hub_with_another_root_is_not_shown_the_secret(node: Node, hub: Hub) -> None:
    assert await _refused(node, hub, hub.token(root="sha256:" + "0" * 64)) is Code.ROOT_MISMATCH
    assert hub.joins == []


async def test_a_token_for_another_agency_expired_or_cut_short_is_refused_before_anything_is_sent(
    node: Node, hub: Hub
) -> None:
    assert await _refused(node, hub, hub.token(agency="harbor-pd")) is Code.TOKEN_INVALID
    assert await _refused(node, hub, hub.token(expires=stamp(now()))) is Code.TOKEN_EXPIRED
    assert await _refused(node, hub, hub.token(expires="tomorrow")) is Code.TOKEN_INVALID
    assert await _refused(node, hub, hub.token()[:-9]) is Code.TOKEN_INVALID
    assert hub.joins == []


@pytest.mark.parametrize(
    "code", [Code.TOKEN_USED, Code.TOKEN_EXPIRED, Code.CLOCK_SKEW, Code.TOO_MANY_REQUESTS]
)
async def test_what_the_hub_answers_arrives_as_its_code(node: Node, hub: Hub, code: Code) -> None:
    hub.refuse_join = code
    assert await _refused(node, hub, hub.token()) is code


async def test_a_clock_off_by_an_hour_is_refused(node: Node, hub: Hub) -> None:
    hub.clock = lambda: now() - timedelta(hours=1)
    assert await _refused(node, hub, hub.token()) is Code.CLOCK_SKEW


async def test_a_certificate_for_another_identity_is_refused(node: Node, hub: Hub) -> None:
    hub.sent_identity = SpiffeId.of_node("delta", "harbor-pd", "n1")
    assert await _refused(node, hub, hub.token()) is Code.CERTIFICATE_INVALID


async def test_a_bundle_that_the_coordinator_did_not_sign_is_refused(node: Node, hub: Hub) -> None:
    hub.bundle = hub.bundle.replace(b'"signature":"', b'"signature":"AAAA')
    assert await _refused(node, hub, hub.token()) in {Code.SIGNATURE_INVALID, Code.REQUEST_INVALID}


async def test_joining_again_does_not_take_an_older_bundle(node: Node, hub: Hub) -> None:
    hub.bundle = hub.pki.bundle(version=5).encode()
    member, _ = await joined(node, hub)
    hub.bundle = hub.pki.bundle(version=4).encode()
    assert await _refused(member, hub, hub.token()) is Code.POLICY_ROLLBACK


async def test_nobody_there_is_said_plainly(node: Node, hub: Hub) -> None:
    assert await _refused(node, hub, hub.token(join="127.0.0.1:1")) is Code.HUB_UNREACHABLE


def test_somebody_who_speaks_no_tls_is_no_hub() -> None:
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"220 welcome to the mail server\r\n" * 10)

        threading.Thread(target=talk, daemon=True).start()
        with pytest.raises(LiaisonError) as caught:
            shown_by(f"127.0.0.1:{server.getsockname()[1]}", seconds=5)
    assert caught.value.code is Code.HUB_UNREACHABLE


# --- Who the channel trusts -------------------------------------------------------------------------------


async def test_a_nodes_certificate_cannot_stand_in_for_the_hub(pki: Any) -> None:
    """A member of the same region listens where the hub should: TLS refuses a certificate meant for clients."""
    server = grpc.aio.server()
    impostor = SpiffeId.of_node("delta", "harbor-pd", "n1")
    port = server.add_secure_port("127.0.0.1:0", pki.server_credentials(mutual=False, identity=impostor))
    await server.start()
    try:
        async with open_anonymous_channel(f"127.0.0.1:{port}", pem(pki.root.certificate)) as channel:
            stub = rpc.JoinServiceStub(channel)  # type: ignore[no-untyped-call]
            with pytest.raises(LiaisonError) as caught, call_errors():
                await stub.Join(pb.JoinRequest(), timeout=5)
    finally:
        await server.stop(None)
    assert caught.value.code is Code.HUB_UNREACHABLE


def test_a_node_that_has_not_joined_opens_no_channel(node: Node) -> None:
    with pytest.raises(LiaisonError) as caught:
        open_channel(node)
    assert caught.value.code is Code.IDENTITY_UNKNOWN


async def test_a_certificate_that_has_run_out_is_said_so(node: Node, hub: Hub) -> None:
    member, _ = await joined(node, hub)
    with pytest.raises(LiaisonError) as caught:
        open_channel(member, now() + timedelta(days=30))
    assert caught.value.code is Code.CERTIFICATE_INVALID


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, None, Code.HUB_UNREACHABLE),
        (grpc.StatusCode.DEADLINE_EXCEEDED, None, Code.HUB_UNREACHABLE),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, None, Code.MESSAGE_TOO_LARGE),
        (grpc.StatusCode.UNKNOWN, None, Code.INTERNAL),
        (grpc.StatusCode.ABORTED, "link-superseded", Code.LINK_SUPERSEDED),
        (grpc.StatusCode.ABORTED, "a-code-of-next-year", Code.INTERNAL),
    ],
)
def test_every_grpc_error_becomes_one_of_the_catalogue(
    status: grpc.StatusCode, code: str | None, expected: Code
) -> None:
    trailing = grpc.aio.Metadata(*([(CODE_KEY, code)] if code else []))
    error = grpc.aio.AioRpcError(status, grpc.aio.Metadata(), trailing, "details\x1b[2J" + "x" * 9000)
    mapped = as_liaison(error)
    assert mapped.code is expected
    assert "\x1b" not in mapped.detail
    assert len(mapped.detail) <= 500


# --- Membership -------------------------------------------------------------------------------------------


async def test_a_confirmed_agency_gets_its_certificate_and_publishes_what_it_signed(
    node: Node, hub: Hub
) -> None:
    member, keeper = await joined(node, hub)
    counts = {"booking": GalleryCounts("fake@0", 2, 3), "undeclared": GalleryCounts("fake@0", 1, 1)}
    text = member.policy_path.read_text() + "galleries: {booking: {kind: booking, title: Booking}}\n"
    member.policy_path.write_text(text)
    async with open_channel(member) as channel:
        membership = await refresh_membership(member, channel, keeper, now())
        await publish(member, channel, counts, now())
    assert membership.confirmed
    policy, statement = hub.published
    said = PolicyStatement.decode(keeper.trust.verify(policy, "policy", now(), agency="eastport-pd"))
    assert said.text == text
    keys = NodeStatement.decode(keeper.trust.verify(statement, "node", now(), agency="eastport-pd"))
    assert [(gallery.name, gallery.templates) for gallery in keys.galleries] == [("booking", 3)]
    assert keys.witness_vkey.startswith("delta/eastport-pd/n1+")


async def test_an_agency_that_is_not_confirmed_publishes_nothing(node: Node, hub: Hub) -> None:
    hub.confirmed = False
    member, keeper = await joined(node, hub)
    async with open_channel(member) as channel:
        membership = await refresh_membership(member, channel, keeper, now())
        assert not membership.confirmed
        assert membership.fingerprint == fingerprint(node.signer().public_key())
        with pytest.raises(LiaisonError) as caught:
            await publish(member, channel, {}, now())
    assert caught.value.code is Code.AGENCY_NOT_CONFIRMED
    assert hub.published == []


async def test_a_signing_certificate_for_another_key_is_not_taken(node: Node, hub: Hub) -> None:
    from federation.identity.keys import new_signing_key

    member, keeper = await joined(node, hub)
    hub.signing_public = new_signing_key().public_key()
    async with open_channel(member) as channel:
        with pytest.raises(LiaisonError) as caught:
            await refresh_membership(member, channel, keeper, now())
    assert caught.value.code is Code.CERTIFICATE_INVALID
    with pytest.raises(LiaisonError) as missing:
        signing_certificate(member, now())
    assert missing.value.code is Code.AGENCY_NOT_CONFIRMED


async def test_membership_brings_a_newer_bundle_and_refuses_an_older_one(node: Node, hub: Hub) -> None:
    member, keeper = await joined(node, hub)
    async with open_channel(member) as channel:
        hub.bundle = hub.pki.bundle(version=3).encode()
        await refresh_membership(member, channel, keeper, now())
        assert load_trust(member, now()).bundle.version == 3
        hub.bundle = hub.pki.bundle(version=2).encode()
        with pytest.raises(LiaisonError) as caught:
            await refresh_membership(member, channel, keeper, now())
    assert caught.value.code is Code.POLICY_ROLLBACK
    assert load_trust(member, now()).bundle.version == 3


async def test_a_certificate_is_renewed_from_the_middle_of_its_life(node: Node, hub: Hub) -> None:
    member, _ = await joined(node, hub)
    old = member.tls_chain_path.read_bytes()
    assert not renewal_due(member, now())
    assert renewal_due(member, now() + timedelta(days=4))
    async with open_channel(member) as channel:
        await renew(member, channel, now())
    new = parse_certificate(member.tls_chain_path.read_bytes())
    assert new.serial_number != parse_certificate(old).serial_number
    async with open_channel(load_node(member.home)) as channel:
        stub = rpc.RegistryServiceStub(channel)  # type: ignore[no-untyped-call]
        assert (await stub.Membership(pb.MembershipRequest(), timeout=5)).agency == "eastport-pd"


async def test_a_renewal_that_names_another_identity_leaves_the_old_certificate(node: Node, hub: Hub) -> None:
    member, _ = await joined(node, hub)
    old = member.tls_chain_path.read_bytes()
    hub.sent_identity = SpiffeId.of_node("delta", "harbor-pd", "n1")
    async with open_channel(member) as channel:
        with pytest.raises(LiaisonError) as caught:
            await renew(member, channel, now())
    assert caught.value.code is Code.CERTIFICATE_INVALID
    assert member.tls_chain_path.read_bytes() == old
