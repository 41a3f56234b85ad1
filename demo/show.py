"""How the demo speaks to the person who runs it."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from agency_node.desk.outcome import LEAD_WORDING, NOT_CALIBRATED, GalleryOutcome
from demo.report import Report, Searched

_FIRST = 3


class Show:
    """Prints to the terminal; a fixed width where there is none, so that a log of it reads well."""

    def __init__(self) -> None:
        self.console = Console(width=None if Console().is_terminal else 132, highlight=False, soft_wrap=True)

    def step(self, text: str) -> None:
        """One step of the setting up."""
        self.console.print(f"[bold]·[/bold] {text}")

    def heading(self, text: str) -> None:
        """A new part."""
        self.console.print(f"\n[bold]{text}[/bold]")

    def searched(self, searched: Searched) -> None:
        """One search: every gallery asked, with status, rule, first candidates and receipt."""
        made = ", ".join(_step(step) for step in searched.probe.made_by) or "as it is"
        truth = searched.probe.truth or "nobody enrolled"
        self.console.print(f"\n[bold]{searched.probe.id}[/bold] ({made}): shows {truth}")
        if searched.result is None:
            self.console.print(f"  not searched: {searched.error}")
            return
        table = Table("gallery", "status", "deciding rule", "candidates, similarity", "receipt", box=None)
        for outcome in searched.result.outcomes:
            rule = (outcome.rule or "").partition("/")[2]
            table.add_row(
                outcome.gallery, outcome.status.value, rule, _candidates(outcome), _receipt(outcome)
            )
        self.console.print(table)
        for outcome in searched.result.outcomes:
            if outcome.answer is None:
                self.console.print(f"  {outcome.gallery}: {outcome.reason}")
        self.console.print(f"  {searched.result.seconds:.2f} s; false match rates: {NOT_CALIBRATED}")

    def summary(self, report: Report, json_path: str) -> None:
        """The figures at the end."""
        shown = report.as_json()
        self.heading("What came of it")
        seconds, log = shown["seconds_per_search"], shown["log"]
        rows = {
            "searches": str(len(report.searches)),
            "rank-1, rank-20": f"{_rate(shown['rank1'])}, {_rate(shown['rank20'])}",
            "failures to acquire": str(shown["failed_to_acquire"]),
            "seconds per search": f"{seconds['median']:.2f} median, {seconds['most']:.2f} most",
            "log": f"{log['size']} entries, root {log['root'][:16]}…, verified {log['verified']}",
            "report": json_path,
        }
        table = Table(show_header=False, box=None)
        for name, value in rows.items():
            table.add_row(name, value)
        self.console.print(table)
        for note in report.notes:
            self.console.print(f"note: {note}")
        self.console.print(f"\n[bold]{LEAD_WORDING}[/bold]")


def _candidates(outcome: GalleryOutcome) -> str:
    if outcome.answer is None:
        return "(not searched)"
    lines = [
        f"{c.rank}. {c.subject or 'not released'} {c.similarity:.3f}" for c in outcome.candidates[:_FIRST]
    ]
    more = len(outcome.candidates) - _FIRST
    return "\n".join(lines + ([f"and {more} more"] if more > 0 else [])) or "no candidates"


def _receipt(outcome: GalleryOutcome) -> str:
    if outcome.receipt is None or outcome.receipt_digest is None:
        return "decided at the hub"
    return f"{outcome.receipt_digest[:15]}…, log leaf {outcome.receipt.log_index}"


def _rate(rate: float | None) -> str:
    return "nobody enrolled was looked for" if rate is None else f"{rate:.3f}"


def _step(step: dict[str, Any]) -> str:
    return " ".join([step["op"], *(f"{key} {value}" for key, value in step.items() if key != "op")])
