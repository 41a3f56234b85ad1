"""The node link: what happens when links break, double, lie or come too late."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import grpc.aio
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from federation.canonical import digest, stamp
from federation.log import (
    KeyType,
    cosign,
    open_checkpoint,
    parse_vkey,
    verify_consistency,
    verify_cosignatures,
)
from federation.wire import CODE_KEY
from hub.registry.bundle import replace_file, sign_bundle
from hub.registry.offline import Offline
from hub.store.tables import DeliveryRow
from protos.liaison.v1 import broker_pb2

G = "eastport-pd/booking"


def code_of(error: grpc.aio.AioRpcError | None) -> str | None:
    assert error is not None
    metadata: Any = error.trailing_metadata() or ()
    return next((value for key, value in metadata if key == CODE_KEY), None)


async def submitted(region: Any, asker: Any, owner: Any, **changes: Any) -> Any:
    asked = asker.request({G: owner}, region.clock(), **changes)
    await asker.broker.Submit(asked.message)
    return asked


async def status(asker: Any, asked: Any) -> Any:
    collected = await asker.broker.Collect(broker_pb2.CollectRequest(request_id=asked.id))
    return collected.deliveries[0]


async def reaches(asker: Any, asked: Any, state: str) -> None:
    async for message in asker.broker.Watch(broker_pb2.WatchRequest(request_id=asked.id)):
        if message.delivery.state == state:
            return
    pytest.fail(f"the delivery never became {state}")


async def test_the_newest_link_of_an_identity_wins_and_the_event_is_logged(
    region: Any, asker: Any, owner: Any
) -> None:
    old = await owner.link(region.clock())
    await old.next("welcome")
    await submitted(region, asker, owner)
    first = await old.next("delivery")
    new = await owner.link(region.clock())
    again = await new.next("delivery")
    assert again.delivery_id == first.delivery_id
    assert code_of(await old.ended()) == "link-superseded"
    assert "link-superseded" in region.events()
    await new.send(outcome=owner.outcome(again, region.clock()))
    await new.next("settled")


async def test_a_broken_link_queues_again_what_was_not_claimed(region: Any, asker: Any, owner: Any) -> None:
    asked = await submitted(region, asker, owner)
    link = await owner.link(region.clock())
    await link.next("delivery")
    await reaches(asker, asked, "dispatched")
    link.call.cancel()
    await reaches(asker, asked, "queued")


async def test_a_claimed_delivery_stays_claimed_and_is_sent_again(
    region: Any, asker: Any, owner: Any
) -> None:
    asked = await submitted(region, asker, owner)
    link = await owner.link(region.clock())
    delivery = await link.next("delivery")
    await link.claim(delivery)
    await reaches(asker, asked, "claimed")
    link.call.cancel()
    link = await owner.link(region.clock())
    again = await link.next("delivery")
    assert again.delivery_id == delivery.delivery_id
    assert again.ciphertext == delivery.ciphertext
    assert (await status(asker, asked)).status.state == "claimed"


@pytest.mark.parametrize("claimed", [False, True])
async def test_a_hub_that_stops_between_dispatch_and_outcome_loses_nothing(
    region: Any, asker: Any, owner: Any, claimed: bool
) -> None:
    asked = await submitted(region, asker, owner)
    link = await owner.link(region.clock())
    delivery = await link.next("delivery")
    if claimed:
        await link.claim(delivery)
        await reaches(asker, asked, "claimed")
    await region.restart()
    link = await owner.link(region.clock())
    delivery = await link.next("delivery")
    outcome = owner.outcome(delivery, region.clock())
    await link.send(outcome=outcome)
    await link.next("settled")
    await link.send(outcome=outcome)  # the node had not read Settled before its link broke
    await link.next("settled")
    assert (await status(asker, asked)).status.state == "answered"
    assert region.events().count("answer") == 1


async def test_cancelling_reaches_the_node_and_a_late_answer_changes_nothing(
    region: Any, asker: Any, owner: Any
) -> None:
    asked = await submitted(region, asker, owner)
    link = await owner.link(region.clock())
    delivery = await link.next("delivery")
    for _ in range(2):
        done = await asker.broker.Cancel(asker.cancellation(asked.id, region.clock()))
        assert [d.state for d in done.deliveries] == ["cancelled"]
    assert (await link.next("withdrawal")).delivery_id == delivery.delivery_id
    for _ in range(2):
        await link.claim(delivery)
        await link.next("withdrawal")
    outcome = owner.outcome(delivery, region.clock())
    for _ in range(2):
        await link.send(outcome=outcome)
        await link.next("settled")
    late = await status(asker, asked)
    assert (late.status.state, late.sealed_answer) == ("cancelled", b"")
    assert region.events().count("cancel") == 1
    assert [e.facts.get("late") for e in region.entries() if e.type.value == "answer"] == [True]


async def test_a_node_that_was_away_hears_of_the_cancellation(region: Any, asker: Any, owner: Any) -> None:
    asked = await submitted(region, asker, owner)
    link = await owner.link(region.clock())
    delivery = await link.next("delivery")
    await link.claim(delivery)
    await reaches(asker, asked, "claimed")
    link.call.cancel()
    await asker.broker.Cancel(asker.cancellation(asked.id, region.clock()))
    link = await owner.link(region.clock())
    assert (await link.next("withdrawal")).delivery_id == delivery.delivery_id


@pytest.mark.slow
@pytest.mark.parametrize(("online", "state"), [(False, "unreachable"), (True, "expired")])
async def test_a_deadline_ends_a_delivery_by_itself(
    region: Any, asker: Any, owner: Any, online: bool, state: str
) -> None:
    link = await owner.link(region.clock()) if online else None
    if link is not None:
        await link.next("welcome")
    asked = await submitted(region, asker, owner, expires_at=stamp(region.clock() + timedelta(seconds=1.2)))
    if link is not None:
        await link.claim(await link.next("delivery"))
        assert (await link.next("withdrawal")).delivery_id.startswith(asked.id)
    await reaches(asker, asked, state)
    assert region.entries()[-1].facts == {"request": asked.id, "gallery": G, "state": state}


async def test_a_deadline_that_passed_while_the_hub_was_down_counts(
    region: Any, asker: Any, owner: Any
) -> None:
    asked = await submitted(region, asker, owner)
    region.clock.offset = timedelta(hours=2)
    await region.restart()
    assert (await status(asker, asked)).status.state == "unreachable"
    assert region.events()[-1] == "expiry"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"request_sha256": digest(b"another request")}, "signature-invalid"),
        ({"gallery": "eastport-pd/other"}, "signature-invalid"),
        ({"request": "0" * 32}, "signature-invalid"),
        ({"answer_sha256": digest(b"another answer")}, "seal-broken"),
    ],
)
async def test_an_outcome_whose_receipt_does_not_fit_ends_its_delivery_as_failed_and_not_the_link(
    region: Any, asker: Any, owner: Any, changes: dict[str, Any], code: str
) -> None:
    asked = await submitted(region, asker, owner)
    link = await owner.link(region.clock())
    delivery = await link.next("delivery")
    await link.send(outcome=owner.outcome(delivery, region.clock(), **changes))
    await link.next("withdrawal")
    held = await status(asker, asked)
    assert (held.status.state, held.status.code) == ("failed", code)
    assert (held.receipt, held.sealed_answer) == (b"", b"")
    assert "answer" not in region.events()
    await submitted(region, asker, owner)
    await link.send(outcome=owner.outcome(await link.next("delivery"), region.clock()))
    await link.next("settled")


async def test_an_outcome_signed_by_another_agency_is_refused(region: Any, asker: Any, owner: Any) -> None:
    other = await region.add("ridge-pd")
    asked = await submitted(region, asker, owner)
    link = await owner.link(region.clock())
    delivery = await link.next("delivery")
    owner.signer, owner.certificate = other.signer, other.certificate
    await link.send(outcome=owner.outcome(delivery, region.clock()))
    await link.next("withdrawal")
    assert (await status(asker, asked)).status.code == "not-authorized"
    assert "answer" not in region.events()


async def test_a_node_cannot_touch_another_agencys_delivery(region: Any, asker: Any, owner: Any) -> None:
    asked = await submitted(region, asker, owner)
    thief = await region.add("ridge-pd", galleries=["booking"])
    link = await thief.link(region.clock())
    await link.next("welcome")
    delivery_id = f"{asked.id}/{G}"
    await link.send(claim=broker_pb2.Claim(delivery_id=delivery_id))
    await link.next("withdrawal")
    await link.send(outcome=broker_pb2.Outcome(delivery_id=delivery_id, receipt=b"{}"))
    await link.next("withdrawal")
    with Session(region.running.core.engine) as session:
        (row,) = session.scalars(select(DeliveryRow))
        assert (row.state, row.node) == ("queued", None)


async def test_a_link_must_begin_with_one_hello(region: Any, owner: Any) -> None:
    link = await owner.link(region.clock())
    await link.next("welcome")
    await link.send(hello=broker_pb2.Hello(node_time=stamp(region.clock())))
    assert code_of(await link.ended()) == "request-invalid"


async def test_a_node_with_another_policy_file_is_an_event_once(region: Any, owner: Any) -> None:
    for _ in range(2):
        link = await owner.link(region.clock(), policy_digest=digest(b"edited by hand"))
        await link.next("welcome")
        link.call.cancel()
    assert region.events().count("divergence") == 1


async def test_every_node_is_a_witness_and_only_its_own_cosignature_counts(
    region: Any, asker: Any, owner: Any
) -> None:
    link, other = await owner.link(region.clock()), await asker.link(region.clock())
    note = (await link.next("checkpoint")).note
    bundle = region.running.core.trust_at(region.clock()).bundle
    checkpoint = open_checkpoint(note, bundle.log_origin, parse_vkey(bundle.log_vkey))
    line = cosign(note, owner.witness_signer, int(region.clock().timestamp()))
    await other.send(cosignature=broker_pb2.Cosignature(size=checkpoint.size, line=line))
    assert code_of(await other.ended()) == "checkpoint-invalid"
    await link.send(cosignature=broker_pb2.Cosignature(size=checkpoint.size, line=line))
    await _settled(region)
    key = owner.witness_signer.verifier_key(KeyType.COSIGNATURE)
    latest = (await asker.log.Latest(broker_pb2.LatestRequest())).checkpoint
    assert [name for name, _ in verify_cosignatures(latest, [key])] == [key.name]


async def test_members_can_check_that_the_log_only_grows(region: Any, asker: Any, owner: Any) -> None:
    bundle = region.running.core.trust_at(region.clock()).bundle
    key = parse_vkey(bundle.log_vkey)
    before = open_checkpoint(
        (await asker.log.Latest(broker_pb2.LatestRequest())).checkpoint, bundle.log_origin, key
    )
    await submitted(region, asker, owner)
    after = open_checkpoint(
        (await asker.log.Latest(broker_pb2.LatestRequest())).checkpoint, bundle.log_origin, key
    )
    question = broker_pb2.ConsistencyRequest(first=before.size, second=after.size)
    proof = await asker.log.Consistency(question)
    verify_consistency(before.size, after.size, list(proof.hashes), before.root, after.root)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asker.log.Inclusion(broker_pb2.InclusionRequest(index=0, size=after.size + 1000))
    assert code_of(caught.value) == "request-invalid"


async def test_what_is_committed_is_told_even_if_the_caller_has_gone(region: Any) -> None:
    begun, goes_on, told = asyncio.Event(), threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def job(_transaction: Any) -> str:
        loop.call_soon_threadsafe(begun.set)
        goes_on.wait(10)
        return "done"

    call = asyncio.create_task(region.running.core.write(job, lambda _: told.set()))
    await begun.wait()
    call.cancel()
    goes_on.set()
    await asyncio.wait_for(told.wait(), 10)
    assert call.cancelled()


@pytest.mark.slow
async def test_a_newer_bundle_of_the_coordinator_reaches_every_link(region: Any, owner: Any) -> None:
    link = await owner.link(region.clock())
    await link.next("welcome")
    trust = region.running.core.trust_at(region.clock())
    newer = trust.bundle.model_copy(update={"version": trust.bundle.version + 1})
    signed = sign_bundle(newer, *Offline(region.home / "offline").coordinator())
    replace_file(region.hub.bundle_path, signed.encode())
    assert (await link.next("region")).region_bundle == signed.encode()


async def _settled(region: Any) -> None:
    """Let what was sent to the hub arrive, and what it wrote be on the disk."""
    await asyncio.sleep(0.1)
    await region.running.core.writer.run(lambda tx: None)
