"""Options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from agency_node.config import HOME_VARIABLE, default_home


@dataclass
class Invocation:
    """One run of the command line: the node's home, and whether the answer is for a machine."""

    home: Path = field(default_factory=default_home)
    json: bool = False


def _set_json(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    invocation = context.ensure_object(Invocation)
    invocation.json = invocation.json or value


def _set_home(context: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
    if value is not None:
        context.ensure_object(Invocation).home = value.expanduser()


def json_option(command: Any) -> Any:
    """Let a command take `--json` itself; it sets the invocation's."""
    return click.option(
        "--json", is_flag=True, expose_value=False, callback=_set_json, help="Answer in JSON."
    )(command)


def home_option(command: Any) -> Any:
    """Let a command take `--home` itself; it sets the invocation's."""
    return click.option(
        "--home",
        type=click.Path(path_type=Path, file_okay=False),
        expose_value=False,
        callback=_set_home,
        metavar="DIR",
        help=f"The node's folder [${HOME_VARIABLE}, else ~/.liaison/node].",
    )(command)
