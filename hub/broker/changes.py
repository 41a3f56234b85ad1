"""Telling watchers in this process that a request's deliveries have changed. What changed is in the database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class Changes:
    """Watchers by request id. Used from the event loop only."""

    def __init__(self) -> None:
        self._watchers: dict[str, set[asyncio.Event]] = {}

    @contextmanager
    def watch(self, request_id: str) -> Iterator[asyncio.Event]:
        """An event that is set at each change; whoever waits clears it before looking at the database."""
        event = asyncio.Event()
        self._watchers.setdefault(request_id, set()).add(event)
        try:
            yield event
        finally:
            watchers = self._watchers[request_id]
            watchers.discard(event)
            if not watchers:
                del self._watchers[request_id]

    def tell(self, request_ids: Iterable[str]) -> None:
        """Wake the watchers of these requests, after the commit."""
        for request_id in request_ids:
            for event in self._watchers.get(request_id, ()):
                event.set()
