"""The hub as a process: two ports, the jobs, and a quiet end.

The join port shows the server's certificate and asks for none; only joining is served there. The broker port asks
for a certificate of the region, and the interceptor asks the store about it at every call.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO, cast

import grpc
import grpc.aio
import structlog
from sqlalchemy.orm import Session

from federation.errors import Code, LiaisonError
from federation.event_stream import EventStream
from federation.wire import SERVER_OPTIONS
from hub.broker import jobs
from hub.broker.authority import RECHECK_SECONDS, Authority, AuthorityInterceptor
from hub.broker.caller import Caller
from hub.broker.core import Core
from hub.broker.link import LinkServicer
from hub.broker.log import LogServicer
from hub.broker.requests import BrokerServicer
from hub.config import Hub, TlsIdentity
from hub.registry.bundle import CurrentTrust
from hub.registry.service import JoinServicer, RegistryServicer, issuer_of
from hub.registry.tls import current_tls
from hub.store.members import Members
from hub.store.writer import Writer
from protos.liaison.v1 import broker_pb2_grpc as broker_grpc
from protos.liaison.v1 import registry_pb2_grpc as registry_grpc

_log = structlog.get_logger()
_GRACE_SECONDS = 3.0
_TLS_SECONDS = 10.0
Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class ShownTls:
    """The certificate that the servers show; handshakes take up a renewed one without a restart."""

    def __init__(self, identity: TlsIdentity) -> None:
        self.identity = identity

    def credentials(self, *, ask_client: bool) -> grpc.ServerCredentials:
        """Server credentials that follow this certificate."""
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self.identity), lambda: _configuration(self.identity), ask_client
        )

    async def keep_fresh(self, hub: Hub, clock: Clock) -> None:
        """Renew the certificate from the middle of its life."""
        while True:
            await asyncio.sleep(_TLS_SECONDS)
            try:
                fresh = await asyncio.to_thread(current_tls, hub, clock())
            except (LiaisonError, OSError) as error:
                _log.error("tls-renewal-failed", kind=type(error).__name__)
                continue
            if fresh != self.identity:
                self.identity = fresh
                _log.info("tls-renewed")


@dataclass(slots=True)
class Running:
    """A hub that serves. `broker` and `join` are the ports it listens on."""

    core: Core
    servers: tuple[grpc.aio.Server, grpc.aio.Server]
    tasks: list[asyncio.Task[None]]
    broker: int
    join: int

    async def stop(self, grace: float = _GRACE_SECONDS) -> None:
        """Take no more calls, let running ones end, write what is queued."""
        self.core.links.end()
        await asyncio.gather(*(server.stop(grace) for server in self.servers))
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await asyncio.to_thread(self.core.close)
        self.core.engine.dispose()


async def start(hub: Hub, clock: Clock = utc_now, *, recheck_seconds: float = RECHECK_SECONDS) -> Running:
    """Open the database and serve. Raises LiaisonError when the home is not whole or a port is taken."""
    engine = hub.open_database()
    at = clock()
    trust = CurrentTrust(hub, at)
    signer, certificate = hub.load_hub_signer()
    issuer = issuer_of(hub)
    shown = ShownTls(current_tls(hub, at))
    writer = Writer(engine, hub.load_log_signer(), clock)
    core = Core(hub.region, engine, writer, clock, trust.at, signer, certificate)

    async def check(who: Caller, authority: Authority) -> None:
        await core.read(lambda session: _admit(session, who, authority))

    def server() -> grpc.aio.Server:
        keeper = AuthorityInterceptor(hub.region, check, recheck_seconds=recheck_seconds)
        return grpc.aio.server(interceptors=[keeper], options=list(SERVER_OPTIONS))

    joining, broker = server(), server()
    registry = RegistryServicer(issuer, engine, writer, trust, clock, core.links.is_connected)
    services: tuple[tuple[Any, Any, grpc.aio.Server], ...] = (
        (
            registry_grpc.add_JoinServiceServicer_to_server,
            JoinServicer(issuer, writer, trust, clock),
            joining,
        ),
        (registry_grpc.add_RegistryServiceServicer_to_server, registry, broker),
        (broker_grpc.add_BrokerServiceServicer_to_server, BrokerServicer(core), broker),
        (broker_grpc.add_LinkServiceServicer_to_server, LinkServicer(core), broker),
        (broker_grpc.add_LogServiceServicer_to_server, LogServicer(core), broker),
    )
    for add, servicer, to in services:
        add(servicer, to)
    try:
        join_port = _listen(joining, hub.settings.join, shown.credentials(ask_client=False))
        broker_port = _listen(broker, hub.settings.broker, shown.credentials(ask_client=True))
        await jobs.settle_after_start(core)
    except LiaisonError:
        core.close()
        raise
    await joining.start()
    await broker.start()
    tasks = [*jobs.start(core), asyncio.create_task(shown.keep_fresh(hub, clock))]
    return Running(core, (joining, broker), tasks, broker_port, join_port)


async def serve(hub: Hub) -> None:
    """Serve until SIGTERM or SIGINT; says on the standard output, as one line of JSON, when it is ready."""
    log_to_stderr()
    running = await start(hub)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    ready = {"ready": True, "region": hub.region, "broker": hub.broker_address, "join": hub.join_address}
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    _log.info("serving", broker=hub.broker_address, join=hub.join_address)
    await stopping.wait()
    _log.info("stopping")
    await running.stop()


def log_to_stderr() -> None:
    """One line of JSON per event on the standard error."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", EventStream(sys.stderr))),
    )


def _admit(session: Session, who: Caller, authority: Authority) -> None:
    """Let in a node whose certificate is good; where it is needed, only of an agency that is confirmed."""
    members = Members(session)
    members.admit(who.identity, who.serial)
    if authority is Authority.CONFIRMED and members.agency(who.agency).signing_certificate is None:
        raise LiaisonError(Code.AGENCY_NOT_CONFIRMED)


def _listen(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials) -> int:
    try:
        return server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise LiaisonError(Code.CONFIG_INVALID, f"{address} cannot be listened on; is it taken?") from error


def _configuration(identity: TlsIdentity) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(identity.key, identity.chain)], identity.root)
