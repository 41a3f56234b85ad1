"""The links that are open: at most one per node, each with a bounded outbox. Used from the event loop only."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator

from federation.errors import LiaisonError
from protos.liaison.v1 import broker_pb2

_MOST_WAITING = 8


class Outbox:
    """Messages on their way to one node. Deliveries wait for room; small messages do not."""

    def __init__(self, limit: int = _MOST_WAITING) -> None:
        self._limit = limit
        self._messages: deque[broker_pb2.OpenResponse] = deque()
        self._some = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False
        self._error: LiaisonError | None = None

    @property
    def full(self) -> bool:
        """Whether a delivery would have to wait."""
        return len(self._messages) >= self._limit

    def push(self, message: broker_pb2.OpenResponse) -> None:
        """Add a small message at once."""
        if not self._closed:
            self._messages.append(message)
            self._some.set()

    async def put(self, message: broker_pb2.OpenResponse) -> None:
        """Add a message when there is room for it."""
        while self.full and not self._closed:
            self._room.clear()
            await self._room.wait()
        self.push(message)

    async def get(self) -> broker_pb2.OpenResponse | None:
        """The next message; None after a quiet end. Raises the error with which the outbox was closed."""
        while True:
            if self._error is not None:
                raise self._error
            if self._messages:
                self._room.set()
                return self._messages.popleft()
            if self._closed:
                return None
            self._some.clear()
            await self._some.wait()

    def close(self, error: LiaisonError | None = None) -> None:
        """End it: quietly once it is empty, or at once with an error. The first end counts."""
        if self._closed:
            return
        self._closed, self._error = True, error
        self._some.set()
        self._room.set()


class Link:
    """One open stream. `sent` are the deliveries that went down it and are not settled; `wake` says to look again.

    `log_size` is the size of the log that the node trusts, as far as the hub can tell.
    """

    def __init__(self, agency: str, node: str, log_size: int = 0) -> None:
        self.log_size = log_size
        self.agency = agency
        self.node = node
        self.outbox = Outbox()
        self.sent: set[str] = set()
        self.wake = asyncio.Event()
        self.wake.set()

    def withdraw(self, delivery_id: str) -> None:
        """Tell the node not to search."""
        self.sent.discard(delivery_id)
        withdrawal = broker_pb2.Withdrawal(delivery_id=delivery_id)
        self.outbox.push(broker_pb2.OpenResponse(withdrawal=withdrawal))

    def settle(self, delivery_id: str) -> None:
        """Tell the node that its outcome is on the hub's disk."""
        self.sent.discard(delivery_id)
        self.outbox.push(broker_pb2.OpenResponse(settled=broker_pb2.Settled(delivery_id=delivery_id)))


class Links:
    """The live links by (agency, node)."""

    def __init__(self) -> None:
        self._live: dict[tuple[str, str], Link] = {}

    def __iter__(self) -> Iterator[Link]:
        return iter(list(self._live.values()))

    def open(self, link: Link) -> Link | None:
        """Make this the node's link; returns the one that it takes the place of."""
        old = self._live.get((link.agency, link.node))
        self._live[link.agency, link.node] = link
        return old

    def close(self, link: Link) -> bool:
        """Take a link out; False when a newer one has its place already."""
        if self._live.get((link.agency, link.node)) is not link:
            return False
        del self._live[link.agency, link.node]
        return True

    def is_connected(self, agency: str, node: str) -> bool:
        """Whether a node's link is open now."""
        return (agency, node) in self._live

    def wake(self, agencies: Iterable[str]) -> None:
        """Let the links of these agencies look for deliveries."""
        wanted = frozenset(agencies)
        for (agency, _), link in self._live.items():
            if agency in wanted:
                link.wake.set()

    def withdraw(self, delivery_ids: Iterable[str]) -> None:
        """Tell every node that was sent one of these deliveries not to search."""
        ids = frozenset(delivery_ids)
        for link in self._live.values():
            for delivery_id in ids & link.sent:
                link.withdraw(delivery_id)

    def broadcast(self, message: broker_pb2.OpenResponse) -> None:
        """Send one small message down every link."""
        for link in self._live.values():
            link.outbox.push(message)

    def end(self) -> None:
        """End every link quietly, because the hub stops."""
        for link in self._live.values():
            link.outbox.close()
