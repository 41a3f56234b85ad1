"""The outbox of a link: bounded for deliveries, never blocked for small messages, ended once."""

from __future__ import annotations

import asyncio

import pytest

from federation.errors import Code, LiaisonError
from hub.broker.links import Link, Links, Outbox
from protos.liaison.v1.broker_pb2 import OpenResponse, Settled


def message(name: str) -> OpenResponse:
    return OpenResponse(settled=Settled(delivery_id=name))


async def test_a_delivery_waits_for_room_and_small_messages_do_not() -> None:
    outbox = Outbox(limit=2)
    await outbox.put(message("a"))
    await outbox.put(message("b"))
    waiting = asyncio.create_task(outbox.put(message("d")))
    await asyncio.sleep(0)
    outbox.push(message("c"))
    assert not waiting.done()
    order = []
    for _ in range(4):
        got = await outbox.get()
        assert got is not None
        order.append(got.settled.delivery_id)
        await asyncio.sleep(0)
    assert order == ["a", "b", "c", "d"]
    await waiting


async def test_a_quiet_end_gives_out_what_is_there_and_an_error_does_not() -> None:
    quiet, loud = Outbox(), Outbox()
    for outbox in (quiet, loud):
        outbox.push(message("a"))
    quiet.close()
    loud.close(LiaisonError(Code.LINK_SUPERSEDED))
    loud.close()
    assert await quiet.get() == message("a")
    assert await quiet.get() is None
    with pytest.raises(LiaisonError):
        await loud.get()


async def test_an_end_frees_whoever_waits_for_room() -> None:
    outbox = Outbox(limit=1)
    await outbox.put(message("a"))
    waiting = asyncio.create_task(outbox.put(message("b")))
    await asyncio.sleep(0)
    outbox.close()
    await asyncio.wait_for(waiting, 5)
    assert await outbox.get() == message("a")
    assert await outbox.get() is None


async def test_an_older_link_does_not_take_the_newer_one_out() -> None:
    links, old, new = Links(), Link("a", "n"), Link("a", "n")
    assert links.open(old) is None
    assert links.open(new) is old
    assert not links.close(old)
    assert links.is_connected("a", "n")
    assert links.close(new)
    assert not links.is_connected("a", "n")


async def test_a_withdrawal_goes_only_to_the_link_that_was_sent_the_delivery() -> None:
    links, one, two = Links(), Link("a", "n"), Link("b", "n")
    for link in (one, two):
        links.open(link)
    one.sent.add("x")
    links.withdraw(["x", "y"])
    got = await one.outbox.get()
    assert got is not None
    assert got.withdrawal.delivery_id == "x"
    assert one.sent == set()
    links.end()
    assert await two.outbox.get() is None
