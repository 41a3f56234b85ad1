"""`agency-node status`: where this member stands. Reads only; works beside `serve` and without a gallery."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agency_node.cli.options import Invocation
from agency_node.config import Node, load_node
from federation.errors import LiaisonError

_HUB_SECONDS = 5.0


@click.command("status")
@click.pass_obj
def status(invocation: Invocation, /) -> None:
    """Show membership, certificates, hub, galleries, engine and log of this node."""
    node = load_node(invocation.home)
    found = asyncio.run(survey(node, datetime.now(UTC)))
    if invocation.json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _print(found)


async def survey(node: Node, at: datetime) -> dict[str, Any]:
    """What can be said of a node; a part that cannot be read says why in its `error`."""
    return {
        "member": {"agency": node.agency, "node": node.node, "region": node.region, "joined": node.joined},
        "certificates": _part(lambda: certificates(node)),
        "region": _part(lambda: _region(node, at)),
        "hub": await ask_hub(node, at) if node.joined else {"error": "This node has not joined a hub yet."},
        "engine": _part(lambda: _engine(node)),
        "galleries": _part(lambda: galleries(node)),
        "log": _part(lambda: log_state(node, at)),
        "serving": serving(node),
    }


def certificates(node: Node) -> dict[str, str | None]:
    """When the TLS certificate and the agency's signing certificate end (ISO dates); None where there is none."""
    from federation.identity.certificates import parse_certificate

    ends = {}
    for name, path in (("tls", node.tls_chain_path), ("signing", node.signing_certificate_path)):
        there = path.exists()
        ends[name] = parse_certificate(path.read_bytes()).not_valid_after_utc.isoformat() if there else None
    return ends


async def ask_hub(node: Node, at: datetime) -> dict[str, Any]:
    """Whether the hub answers, whether the agency is confirmed, and by how many seconds the clocks differ."""
    from agency_node.link.channel import call_errors, open_channel
    from federation.canonical import unstamp
    from protos.liaison.v1 import registry_pb2, registry_pb2_grpc

    try:
        channel = open_channel(node, at)
    except LiaisonError as error:
        return {"address": node.broker, "reachable": False, "error": error.sentence, "code": error.code.value}
    try:
        stub = registry_pb2_grpc.RegistryServiceStub(channel)  # type: ignore[no-untyped-call]
        with call_errors():
            answer = await stub.Membership(registry_pb2.MembershipRequest(), timeout=_HUB_SECONDS)
        apart = (unstamp(answer.hub_time) - datetime.now(UTC)).total_seconds()
    except LiaisonError as error:
        return {"address": node.broker, "reachable": False, "error": error.sentence, "code": error.code.value}
    finally:
        await channel.close(None)
    return {
        "address": node.broker,
        "reachable": True,
        "confirmed": answer.confirmed,
        "fingerprint": answer.fingerprint,
        "clock_difference_seconds": round(apart, 1),
    }


def galleries(node: Node) -> list[dict[str, Any]]:
    """Every gallery that the policy declares, with counts from the records; never opens the index."""
    from agency_node.engine import pack
    from agency_node.gallery import declared_galleries, open_galleries

    declared = declared_galleries(node.policy)
    if not declared:
        return []
    if not (node.home / "galleries" / "records.db").exists():
        return [_gallery(name, declaration.kind, 0, 0, 0) for name, declaration in declared.items()]
    opened = open_galleries(
        node.home, declared, pack.engine_id(), vault_key_uri=node.vault_key_uri, hold_index=False
    )
    with opened:
        counts = {name: opened[name].counts() for name in declared}
    return [
        _gallery(name, declared[name].kind, count.subjects, count.templates, count.pending)
        for name, count in counts.items()
    ]


def log_state(node: Node, at: datetime) -> dict[str, Any]:
    """The log as this node has seen it: size of the last checkpoint, refused checkpoints, unsent outcomes."""
    from agency_node.link.store import NodeStore
    from agency_node.link.trust import load_trust
    from federation.log import TrustedLog

    if not node.database_path.exists():
        return {"size": None, "refused_checkpoints": 0, "unsent_outcomes": 0}
    bundle = load_trust(node, at).bundle
    store = NodeStore(node.database_path)
    try:
        state = store.log_state(bundle.log_vkey)
        last = TrustedLog.from_json(state).last if state else None
        return {
            "size": last.size if last else None,
            "refused_checkpoints": len(store.evidence()),
            "unsent_outcomes": len(store.unsettled()),
        }
    finally:
        store.close()


def serving(node: Node) -> bool:
    """Whether a `serve` process of this home is running: it holds the lock on its file."""
    import fcntl

    try:
        with node.lock_path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _region(node: Node, at: datetime) -> dict[str, Any]:
    from agency_node.link.trust import load_trust

    bundle = load_trust(node, at).bundle
    return {"bundle_version": bundle.version, "issued_at": bundle.issued_at, "statutes": len(bundle.statutes)}


def _engine(node: Node) -> dict[str, Any]:
    from agency_node.engine import pack

    pack.verify_pack(pack.pack_folder())
    return {"engine": node.engine_spec, "id": pack.engine_id(), "verified": True}


def _gallery(name: str, kind: str, subjects: int, templates: int, pending: int) -> dict[str, Any]:
    return {"gallery": name, "kind": kind, "subjects": subjects, "templates": templates, "pending": pending}


def _part(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except LiaisonError as error:
        return {"error": error.sentence, "next": error.entry.next, "code": error.code.value}


def _print(found: dict[str, Any]) -> None:
    console = Console()
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, value in found.items():
        table.add_row(name, escape(_words(value)))
    console.print(table)


def _words(value: Any) -> str:
    if isinstance(value, dict):
        if "error" in value and "reachable" not in value:
            return str(value["error"])
        return ", ".join(f"{key.replace('_', ' ')} {_words(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return "\n".join(_words(inner) for inner in value) or "none"
    if value is None:
        return "none"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
