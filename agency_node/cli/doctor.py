"""`agency-node doctor`: what could stop this node, each with a sentence and the next step. Reads only."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click

from agency_node.cli.options import Invocation
from agency_node.cli.status import ask_hub, certificates, galleries, log_state
from agency_node.config import Node, load_node
from federation.errors import CATALOGUE, Code, LiaisonError
from federation.identity.keys import read_secret
from federation.probe.request import SKEW

_LEAST_FREE = 1 << 30
_SOON = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `says` is a sentence; `next` what to do, empty when nothing is; `code` when it failed."""

    name: str
    ok: bool
    says: str
    next: str = ""
    code: str | None = None


@click.command("doctor")
@click.pass_obj
def doctor(invocation: Invocation, /) -> None:
    """Look for whatever could stop this node, and say what to do about it.

    Changes nothing and may run beside `serve`. Exit status: 0 when all is well, else that of the first failed check.
    """
    checks = examine(invocation.home, datetime.now(UTC))
    if invocation.json:
        click.echo(json.dumps([asdict(check) for check in checks], indent=2, ensure_ascii=False))
    else:
        for check in checks:
            click.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.says}")
            if check.next:
                click.echo(f"      {check.next}")
    failed = next((check for check in checks if not check.ok), None)
    if failed is not None:
        click.get_current_context().exit(CATALOGUE[Code(failed.code or Code.INTERNAL.value)].exit)


def examine(home: Path, at: datetime) -> list[Check]:
    """Every check, in an order in which an earlier failure explains a later one."""
    try:
        node = load_node(home)
    except LiaisonError as error:
        return [_failed("home", error)]
    checks = [Check("home", True, f"This is {node.node} of {node.agency} in {node.home}.")]
    checks += _keys(node)
    checks.append(_run("policy", lambda: _policy(node)))
    checks.append(_run("engine", _engine))
    checks.append(_run("disk", lambda: _disk(node)))
    checks.append(_run("galleries", lambda: _galleries(node)))
    if not node.joined:
        return [
            *checks,
            _failed("membership", LiaisonError(Code.IDENTITY_UNKNOWN, "This node has not joined yet.")),
        ]
    checks.append(_run("certificates", lambda: _certificates(node, at)))
    checks.append(_run("log", lambda: _log(node, at)))
    checks += _hub(asyncio.run(ask_hub(node, at)))
    return checks


def _keys(node: Node) -> Iterator[Check]:
    folder = node.home / "keys"
    for path in sorted(folder.glob("*.key")):
        yield _run(f"keys/{path.name}", partial(_secret, path))
    yield _run("agency key", lambda: _signer(node))


def _secret(path: Path) -> str:
    read_secret(path)
    return "Only its owner may read it."


def _signer(node: Node) -> str:
    node.signer()
    return "The agency can sign."


def _policy(node: Node) -> str:
    policy = node.policy
    if policy is None:
        raise LiaisonError(Code.POLICY_MISSING)
    counts = f"{len(policy.share)} share, {len(policy.use)} use and {len(policy.refuse)} refuse"
    return f"Version {policy.version} with {counts} rules."


def _engine() -> str:
    from agency_node.engine import pack

    pack.verify_pack(pack.pack_folder())
    return f"{pack.engine_id()} is whole."


def _disk(node: Node) -> str:
    free = shutil.disk_usage(node.home).free
    if free < _LEAST_FREE:
        raise LiaisonError(Code.STORAGE_FAILED, f"Only {free >> 20} MB are free.")
    return f"{free >> 30} GB are free."


def _galleries(node: Node) -> str:
    found = galleries(node)
    if not found:
        return "This member has a desk and no gallery."
    parts = [
        f"{g['gallery']}: {g['templates']} templates, {g['pending']} waiting for the index" for g in found
    ]
    return "; ".join(parts) + "."


def _certificates(node: Node, at: datetime) -> str:
    for name, end in certificates(node).items():
        if end is None:
            raise LiaisonError(
                Code.AGENCY_NOT_CONFIRMED,
                f"There is no {name} certificate yet; `serve` or `search` fetches it once confirmed.",
            )
        left = datetime.fromisoformat(end) - at
        if left < timedelta(0):
            raise LiaisonError(Code.CERTIFICATE_INVALID, f"The {name} certificate ended on {end[:10]}.")
        if left < _SOON:
            raise LiaisonError(
                Code.CERTIFICATE_INVALID, f"The {name} certificate ends on {end[:10]}; renewal is late."
            )
    return "Both are within their dates."


def _log(node: Node, at: datetime) -> str:
    state = log_state(node, at)
    if state["refused_checkpoints"]:
        raise LiaisonError(
            Code.CHECKPOINT_INCONSISTENT,
            f"{state['refused_checkpoints']} refused checkpoint(s) are kept in node.db.",
        )
    return (
        "No checkpoint was seen yet." if state["size"] is None else f"Followed up to {state['size']} entries."
    )


def _hub(answer: dict[str, Any]) -> Iterator[Check]:
    if not answer["reachable"]:
        code = Code(answer["code"])
        yield Check("hub", False, f"{answer['address']}: {answer['error']}", CATALOGUE[code].next, code.value)
        return
    yield Check("hub", True, f"{answer['address']} answers.")
    confirmed = bool(answer["confirmed"])
    if confirmed:
        yield Check("membership", True, "The agency's key is confirmed.")
    else:
        yield _failed("membership", LiaisonError(Code.AGENCY_NOT_CONFIRMED, answer["fingerprint"]))
    apart = answer["clock_difference_seconds"]
    if abs(apart) > SKEW.total_seconds():
        yield _failed("clock", LiaisonError(Code.CLOCK_SKEW, f"They differ by {abs(apart):.0f} seconds."))
    else:
        yield Check("clock", True, f"It differs from the hub's by {abs(apart):.1f} seconds.")


def _run(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, True, look())
    except LiaisonError as error:
        return _failed(name, error)


def _failed(name: str, error: LiaisonError) -> Check:
    return Check(name, False, error.sentence, error.entry.next, error.code.value)
