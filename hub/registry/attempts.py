"""How often one peer may try to join: a bucket of tokens for each, refilled with time."""

from __future__ import annotations

from collections import OrderedDict

from federation.errors import Code, LiaisonError

_MOST_PEERS = 10_000


class Attempts:
    """Buckets of `burst` attempts a peer, one given back every `seconds`; times are any clock's seconds.

    What is remembered is bounded: of more peers than that, the one that has been quiet longest is forgotten.
    """

    def __init__(self, burst: int = 10, seconds: float = 6.0) -> None:
        self._burst = burst
        self._seconds = seconds
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, peer: str, now: float) -> None:
        """Count an attempt. Raises LiaisonError(TOO_MANY_REQUESTS) when the peer has none left."""
        left, since = self._buckets.pop(peer, (float(self._burst), now))
        left = min(self._burst, left + max(0.0, now - since) / self._seconds)
        allowed = left >= 1
        self._buckets[peer] = (left - 1 if allowed else left, now)
        if len(self._buckets) > _MOST_PEERS:
            self._buckets.popitem(last=False)
        if not allowed:
            raise LiaisonError(Code.TOO_MANY_REQUESTS)

    def succeeded(self, peer: str) -> None:
        """Give back the attempt of a join that succeeded: it cost its peer a token of the coordinator."""
        if peer in self._buckets:
            left, since = self._buckets[peer]
            self._buckets[peer] = (min(self._burst, left + 1), since)


def host_of(peer: str) -> str:
    """The host in a gRPC peer name such as `ipv4:10.0.0.7:51234`: its port changes with every connection."""
    return peer.rpartition(":")[0] or peer
