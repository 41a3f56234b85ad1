"""The desk as a session: one channel, one engine, one store, any number of searches, several at a time.

    async with Desk(node, engine) as desk:
        result = await desk.search(picture, details, on_status=show)

The command line, the web application and the benchmarks all ask through this.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import grpc.aio

from agency_node.config import Node
from agency_node.desk.collect import asked, collect, patiently
from agency_node.desk.details import RequestDetails, check_details, requester
from agency_node.desk.directory import Directory, choose_galleries, read_directory
from agency_node.desk.follow import open_collected, watch
from agency_node.desk.intake import Intake, quality_floor, take_in
from agency_node.desk.outcome import GalleryOutcome, SearchResult, from_status
from agency_node.desk.prove import prove
from agency_node.desk.standing import take_standing
from agency_node.desk.store import DeskStore, Listed, SearchState, StoredSearch
from agency_node.desk.submit import Member, Prepared, cancellation, new_request_id, prepare, verify_submission
from agency_node.engine.base import FaceEngine
from agency_node.gallery.vault import read_key
from agency_node.link.channel import call_errors, open_channel
from agency_node.link.store import NodeStore
from agency_node.link.trust import TrustKeeper, load_trust
from agency_node.link.witness import LogWitness
from federation.canonical import digest, unstamp
from federation.errors import Code, LiaisonError
from federation.identity.region import Trust
from federation.probe.delivery import TERMINAL, DeliveryState
from protos.liaison.v1 import broker_pb2, broker_pb2_grpc, registry_pb2, registry_pb2_grpc

Heard = Sequence[broker_pb2.CollectedDelivery]
OnStatus = Callable[[GalleryOutcome], None]

_CALL_SECONDS = 15.0
# How long the hub may be away before a submission is given up; the same bytes can be sent again with `resume`.
_PATIENCE = timedelta(seconds=30)
# The hub closes what has expired a little after the deadline.
_GRACE = timedelta(seconds=20)


def _now() -> datetime:
    return datetime.now(UTC)


class Desk:
    """An agency's desk. `engine` may be None for what needs no picture (`resume`, `cancel`, `list`, `directory`)."""

    def __init__(
        self,
        node: Node,
        engine: FaceEngine | None = None,
        *,
        clock: Callable[[], datetime] = _now,
        channel: grpc.aio.Channel | None = None,
    ) -> None:
        self._node = node
        self._engine = engine
        self._clock = clock
        self._given = channel
        self._engine_turn = asyncio.Lock()
        self._log_turn = asyncio.Lock()
        self._standing_turn = asyncio.Lock()
        self._member: Member | None = None
        self._started: dict[str, float] = {}
        self._later: set[asyncio.Task[bool]] = set()
        self._notes: dict[str, tuple[str, ...]] = {}

    async def __aenter__(self) -> Self:
        self._keeper = TrustKeeper(self._node, load_trust(self._node, self._clock()))
        self._store = open_store(self._node)
        self._node_store = NodeStore(self._node.database_path)
        self._channel = self._given or open_channel(self._node)
        self._broker = broker_pb2_grpc.BrokerServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._log = broker_pb2_grpc.LogServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._registry = registry_pb2_grpc.RegistryServiceStub(self._channel)  # type: ignore[no-untyped-call]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.finish()
        if self._given is None:
            await self._channel.close(None)
        self._store.close()
        self._node_store.close()

    async def finish(self) -> None:
        """Wait for what no search had to wait for: acknowledgements.

        One that fails loses nothing, since the hub forgets sealed answers in time without being told.
        """
        await asyncio.gather(*self._later, return_exceptions=True)

    async def search(
        self,
        picture: bytes,
        details: RequestDetails,
        *,
        face: int | None = None,
        label: str | None = None,
        on_status: OnStatus | None = None,
    ) -> SearchResult:
        """Ask, follow to the end, and open what came. `label` is what the result calls the probe.

        Raises LiaisonError for whatever stops the search as a whole; what stops it at one gallery is in its outcome.
        """
        search_id = await self.start(picture, details, face=face, label=label)
        return await self.follow(search_id, on_status)

    async def start(
        self, picture: bytes, details: RequestDetails, *, face: int | None = None, label: str | None = None
    ) -> str:
        """Prepare and send; the search's id."""
        prepared = await self.prepare(picture, details, face=face, label=label)
        await self.send(prepared)
        return prepared.request.id

    async def prepare(
        self, picture: bytes, details: RequestDetails, *, face: int | None = None, label: str | None = None
    ) -> Prepared:
        """Check, take in, sign and seal. It is on disk, key and all, before anything is sent."""
        started = time.monotonic()
        checked = check_details(details)
        who = requester(self._node.agency, self._node.users, checked.user)
        intake = await self._take_in(picture, face)
        directory = await self.directory()
        galleries = choose_galleries(directory, checked.galleries)
        member = await self._standing()
        prepared = prepare(intake, checked, who, galleries, member, new_request_id(), self._clock())
        name = label or intake.facts.original_sha256
        await asyncio.to_thread(self._store.add, prepared, intake.working, name)
        self._started[prepared.request.id] = started
        self._notes[prepared.request.id] = tuple(
            f"{dropped.agency}/{dropped.node} was not asked: {dropped.why}" for dropped in directory.dropped
        )
        return prepared

    async def resume(self, search_id: str, on_status: OnStatus | None = None) -> SearchResult:
        """Go on with a search after a crash or a closed terminal: send it again if need be, then follow it.

        Raises LiaisonError(REQUEST_UNKNOWN) for an id that this desk does not have.
        """
        stored = await asyncio.to_thread(self._store.get, search_id)
        if stored.state is SearchState.PREPARED:
            await self.send(stored.prepared)
        return await self.follow(search_id, on_status)

    async def follow(self, search_id: str, on_status: OnStatus | None = None) -> SearchResult:
        """Wait until every gallery is final, the deadline is past, or only approvals are missing; open the answers."""
        started = self._started.pop(search_id, time.monotonic())
        stored = await asyncio.to_thread(self._store.get, search_id)
        outcomes = self._opened(stored) if stored.state is SearchState.DONE else None
        if outcomes is None:
            heard = await self._until_settled(stored, on_status)
            outcomes = await self._collect(stored, heard)
        if on_status:
            for outcome in outcomes:
                on_status(outcome)
        return self._result(stored, outcomes, time.monotonic() - started)

    async def cancel(self, search_id: str, reason: str) -> SearchResult:
        """Withdraw what is not answered yet, signed; then open what had been answered before."""
        stored = await asyncio.to_thread(self._store.get, search_id)
        signed = cancellation(search_id, reason, await self._standing(), self._clock())
        with call_errors():
            await self._broker.Cancel(broker_pb2.CancelRequest(cancellation=signed), timeout=_CALL_SECONDS)
        return self._result(stored, await self._collect(stored), 0.0)

    async def list(self) -> tuple[Listed, ...]:
        """The searches of this desk, the newest first."""
        return await asyncio.to_thread(self._store.list)

    async def directory(self) -> Directory:
        """The galleries of the region, verified; takes a newer region bundle on the way."""
        with call_errors():
            response = await self._registry.Directory(registry_pb2.DirectoryRequest(), timeout=_CALL_SECONDS)
        at = self._clock()
        if response.region_bundle:
            self._keeper.update(response.region_bundle, at)
        return read_directory(response.nodes, self._trust, at)

    @property
    def _trust(self) -> Trust:
        return self._keeper.trust

    def _witness(self) -> LogWitness:
        """The log as node.db knows it now: `serve` follows the same log and writes there too."""
        return LogWitness(
            self._node_store, lambda: self._trust, self._node.witness, self._consistency, self._clock
        )

    async def _consistency(self, first: int, second: int) -> Sequence[bytes]:
        with call_errors():
            response = await self._log.Consistency(
                broker_pb2.ConsistencyRequest(first=first, second=second), timeout=_CALL_SECONDS
            )
        return list(response.hashes)

    async def _take_in(self, picture: bytes, face: int | None) -> Intake:
        if self._engine is None:
            raise LiaisonError(Code.ENGINE_MISSING, "This desk was opened without an engine.")
        async with self._engine_turn:
            return await asyncio.to_thread(
                take_in, picture, self._engine, face=face, floor=quality_floor(self._trust)
            )

    async def _standing(self) -> Member:
        """Taken once, and again when the policy file has changed."""
        async with self._standing_turn:
            if self._member is None or self._member.policy_digest != digest(self._node.policy_text):
                self._member = await take_standing(self._node, self._channel, self._keeper, self._clock())
            return self._member

    async def send(self, prepared: Prepared) -> None:
        """Submit what was prepared, and prove that the log has it; sending the same again changes nothing."""
        request, witness = prepared.request, self._witness()
        until = min(self._clock() + _PATIENCE, request.deadline)
        message = broker_pb2.SubmitRequest(log_size=witness.size or 0)
        message.MergeFrom(prepared.message)
        try:
            response = await patiently(
                lambda: self._broker.Submit(message, timeout=2 * _CALL_SECONDS), until, self._clock
            )
        except LiaisonError as error:
            if error.code is not Code.HUB_UNREACHABLE and error.code is not Code.LOG_UNAVAILABLE:
                await asyncio.to_thread(self._store.mark, request.id, SearchState.REJECTED)
            raise
        submission = verify_submission(response.receipt, request, prepared.digest, self._trust, self._clock())
        async with self._log_turn:
            await prove(response.proof, submission, prepared, witness)
        await asyncio.to_thread(self._store.submitted, request.id, response)

    async def _until_settled(self, stored: StoredSearch, on_status: OnStatus | None) -> Heard:
        """Follow until nothing changes by itself any more; what was heard last of each gallery."""
        request = stored.prepared.request
        now = dict.fromkeys(request.galleries, DeliveryState.QUEUED)
        heard: dict[str, broker_pb2.CollectedDelivery] = {}
        remaining = (request.deadline + _GRACE - self._clock()).total_seconds()
        try:
            async with asyncio.timeout(max(remaining, 1.0)):
                async for delivery in watch(self._broker, request, self._clock):
                    outcome = from_status(delivery.status)
                    if outcome.gallery not in now:
                        continue
                    now[outcome.gallery], heard[outcome.gallery] = outcome.status, delivery
                    if on_status:
                        on_status(outcome)
                    left = {state for state in now.values() if state not in TERMINAL}
                    if left == {DeliveryState.AWAITING_APPROVAL}:
                        break
        except TimeoutError:
            pass
        return list(heard.values())

    async def _collect(self, stored: StoredSearch, heard: Heard = ()) -> tuple[GalleryOutcome, ...]:
        return await collect(
            stored, heard, self._broker, self._store, self._trust, self._clock, self._do_later
        )

    def _do_later(self, work: Coroutine[Any, Any, bool]) -> None:
        task = asyncio.create_task(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    def _opened(self, stored: StoredSearch) -> tuple[GalleryOutcome, ...] | None:
        """A finished search from this disk, judged as of when it was collected: certificates end, answers stay."""
        if stored.collected is None or stored.collected_at is None:
            return None
        at = unstamp(stored.collected_at)
        return open_collected(stored.collected.deliveries, asked(stored), self._trust, at)

    def _result(
        self, stored: StoredSearch, outcomes: tuple[GalleryOutcome, ...], seconds: float
    ) -> SearchResult:
        submission = stored.submission
        return SearchResult(
            id=stored.prepared.request.id,
            probe=stored.label,
            outcomes=outcomes,
            seconds=seconds,
            log_index=submission.proof.index if submission else None,
            notes=self._notes.get(stored.prepared.request.id, ()),
            working=stored.probe,
        )


def open_store(node: Node) -> DeskStore:
    """The desk's database in a node's home. Raises LiaisonError(KEY_UNREADABLE)."""
    return DeskStore(node.home / "desk.db", read_key(node.vault_key_uri))
