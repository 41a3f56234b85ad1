"""Comparing this machine's clock with the hub's: signatures and deadlines mean nothing when they differ by much."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from federation.canonical import unstamp
from federation.errors import Code, LiaisonError
from federation.probe.request import SKEW

Clock = Callable[[], datetime]


def check_hub_clock(hub_time: str, now: datetime) -> None:
    """Raise LiaisonError(CLOCK_SKEW) when the hub's clock and ours differ by more than five minutes."""
    ahead = now - unstamp(hub_time)
    if abs(ahead) > SKEW:
        minutes = int(abs(ahead).total_seconds() // 60)
        side = "ahead of" if ahead.total_seconds() > 0 else "behind"
        raise LiaisonError(Code.CLOCK_SKEW, f"This machine's clock is {minutes} minutes {side} the hub's.")
