"""Fetching what was answered: on this disk first, and only then forgotten by the hub."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from agency_node.desk.follow import Asked, is_complete, is_final, is_waiting, keep_answers, open_collected
from agency_node.desk.outcome import GalleryOutcome
from agency_node.desk.store import DeskStore, SearchState, StoredSearch
from agency_node.link.channel import call_errors
from federation.errors import Code, LiaisonError
from federation.identity.region import Trust
from protos.liaison.v1 import broker_pb2, broker_pb2_grpc

T = TypeVar("T")
_CALL_SECONDS = 30.0
_LONGEST_PAUSE = 5.0
# The hub closes what has expired a little after the deadline, and may be away for a moment then.
_GRACE = timedelta(seconds=20)


async def collect(
    stored: StoredSearch,
    heard: Sequence[broker_pb2.CollectedDelivery],
    broker: broker_pb2_grpc.BrokerServiceStub,
    store: DeskStore,
    trust: Trust,
    clock: Callable[[], datetime],
    later: Callable[[Coroutine[Any, Any, bool]], None],
) -> tuple[GalleryOutcome, ...]:
    """The outcome of every gallery asked. Answers that do not fit into one message come in several rounds.

    `heard` is what came while the request was followed: if it is complete, there is nothing to fetch.
    `later` takes what nobody needs to wait for: telling the hub that the last answers are on this disk.
    Raises LiaisonError with what the hub says when it refuses, HUB_UNREACHABLE when it stays away.
    """
    request, kept = stored.prepared.request, stored.collected
    until = max(request.deadline, clock()) + _GRACE
    outcomes: tuple[GalleryOutcome, ...] = ()
    for _ in request.galleries:
        if kept is None and is_complete(heard, request):
            fresh = broker_pb2.CollectResponse(deliveries=heard)
        else:
            fresh = await patiently(
                lambda: broker.Collect(
                    broker_pb2.CollectRequest(request_id=request.id), timeout=_CALL_SECONDS
                ),
                until,
                clock,
            )
        kept = keep_answers(kept, fresh)
        outcomes = open_collected(kept.deliveries, asked(stored), trust, clock())
        waiting = any(is_waiting(delivery) for delivery in kept.deliveries)
        state = SearchState.DONE if is_final(outcomes) and not waiting else SearchState.SUBMITTED
        await asyncio.to_thread(store.collected, request.id, kept, state, clock())
        held = [delivery.status.gallery for delivery in fresh.deliveries if delivery.sealed_answer]
        if not waiting:
            later(_acknowledge(broker, request.id, held))
            break
        if not await _acknowledge(broker, request.id, held):
            break
    return outcomes


def asked(stored: StoredSearch) -> Asked:
    """What it takes to judge the answers of a search."""
    prepared = stored.prepared
    return Asked(prepared.request, prepared.digest, prepared.key)


async def patiently(call: Callable[[], Awaitable[T]], until: datetime, clock: Callable[[], datetime]) -> T:
    """Make a call that is safe to repeat, again and again while the hub is away, until a moment."""
    pause = 0.2
    while True:
        try:
            with call_errors():
                return await call()
        except LiaisonError as error:
            if error.code is not Code.HUB_UNREACHABLE or clock() >= until:
                raise
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


async def _acknowledge(
    broker: broker_pb2_grpc.BrokerServiceStub, search_id: str, galleries: Sequence[str]
) -> bool:
    """Tell the hub that these answers are on this disk; whether there is reason to fetch more."""
    if not galleries:
        return False
    message = broker_pb2.AcknowledgeRequest(request_id=search_id, galleries=galleries)
    try:
        with call_errors():
            await broker.Acknowledge(message, timeout=_CALL_SECONDS)
    except LiaisonError as error:
        # The hub forgets sealed answers in time without being told.
        if error.code is not Code.HUB_UNREACHABLE:
            raise
        return False
    return True
