"""`agency-node import`: photographs from a folder or a manifest into a gallery."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from federation.errors import Code, LiaisonError

if TYPE_CHECKING:
    from agency_node.config import Node
    from agency_node.gallery import Galleries
    from agency_node.sync import ImportReport, Provenance, Source

MANIFEST_NAME = "manifest.csv"
_ROWS_PER_PLAIN_LINE = 500


class Invocation(Protocol):
    """What the main command knows: the node's home, and whether it answers in JSON."""

    @property
    def home(self) -> Path: ...

    @property
    def json(self) -> bool: ...


@click.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--gallery", "gallery_name", required=True, help="The gallery, as the policy file names it.")
@click.option(
    "--manifest", type=click.Path(path_type=Path), help=f"The manifest, if not SOURCE/{MANIFEST_NAME}."
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option(
    "--provenance-url", "url", help="For a folder of public-source photographs: the site's address."
)
@click.option(
    "--provenance-captured", "captured", metavar="YYYY-MM-DD", help="The day they were captured there."
)
@click.option("--basis", help="The lawful basis on which they are kept.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a machine.")
@click.pass_obj
def import_photographs(
    invocation: Invocation,
    source: Path,
    gallery_name: str,
    manifest: Path | None,
    dry_run: bool,
    url: str | None,
    captured: str | None,
    basis: str | None,
    as_json: bool,
) -> None:
    """Import photographs from SOURCE, a folder or a manifest in CSV.

    In a folder, each folder is a subject and each picture in it an encounter; a picture that lies directly in it is
    a subject of its own. Run again, the import does only what is new or changed. It may run while the node serves.

    Exit status: 0 everything is in; 14 some rows were skipped and are named, all the others are in.
    """
    from agency_node.config import load_node
    from agency_node.engine import load_engine
    from agency_node.sync import EngineReader, Provenance, import_rows

    as_json = as_json or invocation.json
    node = load_node(invocation.home)
    rows = _open_source(source, manifest, Provenance(url, _day(captured), basis))
    engine = load_engine(node.engine_spec, node.threads)
    with _open(node, engine.engine_id, engine.dimension) as galleries:
        gallery = galleries.named(gallery_name)
        with galleries.importing(), _progress(rows.total(), quiet=as_json) as progress:
            report = import_rows(gallery, EngineReader(engine), rows, progress, dry_run=dry_run)
        pending = gallery.counts().pending
    if as_json:
        click.echo(json.dumps({"gallery": gallery_name, "pending": pending, **report.as_json()}, indent=2))
    else:
        _print(report, gallery_name, pending)
    if report.skipped:
        raise LiaisonError(Code.IMPORT_INCOMPLETE, f"Skipped: {len(report.skipped)}.")


def _open_source(source: Path, manifest: Path | None, provenance: Provenance) -> Source:
    from agency_node.sync import FolderSource, ManifestSource

    today = datetime.now(UTC).astimezone().date()
    if manifest is None and source.is_file():
        manifest = source
    if manifest is None and (source / MANIFEST_NAME).is_file():
        manifest = source / MANIFEST_NAME
    if manifest is None:
        return FolderSource(source, today=today, provenance=provenance)
    if provenance != type(provenance)():
        raise click.UsageError("With a manifest, provenance and basis stand in its own columns.")
    return ManifestSource(manifest, today=today)


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise click.BadParameter("must be written YYYY-MM-DD", param_hint="--provenance-captured") from None


def _open(node: Node, engine_id: str, dimension: int) -> Galleries:
    """Open the galleries with the index, or without it while a serving process of this home holds it."""
    from agency_node.gallery import declared_galleries, open_galleries

    def opened(*, hold_index: bool) -> Galleries:
        return open_galleries(
            node.home,
            declared_galleries(node.policy),
            engine_id,
            vault_key_uri=node.vault_key_uri,
            milvus_uri=node.milvus_uri,
            dimension=dimension,
            hold_index=hold_index,
        )

    try:
        return opened(hold_index=True)
    except LiaisonError as error:
        if error.code is not Code.GALLERY_BUSY:
            raise
    return opened(hold_index=False)


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show progress: a bar on a terminal, a line now and then elsewhere, nothing beside JSON."""
    console = Console(stderr=True)
    if quiet:
        yield lambda _done: None
    elif not console.is_terminal:
        yield lambda done: _plain_line(done, total)
    else:
        columns = (TextColumn("importing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("importing", total=total)
            yield lambda done: bar.update(task, completed=done)


def _plain_line(done: int, total: int) -> None:
    if done % _ROWS_PER_PLAIN_LINE == 0 or done == total:
        click.echo(f"{done} of {total}", err=True)


def _print(report: ImportReport, gallery: str, pending: int) -> None:
    title = f"Gallery {gallery}: " + ("this is what an import would do" if report.dry_run else "imported")
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in (
        ("added", report.added),
        ("changed", report.changed),
        ("unchanged", report.unchanged),
        ("skipped", len(report.skipped)),
        ("to be looked at", len(report.flagged)),
    ):
        table.add_row(name, str(value))
    console = Console()
    console.print(table)
    for skipped in report.skipped:
        console.print(f"skipped {escape(skipped.where)}: {escape(skipped.sentence)}", soft_wrap=True)
    for where, flag in report.flagged:
        console.print(f"look at {escape(where)}: {escape(flag)}", soft_wrap=True)
    if pending and not report.dry_run:
        console.print("The serving node takes them into its index within seconds.")
