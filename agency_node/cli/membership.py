"""`agency-node init` and `agency-node join`: from nothing to a member of a region."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import click

from agency_node.cli.options import Invocation
from agency_node.config import load_node
from federation.errors import Code, LiaisonError
from federation.identity.keys import fingerprint

_LONGEST_TOKEN = 16_384


@click.command()
@click.option(
    "--agency", required=True, metavar="ID", help="The agency's id in the region, such as san-joaquin-so."
)
@click.option("--node", "node_name", default="n1", show_default=True, help="This node's name at the agency.")
@click.option("--name", default="", help="The agency's name, as people write it.")
@click.option(
    "--jurisdiction",
    "jurisdictions",
    multiple=True,
    default=("us",),
    show_default=True,
    metavar="PLACE",
    help="Where the agency stands, such as us-ca; may be repeated.",
)
@click.option(
    "--agency-key",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The key file of the agency's first node, when this is its second.",
)
@click.pass_obj
def init(
    invocation: Invocation,
    agency: str,
    node_name: str,
    name: str,
    jurisdictions: tuple[str, ...],
    agency_key: Path | None,
) -> None:
    """Make this node's folder: keys, settings, and a policy that refuses everything until you edit it."""
    from agency_node.home import make_home

    node = make_home(
        invocation.home, agency, node_name, name=name, jurisdictions=jurisdictions, agency_key=agency_key
    )
    said = fingerprint(node.signer().public_key())
    if invocation.json:
        click.echo(
            json.dumps({"home": str(node.home), "agency": agency, "node": node_name, "fingerprint": said})
        )
        return
    click.echo(f"{node.home} is made.")
    click.echo(f"Fingerprint of the agency's key: {said}")
    click.echo(
        "Next: edit policy.yaml there, ask the coordinator for a token, and run: agency-node join TOKEN"
    )


@click.command()
@click.argument("token", required=False)
@click.option(
    "--token-file",
    type=click.File("r"),
    help="Read the token from a file, or from - (what is typed or piped).",
)
@click.pass_obj
def join(invocation: Invocation, token: str | None, token_file: TextIO | None) -> None:
    """Join the hub that TOKEN names.

    The hub must show the root that the token names before anything is sent to it. A node that has joined already
    joins again with a new token.
    """
    from agency_node.link.join import join as join_hub

    if token is not None and token_file is None:
        line = token
    elif token is None and token_file is not None:
        line = _read(token_file)
    else:
        raise click.UsageError("Give the token, or --token-file.")
    joined = asyncio.run(join_hub(load_node(invocation.home), line, datetime.now(UTC)))
    node = joined.node
    if invocation.json:
        value = {
            "region": node.region,
            "agency": node.agency,
            "node": node.node,
            "fingerprint": joined.fingerprint,
        }
        click.echo(json.dumps(value))
        return
    click.echo(f"{node.agency}'s node {node.node} has joined the region {node.region}.")
    click.echo(f"Fingerprint of the agency's key: {joined.fingerprint}")
    click.echo(
        "Next: read it to the coordinator over the telephone if they have not confirmed it yet, and run:"
    )
    click.echo("  agency-node serve")


def _read(file: TextIO) -> str:
    try:
        return file.read(_LONGEST_TOKEN)
    except (OSError, UnicodeDecodeError) as error:
        raise LiaisonError(Code.TOKEN_INVALID, "The token's file cannot be read.") from error
