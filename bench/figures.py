"""A figure: one measured number, what it is held against, and the goal; a table row and a JSON line."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """`value` in `unit`; `ratio` is to what `against` names; `goal` (`<= 1.25`) is for the ratio if there is one."""

    bench: str
    figure: str
    value: float
    unit: str
    against: str = ""
    ratio: float | None = None
    goal: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal."""
        if not self.goal:
            return None
        sign, limit = self.goal.split()
        held = self.value if self.ratio is None else self.ratio
        return held <= float(limit) if sign == "<=" else held >= float(limit)


def show(figures: Sequence[Figure]) -> None:
    """Print the table, then one JSON line per figure."""
    table = Table("bench", "figure", "value", "unit", "against", "ratio", "goal", "met")
    for figure in figures:
        met = {None: "", True: "yes", False: "NO"}[figure.met]
        ratio = "" if figure.ratio is None else f"{figure.ratio:.3f}"
        value = f"{figure.value:,.3f}"
        table.add_row(
            figure.bench, figure.figure, value, figure.unit, figure.against, ratio, figure.goal, met
        )
    Console(width=150).print(table)
    for figure in figures:
        fields = ("bench", "figure", "value", "unit", "against", "ratio", "goal")
        print(json.dumps({field: getattr(figure, field) for field in fields}))


def paired_ratio(
    one: Callable[[], object], other: Callable[[], object], runs: int
) -> tuple[float, float, float]:
    """Median seconds of both, and the median of their ratios pair by pair, so that a drifting machine cancels out."""
    for call in (one, other):
        call()
    ones: list[float] = []
    others: list[float] = []
    for _ in range(runs):
        for call, taken in ((one, ones), (other, others)):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
    ratio = statistics.median(a / b for a, b in zip(ones, others, strict=True))
    return statistics.median(ones), statistics.median(others), ratio
