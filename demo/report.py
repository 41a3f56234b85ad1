"""What the demo found, as figures and as `report.json`."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any

from agency_node.desk.outcome import SearchResult
from demo.photographs import Probe


@dataclass(slots=True)
class Searched:
    """One probe and what came of it; `error` when the probe could not be used (failure to acquire)."""

    probe: Probe
    result: SearchResult | None = None
    error: str | None = None
    picked: int | None = None

    @property
    def mate_rank(self) -> int | None:
        """The best rank at which any gallery names the person that the probe shows."""
        outcomes = self.result.outcomes if self.result else ()
        ranks = [c.rank for outcome in outcomes for c in outcome.candidates if c.subject == self.probe.truth]
        return min(ranks, default=None)

    def as_json(self) -> dict[str, Any]:
        """One element of the report's `searches`."""
        deliveries, seconds, request = [], None, None
        if self.result is not None:
            shown = self.result.as_json()
            deliveries, seconds, request = shown["deliveries"], shown["seconds"], shown["id"]
        for delivery in deliveries:
            for candidate in delivery["candidates"]:
                candidate.setdefault("fmr", None)
        return {
            "id": self.probe.id,
            "request": request,
            "probe": self.probe.id,
            "truth": self.probe.truth,
            "made_by": self.probe.made_by,
            "picked_face": self.picked,
            "error": self.error,
            "deliveries": deliveries,
            "seconds": seconds,
        }


@dataclass(slots=True)
class Report:
    """The whole run."""

    galleries: list[dict[str, Any]] = field(default_factory=list)
    searches: list[Searched] = field(default_factory=list)
    log: dict[str, Any] = field(default_factory=dict)
    hub_blind: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def rank_rate(self, rank: int) -> float | None:
        """The share of probes of enrolled people whose mate is among the first `rank` candidates of a gallery.

        A probe that could not be used counts as missed. None when nobody enrolled was looked for.
        """
        mated = [searched for searched in self.searches if searched.probe.truth is not None]
        if not mated:
            return None
        return sum((searched.mate_rank or rank + 1) <= rank for searched in mated) / len(mated)

    @property
    def failed_to_acquire(self) -> int:
        """How many probes could not be used."""
        return sum(searched.error is not None for searched in self.searches)

    @property
    def seconds(self) -> list[float]:
        """Seconds of each search."""
        return [searched.result.seconds for searched in self.searches if searched.result is not None]

    def as_json(self) -> dict[str, Any]:
        """`report.json`."""
        seconds = self.seconds
        return {
            "galleries": self.galleries,
            "searches": [searched.as_json() for searched in self.searches],
            "rank1": self.rank_rate(1),
            "rank20": self.rank_rate(20),
            "failed_to_acquire": self.failed_to_acquire,
            "seconds_per_search": {
                "median": statistics.median(seconds) if seconds else None,
                "most": max(seconds, default=None),
            },
            "log": self.log,
            "hub_blind": self.hub_blind,
            "notes": self.notes,
        }
