"""How the demo speaks to the person who runs it."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from agency_node.desk.outcome import LEAD_WORDING, NOT_CALIBRATED, GalleryOutcome
from demo.report import Report, Searched

_FIRST = 3


class Show:
    """Prints to the terminal; a wide fixed width where there is none, so that a log of it reads well."""

    def __init__(self) -> None:
        self.console = Console(width=None if Console().is_terminal else 120, highlight=False)

    def step(self, text: str) -> None:
        """One step of the setting up."""
        self.console.print(f"[bold]·[/bold] {text}")

    def heading(self, text: str) -> None:
        """A new part."""
        self.console.print()
        self.console.rule(f"[bold]{text}", align="left")

    def searched(self, searched: Searched) -> None:
        """One search: every gallery asked, with status, rule, first candidates and receipt."""
        made = ", ".join(_step(step) for step in searched.probe.made_by) or "as it is"
        truth = searched.probe.truth or "nobody enrolled"
        self.console.print(f"\n[bold]{searched.probe.id}[/bold]  ({made}; shows {truth})")
        if searched.result is None:
            self.console.print(f"  not searched: {searched.error}")
            return
        table = Table(
            "gallery", "status", "deciding rule", "candidates: subject, similarity", "receipt, log", box=None
        )
        for outcome in searched.result.outcomes:
            table.add_row(
                outcome.gallery,
                outcome.status.value,
                outcome.rule or "",
                _candidates(outcome),
                _kept(outcome),
            )
        self.console.print(table)
        refused = [outcome for outcome in searched.result.outcomes if outcome.answer is None]
        for outcome in refused:
            self.console.print(f"  {outcome.gallery}: {outcome.reason}")

    def summary(self, report: Report, json_path: str) -> None:
        """The figures at the end."""
        self.heading("What came of it")
        shown = report.as_json()
        table = Table(show_header=False, box=None)
        for name in ("rank1", "rank20", "failed_to_acquire", "seconds_per_search", "log", "hub_blind"):
            table.add_row(name, _plain(shown[name]))
        table.add_row("searches", str(len(report.searches)))
        table.add_row("report", json_path)
        self.console.print(table)
        for note in report.notes:
            self.console.print(f"note: {note}")
        self.console.print(f"\n[bold]{LEAD_WORDING}[/bold]")


def _candidates(outcome: GalleryOutcome) -> str:
    if outcome.answer is None:
        return "(not searched)"
    lines = [
        f"{c.rank}. {c.subject or 'not released'}  {c.similarity:.3f}  FMR {NOT_CALIBRATED if c.fmr is None else c.fmr}"
        for c in outcome.candidates[:_FIRST]
    ]
    more = len(outcome.candidates) - _FIRST
    return "\n".join(lines + ([f"and {more} more"] if more > 0 else [])) or "no candidates"


def _kept(outcome: GalleryOutcome) -> str:
    if outcome.receipt is None or outcome.receipt_digest is None:
        return "decided at the hub"
    return f"{outcome.receipt_digest[:19]}… leaf {outcome.receipt.log_index}"


def _step(step: dict[str, Any]) -> str:
    return " ".join([step["op"], *(f"{key} {value}" for key, value in step.items() if key != "op")])


def _plain(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)
