"""What the broker does by the clock: deadlines, checkpoints for the witnesses, the region's bundle.

Nothing here keeps anything in memory that a restart would miss: deadlines are in the rows.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from federation.errors import LiaisonError
from hub.broker.collect import forget_uncollected
from hub.broker.core import Core
from hub.broker.dispatch import take_back_all
from hub.broker.proofs import newest_note
from hub.broker.withdraw import expire, next_deadline
from protos.liaison.v1 import broker_pb2

_log = structlog.get_logger()
# A wall clock may be set while a job sleeps, so none sleeps longer than this.
_LONGEST_SLEEP = 30.0
_SWEEP_SECONDS = 3600.0
_WITNESS_SECONDS = 1.0
_BUNDLE_SECONDS = 2.0
_PAUSE_AFTER_ERROR = 5.0


async def settle_after_start(core: Core) -> None:
    """After a start no link is open: what was on its way is queued again, and what ran out meanwhile ends."""
    await core.writer.run(take_back_all)
    await core.writer.run(expire)
    await core.writer.run(forget_uncollected)


async def keep_deadlines(core: Core) -> None:
    """End deliveries at their absolute deadlines."""
    while True:
        core.sooner.clear()
        nearest = await core.read(next_deadline)
        left = _LONGEST_SLEEP if nearest is None else (nearest - core.clock()).total_seconds()
        if left > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(core.sooner.wait(), min(left, _LONGEST_SLEEP))
            continue
        ended, requests = await core.writer.run(expire)
        core.links.withdraw(ended)
        core.changes.tell(requests)


async def gather_cosignatures(core: Core) -> None:
    """Show the newest checkpoint to every witness when the log has grown, at most once a second."""
    shown = -1
    while True:
        size, note = await core.read(newest_note)
        if size != shown:
            checkpoint = broker_pb2.OpenResponse(checkpoint=broker_pb2.Checkpoint(note=note))
            core.links.broadcast(checkpoint)
            shown = size
        await asyncio.sleep(_WITNESS_SECONDS)


async def spread_bundle(core: Core) -> None:
    """Send the region's bundle down every link when the coordinator has published a newer one."""
    shown = core.trust_at(core.clock()).bundle.version
    while True:
        await asyncio.sleep(_BUNDLE_SECONDS)
        trust = core.trust_at(core.clock())
        if trust.bundle.version != shown:
            region = broker_pb2.Region(region_bundle=trust.signed_bundle.encode())
            core.links.broadcast(broker_pb2.OpenResponse(region=region))
            shown = trust.bundle.version


async def sweep(core: Core) -> None:
    """Forget answers that nobody collected, once an hour."""
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        await core.writer.run(forget_uncollected)


def start(core: Core) -> list[asyncio.Task[None]]:
    """Start all jobs; each goes on after an error of its own."""
    jobs = (keep_deadlines, gather_cosignatures, spread_bundle, sweep)
    return [asyncio.create_task(_forever(job, core), name=job.__name__) for job in jobs]


async def _forever(job: Callable[[Core], Awaitable[None]], core: Core) -> None:
    while True:
        try:
            await job(core)
        except LiaisonError as error:
            _log.error("job-failed", job=job.__name__, code=error.code.value)
        except Exception as error:
            _log.error("job-failed", job=job.__name__, kind=type(error).__name__)
        await asyncio.sleep(_PAUSE_AFTER_ERROR)
