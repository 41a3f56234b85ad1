"""Who may call what: the table is whole, and nothing is served that is not in it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import grpc
import grpc.aio
import pytest

from federation.errors import CATALOGUE, Code, LiaisonError
from federation.wire import CODE_KEY
from hub.broker.authority import TABLE, Authority, AuthorityInterceptor
from hub.broker.caller import Caller, caller, caller_of
from protos.liaison.v1 import broker_pb2, registry_pb2


def test_every_rpc_of_the_protos_is_in_the_table_and_nothing_else() -> None:
    methods = {
        f"/{service.full_name}/{method.name}"
        for file in (broker_pb2.DESCRIPTOR, registry_pb2.DESCRIPTOR)
        for service in file.services_by_name.values()
        for method in service.methods
    }
    assert methods == set(TABLE)


def test_only_joining_is_public() -> None:
    public = {method for method, authority in TABLE.items() if authority is Authority.PUBLIC}
    assert public == {"/liaison.v1.JoinService/Join"}


def test_every_code_has_a_status_that_grpc_knows() -> None:
    assert all(entry.status in grpc.StatusCode.__members__ for entry in CATALOGUE.values())


def test_a_caller_without_a_certificate_of_a_node_is_nobody() -> None:
    for context in ({}, {"x509_pem_cert": [b"no certificate"]}):
        with pytest.raises(LiaisonError) as caught:
            caller_of(context, "delta")
        assert caught.value.code is Code.CERTIFICATE_INVALID
    with pytest.raises(LiaisonError):
        caller()


class Context:
    """The part of a servicer's context that the interceptor uses."""

    def __init__(self, pem: bytes = b"") -> None:
        self.aborted: tuple[Any, ...] | None = None
        self.written: list[Any] = []
        self._pem = pem

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"x509_pem_cert": [self._pem]} if self._pem else {}

    async def write(self, message: Any) -> None:
        self.written.append(message)

    async def abort(self, *status: Any) -> None:
        self.aborted = status
        raise grpc.aio.AbortError


async def call(method: str, behaviour: Any, context: Context, check: Any = None, stream: bool = False) -> Any:
    async def allow(_who: Caller, _authority: Authority) -> None:
        return None

    async def continuation(_details: Any) -> Any:
        kind = grpc.unary_stream_rpc_method_handler if stream else grpc.unary_unary_rpc_method_handler
        return kind(behaviour)

    interceptor = AuthorityInterceptor("delta", check or allow, recheck_seconds=0.01)
    handler = await interceptor.intercept_service(continuation, SimpleNamespace(method=method))
    try:
        return await (handler.unary_stream if stream else handler.unary_unary)(None, context)
    except grpc.aio.AbortError:
        return None


async def test_a_method_outside_the_table_is_refused_before_it_runs() -> None:
    ran: list[int] = []

    async def behaviour(_request: Any, _context: Any) -> str:
        ran.append(1)
        return "done"

    context = Context()
    assert await call("/liaison.v1.BrokerService/Secret", behaviour, context) is None
    assert ran == []
    assert context.aborted is not None
    assert context.aborted[0] is grpc.StatusCode.PERMISSION_DENIED


async def test_a_defect_says_nothing_about_what_was_sent(capsys: pytest.CaptureFixture[str]) -> None:
    async def behaviour(_request: Any, _context: Any) -> str:
        raise ValueError("the case number is MC-26-0417")

    context = Context()
    await call("/liaison.v1.JoinService/Join", behaviour, context)
    assert context.aborted == (grpc.StatusCode.INTERNAL, "", ((CODE_KEY, "internal"),))
    said = capsys.readouterr()
    assert "defect" in said.out
    assert "MC-26" not in said.out + said.err


@pytest.mark.parametrize("raised", [LiaisonError(Code.CERTIFICATE_REVOKED), RuntimeError("the disk is gone")])
async def test_a_stream_ends_when_the_question_is_no_longer_answered_with_yes(
    asker: Any, raised: Exception
) -> None:
    asked: list[int] = []

    async def check(_who: Caller, _authority: Authority) -> None:
        asked.append(1)
        if len(asked) > 3:
            raise raised

    async def behaviour(_request: Any, _context: Any) -> Any:
        yield caller().agency
        await asyncio.Event().wait()

    context = Context(asker.tls_chain)
    await call("/liaison.v1.BrokerService/Watch", behaviour, context, check, stream=True)
    assert context.written == [asker.agency]
    expected = raised.code if isinstance(raised, LiaisonError) else Code.INTERNAL
    assert context.aborted is not None
    assert context.aborted[2] == ((CODE_KEY, expected.value),)


async def test_a_cancelled_stream_stays_cancelled(asker: Any) -> None:
    async def behaviour(_request: Any, _context: Any) -> Any:
        yield 1
        await asyncio.Event().wait()

    context = Context(asker.tls_chain)
    task = asyncio.create_task(call("/liaison.v1.BrokerService/Watch", behaviour, context, stream=True))
    await asyncio.sleep(0.03)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert context.aborted is None
