"""One request, from submission to collection, between members that speak the real protocol."""

from __future__ import annotations

from typing import Any

import grpc

from federation.identity.statement import SignedStatement
from federation.log import open_checkpoint, parse_entry, parse_vkey, verify_inclusion
from federation.log.merkle import leaf_hash
from federation.probe.answer import SubmissionReceipt
from federation.probe.envelope import open_answer
from federation.probe.logged import check_logged
from hub.store.tables import RequestRow
from protos.liaison.v1 import broker_pb2

G = "eastport-pd/booking"


async def test_an_answer_comes_back_sealed_and_the_log_tells_the_story(
    region: Any, asker: Any, owner: Any
) -> None:
    asked = asker.request({G: owner}, region.clock())
    link = await owner.link(region.clock())
    await link.next("welcome")

    taken = await asker.broker.Submit(asked.message)
    trust = region.running.core.trust_at(region.clock())
    payload = trust.verify(SignedStatement.decode(taken.receipt), "submission", region.clock())
    submission = SubmissionReceipt.decode(payload)
    assert (submission.request, submission.request_sha256) == (asked.id, asked.statement.digest)
    assert [status.state for status in taken.deliveries] == ["queued"]

    delivery = await link.next("delivery")
    await link.claim(delivery)
    outcome = owner.outcome(delivery, region.clock())
    await link.send(outcome=outcome)
    assert (await link.next("settled")).delivery_id == delivery.delivery_id

    collected = await asker.broker.Collect(_id(asked))
    (one,) = collected.deliveries
    assert (one.status.state, one.status.candidates) == ("answered", 3)
    assert one.receipt == outcome.receipt
    sealed = SignedStatement.decode(open_answer(one.sealed_answer, asked.statement.digest, G, asked.key))
    assert b"only for the requester" in sealed.payload
    assert region.events()[-3:] == ["request", "decision", "answer"]


async def test_a_delivery_is_proven_to_be_in_the_log_before_it_is_sent(
    region: Any, asker: Any, owner: Any
) -> None:
    asked = asker.request({G: owner}, region.clock())
    link = await owner.link(region.clock())
    await asker.broker.Submit(asked.message)

    delivery = await link.next("delivery")
    proof = delivery.proof
    bundle = region.running.core.trust_at(region.clock()).bundle
    checkpoint = open_checkpoint(proof.checkpoint, bundle.log_origin, parse_vkey(bundle.log_vkey))
    verify_inclusion(
        leaf_hash(proof.entry), proof.index, checkpoint.size, list(proof.inclusion), checkpoint.root
    )
    payload = SignedStatement.decode(delivery.request).payload
    check_logged(parse_entry(proof.entry), asked.request, payload, proof.salt)


async def test_a_watcher_sees_every_state_and_the_end(region: Any, asker: Any, owner: Any) -> None:
    asked = asker.request({G: owner}, region.clock())
    await asker.broker.Submit(asked.message)
    watch = asker.broker.Watch(_watch(asked))
    assert (await watch.read()).delivery.state == "queued"
    link = await owner.link(region.clock())
    delivery = await link.next("delivery")
    assert (await watch.read()).delivery.state == "dispatched"
    await link.claim(delivery)
    assert (await watch.read()).delivery.state == "claimed"
    await link.send(outcome=owner.outcome(delivery, region.clock()))
    last = await watch.read()
    assert (last.delivery.state, last.done) == ("answered", True)
    assert await watch.read() is grpc.aio.EOF


async def test_a_watcher_who_asks_for_answers_gets_each_with_the_status_that_ends_its_delivery(
    region: Any, asker: Any, owner: Any
) -> None:
    asked = await _answered(region, asker, owner)
    (collected,) = (await asker.broker.Collect(_id(asked))).deliveries
    (told,) = [message async for message in asker.broker.Watch(_watch(asked, answers=True))]
    assert told.sealed_answer
    assert (told.sealed_answer, told.receipt) == (collected.sealed_answer, collected.receipt)
    (bare,) = [message async for message in asker.broker.Watch(_watch(asked))]
    assert (bare.sealed_answer, bare.receipt) == (b"", b"")


async def test_each_gallery_is_decided_by_itself_and_says_why(region: Any, asker: Any, owner: Any) -> None:
    closed = await region.add("harbor-pd", galleries=["booking"])
    slow = await region.add("ridge-pd", galleries=["booking"], requires=["supervisor-approval"])
    galleries = {
        G: owner,
        "harbor-pd/booking": closed,
        "ridge-pd/booking": slow,
        "nowhere-pd/booking": None,
        "eastport-pd/attic": None,
    }
    taken = await asker.broker.Submit(asker.request(galleries, region.clock()).message)
    states = {d.gallery: (d.state, d.code, [r.id for r in d.rules]) for d in taken.deliveries}
    assert states[G][:2] == ("queued", "")
    assert states["harbor-pd/booking"] == ("refused_by_hub", "policy-denies", ["not-today"])
    assert states["ridge-pd/booking"][:2] == ("awaiting_approval", "approval-missing")
    for gallery in ("nowhere-pd/booking", "eastport-pd/attic"):
        assert states[gallery][:2] == ("refused_by_hub", "gallery-unknown")
    assert region.events().count("decision") == 5
    assert all(delivery.reason for delivery in taken.deliveries)


async def test_a_refusal_by_the_node_is_final_and_named(region: Any, asker: Any, owner: Any) -> None:
    asked = asker.request({G: owner}, region.clock())
    await asker.broker.Submit(asked.message)
    link = await owner.link(region.clock())
    delivery = await link.next("delivery")
    rule = {"source": "eastport-pd", "id": "tonight-closed", "effect": "refuse"}
    refusal = {
        "outcome": "refused_by_node",
        "answer_sha256": None,
        "candidates": None,
        "code": "policy-denies",
        "reason": "Closed tonight.",
        "rules": [rule],
    }
    await link.send(outcome=owner.outcome(delivery, region.clock(), **refusal))
    await link.next("settled")
    (one,) = (await asker.broker.Collect(_id(asked))).deliveries
    assert (one.status.state, one.status.reason) == ("refused_by_node", "Closed tonight.")
    assert (one.status.rules[0].id, one.sealed_answer) == ("tonight-closed", b"")
    assert region.events()[-1] == "refusal"


async def test_acknowledged_answers_are_forgotten_and_the_collection_is_logged_once(
    region: Any, asker: Any, owner: Any
) -> None:
    asked = await _answered(region, asker, owner)
    for _ in range(2):
        await asker.broker.Acknowledge(_ack(asked))
    (one,) = (await asker.broker.Collect(_id(asked))).deliveries
    assert (one.status.state, one.sealed_answer) == ("answered", b"")
    assert region.events().count("collection") == 1


async def test_a_gallery_belongs_to_the_node_whose_statement_is_newest(
    region: Any, asker: Any, owner: Any
) -> None:
    second = await region.add("eastport-pd", node="n2", galleries=["booking"])
    asked = asker.request({G: second}, region.clock())
    old, new = await owner.link(region.clock()), await second.link(region.clock())
    await old.next("welcome")
    await asker.broker.Submit(asked.message)
    delivery = await new.next("delivery")
    await new.send(outcome=second.outcome(delivery, region.clock()))
    await new.next("settled")
    await asker.broker.Collect(_id(asked))
    old.call.cancel()


async def test_the_hubs_disk_holds_nothing_that_can_be_read_of_probe_or_answer(
    region: Any, asker: Any, owner: Any
) -> None:
    asked = asker.request({G: owner}, region.clock())
    link = await owner.link(region.clock())
    await asker.broker.Submit(asked.message)
    delivery = await link.next("delivery")
    held = _disk(region)
    assert asked.message.ciphertext in held  # it does hold the sealed probe, so this looks in the right place
    await link.send(outcome=owner.outcome(delivery, region.clock()))
    await link.next("settled")
    held += _disk(region)
    for secret in (b"a picture that only", b"only for the requester", asked.key.raw, owner.sealing.raw):
        assert secret not in held


async def test_the_ciphertext_is_gone_when_no_delivery_needs_it(region: Any, asker: Any, owner: Any) -> None:
    asked = await _answered(region, asker, owner)
    assert await region.running.core.read(lambda s: _ciphertext(s, asked.id)) is None


async def test_a_request_that_everybody_refuses_leaves_no_ciphertext(region: Any, asker: Any) -> None:
    closed = await region.add("harbor-pd", galleries=["booking"])
    asked = asker.request({"harbor-pd/booking": closed}, region.clock())
    await asker.broker.Submit(asked.message)
    assert await region.running.core.read(lambda s: _ciphertext(s, asked.id)) is None
    (only,) = [message async for message in asker.broker.Watch(_watch(asked))]
    assert (only.delivery.state, only.done) == ("refused_by_hub", True)


async def _answered(region: Any, asker: Any, owner: Any) -> Any:
    asked = asker.request({G: owner}, region.clock())
    await asker.broker.Submit(asked.message)
    link = await owner.link(region.clock())
    delivery = await link.next("delivery")
    await link.send(outcome=owner.outcome(delivery, region.clock()))
    await link.next("settled")
    return asked


def _disk(region: Any) -> bytes:
    return b"".join(path.read_bytes() for path in region.home.glob("hub.db*"))


def _ciphertext(session: Any, request_id: str) -> bytes | None:
    held: bytes | None = session.get_one(RequestRow, request_id).ciphertext
    return held


def _id(asked: Any) -> Any:
    return broker_pb2.CollectRequest(request_id=asked.id)


def _watch(asked: Any, *, answers: bool = False) -> Any:
    return broker_pb2.WatchRequest(request_id=asked.id, answers=answers)


def _ack(asked: Any) -> Any:
    return broker_pb2.AcknowledgeRequest(request_id=asked.id, galleries=[G])
