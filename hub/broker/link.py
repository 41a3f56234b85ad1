"""The node link: one outbound stream per node carries deliveries down, claims, outcomes and cosignatures up.

What is due is in the database, never in the stream. A link that opens is sent everything that its node has not
settled; a link that breaks loses nothing. The newest stream of an identity wins, and the older is told so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import structlog

from federation.canonical import stamp
from federation.errors import Code, LiaisonError
from federation.log import EntryType
from hub.broker.caller import Caller, caller
from hub.broker.core import Core
from hub.broker.dispatch import BATCH, due, mark_sent, take_back, withdrawn
from hub.broker.links import Link
from hub.broker.outcome import claim, open_outcome, record, reject
from hub.broker.proofs import newest_note, size_of
from hub.broker.witness import take_cosignature
from hub.registry.joining import check_clock
from hub.store.members import Members
from hub.store.tables import NodeRow
from hub.store.writer import Transaction
from protos.liaison.v1 import broker_pb2
from protos.liaison.v1.broker_pb2_grpc import LinkServiceServicer

_log = structlog.get_logger()
_HELLO_SECONDS = 10.0


class LinkServicer(LinkServiceServicer):
    """Serves the links of all nodes."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def Open(  # noqa: N802 - gRPC's name
        self, request_iterator: AsyncIterator[broker_pb2.OpenRequest], context: Any
    ) -> AsyncIterator[broker_pb2.OpenResponse]:
        """One link, from Hello to its end."""
        who = caller()
        hello = await _first(request_iterator)
        check_clock(hello.node_time, self._core.clock())
        link = Link(who.agency, who.node, hello.log_size)
        superseded = self._core.links.open(link)
        tasks: list[asyncio.Task[None]] = []
        try:
            if superseded is not None:
                superseded.outbox.close(LiaisonError(Code.LINK_SUPERSEDED))
            await self._core.writer.run(
                lambda tx: _greeted(tx, who, hello.policy_digest, superseded is not None)
            )
            welcome = await self._welcome()
            yield broker_pb2.OpenResponse(welcome=welcome)
            yield broker_pb2.OpenResponse(checkpoint=broker_pb2.Checkpoint(note=welcome.checkpoint))
            for gone in await self._core.read(
                lambda s: withdrawn(s, who.agency, who.node, self._core.clock())
            ):
                link.withdraw(gone)
            tasks = [
                asyncio.create_task(self._receive(link, request_iterator)),
                asyncio.create_task(self._dispatch(link)),
            ]
            for task in tasks:
                task.add_done_callback(lambda done: _end_with(link, done))
            while (message := await link.outbox.get()) is not None:
                yield message
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._left(link)

    async def _welcome(self) -> broker_pb2.Welcome:
        _, note = await self._core.read(newest_note)
        at = self._core.clock()
        bundle = self._core.trust_at(at).signed_bundle.encode()
        return broker_pb2.Welcome(hub_time=stamp(at), checkpoint=note, region_bundle=bundle)

    async def _left(self, link: Link) -> None:
        """Queue again what the node had not claimed, unless its next link has taken over."""
        if not self._core.links.close(link):
            return

        def queued_again(requests: set[str]) -> None:
            self._core.changes.tell(requests)
            # Another node of the agency may serve the same gallery by now.
            self._core.links.wake([link.agency])

        await self._core.write(lambda tx: take_back(tx, link.agency, link.node), queued_again)

    async def _dispatch(self, link: Link) -> None:
        """Send what is due, look again when woken; no polling."""
        while True:
            link.wake.clear()
            sent, now = frozenset(link.sent), self._core.clock()
            look = partial(due, agency=link.agency, node=link.node, sent=sent, at=now, since=link.log_size)
            batch = await self._core.read(partial(look, hashes=self._core.hashes))
            marks = []
            for delivery in batch:
                await link.outbox.put(broker_pb2.OpenResponse(delivery=delivery))
                # Nothing is awaited between these lines: the mark is queued before any claim can arrive.
                link.sent.add(delivery.delivery_id)
                link.log_size = max(link.log_size, size_of(delivery.proof.checkpoint))
                mark = partial(mark_sent, delivery_id=delivery.delivery_id, node=link.node)
                marks.append(asyncio.wrap_future(self._core.writer.submit(mark)))
            for delivery, mark_done in zip(batch, marks, strict=True):
                request_id, wanted = await mark_done
                if not wanted:
                    link.withdraw(delivery.delivery_id)
                # A link that ends before this is followed by `take_back`, which tells the same watchers.
                self._core.changes.tell([request_id])
            if len(batch) < BATCH:
                await link.wake.wait()

    async def _receive(self, link: Link, messages: AsyncIterator[broker_pb2.OpenRequest]) -> None:
        async for message in messages:
            match message.WhichOneof("message"):
                case "claim":
                    await self._claimed(link, message.claim)
                case "outcome":
                    await self._came(link, message.outcome)
                case "cosignature":
                    link.log_size = max(link.log_size, message.cosignature.size)
                    take = partial(take_cosignature, message=message.cosignature)
                    await self._core.writer.run(partial(take, agency=link.agency, node=link.node))
                case _:
                    raise LiaisonError(Code.REQUEST_INVALID, "A link carries one Hello, then no other.")

    async def _claimed(self, link: Link, message: broker_pb2.Claim) -> None:
        try:
            _, wanted = await self._core.write(
                lambda tx: claim(tx, message.delivery_id, link.agency, link.node),
                lambda claimed: self._core.changes.tell([claimed[0]]),
            )
        except LiaisonError as error:
            if error.code is not Code.REQUEST_UNKNOWN:
                raise
            link.withdraw(message.delivery_id)
            return
        if not wanted:
            link.withdraw(message.delivery_id)

    async def _came(self, link: Link, message: broker_pb2.Outcome) -> None:
        at = self._core.clock()
        trust = self._core.trust_at(at)
        try:
            verified = await self._core.read(lambda s: open_outcome(s, message, link.agency, trust, at))
        except LiaisonError as error:
            await self._rejected(link, message.delivery_id, error)
            return
        await self._core.write(
            lambda tx: record(tx, verified), lambda request_id: self._core.changes.tell([request_id])
        )
        link.settle(message.delivery_id)

    async def _rejected(self, link: Link, delivery_id: str, error: LiaisonError) -> None:
        """One bad outcome ends its delivery, not the link: the node's other deliveries go on."""
        _log.warning("outcome-rejected", agency=link.agency, node=link.node, code=error.code.value)
        if error.code is not Code.REQUEST_UNKNOWN:
            await self._core.write(
                lambda tx: reject(tx, delivery_id, link.agency, error),
                lambda request_id: self._core.changes.tell([request_id]),
            )
        link.withdraw(delivery_id)


async def _first(messages: AsyncIterator[broker_pb2.OpenRequest]) -> broker_pb2.Hello:
    """The Hello with which every link begins."""
    try:
        message = await asyncio.wait_for(anext(messages), _HELLO_SECONDS)
    except (StopAsyncIteration, TimeoutError):
        message = broker_pb2.OpenRequest()
    if message.WhichOneof("message") != "hello":
        raise LiaisonError(Code.REQUEST_INVALID, "A link begins with Hello.")
    return message.hello


def _greeted(transaction: Transaction, who: Caller, policy_digest: str, superseded: bool) -> None:
    """Note that a node is here, whom it displaced, and whether it decides by another file than the hub's copy."""
    members = Members(transaction.session)
    node, agency = members.node(who.agency, who.node), members.agency(who.agency)
    node.last_seen = transaction.now
    facts = {"agency": who.agency, "node": who.node}
    if superseded:
        transaction.append(EntryType.LINK_SUPERSEDED, facts)
    if _diverges(node, policy_digest, agency.policy_digest):
        digests = {"hub_digest": agency.policy_digest, "node_digest": policy_digest or None}
        transaction.append(EntryType.DIVERGENCE, {**facts, **digests})
    node.policy_digest = policy_digest or None


def _diverges(node: NodeRow, told: str, published: str | None) -> bool:
    """Whether a node's file is another than the published one, and that is news."""
    return told != (published or "") and told != (node.policy_digest or "")


def _end_with(link: Link, task: asyncio.Task[None]) -> None:
    """When one half of a link has ended, end the other: quietly, or with the error."""
    error = None if task.cancelled() else task.exception()
    if error is None or isinstance(error, LiaisonError):
        link.outbox.close(error)
    else:
        _log.error("defect", kind=type(error).__name__, at="link")
        link.outbox.close(LiaisonError(Code.INTERNAL))
