"""The stand-alone verifier: `python -m federation.log verify DIR --log-key KEY` and `... receipt FILE --log-key KEY`.

Needs this package, `cryptography` and `rfc8785`; no network, no hub and no node.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from federation.errors import Code, LiaisonError
from federation.log.note import parse_vkey
from federation.log.receipt import LogReceipt
from federation.log.verify import Report, verify_directory


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0, or that of the error in the catalogue."""
    options = _parser().parse_args(arguments)
    try:
        return _verify(options) if options.command == "verify" else _receipt(options)
    except LiaisonError as error:
        if options.json:
            _print(json.dumps(error.as_json()))
        else:
            sys.stderr.write(f"{error.diagnostics()}\n")
        return error.entry.exit


def _verify(options: argparse.Namespace) -> int:
    report = verify_directory(
        options.directory,
        parse_vkey(options.log_key),
        origin=options.origin,
        witness_keys=[parse_vkey(key) for key in options.witness],
        threshold=options.threshold,
        since=None if options.since is None else _read(options.since),
    )
    _print(json.dumps(report.as_json()) if options.json else _in_words(report))
    return 0 if report.verified else LiaisonError(Code.LOG_DAMAGED).entry.exit


def _receipt(options: argparse.Namespace) -> int:
    receipt = LogReceipt.from_json(_read(options.file))
    entry, checkpoint = receipt.verify(parse_vkey(options.log_key), options.origin)
    if options.json:
        facts = {
            "verified": True,
            "origin": checkpoint.origin,
            "size": checkpoint.size,
            "index": receipt.index,
        }
        _print(json.dumps({**facts, "type": entry.type.value, "at": entry.at.isoformat()}))
    else:
        _print(f"VERIFIED: entry {receipt.index} of {checkpoint.size} in the log {checkpoint.origin}:")
        _print(json.dumps(json.loads(receipt.entry), indent=2))
    return 0


def _in_words(report: Report) -> str:
    lines = [f"Log        {report.origin}", f"Entries    {report.size}", f"Root       {report.root}"]
    lines += [f"           {count} {kind}" for kind, count in sorted(report.entries.items())]
    for name, timestamp in report.witnesses:
        lines.append(f"Witness    {name}, {_in_utc(timestamp)}")
    if not report.witnesses:
        lines.append("Witness    none: nothing here shows that others were shown the same log")
    lines += [f"PROBLEM    {problem}" for problem in report.problems]
    lines.append("VERIFIED" if report.verified else "NOT VERIFIED")
    return "\n".join(lines)


def _in_utc(timestamp: int) -> str:
    try:
        return datetime.fromtimestamp(timestamp, UTC).isoformat()
    except (ValueError, OverflowError, OSError):  # a witness may sign any 63-bit number
        return f"{timestamp} s"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise LiaisonError(Code.FILE_MISSING, f"{path} cannot be read.") from None


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m federation.log", description="Verify the log, trusting nobody."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify", help="verify an exported log: all entries, tiles and signatures")
    verify.add_argument(
        "directory", type=Path, metavar="DIR", help="the folder that holds `checkpoint` and `tile/`"
    )
    verify.add_argument(
        "--witness", action="append", default=[], metavar="KEY", help="a witness's vkey; repeatable"
    )
    verify.add_argument(
        "--threshold", type=int, metavar="N", help="how many must have cosigned (all of them)"
    )
    verify.add_argument(
        "--since", type=Path, metavar="FILE", help="an older checkpoint that the log must continue"
    )
    receipt = commands.add_parser("receipt", help="verify that the entry in a receipt is in the log")
    receipt.add_argument("file", type=Path, metavar="FILE", help="the receipt")
    for command in (verify, receipt):
        command.add_argument(
            "--log-key", required=True, metavar="KEY", help="the log's vkey, from a source you trust"
        )
        command.add_argument("--origin", help="the log's origin, if it is not the name of its key")
        command.add_argument("--json", action="store_true", help="answer in JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
