"""`agency-node search`: ask the region's galleries for one face, follow it, and read what came."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from agency_node.cli.options import Invocation
from agency_node.config import Node, load_node
from federation.errors import Code, LiaisonError

_LARGEST_FILE = 64 << 20


@dataclass(frozen=True, slots=True)
class _Show:
    as_json: bool
    output: Path | None


@click.command("search")
@click.argument("picture", required=False, type=click.Path(path_type=Path))
@click.option("--case", "case_number", help="The case number. There is no search without one.")
@click.option("--purpose", help="Why, in a word of the policy language, such as `criminal-investigation`.")
@click.option("--offense", help="The offence, such as `nibrs:120`.")
@click.option("--source", "probe_source", help="Where the picture comes from, such as `cctv-still`.")
@click.option("--narrative", help="What happened, in words.")
@click.option("--basis", "legal_basis", help="The legal basis, in words.")
@click.option("--warrant", help="The number of a warrant or court order.")
@click.option("--attest", "attestations", multiple=True, help="A statement that you attest; may be repeated.")
@click.option("--for", "beneficiary", metavar="AGENCY", help="The agency that the search is for, if another.")
@click.option("--user", help="Who asks; the only user of node.toml if there is one.")
@click.option("--face", type=int, metavar="N", help="Which face, from left to right, when there are several.")
@click.option(
    "--gallery", "galleries", multiple=True, metavar="AGENCY/GALLERY", help="Ask this one; default all."
)
@click.option("--candidates", type=int, metavar="N", help="At most so many candidates from each gallery.")
@click.option(
    "--expires",
    default="1h",
    show_default=True,
    metavar="TIME",
    help="How long it may wait: 90s, 30m, 1h, 2d.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write result, receipts and pictures there.",
)
@click.option("--wait/--no-wait", default=True, help="Follow it to the end, or only hand it in.")
@click.option("--resume", metavar="ID", help="Go on with a search that was handed in before.")
@click.option("--cancel", metavar="ID", help="Withdraw what is not answered yet.")
@click.option("--list", "list_", is_flag=True, help="List this desk's searches.")
@click.option("--yes", is_flag=True, help="Do not ask before the request leaves.")
@click.pass_obj
def search(
    invocation: Invocation,
    /,
    picture: Path | None,
    output: Path | None,
    wait: bool,
    resume: str | None,
    cancel: str | None,
    list_: bool,
    yes: bool,
    **details: Any,
) -> None:
    """Search the region's galleries for the face in PICTURE.

    The face is cut out, every other face is masked, and the picture is sealed so that only the galleries' own
    nodes can open it. Each gallery answers, refuses with its rule, or says why it was not searched.

    A candidate is an investigative lead, never an identification.

    Exit status: 0 when at least one gallery answered; 32 when policy refuses everywhere; else the error's own.
    """
    node = load_node(invocation.home)
    show = _Show(invocation.json, output)
    if sum(bool(mode) for mode in (picture, resume, cancel, list_)) != 1:
        raise click.UsageError("Give a PICTURE, or one of --resume, --cancel and --list.")
    if list_:
        _list(node, show)
    elif resume or cancel:
        asyncio.run(_go_on(node, show, resume, cancel))
    elif picture:
        asyncio.run(_ask(node, show, picture, wait=wait, yes=yes, given=details))


async def _ask(
    node: Node, show: _Show, picture: Path, *, wait: bool, yes: bool, given: dict[str, Any]
) -> None:
    from agency_node.cli.search_view import Progress
    from agency_node.desk.details import RequestDetails, check_details, choose_user, parse_life
    from agency_node.desk.session import Desk
    from agency_node.engine.load import load_engine

    face, expires = given.pop("face"), given.pop("expires")
    for field, option in (("purpose", "--purpose"), ("probe_source", "--source"), ("case_number", "--case")):
        if not given[field]:
            raise LiaisonError(Code.REQUEST_INVALID, f"A search needs {option}.")
    user = choose_user(node.users, given.pop("user"))
    details = check_details(RequestDetails(user=user, life=parse_life(expires), **given))
    data = _read(picture)
    engine = load_engine(node.engine_spec, node.threads)
    async with Desk(node, engine) as desk:
        if not yes and not show.as_json and sys.stdin.isatty():
            asked = ", ".join(details.galleries) or "every gallery of the region"
            click.confirm(
                f"Case {details.case_number}: ask {asked}? It will be logged.", abort=True, err=True
            )
        search_id = await desk.start(data, details, face=face, label=picture.name)
        if not wait:
            _print_handed_in(search_id, show)
            return
        if not show.as_json:
            click.echo(
                f"Request {search_id} is logged. Ctrl-C is safe: go on with --resume {search_id}.", err=True
            )
        with Progress(quiet=show.as_json) as progress:
            result = await desk.follow(search_id, progress)
    _finish(result, show)


async def _go_on(node: Node, show: _Show, resume: str | None, cancel: str | None) -> None:
    from agency_node.cli.search_view import Progress
    from agency_node.desk.session import Desk

    async with Desk(node) as desk:
        if cancel:
            result = await desk.cancel(cancel, "Withdrawn by the requester.")
        else:
            with Progress(quiet=show.as_json) as progress:
                result = await desk.resume(resume or "", progress)
    _finish(result, show, withdrawn=bool(cancel))


def _finish(result: Any, show: _Show, *, withdrawn: bool = False) -> None:
    from agency_node.cli.search_view import print_result
    from agency_node.desk.files import write_files

    if show.output is not None:
        write_files(show.output, result)
    if show.as_json:
        click.echo(json.dumps(result.as_json(), indent=2, ensure_ascii=False))
    else:
        print_result(result, Console())
        if show.output is not None:
            click.echo(f"Written to {show.output}: result.json, receipts, photographs, candidates.png.")
    failure = result.failure()
    if failure is not None and not withdrawn:
        raise LiaisonError(failure, "No gallery answered.")


def _list(node: Node, show: _Show) -> None:
    from agency_node.cli.search_view import print_list
    from agency_node.desk.session import open_store

    store = open_store(node)
    try:
        listed = store.list()
    finally:
        store.close()
    if show.as_json:
        click.echo(json.dumps([line.as_json() for line in listed], indent=2))
    else:
        print_list(listed, Console())


def _print_handed_in(search_id: str, show: _Show) -> None:
    if show.as_json:
        click.echo(json.dumps({"id": search_id, "state": "submitted"}))
    else:
        click.echo(
            f"Request {search_id} is logged. Read what comes with: agency-node search --resume {search_id}"
        )


def _read(picture: Path) -> bytes:
    try:
        if picture.stat().st_size > _LARGEST_FILE:
            raise LiaisonError(Code.IMAGE_TOO_LARGE, f"The file is larger than {_LARGEST_FILE >> 20} MB.")
        return picture.read_bytes()
    except OSError as error:
        raise LiaisonError(Code.FILE_MISSING, f"{picture} cannot be read.") from error
