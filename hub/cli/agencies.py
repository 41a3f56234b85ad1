"""`hub agency …` and `hub token`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from federation.identity.certificates import parse_certificate
from federation.identity.keys import fingerprint
from hub.cli.shell import Duration, HubCommand, HubGroup, Shell, offline_option, table
from hub.registry.agencies import add_agency, confirm, resume, revoke_node, suspend
from hub.registry.joining import confirmed_key
from hub.registry.tokens import make_token
from hub.store.members import Members
from hub.store.tables import AgencyRow, NodeRow

because_option = click.option(
    "--because", required=True, metavar="TEXT", help="Why, in a sentence; it is public, in the log."
)


@click.group(cls=HubGroup)
def agency() -> None:
    """Enrol agencies, confirm their signing keys, shut nodes or agencies out."""


@agency.command(epilog='hub agency add san-joaquin-so --name "San Joaquin County Sheriff"')
@click.argument("agency")
@click.option("--name", required=True, help="Its name, as people write it.")
@click.pass_obj
def add(shell: Shell, agency: str, name: str) -> None:
    """Enter an agency, so that its nodes can be given tokens."""
    shell.write(lambda transaction: add_agency(transaction, agency, name))
    shell.answer({"agency": agency, "name": name}, f"{agency} is entered. Next: hub token {agency}")


@agency.command("list", epilog="hub agency list\nhub agency list --json")
@click.pass_obj
def list_(shell: Shell) -> None:
    """List the agencies."""
    with shell.reading() as session:
        members = Members(session)
        found = [_agency(row, members.nodes(row.id)) for row in members.agencies()]
    rows = [
        [one["agency"], one["name"], one["state"], str(one["policy_version"] or "-"), str(len(one["nodes"]))]
        for one in found
    ]
    shell.answer(found, table("Agencies", ["agency", "name", "state", "policy", "nodes"], rows))


@agency.command(epilog="hub agency show san-joaquin-so")
@click.argument("agency")
@click.pass_obj
def show(shell: Shell, agency: str) -> None:
    """Show an agency: its keys, its policy, its nodes."""
    with shell.reading() as session:
        members = Members(session)
        found = _agency(members.agency(agency), members.nodes(agency))
    lines = [f"{found['agency']}: {found['name']}, {found['state']}"]
    labels = {
        "fingerprint": "Signing key",
        "serial": "Certificate",
        "not_after": "Valid until",
        "waiting": "KEY WAITING",
        "policy_version": "Policy version",
        "policy_digest": "Policy digest",
    }
    lines += [f"  {label:15} {found[key]}" for key, label in labels.items() if found[key]]
    for node in found["nodes"]:
        seen = f"last seen {node['last_seen']}" if node["last_seen"] else "not seen yet"
        state = f"REVOKED {node['revoked_at']}: {node['because']}" if node["revoked_at"] else seen
        lines.append(f"  Node {node['node']:10} joined {node['joined_at']}, {state}")
    if found["waiting"]:
        lines.append(
            "Have the agency read its fingerprint to you, then: "
            f"hub agency confirm {agency} --fingerprint FINGERPRINT"
        )
    shell.answer(found, "\n".join(lines))


@agency.command(
    "confirm",
    epilog="hub agency confirm san-joaquin-so --fingerprint SHA256:8c1f-… --offline /media/usb/delta",
)
@click.argument("agency")
@click.option(
    "--fingerprint", required=True, metavar="TEXT", help="What the agency read to you; not what `show` says."
)
@offline_option
@click.pass_obj
def confirm_(shell: Shell, agency: str, fingerprint: str, offline: Path | None) -> None:
    """Sign the agency's waiting key with the offline root.

    Telephone the agency at a number that you knew before, and have them read the fingerprint that `agency-node join`
    showed. With the fingerprint of a key that is confirmed already, its certificate is renewed for another year.
    """
    hub = shell.hub()
    root = shell.offline(offline).root(hub)
    done = shell.write(lambda transaction: confirm(transaction, hub.region, agency, fingerprint, root))
    value = {
        "agency": done.agency,
        "fingerprint": done.fingerprint,
        "serial": str(done.serial),
        "not_after": done.not_after,
        "rotated": done.rotated,
    }
    shell.answer(value, f"{agency} is confirmed until {done.not_after}. Put the offline keys away again.")


@agency.command(
    "revoke-node", epilog='hub agency revoke-node san-joaquin-so main --because "Disk stolen, report 26-118."'
)
@click.argument("agency")
@click.argument("node")
@because_option
@click.pass_obj
def revoke_node_(shell: Shell, agency: str, node: str, because: str) -> None:
    """Refuse a node from its next call on. It can join again with a new token."""
    shell.write(lambda transaction: revoke_node(transaction, agency, node, because))
    shell.answer(
        {"agency": agency, "node": node, "revoked": True}, f"The node {node} of {agency} is revoked."
    )


@agency.command(
    "suspend",
    epilog='hub agency suspend san-joaquin-so --because "Audit finding 7."\n'
    'hub agency suspend san-joaquin-so --lift --because "Finding 7 is closed."',
)
@click.argument("agency")
@because_option
@click.option("--lift", is_flag=True, help="End the suspension.")
@click.pass_obj
def suspend_(shell: Shell, agency: str, because: str, lift: bool) -> None:
    """Shut all nodes of an agency out from their next call on, until it is lifted.

    The hub does this, and other members believe the hub. When the agency's key itself is not to be believed any
    more, also publish a bundle: `hub policy publish --revoke-signer SERIAL`.
    """
    change = resume if lift else suspend
    shell.write(lambda transaction: change(transaction, agency, because))
    state = "active again" if lift else "suspended"
    shell.answer({"agency": agency, "suspended": not lift}, f"{agency} is {state}.")


@click.command(cls=HubCommand, epilog="hub token san-joaquin-so\nhub token san-joaquin-so --life 2h")
@click.argument("agency")
@click.option("--life", type=Duration(), default="24h", show_default=True, help="How long it may be used.")
@click.pass_obj
def token(shell: Shell, agency: str, life: timedelta) -> None:
    """Make a token with which one node of an agency can join, once.

    It is shown here and never again. Send it by a way that only the agency reads; `agency-node join` takes it.
    """
    hub = shell.hub()
    made = shell.write(lambda transaction: make_token(transaction, hub, agency, life))
    shell.answer({"agency": agency, "token": made.encode(), "expires": made.expires}, made.encode())


def _agency(row: AgencyRow, nodes: list[NodeRow]) -> dict[str, Any]:
    certificate = parse_certificate(row.signing_certificate) if row.signing_certificate else None
    state = "confirmed" if certificate else "key waiting" if row.signing_csr else "no node has joined"
    if certificate and row.signing_csr:
        state = "confirmed, another key waiting"
    return {
        "agency": row.id,
        "name": row.name,
        "state": "suspended" if row.suspended_at else state,
        "suspended_at": row.suspended_at,
        "fingerprint": _confirmed_fingerprint(row),
        "serial": str(certificate.serial_number) if certificate else None,
        "not_after": certificate.not_valid_after_utc.isoformat() if certificate else None,
        "waiting": row.fingerprint if row.signing_csr else None,
        "policy_version": row.policy_version,
        "policy_digest": row.policy_digest,
        "nodes": [
            {
                "node": node.node,
                "joined_at": node.joined_at,
                "last_seen": node.last_seen,
                "revoked_at": node.revoked_at,
                "because": node.revoked_because,
                "policy_digest": node.policy_digest,
            }
            for node in nodes
        ],
    }


def _confirmed_fingerprint(row: AgencyRow) -> str | None:
    return fingerprint(confirmed_key(row.signing_certificate)) if row.signing_certificate else None
