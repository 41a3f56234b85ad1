"""What the hub refuses, and that a refusal leaves nothing behind except, where it must, an alarm in the log."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio
import pytest
from sqlalchemy import event, func, select
from sqlalchemy.orm import Session

from federation.canonical import digest, stamp
from federation.identity.certificates import pem
from federation.identity.keys import new_signing_key
from federation.wire import CODE_KEY
from hub.broker.deliveries import status_of
from hub.registry.agencies import revoke_node, suspend
from hub.store.tables import DeliveryRow, RequestRow
from protos.liaison.v1 import broker_pb2, broker_pb2_grpc, registry_pb2, registry_pb2_grpc

G = "eastport-pd/booking"


def code_of(error: grpc.aio.AioRpcError) -> str | None:
    metadata: Any = error.trailing_metadata() or ()
    return next((value for key, value in metadata if key == CODE_KEY), None)


async def refusal(call: Any) -> str | None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return code_of(caught.value)


def requests_held(region: Any) -> int:
    with Session(region.running.core.engine) as session:
        return session.scalar(select(func.count()).select_from(RequestRow)) or 0


async def test_the_same_request_again_is_answered_from_the_store(region: Any, asker: Any, owner: Any) -> None:
    asked = asker.request({G: owner}, region.clock())
    first = await asker.broker.Submit(asked.message)
    region.clock.offset = timedelta(minutes=10)  # a retry may come when the request is no longer fresh
    again = await asker.broker.Submit(asked.message)
    assert again.receipt == first.receipt
    assert again.proof.index == first.proof.index
    assert region.events().count("request") == 1
    link = await owner.link(region.clock())
    await link.next("delivery")
    assert requests_held(region) == 1


@pytest.mark.parametrize("change", ["ciphertext", "request", "key"])
async def test_the_same_id_with_other_contents_is_refused_and_raises_an_alarm(
    region: Any, asker: Any, owner: Any, change: str
) -> None:
    asked = asker.request({G: owner}, region.clock())
    await asker.broker.Submit(asked.message)
    forged = broker_pb2.SubmitRequest()
    forged.CopyFrom(asked.message)
    if change == "ciphertext":
        forged.ciphertext = asked.message.ciphertext[:-1] + b"!"
    elif change == "key":
        forged.keys[0].sealed_key = forged.keys[0].sealed_key[:-1] + b"!"
    else:
        forged = asker.request({G: owner}, region.clock(), id=asked.id, case_number="MC-26-0999").message
    assert await refusal(asker.broker.Submit(forged)) == "request-replayed"
    assert region.events()[-1] == "replay-alarm"
    assert region.entries()[-1].facts["request"] == asked.id
    assert region.events().count("request") == 1


async def test_another_agency_cannot_take_over_an_id(region: Any, asker: Any, owner: Any) -> None:
    asked = asker.request({G: owner}, region.clock())
    await asker.broker.Submit(asked.message)
    other = await region.add("ridge-pd")
    stolen = other.request({G: owner}, region.clock(), id=asked.id)
    assert await refusal(other.broker.Submit(stolen.message)) == "request-replayed"


async def test_a_request_signed_by_another_key_or_agency_is_refused(
    region: Any, asker: Any, owner: Any
) -> None:
    other = await region.add("ridge-pd")
    theirs = other.request({G: owner}, region.clock())
    assert await refusal(asker.broker.Submit(theirs.message)) == "not-authorized"
    borrowed = other.request(
        {G: owner},
        region.clock(),
        requester={"agency": asker.agency, "user": "d.ruiz", "roles": ["requester"]},
    )
    assert await refusal(other.broker.Submit(borrowed.message)) == "not-authorized"
    asker.signer = new_signing_key()
    forged = asker.request({G: owner}, region.clock())
    assert await refusal(asker.broker.Submit(forged.message)) == "signature-invalid"
    assert requests_held(region) == 0


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"region": "omega"}, "request-invalid"),
        ({"purpose": "J. Doe, 4 Elm St"}, "request-invalid"),
        ({"probe_source": "a friend"}, "request-invalid"),
        ({"offense": "nibrs:999999"}, "request-invalid"),
        ({"policy_digest": digest(b"another file")}, "state-conflict"),
    ],
)
async def test_a_request_that_does_not_fit_the_region_is_refused_whole(
    region: Any, asker: Any, owner: Any, changes: dict[str, Any], code: str
) -> None:
    asked = asker.request({G: owner}, region.clock(), **changes)
    assert await refusal(asker.broker.Submit(asked.message)) == code
    assert requests_held(region) == 0
    assert ("divergence" in region.events()) == ("policy_digest" in changes)


async def test_keys_must_be_for_exactly_the_galleries_that_are_served(
    region: Any, asker: Any, owner: Any
) -> None:
    unsealed = asker.request({G: None}, region.clock())
    assert await refusal(asker.broker.Submit(unsealed.message)) == "request-invalid"
    extra = asker.request({G: owner}, region.clock())
    extra.message.keys.add(gallery="eastport-pd/other", sealed_key=b"k")
    assert await refusal(asker.broker.Submit(extra.message)) == "request-invalid"
    twice = asker.request({G: owner}, region.clock())
    twice.message.keys.add(gallery=G, sealed_key=b"k")
    assert await refusal(asker.broker.Submit(twice.message)) == "request-invalid"
    bare = asker.request({G: owner}, region.clock())
    bare.message.ciphertext = b""
    assert await refusal(asker.broker.Submit(bare.message)) == "request-invalid"
    garbage = broker_pb2.SubmitRequest(request=secrets.token_bytes(200))
    assert await refusal(asker.broker.Submit(garbage)) == "request-invalid"


@pytest.mark.parametrize("minutes", [-60, 60])
async def test_a_clock_off_by_an_hour_is_named(region: Any, asker: Any, owner: Any, minutes: int) -> None:
    wrong = region.clock() + timedelta(minutes=minutes)
    asked = asker.request({G: owner}, wrong, expires_at=stamp(wrong + timedelta(hours=3)))
    assert await refusal(asker.broker.Submit(asked.message)) == "clock-skew"
    link = await owner.link(wrong)
    error = await link.ended()
    assert error is not None
    assert code_of(error) == "clock-skew"


async def test_when_the_log_cannot_be_written_nothing_is_accepted_or_sent(
    region: Any, asker: Any, owner: Any
) -> None:
    engine = region.running.core.engine
    asked = asker.request({G: owner}, region.clock())

    def read_only(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA query_only=ON")

    event.listen(engine, "connect", read_only)
    engine.dispose()
    assert await refusal(asker.broker.Submit(asked.message)) == "log-unavailable"
    event.remove(engine, "connect", read_only)
    engine.dispose()
    with Session(engine) as session:
        assert session.scalars(select(DeliveryRow)).all() == []
    assert "request" not in region.events()
    taken = await asker.broker.Submit(asked.message)
    assert taken.deliveries[0].state == "queued"


async def test_other_agencies_requests_cannot_be_told_from_none(region: Any, asker: Any, owner: Any) -> None:
    asked = asker.request({G: owner}, region.clock())
    await asker.broker.Submit(asked.message)
    spy = (await region.add("ridge-pd")).broker
    for request_id in (asked.id, secrets.token_hex(16)):
        watch = spy.Watch(broker_pb2.WatchRequest(request_id=request_id))
        assert await refusal(watch.read()) == "request-unknown"
        collect = broker_pb2.CollectRequest(request_id=request_id)
        assert await refusal(spy.Collect(collect)) == "request-unknown"
        acknowledge = broker_pb2.AcknowledgeRequest(request_id=request_id, galleries=[G])
        assert await refusal(spy.Acknowledge(acknowledge)) == "request-unknown"
        cancellation = region.members["ridge-pd"].cancellation(request_id, region.clock())
        assert await refusal(spy.Cancel(cancellation)) == "request-unknown"
    theirs = asker.cancellation(asked.id, region.clock())
    assert await refusal(spy.Cancel(theirs)) == "not-authorized"
    assert "cancel" not in region.events()


async def test_a_node_of_an_unconfirmed_agency_may_only_ask_about_itself(region: Any, owner: Any) -> None:
    newcomer = await region.add("ridge-pd", confirmed=False)
    asked = newcomer.request({G: owner}, region.clock())
    assert await refusal(newcomer.broker.Submit(asked.message)) == "agency-not-confirmed"
    registry: Any = registry_pb2_grpc.RegistryServiceStub(newcomer.channel())
    membership = await registry.Membership(registry_pb2.MembershipRequest())
    assert not membership.confirmed


async def test_revocation_cuts_a_live_link_and_refuses_every_later_call(
    region: Any, asker: Any, owner: Any
) -> None:
    link = await owner.link(region.clock())
    await link.next("welcome")
    watched = owner.request({G: owner}, region.clock())
    stub = owner.broker
    await stub.Submit(watched.message)
    await link.next("delivery")
    watch = stub.Watch(broker_pb2.WatchRequest(request_id=watched.id))
    await watch.read()
    await region.running.core.writer.run(lambda tx: revoke_node(tx, owner.agency, owner.node, "Key copied."))
    error = await link.ended()
    assert error is not None
    assert code_of(error) == "certificate-revoked"
    assert await refusal(_drain(watch)) == "certificate-revoked"
    assert await refusal(stub.Submit(watched.message)) == "certificate-revoked"
    assert await refusal(owner.log.Latest(broker_pb2.LatestRequest())) == "certificate-revoked"
    # What it had not claimed waits again, for whoever serves the gallery next.
    with Session(region.running.core.engine) as session:
        (row,) = session.scalars(select(DeliveryRow))
        assert status_of(row).state in {"queued", "dispatched"}


async def test_a_suspended_agency_is_refused(region: Any, asker: Any, owner: Any) -> None:
    await region.running.core.writer.run(lambda tx: suspend(tx, asker.agency, "Audit."))
    asked = asker.request({G: owner}, region.clock())
    assert await refusal(asker.broker.Submit(asked.message)) == "not-authorized"


async def test_the_broker_port_wants_a_certificate_and_the_join_port_serves_joining_only(
    region: Any, asker: Any
) -> None:
    roots = grpc.ssl_channel_credentials(pem(region.hub.root()))
    async with grpc.aio.secure_channel(f"127.0.0.1:{region.running.broker}", roots) as channel:
        stub: Any = broker_pb2_grpc.LogServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Latest(broker_pb2.LatestRequest(), timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    async with grpc.aio.secure_channel(f"127.0.0.1:{region.running.join}", roots) as channel:
        stub = broker_pb2_grpc.LogServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Latest(broker_pb2.LatestRequest())
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        join: Any = registry_pb2_grpc.JoinServiceStub(channel)
        assert await refusal(join.Join(registry_pb2.JoinRequest(secret="guess"))) is not None


async def _drain(stream: Any) -> None:
    while await stream.read() is not grpc.aio.EOF:
        pass
