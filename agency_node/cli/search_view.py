"""How a search looks in a terminal: the progress while it runs, then each gallery with its status and candidates."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from agency_node.desk.merge import merge
from agency_node.desk.outcome import LEAD_WORDING, NOT_CALIBRATED, GalleryOutcome, SearchResult
from agency_node.desk.store import Listed
from federation.probe.answer import Candidate
from federation.probe.delivery import DeliveryState

_COLOURS = {
    DeliveryState.ANSWERED: "green",
    DeliveryState.REFUSED_BY_HUB: "red",
    DeliveryState.REFUSED_BY_NODE: "red",
    DeliveryState.FAILED: "red",
    DeliveryState.UNREACHABLE: "yellow",
    DeliveryState.EXPIRED: "yellow",
    DeliveryState.CANCELLED: "yellow",
    DeliveryState.AWAITING_APPROVAL: "yellow",
}


class Progress:
    """A live table on a terminal, a line for each change elsewhere, nothing when `quiet`. Writes to stderr."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = Console(stderr=True)
        self._live = (
            Live(console=self._console, transient=True) if not quiet and sys.stderr.isatty() else None
        )
        self._quiet = quiet
        self._known: dict[str, GalleryOutcome] = {}

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, outcome: GalleryOutcome) -> None:
        """Show a gallery's new status."""
        before = self._known.get(outcome.gallery)
        self._known[outcome.gallery] = outcome
        if self._live:
            self._live.update(self._table())
        elif not self._quiet and (before is None or before.status is not outcome.status):
            print(f"{outcome.gallery}: {outcome.status.value}: {outcome.reason}", file=sys.stderr)  # noqa: T201

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for column in ("gallery", "status", ""):
            table.add_column(column)
        for name in sorted(self._known):
            outcome = self._known[name]
            table.add_row(name, _coloured(outcome.status), escape(outcome.reason))
        return table


def print_result(result: SearchResult, console: Console) -> None:
    """Every gallery with its status, sentence, rule and candidates; the merged list; the fixed wording."""
    merged = merge(result.outcomes)
    for outcome in result.outcomes:
        console.print(f"\n[bold]{escape(outcome.gallery)}[/bold]  {_coloured(outcome.status)}")
        console.print(f"  {escape(outcome.reason)}", highlight=False)
        if outcome.rule:
            console.print(f"  deciding rule: {escape(outcome.rule)}", highlight=False)
        if outcome.answer:
            size = outcome.answer.gallery_size
            console.print(
                f"  searched {size.subjects} subjects with {escape(outcome.answer.engine)}", highlight=False
            )
        if outcome.gallery in merged.expected_false:
            expected = merged.expected_false[outcome.gallery]
            console.print(
                f"  about {expected:.2g} of these candidates would appear even if the person is not in this gallery",
                highlight=False,
            )
        if outcome.answer and not outcome.candidates:
            console.print("  no candidate")
        if outcome.candidates:
            console.print(_candidates(outcome.candidates))
        if outcome.receipt:
            where = (
                f", log index {outcome.receipt.log_index}" if outcome.receipt.log_index is not None else ""
            )
            console.print(
                f"  receipt {outcome.receipt_digest}{where}", style="dim", highlight=False, soft_wrap=True
            )
    if len(merged.expected_false) > 1:
        console.print("\n[bold]Calibrated galleries together[/bold], the rarest chance match first")
        console.print(_candidates([r.candidate for r in merged.by_fmr], [r.gallery for r in merged.by_fmr]))
    for note in result.notes:
        console.print(f"\n[red]{escape(note)}[/red]", highlight=False)
    console.print(
        f"\nrequest {result.id}, log index {result.log_index}, {result.seconds:.1f} s", highlight=False
    )
    console.print(f"[bold]{LEAD_WORDING}[/bold]", highlight=False)


def print_list(listed: Sequence[Listed], console: Console) -> None:
    """This desk's searches, one a line."""
    if not listed:
        console.print("This desk has made no search yet.")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("id", "state", "made", "case", "purpose", "galleries"):
        table.add_column(column, no_wrap=column in ("id", "state", "made"))
    for line in listed:
        table.add_row(
            line.id,
            line.state.value,
            line.created_at[:16].replace("T", " "),
            escape(line.case_number or ""),
            line.purpose,
            str(len(line.galleries)),
        )
    console.print(table)


def _candidates(candidates: Sequence[Candidate], galleries: Sequence[str] | None = None) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2))
    for column in ("rank", "subject", "similarity", "FMR", "encounter"):
        table.add_column(column, justify="right" if column in ("rank", "similarity") else "left")
    if galleries:
        table.add_column("gallery")
    for number, candidate in enumerate(candidates):
        row = [
            str(number + 1 if galleries else candidate.rank),
            escape(candidate.subject or "not released"),
            f"{candidate.similarity:.3f}",
            NOT_CALIBRATED if candidate.fmr is None else f"{candidate.fmr:.1e}",
            escape(candidate.encounter_date or ""),
        ]
        table.add_row(*row, *([escape(galleries[number])] if galleries else []))
    return table


def _coloured(status: DeliveryState) -> str:
    return f"[{_COLOURS.get(status, 'cyan')}]{status.value.replace('_', ' ')}[/]"
