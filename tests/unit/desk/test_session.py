"""A search through the whole desk, over the wire, with a hub that tells the truth or lies."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agency_node.desk.session import Desk
from agency_node.desk.store import SearchState
from agency_node.link.store import NodeStore
from federation.canonical import b64, stamp
from federation.errors import Code, LiaisonError
from federation.identity.hybrid import SealingKey
from federation.identity.node import NodeStatement
from federation.identity.region import Trust
from federation.identity.statement import SignedStatement
from federation.probe.delivery import DeliveryState
from protos.liaison.v1 import broker_pb2

STOCKTON, TRACY = "stockton-pd/booking", "tracy-pd/booking"


def by_gallery(result: Any) -> dict[str, Any]:
    return {outcome.gallery: outcome for outcome in result.outcomes}


async def test_a_search_brings_every_gallery_with_a_status_a_sentence_and_its_candidates(
    desk: Desk, hub: Any, picture: bytes, details: Any
) -> None:
    hub.refusing = {TRACY}
    result = await desk.search(picture, details, label="still.png")
    answered, refused = result.outcomes
    assert (answered.gallery, answered.status) == (STOCKTON, DeliveryState.ANSWERED)
    assert [c.subject for c in answered.candidates] == ["S-1", "S-2"]
    assert answered.receipt is not None
    assert (refused.status, refused.rule) == (DeliveryState.REFUSED_BY_HUB, "tracy-pd/no-such-search")
    assert refused.reason == "Never for this."
    assert refused.candidates == ()
    assert result.as_json()["probe"] == "still.png"
    assert result.failure() is None
    await desk.finish()
    assert hub.acknowledged == [STOCKTON]


async def test_answers_that_come_while_the_request_is_followed_are_not_fetched_again(
    desk: Desk, hub: Any, picture: bytes, details: Any
) -> None:
    hub.streams = True
    result = await desk.search(picture, details)
    assert [len(outcome.candidates) for outcome in result.outcomes] == [2, 2]
    assert hub.collected == 0
    await desk.finish()
    assert sorted(hub.acknowledged) == [STOCKTON, TRACY]
    again = await desk.resume(result.id)
    assert again.outcomes == result.outcomes


async def test_nothing_of_the_picture_but_the_working_image_is_sent(
    desk: Desk, hub: Any, picture: bytes, details: Any
) -> None:
    result = await desk.search(picture, details)
    sent = b"".join(hub.submitted)
    assert picture[100:200] not in sent
    assert result.working[100:200] not in sent


async def test_several_searches_at_a_time_share_one_desk(
    desk: Desk, hub: Any, picture: bytes, details: Any
) -> None:
    results = await asyncio.gather(*(desk.search(picture, details) for _ in range(5)))
    assert len({result.id for result in results}) == 5
    assert all(result.answered for result in results)


async def test_a_lost_reply_is_followed_by_the_same_bytes(
    desk: Desk, hub: Any, picture: bytes, details: Any
) -> None:
    hub.drop_replies = 1
    result = await desk.search(picture, details)
    assert result.answered
    assert len(hub.submitted) == 2
    assert hub.submitted[0] == hub.submitted[1]


async def test_a_desk_killed_after_it_asked_still_opens_the_answers(
    desk: Desk, node: Any, channel: Any, hub: Any, picture: bytes, details: Any
) -> None:
    def die(response: Any) -> Any:
        hub.change_submission = lambda unharmed: unharmed
        return broker_pb2.SubmitResponse()  # what a killed desk has read of it

    hub.change_submission = die
    with pytest.raises(LiaisonError):
        await desk.start(picture, details)
    async with Desk(node, channel=channel) as after:
        (line,) = await after.list()
        assert line.state is SearchState.PREPARED
        result = await after.resume(line.id)
        assert result.answered
        assert hub.submitted[0] == hub.submitted[1]


async def test_a_finished_search_is_read_again_from_the_disk_alone(
    desk: Desk, hub: Any, picture: bytes, details: Any
) -> None:
    first = await desk.search(picture, details)
    hub.deliveries.clear()
    again = await desk.resume(first.id)
    assert again.outcomes == first.outcomes


async def test_a_broken_watch_is_opened_again(desk: Desk, hub: Any, picture: bytes, details: Any) -> None:
    hub.break_watches = 2
    seen: list[str] = []
    result = await desk.search(picture, details, on_status=lambda outcome: seen.append(outcome.gallery))
    assert result.answered
    assert {STOCKTON, TRACY} == set(seen)


async def test_answers_that_do_not_fit_into_one_message_come_in_rounds(
    desk: Desk, hub: Any, picture: bytes, details: Any
) -> None:
    def one_at_a_time(deliveries: list[Any]) -> list[Any]:
        room, sent = 1, []
        for delivery in deliveries:
            copy = broker_pb2.CollectedDelivery()
            copy.CopyFrom(delivery)
            if copy.sealed_answer and not room:
                copy.sealed_answer = b""
            room -= bool(copy.sealed_answer)
            sent.append(copy)
        return sent

    hub.change_collected = one_at_a_time
    result = await desk.search(picture, details)
    assert [outcome.status for outcome in result.outcomes] == [DeliveryState.ANSWERED] * 2
    await desk.finish()
    assert hub.acknowledged == [STOCKTON, TRACY]
    again = await desk.resume(result.id)
    assert [len(outcome.candidates) for outcome in again.outcomes] == [2, 2]


async def test_a_cancellation_is_signed_by_the_agency(
    desk: Desk, hub: Any, region: Any, picture: bytes, details: Any
) -> None:
    search_id = await desk.start(picture, details)
    await desk.cancel(search_id, "A mistake.")
    signed = SignedStatement.decode(hub.cancelled[0])
    trust = Trust.begin("delta", region.root.certificate, region.bundle(), region.at)
    assert search_id.encode() in trust.verify(signed, "cancel", region.at, agency="lodi-pd")


async def test_a_search_that_waits_for_an_approval_does_not_hold_the_desk(
    desk: Desk, hub: Any, picture: bytes, details: Any
) -> None:
    search_id = await desk.start(picture, details)
    waiting = broker_pb2.DeliveryStatus(gallery=TRACY, state="awaiting_approval", reason="A supervisor.")
    hub.deliveries[search_id][1] = broker_pb2.CollectedDelivery(status=waiting)
    result = await desk.follow(search_id)
    assert by_gallery(result)[TRACY].status is DeliveryState.AWAITING_APPROVAL
    assert (await desk.list())[0].state is SearchState.SUBMITTED


# --- Attackers --------------------------------------------------------------------------------------------


async def test_a_hub_that_puts_its_own_sealing_key_in_place_gets_nothing_sealed_to_it(
    desk: Desk, hub: Any, region: Any, picture: bytes, details: Any
) -> None:
    genuine = NodeStatement.decode(SignedStatement.decode(hub.nodes[1].statement).payload)
    forged = genuine.model_copy(
        update={"sealing_key": b64(SealingKey.generate().public()), "issued_at": stamp(region.at)}
    )
    hub.nodes[1].statement = region.hub.sign("node", forged.encode()).encode()
    result = await desk.search(picture, details)
    assert [outcome.gallery for outcome in result.outcomes] == [STOCKTON]
    assert result.notes[0].startswith("tracy-pd/n1 was not asked")
    message = broker_pb2.SubmitRequest.FromString(hub.submitted[0])
    assert [key.gallery for key in message.keys] == [STOCKTON]
    with pytest.raises(LiaisonError) as refusal:
        await desk.search(picture, replace(details, galleries=(TRACY,)))
    assert refusal.value.code is Code.GALLERY_UNKNOWN


def _changed(**values: Any) -> Any:
    return lambda document: document.model_copy(update=values)


@pytest.mark.parametrize("streams", [False, True], ids=["collected", "followed"])
@pytest.mark.parametrize(
    ("attack", "code"),
    [
        ({"answered_by": {STOCKTON: "tracy-pd"}}, Code.NOT_AUTHORIZED),
        ({"change_answer": _changed(request="0" * 32)}, Code.SIGNATURE_INVALID),
        ({"change_answer": _changed(gallery=TRACY)}, Code.SIGNATURE_INVALID),
        ({"change_answer": _changed(candidates=())}, Code.SIGNATURE_INVALID),
        ({"change_receipt": _changed(answer_sha256="sha256:" + "0" * 64)}, Code.SEAL_BROKEN),
        ({"change_receipt": _changed(request_sha256="sha256:" + "0" * 64)}, Code.SIGNATURE_INVALID),
        ({"change_receipt": _changed(gallery="other-pd/booking")}, Code.SIGNATURE_INVALID),
        ({"change_receipt": _changed(outcome="failed")}, Code.SIGNATURE_INVALID),
    ],
    ids=[
        "an answer signed by another agency",
        "an answer to another request",
        "an answer of another gallery",
        "fewer candidates than the receipt counts",
        "a receipt for another answer",
        "a receipt for another request",
        "a receipt for another gallery",
        "a status that the agency did not sign",
    ],
)
async def test_an_answer_that_its_agency_does_not_stand_behind_is_a_failure_without_candidates(
    desk: Desk, hub: Any, picture: bytes, details: Any, attack: dict[str, Any], code: Code, streams: bool
) -> None:
    hub.streams = streams
    for name, value in attack.items():
        setattr(hub, name, value)
    result = await desk.search(picture, replace(details, galleries=(STOCKTON,)))
    (outcome,) = result.outcomes
    assert (outcome.status, outcome.code) == (DeliveryState.FAILED, code.value)
    assert outcome.candidates == ()
    assert outcome.reason.startswith("No usable answer")
    assert result.failure() is code


def _swapped(deliveries: list[Any]) -> list[Any]:
    one, other = deliveries
    one.sealed_answer, other.sealed_answer = other.sealed_answer, one.sealed_answer
    return deliveries


def _without_receipts(deliveries: list[Any]) -> list[Any]:
    for delivery in deliveries:
        delivery.receipt = b""
    return deliveries


def _invented_refusal(deliveries: list[Any]) -> list[Any]:
    for delivery in deliveries:
        delivery.CopyFrom(
            broker_pb2.CollectedDelivery(
                status=broker_pb2.DeliveryStatus(gallery=delivery.status.gallery, state="refused_by_node")
            )
        )
    return deliveries


@pytest.mark.parametrize(
    ("attack", "streams"),
    [
        (lambda deliveries: [], False),
        (lambda deliveries: [], True),
        (lambda deliveries: deliveries + deliveries, False),  # a status told twice while following is no lie
        (_swapped, False),
        (_swapped, True),
        (_without_receipts, False),
        (_without_receipts, True),
        (_invented_refusal, False),
        (_invented_refusal, True),
    ],
)
async def test_what_a_hub_drops_swaps_or_invents_is_shown_as_a_failure_of_every_gallery_asked(
    desk: Desk, hub: Any, picture: bytes, details: Any, attack: Any, streams: bool
) -> None:
    hub.streams = streams
    hub.change_collected = attack
    result = await desk.search(picture, details)
    assert [outcome.gallery for outcome in result.outcomes] == [STOCKTON, TRACY]
    assert {outcome.status for outcome in result.outcomes} == {DeliveryState.FAILED}
    assert all(outcome.reason and outcome.code for outcome in result.outcomes)


async def test_a_log_that_forks_stops_the_desk_and_the_evidence_is_kept(
    desk: Desk, node: Any, hub: Any, region: Any, picture: bytes, details: Any
) -> None:
    await desk.search(picture, details)
    honest = hub.log
    hub.log = type(honest)(region.log_key)
    for number in range(honest.size):
        hub.log.append(f"another history {number}".encode())
    with pytest.raises(LiaisonError) as refusal:
        await desk.search(picture, details)
    assert refusal.value.code is Code.CHECKPOINT_INCONSISTENT
    store = NodeStore(node.database_path)
    assert len(store.evidence()) == 1
    store.close()


@pytest.mark.parametrize("lie", ["index", "entry", "receipt"])
async def test_a_request_that_is_not_proven_to_be_in_the_log_ends_the_search(
    desk: Desk, hub: Any, region: Any, picture: bytes, details: Any, lie: str
) -> None:
    first = await desk.start(picture, details)
    other = hub.responses[first]

    def change(response: Any) -> Any:
        changed = broker_pb2.SubmitResponse()
        changed.CopyFrom(response)
        if lie == "index":
            changed.proof.index = 0
        elif lie == "entry":
            changed.proof.CopyFrom(other.proof)
        else:
            changed.receipt = other.receipt
        return changed

    hub.change_submission = change
    with pytest.raises(LiaisonError) as refusal:
        await desk.start(picture, details)
    expected = Code.SIGNATURE_INVALID if lie == "receipt" else Code.PROOF_INVALID
    assert refusal.value.code is expected


async def test_an_older_region_bundle_is_refused(
    desk: Desk, node: Any, hub: Any, region: Any, picture: bytes, details: Any
) -> None:
    hub.bundle = region.bundle(3).encode()
    await desk.directory()
    hub.bundle = region.bundle(2).encode()
    with pytest.raises(LiaisonError) as refusal:
        await desk.search(picture, details)
    assert refusal.value.code is Code.POLICY_ROLLBACK
    assert hub.submitted == []
    assert node.bundle_path.read_bytes() == region.bundle(3).encode()


async def test_a_request_that_the_hub_refuses_as_a_whole_is_not_sent_again(
    desk: Desk, hub: Any, picture: bytes, details: Any
) -> None:
    hub.rejects = Code.POLICY_MISSING
    with pytest.raises(LiaisonError) as refusal:
        await desk.search(picture, details)
    assert refusal.value.code is Code.POLICY_MISSING
    assert len(hub.submitted) == 1
    assert (await desk.list())[0].state is SearchState.REJECTED


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(hours=-1)], ids=["ahead", "behind"])
async def test_a_desk_whose_clock_is_an_hour_off_signs_and_sends_nothing(
    ahead: timedelta, desk: Desk, hub: Any, picture: bytes, details: Any
) -> None:
    hub.clock_ahead = ahead
    with pytest.raises(LiaisonError) as refusal:
        await desk.search(picture, details)
    assert refusal.value.code is Code.CLOCK_SKEW
    assert hub.submitted == []
    assert await desk.list() == ()
