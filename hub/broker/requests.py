"""The requester's side on the wire: submit, watch, collect, acknowledge, cancel.

A node sees its own agency's requests only; another agency's cannot be told from one that does not exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import structlog
from sqlalchemy.orm import Session

from federation.identity.statement import SignedStatement
from hub.broker.caller import caller
from hub.broker.collect import acknowledge, collect
from hub.broker.core import Core
from hub.broker.decisions import owners_of
from hub.broker.deliveries import FINAL, deliveries_of, own_request, status_of
from hub.broker.proofs import log_proof
from hub.broker.submit import AlarmError, open_submission, take
from hub.broker.withdraw import cancel, open_cancellation
from hub.store.log import Hashes
from hub.store.tables import DeliveryRow
from protos.liaison.v1 import broker_pb2 as pb
from protos.liaison.v1.broker_pb2_grpc import BrokerServiceServicer

_log = structlog.get_logger()


class BrokerServicer(BrokerServiceServicer):
    """Serves the agencies that ask."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def Submit(self, message: pb.SubmitRequest, context: Any) -> pb.SubmitResponse:  # noqa: N802
        """Take a request, or answer again what was taken before."""
        core, who = self._core, caller()
        at = core.clock()
        trust = core.trust_at(at)
        submission = await core.read(lambda _: open_submission(message, who.agency, trust, at))
        request = submission.request
        owners = owners_of(request)

        def taken(_fresh: bool) -> None:
            core.links.wake(owners)
            core.sooner.set()

        try:
            await core.write(
                lambda tx: take(tx, submission, who.node, trust, core.policies, core.sign), taken
            )
        except AlarmError as alarm:
            _log.warning(alarm.event.value, agency=who.agency, node=who.node)
            event, facts = alarm.event, alarm.facts
            await core.writer.run(lambda tx: tx.append(event, facts))
            raise
        await asyncio.sleep(0)  # the links were woken: what they send comes before what the requester reads
        return await core.read(lambda s: _submitted(s, request.id, who.agency, core.hashes, message.log_size))

    async def Watch(  # noqa: N802
        self, request: pb.WatchRequest, context: Any
    ) -> AsyncIterator[pb.WatchResponse]:
        """Every delivery's status, then each change of one, until all are final."""
        agency, seen = caller().agency, dict[str, int]()
        with self._core.changes.watch(request.request_id) as changed:
            done = False
            while not done:
                changed.clear()
                news, done = await self._core.read(
                    lambda s: _changes(s, request.request_id, agency, dict(seen), request.answers)
                )
                for number, (gallery, version, message) in enumerate(news, 1):
                    seen[gallery] = version
                    message.done = done and number == len(news)
                    yield message
                if not done:
                    await changed.wait()

    async def Collect(self, request: pb.CollectRequest, context: Any) -> pb.CollectResponse:  # noqa: N802
        """The answers and receipts that are there."""
        agency = caller().agency
        return await self._core.read(lambda s: collect(s, request.request_id, agency))

    async def Acknowledge(  # noqa: N802
        self, request: pb.AcknowledgeRequest, context: Any
    ) -> pb.AcknowledgeResponse:
        """Forget answers that the requester has on its disk."""
        agency, galleries = caller().agency, frozenset(request.galleries)
        await self._core.writer.run(lambda tx: acknowledge(tx, request.request_id, agency, galleries))
        return pb.AcknowledgeResponse()

    async def Cancel(self, request: pb.CancelRequest, context: Any) -> pb.CancelResponse:  # noqa: N802
        """Withdraw what is not answered yet."""
        core, agency = self._core, caller().agency
        at = core.clock()
        statement = SignedStatement.decode(request.cancellation)
        cancellation = open_cancellation(statement, agency, core.trust_at(at), at)

        def ended(deliveries: list[str]) -> None:
            core.links.withdraw(deliveries)
            core.changes.tell([cancellation.request])

        await core.write(lambda tx: cancel(tx, cancellation, statement, agency), ended)
        statuses = await core.read(
            lambda s: [status_of(row) for row in deliveries_of(s, cancellation.request)]
        )
        return pb.CancelResponse(deliveries=statuses)


def _submitted(
    session: Session, request_id: str, agency: str, hashes: Hashes, since: int
) -> pb.SubmitResponse:
    row = own_request(session, request_id, agency)
    return pb.SubmitResponse(
        receipt=row.receipt,
        proof=log_proof(session, row.log_index, hashes, since),
        deliveries=[status_of(delivery) for delivery in deliveries_of(session, request_id)],
    )


def _changes(
    session: Session, request_id: str, agency: str, seen: dict[str, int], answers: bool
) -> tuple[list[tuple[str, int, pb.WatchResponse]], bool]:
    """The deliveries that changed since the versions that were seen, and whether all are final."""
    own_request(session, request_id, agency)
    rows = deliveries_of(session, request_id)
    changed = [row for row in rows if seen.get(row.id, -1) < row.version]
    news = [(row.id, row.version, _change(row, answers and row.state in FINAL)) for row in changed]
    return news, all(row.state in FINAL for row in rows)


def _change(row: DeliveryRow, answer: bool) -> pb.WatchResponse:
    message = pb.WatchResponse(delivery=status_of(row))
    if answer:
        message.sealed_answer, message.receipt = row.sealed_answer or b"", row.receipt or b""
    return message
