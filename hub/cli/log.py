"""`hub log …`: verify it, export it, read it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from federation.errors import Code, LiaisonError
from federation.identity.node import NodeStatement
from federation.identity.statement import SignedStatement
from federation.log import (
    EntryType,
    Report,
    VerifierKey,
    export_tiles,
    parse_entry,
    parse_vkey,
    verify_directory,
)
from federation.log.tiles import CHECKPOINT_FILE
from hub.cli.shell import HubGroup, Shell
from hub.store.audit import verify_database
from hub.store.log import LogReader
from hub.store.members import Members
from hub.store.tables import CheckpointRow, CosignatureRow, LeafRow

# Among the newest checkpoints that were cosigned at all, the one that most witnesses have seen.
_RECENT = 64


@click.group(cls=HubGroup)
def log() -> None:
    """Verify, export and read the audit log."""


@log.command(
    epilog="hub log verify\nhub log verify exported/\n"
    "hub log verify exported/ --log-key 'delta.liaison/log+…' --since kept-checkpoint"
)
@click.argument(
    "directory",
    required=False,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="[DIR]",
)
@click.option(
    "--log-key", metavar="VKEY", help="The log's key, from a source that you trust [the region's bundle]."
)
@click.option(
    "--witness", "witnesses", multiple=True, metavar="VKEY", help="A witness that must have cosigned DIR."
)
@click.option(
    "--since",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="An older checkpoint, kept elsewhere, that the log must continue.",
)
@click.pass_obj
def verify(
    shell: Shell,
    directory: Path | None,
    log_key: str | None,
    witnesses: tuple[str, ...],
    since: Path | None,
) -> None:
    """Verify an exported log, or, without DIR, the hub's own database: every entry, hash, checkpoint and signature.

    With --log-key, DIR is verified without a hub. A hub can verify itself, but only somebody else's checkpoint
    (--since) or a witness shows that the whole was not written anew. Exit code 44 when it does not verify.
    """
    older = since.read_bytes() if since else None
    key = parse_vkey(log_key or shell.hub().bundle().log_vkey)
    if directory is not None:
        report = verify_directory(
            directory, key, witness_keys=[parse_vkey(text) for text in witnesses], since=older
        )
    else:
        with shell.reading() as session:
            known = [*witness_keys(session), *(parse_vkey(text) for text in witnesses)]
            report = verify_database(session, key, known, older)
    shell.answer(report.as_json(), _in_words(report))
    if not report.verified:
        raise LiaisonError(Code.LOG_DAMAGED, report.problems[0])


@log.command(epilog="hub log export /srv/liaison-log")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@click.pass_obj
def export(shell: Shell, directory: Path) -> None:
    """Write the log as C2SP tiles with its newest well-witnessed checkpoint; again, to bring the folder up to date.

    Anybody can serve DIR as static files, and anybody can verify it with `python -m federation.log verify`.
    """
    with shell.reading() as session:
        reader = LogReader(session)
        size = _to_export(session, directory)
        note = reader.cosigned(size)
        directory.mkdir(parents=True, exist_ok=True)
        export_tiles(directory, size, reader.node, reader.entries, note)
        lines = select(func.count()).select_from(CosignatureRow).where(CosignatureRow.size == size)
        count = session.scalar(lines) or 0
        witnesses = [key.encode() for key in witness_keys(session)]
    value = {
        "directory": str(directory),
        "size": size,
        "cosignatures": count,
        "log_key": shell.hub().bundle().log_vkey,
        "witness_keys": witnesses,
    }
    shell.answer(value, f"{size} entries are in {directory}; {count} witnesses have cosigned the checkpoint.")


@log.command(epilog="hub log show --tail 20\nhub log show --type decision --json")
@click.option(
    "--type", "kind", type=click.Choice([kind.value for kind in EntryType]), help="Entries of one type."
)
@click.option("--tail", type=click.IntRange(min=1), metavar="N", help="The last N of them.")
@click.pass_obj
def show(shell: Shell, kind: str | None, tail: int | None) -> None:
    """Show entries, oldest first, one a line: index, time, type, facts."""
    with shell.reading() as session:
        chosen = select(LeafRow)
        if kind:
            chosen = chosen.where(LeafRow.type == kind)
        if tail:
            last = chosen.order_by(LeafRow.index.desc()).limit(tail)
            rows = list(reversed(session.scalars(last).all()))
        else:
            rows = list(session.scalars(chosen.order_by(LeafRow.index)))
    entries = [{"index": row.index, **_entry(row.entry)} for row in rows]
    words = [
        f"{e['index']:>7}  {e['at']}  {e['type']:15}  {json.dumps(e['facts'], ensure_ascii=False)}"
        for e in entries
    ]
    shell.answer(entries, "\n".join(words) or "There is no such entry.")


def witness_keys(session: Session) -> list[VerifierKey]:
    """The witness keys that the nodes' statements name."""
    statements = [row.statement for row in Members(session).nodes() if row.statement]
    payloads = [SignedStatement.decode(statement).payload for statement in statements]
    return [parse_vkey(NodeStatement.decode(payload).witness_vkey) for payload in payloads]


def _to_export(session: Session, directory: Path) -> int:
    """The size to export: not smaller than what the folder has already."""
    least = _exported(directory)
    cosigned = (
        select(CosignatureRow.size, func.count().label("witnesses"))
        .where(CosignatureRow.size >= least)
        .group_by(CosignatureRow.size)
        .order_by(CosignatureRow.size.desc())
        .limit(_RECENT)
    )
    counted = [(witnesses, size) for size, witnesses in session.execute(cosigned)]
    if counted:
        _, size = max(counted)
        return int(size)
    newest = session.scalar(select(func.max(CheckpointRow.size)))
    if newest is None:
        raise LiaisonError(Code.LOG_DAMAGED, "The log has no checkpoint.")
    return int(newest)


def _exported(directory: Path) -> int:
    """The size that a folder was exported at; export_tiles itself checks that it is this log's."""
    try:
        return int((directory / CHECKPOINT_FILE).read_text(encoding="utf-8").split("\n")[1])
    except (OSError, ValueError, IndexError):
        return 0


def _entry(data: bytes) -> dict[str, Any]:
    try:
        entry = parse_entry(data)
    except LiaisonError:
        return {"at": "-", "type": "UNREADABLE", "facts": {}, "commitment": None}
    fields: dict[str, Any] = json.loads(data)
    return {
        "at": fields["at"],
        "type": entry.type.value,
        "facts": fields["facts"],
        "commitment": entry.commitment,
    }


def _in_words(report: Report) -> str:
    lines = [f"Log        {report.origin}", f"Entries    {report.size}", f"Root       {report.root}"]
    lines += [f"           {count} {kind}" for kind, count in sorted(report.entries.items())]
    for name, timestamp in report.witnesses:
        lines.append(f"Witness    {name}, {datetime.fromtimestamp(timestamp, UTC).isoformat()}")
    lines += [f"PROBLEM    {problem}" for problem in report.problems]
    lines.append("VERIFIED" if report.verified else "NOT VERIFIED")
    return "\n".join(lines)
