"""A serving node put together: galleries if the policy declares any, the link, and what is kept up beside it.

An agency that declares no gallery is a member like any other: it asks, publishes its `use` rules and witnesses the
log, and loads neither an engine nor Milvus.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import grpc.aio
import structlog

from agency_node.config import Node
from agency_node.link.channel import call_errors, open_channel
from agency_node.link.link import Link, Member
from agency_node.link.membership import (
    CALL_SECONDS,
    GalleryCounts,
    publish,
    refresh_membership,
    sign_as_agency,
)
from agency_node.link.renew import renew, renewal_due
from agency_node.link.store import NodeStore
from agency_node.link.trust import TrustKeeper, load_trust
from agency_node.link.witness import LogWitness
from agency_node.search.find import GallerySearcher, Searcher
from agency_node.search.serve import Context, serve
from federation.canonical import stamp
from federation.errors import Code, LiaisonError
from federation.policy.load import digest
from protos.liaison.v1 import broker_pb2 as pb
from protos.liaison.v1 import broker_pb2_grpc as rpc

if TYPE_CHECKING:
    from agency_node.gallery import Galleries

REFRESH_SECONDS = 1.0
PUBLISH_SECONDS = 15.0
RENEWAL_SECONDS = 60.0

_log = structlog.get_logger("agency_node.serve")


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Holdings:
    """What this node can search: nothing at all, or an engine and open galleries."""

    searcher: Searcher | None = None
    galleries: Galleries | None = None
    engine_id: str = ""

    def counts(self) -> dict[str, GalleryCounts]:
        """What there is in each gallery."""
        if self.galleries is None:
            return {}
        counted = {name: gallery.counts() for name, gallery in self.galleries.items()}
        return {
            name: GalleryCounts(self.engine_id, counts.subjects, counts.templates)
            for name, counts in counted.items()
        }


@contextmanager
def holdings(node: Node) -> Iterator[Holdings]:
    """Open what the policy declares; raises what engine and galleries raise, POLICY_MISSING without a policy."""
    policy = node.policy
    if policy is None:
        raise LiaisonError(Code.POLICY_MISSING, "There is no policy.yaml in this node's home.")
    if not policy.galleries:
        yield Holdings()
        return
    from agency_node.engine import load_engine
    from agency_node.gallery import declared_galleries, open_galleries

    engine = load_engine(node.engine_spec, node.threads)
    with open_galleries(
        node.home,
        declared_galleries(policy),
        engine.engine_id,
        vault_key_uri=node.vault_key_uri,
        milvus_uri=node.milvus_uri,
        dimension=engine.dimension,
        hold_index=True,
    ) as galleries:
        yield Holdings(GallerySearcher(engine, galleries), galleries, engine.engine_id)


@contextmanager
def only_one(node: Node) -> Iterator[None]:
    """Be the one process that serves this home. Raises LiaisonError(GALLERY_BUSY)."""
    with node.lock_path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LiaisonError(Code.GALLERY_BUSY, "Another `agency-node serve` runs in this home.") from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def check_evidence(store: NodeStore, *, acknowledge: bool) -> None:
    """Refuse to start while a contradiction of the log waits for the operator, unless they acknowledge it now."""
    waiting = store.evidence()
    if waiting and not acknowledge:
        raise LiaisonError(
            Code.CHECKPOINT_INCONSISTENT,
            f"Seen at {waiting[0].at}. Once the auditor has the evidence: agency-node serve --acknowledge",
        )
    if waiting:
        store.acknowledge(_now())
        _log.warning("contradiction of the log acknowledged", times=[evidence.at for evidence in waiting])


async def run_node(node: Node, held: Holdings, store: NodeStore, on_link: Callable[[Link], None]) -> None:
    """Hold the link until it is left; raises LiaisonError that dialing again cannot mend."""
    running = _Running(node, held, store)
    on_link(running.link)
    upkeep = asyncio.create_task(running.keep_up())
    linked = asyncio.create_task(running.link.run())
    try:
        await asyncio.wait({upkeep, linked}, return_when=asyncio.FIRST_COMPLETED)
        if upkeep.done():
            running.link.leave()
            upkeep.result()
        await linked
    finally:
        for task in (upkeep, linked):
            task.cancel()
        await asyncio.gather(upkeep, linked, return_exceptions=True)


@dataclass
class _Running:
    """The parts of a serving node, wired to each other."""

    node: Node
    held: Holdings
    store: NodeStore
    channel: grpc.aio.Channel | None = None
    published: object = None
    troubles: dict[str, Code] = field(default_factory=dict)
    link: Link = field(init=False)
    keeper: TrustKeeper = field(init=False)

    def __post_init__(self) -> None:
        self.keeper = TrustKeeper(self.node, load_trust(self.node, _now()))
        witness = LogWitness(self.store, lambda: self.keeper.trust, self.node.witness, self._proof, _now)
        context = Context(
            agency=self.node.agency,
            trust=lambda: self.keeper.trust,
            log=witness,
            store=self.store,
            own_policy=lambda: self.node.policy_text,
            sealing_key=self.node.sealing_key(),
            sign=lambda kind, payload: sign_as_agency(self.node, kind, payload, _now()),
            searcher=self.held.searcher,
            clock=_now,
            timer=time.perf_counter,
        )
        self.link = Link(
            Member(
                dial=lambda: open_channel(self.node),
                prepare=self._prepare,
                hello=self._hello,
                serve=lambda delivery, claim: serve(delivery, context, claim),
                store=self.store,
                keeper=self.keeper,
                witness=witness,
                clock=_now,
                random=random.random,
            )
        )

    async def keep_up(self) -> None:
        """Bring in what was imported, publish what changed, renew the certificate; for as long as the node runs."""
        last_publish = last_renewal = time.monotonic()
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            await self._attempt("refresh", self._refresh)
            if time.monotonic() - last_publish >= PUBLISH_SECONDS and self.published is not None:
                last_publish = time.monotonic()
                await self._attempt("publish", self._publish)
            if time.monotonic() - last_renewal >= RENEWAL_SECONDS:
                last_renewal = time.monotonic()
                await self._attempt("renewal", self._renew)

    async def _attempt(self, what: str, action: Callable[[], Awaitable[None]]) -> None:
        """Do it; a failure is logged when it begins, and must not end the node: it is tried again."""
        try:
            await action()
        except LiaisonError as error:
            if self.troubles.get(what) is not error.code:
                _log.warning(f"{what} failed", code=error.code.value, says=error.sentence)
            self.troubles[what] = error.code
        else:
            self.troubles.pop(what, None)

    async def _refresh(self) -> None:
        if self.held.galleries is not None:
            await asyncio.to_thread(self.held.galleries.refresh)

    async def _prepare(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        membership = await refresh_membership(self.node, channel, self.keeper, _now())
        if not membership.confirmed:
            raise LiaisonError(Code.AGENCY_NOT_CONFIRMED, f"Its fingerprint is {membership.fingerprint}.")
        await self._publish()

    async def _publish(self) -> None:
        counts = await asyncio.to_thread(self.held.counts)
        content = (self.node.policy_text, counts, self.node.signing_certificate_path.read_bytes())
        if self.channel is not None and content != self.published:
            await publish(self.node, self.channel, counts, _now())
            self.published = content
            _log.info("published", galleries={name: one.templates for name, one in counts.items()})

    async def _renew(self) -> None:
        if self.channel is not None and renewal_due(self.node, _now()):
            await renew(self.node, self.channel, _now())
            _log.info("certificate renewed")
            self.link.redial()

    def _hello(self) -> pb.Hello:
        return pb.Hello(
            node_time=stamp(_now()), software=_software(), policy_digest=digest(self.node.policy_text)
        )

    async def _proof(self, first: int, second: int) -> Sequence[bytes]:
        if self.channel is None:
            raise LiaisonError(Code.HUB_UNREACHABLE)
        stub = rpc.LogServiceStub(self.channel)  # type: ignore[no-untyped-call]
        with call_errors():
            request = pb.ConsistencyRequest(first=first, second=second)
            response = await stub.Consistency(request, timeout=CALL_SECONDS)
        return list(response.hashes)


def _software() -> str:
    with contextlib.suppress(PackageNotFoundError):
        return f"liaison/{version('liaison-hub')}"
    return "liaison"
