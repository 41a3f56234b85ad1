"""Which call needs which authority: one table, and the interceptor that keeps it.

For every call: a method that is not in the table is refused; the caller is read from its certificate; the store is
asked whether that certificate and that node are still good. A stream is asked about again every few seconds, so
that a revocation cuts a link that is open.

Errors leave here in one way: the catalogue's gRPC status, the detail of this case, the code in the trailing metadata.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from enum import Enum
from typing import Any

import grpc
import grpc.aio
import structlog

from federation.errors import Code, LiaisonError
from federation.wire import CODE_KEY
from hub.broker.caller import Caller, caller_of, set_caller

_log = structlog.get_logger()
RECHECK_SECONDS = 2.0


class Authority(str, Enum):
    """Who may make a call: anybody, a node that has joined, or a node whose agency is confirmed."""

    PUBLIC = "public"
    MEMBER = "member"
    CONFIRMED = "confirmed"


TABLE: dict[str, Authority] = {
    "/liaison.v1.JoinService/Join": Authority.PUBLIC,
    "/liaison.v1.RegistryService/Renew": Authority.MEMBER,
    "/liaison.v1.RegistryService/Membership": Authority.MEMBER,
    "/liaison.v1.RegistryService/Publish": Authority.CONFIRMED,
    "/liaison.v1.RegistryService/Directory": Authority.CONFIRMED,
    "/liaison.v1.BrokerService/Submit": Authority.CONFIRMED,
    "/liaison.v1.BrokerService/Watch": Authority.CONFIRMED,
    "/liaison.v1.BrokerService/Collect": Authority.CONFIRMED,
    "/liaison.v1.BrokerService/Acknowledge": Authority.CONFIRMED,
    "/liaison.v1.BrokerService/Cancel": Authority.CONFIRMED,
    "/liaison.v1.LinkService/Open": Authority.CONFIRMED,
    "/liaison.v1.LogService/Latest": Authority.CONFIRMED,
    "/liaison.v1.LogService/Consistency": Authority.CONFIRMED,
    "/liaison.v1.LogService/Inclusion": Authority.CONFIRMED,
}

Check = Callable[[Caller, Authority], Awaitable[None]]
"""Asks the store whether a caller has an authority now; raises LiaisonError when it has not."""


class AuthorityInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg] # generic in the stubs only
    """Puts the table before every handler, and turns errors into what travels."""

    def __init__(self, region: str, check: Check, *, recheck_seconds: float = RECHECK_SECONDS) -> None:
        self._region = region
        self._check = check
        self._recheck_seconds = recheck_seconds

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        details: grpc.HandlerCallDetails,
    ) -> Any:
        """The handler of the method, behind the table."""
        handler = await continuation(details)
        if handler is None:
            return None
        authority = TABLE.get(details.method)
        wrapped = (
            self._stream(handler, authority)
            if handler.response_streaming
            else self._unary(handler, authority)
        )
        kinds = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }
        make = kinds[handler.request_streaming, handler.response_streaming]
        return make(wrapped, handler.request_deserializer, handler.response_serializer)

    def _unary(self, handler: Any, authority: Authority | None) -> Any:
        behaviour = handler.stream_unary if handler.request_streaming else handler.unary_unary

        async def serve(request: Any, context: Any) -> Any:
            async with _errors_travel(context):
                await self._admit(context, authority)
                return await behaviour(request, context)

        return serve

    def _stream(self, handler: Any, authority: Authority | None) -> Any:
        behaviour = handler.stream_stream if handler.request_streaming else handler.unary_stream

        async def serve(request: Any, context: Any) -> None:
            async with _errors_travel(context):
                recheck = await self._admit(context, authority)
                async with (
                    _while_holds(recheck, self._recheck_seconds),
                    aclosing(behaviour(request, context)) as responses,
                ):
                    async for response in responses:
                        await context.write(response)

        return serve

    async def _admit(self, context: Any, authority: Authority | None) -> Callable[[], Awaitable[None]]:
        """Let the call through or raise; returns the question to ask again while it lasts."""
        if authority is None:
            raise LiaisonError(Code.NOT_AUTHORIZED, "No authority is laid down for this call.")
        if authority is Authority.PUBLIC:
            return _nothing
        who, needed = caller_of(context.auth_context(), self._region), authority
        await self._check(who, needed)
        set_caller(who)
        return lambda: self._check(who, needed)


async def _nothing() -> None:
    return None


@asynccontextmanager
async def _errors_travel(context: Any) -> AsyncIterator[None]:
    try:
        yield
    except LiaisonError as error:
        await refuse(context, error)
    except grpc.aio.AbortError:
        raise
    except Exception as error:
        # The error's text may quote what was sent, so the log gets its kind and place only.
        _log.error("defect", kind=type(error).__name__, at=_place(error))
        await refuse(context, LiaisonError(Code.INTERNAL))


async def refuse(context: Any, error: LiaisonError) -> None:
    """End the call with an error of the catalogue."""
    status = grpc.StatusCode[error.entry.status]
    await context.abort(status, error.detail, ((CODE_KEY, error.code.value),))


@asynccontextmanager
async def _while_holds(question: Callable[[], Awaitable[None]], seconds: float) -> AsyncIterator[None]:
    """Run a block in this task as long as a question does not raise; what it raises ends the block."""
    main = asyncio.current_task()
    assert main is not None
    raised: list[LiaisonError] = []

    async def ask() -> None:
        try:
            while True:
                await asyncio.sleep(seconds)
                await question()
        except Exception as error:
            # A question that cannot be answered is answered with no.
            raised.append(error if isinstance(error, LiaisonError) else LiaisonError(Code.INTERNAL))
            main.cancel()

    asking = asyncio.create_task(ask())
    try:
        yield
    except asyncio.CancelledError:
        if not raised:
            raise
        main.uncancel()
        raise raised[0] from None
    finally:
        asking.cancel()


def _place(error: BaseException) -> str:
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return ""
    return f"{traceback.tb_frame.f_globals.get('__name__', '')}:{traceback.tb_lineno}"
