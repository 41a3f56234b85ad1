"""The desk as a session: one channel, one engine, one store, any number of searches, several at a time.

    async with Desk(node, engine) as desk:
        result = await desk.search(picture, details, on_status=show)

The command line, the web application and the benchmarks all ask through this.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Self, TypeVar

import grpc.aio

from agency_node.config import Node
from agency_node.desk.details import RequestDetails, check_details, requester
from agency_node.desk.directory import Directory, choose_galleries, read_directory
from agency_node.desk.follow import Asked, is_final, open_collected, watch
from agency_node.desk.intake import Intake, quality_floor, take_in
from agency_node.desk.outcome import GalleryOutcome, SearchResult
from agency_node.desk.prove import prove
from agency_node.desk.standing import load_member
from agency_node.desk.store import DeskStore, Listed, SearchState, StoredSearch
from agency_node.desk.submit import Member, Prepared, cancellation, new_request_id, prepare, verify_submission
from agency_node.engine.base import FaceEngine
from agency_node.gallery.vault import read_key
from agency_node.link.channel import call_errors, open_channel
from agency_node.link.store import NodeStore
from agency_node.link.trust import TrustKeeper, load_trust
from agency_node.link.witness import LogWitness
from federation.canonical import unstamp
from federation.errors import Code, LiaisonError
from federation.identity.region import Trust
from federation.probe.delivery import TERMINAL, DeliveryState
from protos.liaison.v1 import broker_pb2, broker_pb2_grpc, registry_pb2, registry_pb2_grpc

T = TypeVar("T")
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
        self._started: dict[str, float] = {}

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
        if self._given is None:
            await self._channel.close(None)
        self._store.close()
        self._node_store.close()

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
        """Check, seal and submit; the search's id. It is on disk, key and all, before anything is sent."""
        started = time.monotonic()
        checked = check_details(details)
        who = requester(self._node.agency, self._node.users, checked.user)
        intake = await self._take_in(picture, face)
        directory = await self.directory()
        galleries = choose_galleries(directory, checked.galleries)
        member = await self._member()
        prepared = prepare(intake, checked, who, galleries, member, new_request_id(), self._clock())
        name = label or intake.facts.original_sha256
        await asyncio.to_thread(self._store.add, prepared, intake.working, name)
        self._started[prepared.request.id] = started
        await self._submit(prepared)
        return prepared.request.id

    async def resume(self, search_id: str, on_status: OnStatus | None = None) -> SearchResult:
        """Go on with a search after a crash or a closed terminal: send it again if need be, then follow it.

        Raises LiaisonError(REQUEST_UNKNOWN) for an id that this desk does not have.
        """
        stored = await asyncio.to_thread(self._store.get, search_id)
        if stored.state is SearchState.PREPARED:
            await self._submit(stored.prepared)
        return await self.follow(search_id, on_status)

    async def follow(self, search_id: str, on_status: OnStatus | None = None) -> SearchResult:
        """Wait until every gallery is final, the deadline is past, or only approvals are missing; open the answers."""
        started = self._started.pop(search_id, time.monotonic())
        stored = await asyncio.to_thread(self._store.get, search_id)
        outcomes = self._opened(stored) if stored.state is SearchState.DONE else None
        if outcomes is None:
            await self._until_settled(stored, on_status)
            outcomes = await self._collect(stored)
        if on_status:
            for outcome in outcomes:
                on_status(outcome)
        return self._result(stored, outcomes, time.monotonic() - started)

    async def cancel(self, search_id: str, reason: str) -> SearchResult:
        """Withdraw what is not answered yet, signed; then open what had been answered before."""
        stored = await asyncio.to_thread(self._store.get, search_id)
        signed = cancellation(search_id, reason, await self._member(), self._clock())
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

    async def _member(self) -> Member:
        return await load_member(self._node, self._registry, self._trust, self._clock())

    async def _submit(self, prepared: Prepared) -> None:
        request = prepared.request
        until = min(self._clock() + _PATIENCE, request.deadline)
        try:
            response = await self._patiently(
                lambda: self._broker.Submit(prepared.message, timeout=2 * _CALL_SECONDS), until
            )
        except LiaisonError as error:
            if error.code is not Code.HUB_UNREACHABLE and error.code is not Code.LOG_UNAVAILABLE:
                await asyncio.to_thread(self._store.mark, request.id, SearchState.REJECTED)
            raise
        submission = verify_submission(response.receipt, request, prepared.digest, self._trust, self._clock())
        async with self._log_turn:
            await prove(response.proof, submission, prepared, self._witness())
        await asyncio.to_thread(self._store.submitted, request.id, response)

    async def _until_settled(self, stored: StoredSearch, on_status: OnStatus | None) -> None:
        request = stored.prepared.request
        now = dict.fromkeys(request.galleries, DeliveryState.QUEUED)
        remaining = (request.deadline + _GRACE - self._clock()).total_seconds()
        try:
            async with asyncio.timeout(max(remaining, 1.0)):
                async for outcome in watch(self._broker, request, self._clock):
                    if outcome.gallery not in now:
                        continue
                    now[outcome.gallery] = outcome.status
                    if on_status:
                        on_status(outcome)
                    left = {state for state in now.values() if state not in TERMINAL}
                    if left == {DeliveryState.AWAITING_APPROVAL}:
                        return
        except TimeoutError:
            return

    async def _collect(self, stored: StoredSearch) -> tuple[GalleryOutcome, ...]:
        request = stored.prepared.request
        until = max(request.deadline, self._clock()) + _GRACE
        response = await self._patiently(
            lambda: self._broker.Collect(
                broker_pb2.CollectRequest(request_id=request.id), timeout=2 * _CALL_SECONDS
            ),
            until,
        )
        outcomes = open_collected(response.deliveries, self._asked(stored), self._trust, self._clock())
        final = is_final(outcomes)
        state = SearchState.DONE if final else SearchState.SUBMITTED
        await asyncio.to_thread(self._store.collected, request.id, response, state)
        if final:
            await self._acknowledge(request.id, outcomes)
        return outcomes

    async def _acknowledge(self, search_id: str, outcomes: tuple[GalleryOutcome, ...]) -> None:
        answered = [outcome.gallery for outcome in outcomes if outcome.answer is not None]
        if not answered:
            return
        try:
            with call_errors():
                await self._broker.Acknowledge(
                    broker_pb2.AcknowledgeRequest(request_id=search_id, galleries=answered),
                    timeout=_CALL_SECONDS,
                )
        except LiaisonError as error:
            # The answers are on this disk; the hub forgets the sealed bytes at the deadline in any case.
            if error.code is not Code.HUB_UNREACHABLE:
                raise

    def _opened(self, stored: StoredSearch) -> tuple[GalleryOutcome, ...] | None:
        """A finished search from this disk, judged as of the moment it was asked: certificates end, answers stay."""
        if stored.collected is None:
            return None
        at = unstamp(stored.prepared.request.created_at)
        return open_collected(stored.collected.deliveries, self._asked(stored), self._trust, at)

    def _asked(self, stored: StoredSearch) -> Asked:
        prepared = stored.prepared
        return Asked(prepared.request, prepared.digest, prepared.key)

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
            working=stored.probe,
        )

    async def _patiently(self, call: Callable[[], Awaitable[T]], until: datetime) -> T:
        """Make a call that is safe to repeat, again and again while the hub is away, until a moment."""
        pause = 0.2
        while True:
            try:
                with call_errors():
                    return await call()
            except LiaisonError as error:
                if error.code is not Code.HUB_UNREACHABLE or self._clock() >= until:
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)


def open_store(node: Node) -> DeskStore:
    """The desk's database in a node's home. Raises LiaisonError(KEY_UNREADABLE)."""
    return DeskStore(node.home / "desk.db", read_key(node.vault_key_uri))
