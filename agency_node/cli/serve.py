"""`agency-node serve`: the node's long-running process."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import TYPE_CHECKING, TextIO, cast

import click
import structlog

from agency_node.cli.options import Invocation
from agency_node.config import load_node
from federation.errors import Code, LiaisonError
from federation.event_stream import EventStream

if TYPE_CHECKING:
    from agency_node.config import Node
    from agency_node.link.link import Link
    from agency_node.link.running import Holdings
    from agency_node.link.store import NodeStore


@click.command()
@click.option(
    "--acknowledge",
    is_flag=True,
    help="The auditor has the evidence that the log contradicted itself: go on from the last good checkpoint.",
)
@click.pass_obj
def serve(invocation: Invocation, *, acknowledge: bool) -> None:
    """Run the node: hold the link to the hub, answer probes that policy permits, witness the log.

    Ends on SIGTERM or Ctrl-C after the search that is running. Writes a line `ready` once the hub has welcomed it,
    and never a face, a name or a template. With --json each line is a JSON object.
    """
    from agency_node.link.running import check_evidence, holdings, only_one
    from agency_node.link.store import NodeStore

    log_to_stderr(as_json=invocation.json)
    node = load_node(invocation.home)
    if not node.joined:
        raise LiaisonError(Code.IDENTITY_UNKNOWN, "This node has not joined a hub yet.")
    with only_one(node):
        store = NodeStore(node.database_path)
        try:
            check_evidence(store, acknowledge=acknowledge)
            with holdings(node) as held:
                asyncio.run(_run(node, held, store))
        finally:
            store.close()


def log_to_stderr(*, as_json: bool) -> None:
    """One event a line on stderr: JSON, or words for a person."""
    renderer: structlog.typing.Processor = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    if as_json:
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", EventStream(sys.stderr))),
    )


async def _run(node: Node, held: Holdings, store: NodeStore) -> None:
    from agency_node.link.running import run_node

    def stop_with(link: Link) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, link.leave)

    await run_node(node, held, store, stop_with)
