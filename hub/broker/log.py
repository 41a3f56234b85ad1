"""The log on the wire: the newest checkpoint, and proofs, for members."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from federation.errors import Code, LiaisonError
from hub.broker.core import Core
from hub.broker.proofs import newest_note
from hub.store.log import LogReader
from protos.liaison.v1 import broker_pb2 as pb
from protos.liaison.v1.broker_pb2_grpc import LogServiceServicer


class LogServicer(LogServiceServicer):
    """Serves whoever checks that the log only grows."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def Latest(self, request: pb.LatestRequest, context: Any) -> pb.LatestResponse:  # noqa: N802
        """The newest checkpoint, with the cosignatures that it has so far."""
        _, note = await self._core.read(newest_note)
        return pb.LatestResponse(checkpoint=note)

    async def Consistency(  # noqa: N802
        self, request: pb.ConsistencyRequest, context: Any
    ) -> pb.ConsistencyResponse:
        """That the tree of one size is a prefix of that of another."""
        hashes = await self._core.read(
            lambda s: _up_to(s, request.second).consistency(request.first, request.second)
        )
        return pb.ConsistencyResponse(hashes=hashes)

    async def Inclusion(self, request: pb.InclusionRequest, context: Any) -> pb.InclusionResponse:  # noqa: N802
        """An entry, and that it is in the tree of a size."""

        def prove(session: Session) -> pb.InclusionResponse:
            log = _up_to(session, request.size)
            hashes = log.inclusion(request.index, request.size)
            return pb.InclusionResponse(hashes=hashes, entry=log.entry(request.index))

        return await self._core.read(prove)


def _up_to(session: Session, size: int) -> LogReader:
    """The log, if it has grown to that size. Raises LiaisonError(REQUEST_INVALID)."""
    log = LogReader(session)
    if size > log.size():
        raise LiaisonError(Code.REQUEST_INVALID, "The log is not that large yet.")
    return log
