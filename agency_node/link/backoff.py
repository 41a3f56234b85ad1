"""How long to wait before dialing again."""

from __future__ import annotations

SHORTEST = 0.2
LONGEST = 30.0


def backoff(attempt: int, chance: float) -> float:
    """Seconds to wait before attempt number `attempt` (from 0), between 0.2 and at most 30: exponential, full jitter.

    `chance` is a random number in [0, 1). After a hub's restart all its nodes dial again; jitter spreads them.
    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    ceiling = min(LONGEST, SHORTEST * 2.0 ** min(attempt + 1, 20))
    return SHORTEST + chance * (ceiling - SHORTEST)
