"""The stream to the hub: what comes down is served once, what came of it arrives, and nothing is lost on the way."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from agency_node.config import Node
from agency_node.link.channel import open_channel
from agency_node.link.join import join
from agency_node.link.link import Link, Member
from agency_node.link.running import Holdings, check_evidence, only_one, run_node
from agency_node.link.store import NodeStore, Outcome
from agency_node.link.trust import TrustKeeper, load_trust
from agency_node.link.witness import LogWitness
from federation.errors import Code, LiaisonError
from federation.wire import CODE_KEY
from protos.liaison.v1 import broker_pb2 as pb

Hub = Any
Frames = Any
SECONDS = 20.0


def now() -> datetime:
    return datetime.now(UTC)


def delivery(number: int = 0, gallery: str = "booking") -> pb.OpenResponse:
    return pb.OpenResponse(
        delivery=pb.Delivery(delivery_id=f"{number:032x}/eastport-pd/{gallery}", request=b"%d" % number)
    )


async def until(frames: Frames, kind: str) -> Any:
    """The next frame of a kind that the node sends."""
    async for frame in frames:
        if frame.WhichOneof("message") == kind:
            return getattr(frame, kind)
    raise AssertionError(f"the node closed before it sent {kind}")


class Serving:
    """Stands for `serve`: keeps the inbox, answers when it is let."""

    def __init__(self, store: NodeStore) -> None:
        self.store = store
        self.served: list[str] = []
        self.go = asyncio.Event()
        self.go.set()
        self.error: Exception | None = None

    async def __call__(self, arrived: pb.Delivery, claim: Callable[[], Any]) -> Outcome:
        known = self.store.receive(arrived.delivery_id, arrived.delivery_id[:32], "sha256:1", now())
        await claim()
        if known is not None:
            return known
        await self.go.wait()
        if self.error is not None:
            raise self.error
        self.served.append(arrived.delivery_id)
        outcome = Outcome(b"receipt of " + arrived.request, b"sealed")
        self.store.answer(arrived.delivery_id, outcome)
        return outcome


class Running:
    """A link under test, with its parts."""

    def __init__(self, node: Node, hub: Hub, store: NodeStore) -> None:
        self.hub, self.store, self.serving = hub, store, Serving(store)
        keeper = TrustKeeper(node, load_trust(node, now()))
        self.keeper = keeper
        witness = LogWitness(store, lambda: keeper.trust, node.witness, self.prove, now)
        self.member = Member(
            dial=lambda: open_channel(node),
            prepare=self.prepare,
            hello=lambda: pb.Hello(node_time="x", software="test", policy_digest="y"),
            serve=self.serving,
            store=store,
            keeper=keeper,
            witness=witness,
            clock=now,
            random=lambda: 0.0,
        )
        self.link = Link(self.member)

    async def prepare(self, channel: Any) -> None:
        return None

    async def prove(self, first: int, second: int) -> list[bytes]:
        proof: list[bytes] = await self.hub.pki.log.prove(first, second)
        return proof

    async def against(self, script: Callable[[Frames, Any], Any]) -> None:
        """Run the link until the hub's script has ended once, then leave."""
        failures: list[BaseException] = []

        async def told(frames: Frames, context: Any) -> None:
            try:
                await script(frames, context)
            except AssertionError as error:
                failures.append(error)
            self.link.leave()

        self.hub.script = told
        await asyncio.wait_for(self.link.run(), SECONDS)
        assert failures == []


@pytest.fixture
async def member(node: Node, hub: Hub) -> Node:
    return (await join(node, hub.token(), now())).node


@pytest.fixture
async def running(member: Node, hub: Hub) -> AsyncIterator[Running]:
    store = NodeStore(member.database_path)
    yield Running(member, hub, store)
    store.close()


async def test_a_delivery_is_claimed_served_answered_and_settled(running: Running) -> None:
    async def script(frames: Frames, context: Any) -> None:
        hello = await until(frames, "hello")
        assert hello.policy_digest == "y"
        await context.write(running.hub.welcome())
        assert (await until(frames, "cosignature")).size == 3
        await context.write(delivery(1))
        assert (await until(frames, "claim")).delivery_id.startswith(f"{1:032x}")
        outcome = await until(frames, "outcome")
        assert (outcome.receipt, outcome.sealed_answer) == (b"receipt of 1", b"sealed")
        await context.write(pb.OpenResponse(settled=pb.Settled(delivery_id=outcome.delivery_id)))

    await running.against(script)
    assert running.store.unsettled() == []
    assert len(running.serving.served) == 1


async def test_an_outcome_that_was_not_settled_is_sent_again_after_the_link_broke(running: Running) -> None:
    outcomes: list[bytes] = []

    async def script(frames: Frames, context: Any) -> None:
        await until(frames, "hello")
        await context.write(running.hub.welcome())
        if not outcomes:
            await context.write(delivery(1))
        outcome = await until(frames, "outcome")
        outcomes.append(outcome.receipt)
        if len(outcomes) == 1:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the hub goes down")
        await context.write(pb.OpenResponse(settled=pb.Settled(delivery_id=outcome.delivery_id)))
        running.link.leave()

    running.hub.script = script
    await asyncio.wait_for(running.link.run(), SECONDS)
    assert outcomes == [b"receipt of 1"] * 2
    assert len(running.serving.served) == 1
    assert running.hub.streams == 2


async def test_a_search_that_was_running_when_the_link_broke_is_not_made_twice(running: Running) -> None:
    running.serving.go.clear()

    async def script(frames: Frames, context: Any) -> None:
        await until(frames, "hello")
        await context.write(running.hub.welcome())
        await context.write(delivery(1))
        if running.hub.streams == 1:
            await until(frames, "claim")
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the hub goes down")
        running.serving.go.set()
        outcome = await until(frames, "outcome")
        await context.write(pb.OpenResponse(settled=pb.Settled(delivery_id=outcome.delivery_id)))
        running.link.leave()

    running.hub.script = script
    await asyncio.wait_for(running.link.run(), SECONDS)
    assert len(running.serving.served) == 1


async def test_leaving_finishes_the_running_search_and_hands_it_over(running: Running) -> None:
    running.serving.go.clear()

    async def script(frames: Frames, context: Any) -> None:
        await until(frames, "hello")
        await context.write(running.hub.welcome())
        await context.write(delivery(1))
        await until(frames, "claim")
        running.link.leave()
        asyncio.get_running_loop().call_later(0.05, running.serving.go.set)
        assert (await until(frames, "outcome")).receipt == b"receipt of 1"

    await running.against(script)


async def test_a_withdrawn_delivery_that_waits_is_not_served(running: Running) -> None:
    running.serving.go.clear()

    async def script(frames: Frames, context: Any) -> None:
        await until(frames, "hello")
        await context.write(running.hub.welcome())
        await context.write(delivery(1))
        await until(frames, "claim")
        await context.write(delivery(2))
        withdrawn = delivery(2).delivery.delivery_id
        await context.write(pb.OpenResponse(withdrawal=pb.Withdrawal(delivery_id=withdrawn)))
        running.hub.pki.log.grow()
        await context.write(pb.OpenResponse(checkpoint=pb.Checkpoint(note=running.hub.pki.log.note())))
        while (await until(frames, "cosignature")).size != 4:
            pass
        running.serving.go.set()
        await until(frames, "outcome")

    await running.against(script)
    assert running.serving.served == [delivery(1).delivery.delivery_id]


async def test_one_gallery_is_searched_once_at_a_time_and_another_beside_it(running: Running) -> None:
    running.serving.go.clear()

    async def script(frames: Frames, context: Any) -> None:
        await until(frames, "hello")
        await context.write(running.hub.welcome())
        await context.write(delivery(1))
        await context.write(delivery(2))
        await context.write(delivery(3, gallery="public"))
        claims = [(await until(frames, "claim")).delivery_id for _ in range(2)]
        assert claims == [delivery(1).delivery.delivery_id, delivery(3, "public").delivery.delivery_id]
        running.serving.go.set()
        for _ in range(3):
            await until(frames, "outcome")

    await running.against(script)


@pytest.mark.parametrize("when", ["welcome", "later"])
async def test_a_contradicting_checkpoint_ends_the_link_with_evidence_and_no_cosignature(
    running: Running, when: str
) -> None:
    log = running.hub.pki.log

    async def script(frames: Frames, context: Any) -> None:
        await until(frames, "hello")
        if when == "later":
            await context.write(running.hub.welcome())
            await until(frames, "cosignature")
        else:
            await running.member.witness.see(log.note())
        log.leaves[1] = bytes(32)
        log.grow()
        message = pb.OpenResponse(checkpoint=pb.Checkpoint(note=log.note()))
        await context.write(message if when == "later" else running.hub.welcome())
        with pytest.raises(AssertionError):
            await until(frames, "cosignature")

    running.hub.script = script
    with pytest.raises(LiaisonError) as caught:
        await asyncio.wait_for(running.link.run(), SECONDS)
    assert caught.value.code is Code.CHECKPOINT_INCONSISTENT
    assert len(running.store.evidence()) == 1
    with pytest.raises(LiaisonError):
        check_evidence(running.store, acknowledge=False)
    check_evidence(running.store, acknowledge=True)
    check_evidence(running.store, acknowledge=False)


async def test_the_newest_process_wins_and_the_older_does_not_fight(running: Running) -> None:
    async def script(frames: Frames, context: Any) -> None:
        await until(frames, "hello")
        await context.write(running.hub.welcome())
        trailing = ((CODE_KEY, Code.LINK_SUPERSEDED.value),)
        await context.abort(grpc.StatusCode.ABORTED, "", trailing_metadata=trailing)

    running.hub.script = script
    with pytest.raises(LiaisonError) as caught:
        await asyncio.wait_for(running.link.run(), SECONDS)
    assert caught.value.code is Code.LINK_SUPERSEDED
    assert running.hub.streams == 1


async def test_a_hub_whose_clock_is_an_hour_off_is_not_served(running: Running) -> None:
    running.hub.clock = lambda: now() - timedelta(hours=1)

    async def script(frames: Frames, context: Any) -> None:
        await context.write(running.hub.welcome())
        await until(frames, "cosignature")

    running.hub.script = script
    with pytest.raises(LiaisonError) as caught:
        await asyncio.wait_for(running.link.run(), SECONDS)
    assert caught.value.code is Code.CLOCK_SKEW


async def test_an_older_region_bundle_is_refused_and_a_newer_one_kept(running: Running) -> None:
    bundle = running.hub.pki.bundle

    async def script(frames: Frames, context: Any) -> None:
        await until(frames, "hello")
        await context.write(running.hub.welcome())
        for version in (4, 3):
            region = pb.Region(region_bundle=bundle(version=version).encode())
            await context.write(pb.OpenResponse(region=region))
        await context.write(delivery(1))
        await until(frames, "outcome")

    await running.against(script)
    assert running.keeper.trust.bundle.version == 4


async def test_what_cannot_be_judged_now_breaks_the_link_so_that_the_hub_sends_it_again(
    running: Running,
) -> None:
    running.serving.error = LiaisonError(Code.HUB_UNREACHABLE)

    async def script(frames: Frames, context: Any) -> None:
        await until(frames, "hello")
        await context.write(running.hub.welcome())
        await context.write(delivery(1))
        if running.hub.streams == 2:
            running.serving.error = None
            await until(frames, "outcome")
            running.link.leave()
        async for _ in frames:
            pass

    running.hub.script = script
    await asyncio.wait_for(running.link.run(), SECONDS)
    assert running.hub.streams == 2


async def test_a_new_certificate_is_used_on_a_new_channel_without_losing_the_running_search(
    running: Running,
) -> None:
    running.serving.go.clear()

    async def script(frames: Frames, context: Any) -> None:
        await until(frames, "hello")
        await context.write(running.hub.welcome())
        if running.hub.streams == 1:
            await context.write(delivery(1))
            await until(frames, "claim")
            running.link.redial()
            running.serving.go.set()
            await until(frames, "outcome")
        else:
            running.link.leave()
        async for _ in frames:
            pass

    running.hub.script = script
    await asyncio.wait_for(running.link.run(), SECONDS)
    assert running.hub.streams == 2
    assert len(running.serving.served) == 1


async def test_a_failing_preparation_is_tried_again(running: Running, hub: Hub) -> None:
    attempts: list[int] = []

    async def prepare(channel: Any) -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise LiaisonError(Code.AGENCY_NOT_CONFIRMED)

    running.link = Link(replace(running.member, prepare=prepare))

    async def script(frames: Frames, context: Any) -> None:
        await until(frames, "hello")
        await context.write(running.hub.welcome())

    await running.against(script)
    assert len(attempts) == 2


# --- The whole process, as a member without a gallery ----------------------------------------------------


async def test_a_member_without_galleries_publishes_and_witnesses(member: Node, hub: Hub) -> None:
    store = NodeStore(member.database_path)
    links: list[Link] = []

    async def script(frames: Frames, context: Any) -> None:
        await until(frames, "hello")
        await context.write(hub.welcome())
        assert (await until(frames, "cosignature")).size == 3
        links[0].leave()

    hub.script = script
    try:
        await asyncio.wait_for(run_node(member, Holdings(), store, links.append), SECONDS)
    finally:
        store.close()
    assert [statement.kind for statement in hub.published] == ["policy", "node"]


def test_one_home_is_served_by_one_process(member: Node) -> None:
    with only_one(member):
        with pytest.raises(LiaisonError) as caught, only_one(member):
            pass
        assert caught.value.code is Code.GALLERY_BUSY
        assert member.lock_path.read_text().strip().isdigit()
    with only_one(member):
        pass


def test_a_member_without_galleries_loads_neither_engine_nor_milvus() -> None:
    """In a process of its own, since other tests of this one may have loaded them."""
    program = (
        "import sys; import agency_node.link.running, agency_node.cli.serve, agency_node.cli.main;"
        "print([m for m in ('pymilvus', 'milvus_lite', 'insightface', 'onnxruntime', 'cv2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
