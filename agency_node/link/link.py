"""The link: one outbound stream to the hub that brings deliveries down and carries outcomes up.

A broken link loses nothing: outcomes are on the disk before they are sent and are sent again until the hub has settled
them, and the hub sends again whatever this node has not answered. What was running goes on while the link is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc.aio
import structlog

from agency_node.link.backoff import backoff
from agency_node.link.channel import call_errors
from agency_node.link.clock import Clock, check_hub_clock
from agency_node.link.store import NodeStore, Outcome
from agency_node.link.trust import TrustKeeper
from agency_node.link.witness import LogWitness
from federation.canonical import digest
from federation.errors import Code, LiaisonError
from federation.probe.request import LONGEST_LIFE
from protos.liaison.v1 import broker_pb2 as pb
from protos.liaison.v1 import broker_pb2_grpc as rpc

Claim = Callable[[], Awaitable[None]]
Serve = Callable[[pb.Delivery, Claim], Awaitable[Outcome]]

# Dialing again would not help, and for some of these it would do harm.
FATAL = frozenset(
    {
        Code.LINK_SUPERSEDED,
        Code.CHECKPOINT_INCONSISTENT,
        Code.CERTIFICATE_REVOKED,
        Code.IDENTITY_UNKNOWN,
        Code.CLOCK_SKEW,
        Code.KEY_UNREADABLE,
    }
)
SEARCHES_AT_ONCE = 2
MOST_WAITING = 32
STEADY_SECONDS = 10.0
FAREWELL_SECONDS = 5.0
LAST_SEARCH_SECONDS = 60.0
# No request lives longer than 30 days, so after 31 nobody collects an answer.
LONGEST_WAIT = LONGEST_LIFE + timedelta(days=1)

_log = structlog.get_logger("agency_node.link")


@dataclass(frozen=True)
class Member:
    """What the link needs of its node. `hello` says who is there; `prepare` runs on each new channel before the
    stream is opened; `random` gives a number in [0, 1)."""

    dial: Callable[[], grpc.aio.Channel]
    prepare: Callable[[grpc.aio.Channel], Awaitable[None]]
    hello: Callable[[], pb.Hello]
    serve: Serve
    store: NodeStore
    keeper: TrustKeeper
    witness: LogWitness
    clock: Clock
    random: Callable[[], float]


class Link:
    """Keeps the stream open and everything that comes down it in order; `run` ends when `leave` is called, or with
    an error that dialing again cannot mend."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._outgoing: asyncio.Queue[pb.OpenRequest | None] | None = None
        self._serving: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._galleries: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._slots = asyncio.Semaphore(SEARCHES_AT_ONCE)
        self._room = asyncio.Semaphore(MOST_WAITING)
        self._hang_up = asyncio.Event()
        self._stopping = asyncio.Event()
        self._failure: LiaisonError | None = None

    def leave(self) -> None:
        """Finish what is running, hand over what came of it, and end."""
        self._stopping.set()
        self._hang_up.set()

    def redial(self) -> None:
        """Finish what is running, then open a new channel: with a new certificate, for instance."""
        self._hang_up.set()

    async def run(self) -> None:
        """Hold the link until `leave`. Raises LiaisonError with a code of `FATAL`."""
        attempt = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                await self._connect()
                continue
            except LiaisonError as error:
                if error.code in FATAL:
                    raise
                _log.warning("link down", code=error.code.value, says=error.sentence)
            attempt = 0 if time.monotonic() - began >= STEADY_SECONDS else attempt + 1
            await self._pause(backoff(attempt, self._member.random()))

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    async def _connect(self) -> None:
        """One channel, from dialing to its end."""
        if not self._stopping.is_set():
            self._hang_up.clear()
        self._failure = None
        channel = self._member.dial()
        try:
            await self._member.prepare(channel)
            await self._stream(channel)
        finally:
            self._outgoing = None
            self._drop_waiting()
            await channel.close(grace=None)

    async def _stream(self, channel: grpc.aio.Channel) -> None:
        outgoing: asyncio.Queue[pb.OpenRequest | None] = asyncio.Queue()
        hello = self._member.hello()
        hello.log_size = self._member.witness.size or 0
        outgoing.put_nowait(pb.OpenRequest(hello=hello))
        self._outgoing = outgoing
        call = rpc.LinkServiceStub(channel).Open()  # type: ignore[no-untyped-call]
        writing = asyncio.create_task(_write(call, outgoing))
        reading = asyncio.create_task(self._read(call))
        hanging_up = asyncio.create_task(self._hang_up.wait())
        try:
            await asyncio.wait({reading, hanging_up}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                await self._say_goodbye(outgoing, reading)
            if self._failure is not None:
                raise self._failure
            if reading.done():
                await reading
            if not self._hang_up.is_set():
                raise LiaisonError(Code.HUB_UNREACHABLE, "It closed the link.")
        finally:
            call.cancel()
            for task in (reading, writing, hanging_up):
                task.cancel()
            await asyncio.gather(reading, writing, hanging_up, return_exceptions=True)

    async def _say_goodbye(
        self, outgoing: asyncio.Queue[pb.OpenRequest | None], reading: asyncio.Task[None]
    ) -> None:
        """Let running searches end, send what came of them, close our side, and read on until the hub closes its."""
        self._drop_waiting()
        if self._running:
            await asyncio.wait({*self._running}, timeout=LAST_SEARCH_SECONDS)
        outgoing.put_nowait(None)
        await asyncio.wait({reading}, timeout=FAREWELL_SECONDS)

    async def _read(self, call: AsyncIterator[pb.OpenResponse]) -> None:
        with call_errors():
            async for frame in call:
                await self._take(frame)

    async def _take(self, frame: pb.OpenResponse) -> None:
        match frame.WhichOneof("message"):
            case "welcome":
                await self._welcomed(frame.welcome)
            case "delivery":
                await self._start(frame.delivery)
            case "withdrawal":
                self._drop_waiting(frame.withdrawal.delivery_id)
            case "settled":
                self._member.store.settle(frame.settled.delivery_id)
            case "checkpoint":
                await self._witness(frame.checkpoint.note)
            case "region":
                self._believe(frame.region.region_bundle)
            case _:
                _log.warning("a frame of an unknown kind came; is the hub newer than this node?")

    async def _welcomed(self, welcome: pb.Welcome) -> None:
        member = self._member
        check_hub_clock(welcome.hub_time, member.clock())
        self._believe(welcome.region_bundle)
        if welcome.checkpoint:
            await self._witness(welcome.checkpoint)
        member.store.abandon(member.clock() - LONGEST_WAIT)
        for delivery_id, outcome in member.store.unsettled():
            self._send_outcome(delivery_id, outcome)
        _log.info("ready", log_size=member.witness.size, region_version=member.keeper.trust.bundle.version)

    def _believe(self, bundle: bytes) -> None:
        if not bundle:
            return
        try:
            if self._member.keeper.update(bundle, self._member.clock()):
                _log.info("region bundle", version=self._member.keeper.trust.bundle.version)
        except LiaisonError as error:
            # What is believed stays in force, so this node can go on: its own rules are not weakened.
            _log.error("region bundle refused", code=error.code.value, says=error.sentence)

    async def _witness(self, note: bytes) -> None:
        size, line = await self._member.witness.cosign(note)
        self._send(pb.OpenRequest(cosignature=pb.Cosignature(size=size, line=line)))

    # --- Deliveries ---------------------------------------------------------------------------------------

    async def _start(self, delivery: pb.Delivery) -> None:
        key = (delivery.delivery_id, digest(delivery.request))
        if key in self._serving or self._hang_up.is_set():
            return
        await self._room.acquire()  # reads no further while too many wait
        task = asyncio.create_task(self._serve(delivery))
        self._serving[key] = task
        task.add_done_callback(lambda _: self._ended(key))

    def _ended(self, key: tuple[str, str]) -> None:
        task = self._serving.pop(key)
        self._running.discard(task)
        self._room.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("delivery not served", delivery=key[0], kind=type(error).__name__)
            code = error.code if isinstance(error, LiaisonError) else Code.INTERNAL
            if code is not Code.REQUEST_INVALID:  # such a delivery has no name to answer under
                self._fail(LiaisonError(code))

    async def _serve(self, delivery: pb.Delivery) -> None:
        task = asyncio.current_task()
        assert task is not None
        async with self._galleries[delivery.delivery_id.partition("/")[2]], self._slots:
            self._running.add(task)

            async def claim() -> None:
                self._send(pb.OpenRequest(claim=pb.Claim(delivery_id=delivery.delivery_id)))

            outcome = await self._member.serve(delivery, claim)
        self._send_outcome(delivery.delivery_id, outcome)
        if self._member.store.evidence():
            self._fail(LiaisonError(Code.CHECKPOINT_INCONSISTENT))

    def _fail(self, error: LiaisonError) -> None:
        self._failure = self._failure or error
        self._hang_up.set()

    def _drop_waiting(self, delivery_id: str | None = None) -> None:
        """Forget deliveries (or one) whose serving has not begun."""
        for (waiting, _), task in list(self._serving.items()):
            if task not in self._running and delivery_id in (None, waiting):
                task.cancel()

    def _send_outcome(self, delivery_id: str, outcome: Outcome) -> None:
        self._send(
            pb.OpenRequest(
                outcome=pb.Outcome(
                    delivery_id=delivery_id,
                    receipt=outcome.receipt,
                    sealed_answer=outcome.sealed_answer or b"",
                )
            )
        )

    def _send(self, frame: pb.OpenRequest) -> None:
        # Without a link nothing is lost: outcomes are on the disk and go out with the next welcome.
        if self._outgoing is not None:
            self._outgoing.put_nowait(frame)


async def _write(call: Any, outgoing: asyncio.Queue[pb.OpenRequest | None]) -> None:
    """Send what is put into the queue, in order, and close our side after None; reading says why a call has ended."""
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        while (frame := await outgoing.get()) is not None:
            await call.write(frame)
        await call.done_writing()
