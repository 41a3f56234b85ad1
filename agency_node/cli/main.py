"""The commands of `agency-node`, put together; each is loaded when it is used, so that `--help` is quick."""

from __future__ import annotations

import importlib
import json
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from agency_node.cli.options import Invocation, home_option, json_option
from agency_node.config import SETTINGS
from federation.canonical import stamp
from federation.errors import Code, LiaisonError

ERROR_FILE = "errors.log"
# Name → module, the command in it, and what the list of commands says.
_COMMANDS = {
    "init": ("membership", "init", "Make this node's folder: keys, settings, an empty policy."),
    "join": ("membership", "join", "Join a hub with a token from its coordinator."),
    "engine": ("engine", "engine", "Install and check the face engine."),
    "import": ("gallery_import", "import_photographs", "Import photographs into a gallery."),
    "serve": ("serve", "serve", "Run the node: answer probes, witness the log."),
    "search": ("search", "search", "Ask the region's galleries for a face."),
    "status": ("status", "status", "Say how this node stands."),
    "doctor": ("doctor", "doctor", "Look for whatever could stop this node."),
}


class _Commands(click.Group):
    """Loads a command's module when the command is used; `--home` and `--json` may stand before or after its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which a newcomer meets them."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command itself, or None."""
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        command = getattr(importlib.import_module(f"agency_node.cli.{module}"), attribute)
        assert isinstance(command, click.Command)
        _complete(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without loading one."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, says) for name, (_, _, says) in _COMMANDS.items()])


def _complete(command: click.Command) -> None:
    """Give a command the options that it does not have of its own."""
    taken = {option for parameter in command.params for option in parameter.opts}
    if "--home" not in taken:
        home_option(command)
    if "--json" not in taken:
        json_option(command)
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _complete(inner)


@click.group(cls=_Commands)
@home_option
@json_option
@click.version_option(package_name="liaison-hub", prog_name="agency-node")
def cli() -> None:
    """Run an agency's node: keep its galleries, answer authorized probes, and ask the region's other agencies.

    Exit codes: 0 done, 2 wrong usage, 10-17 what was handed in, 20-28 identity, 30-34 policy, 40-44 the log,
    50-59 the hub and the wire, 60-67 engines, galleries and the disk, 70 a defect.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; no traceback ever reaches a person."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    invocation = Invocation(json="--json" in given)
    try:
        result = cli.main(args=given, prog_name="agency-node", obj=invocation, standalone_mode=False)
    except LiaisonError as error:
        return _refuse(invocation, error)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return 130
    except BrokenPipeError:
        return 0
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _refuse(invocation, LiaisonError(Code.STORAGE_FAILED, f"{place}{error.strerror}."))
    except Exception as error:
        _record(invocation.home, error)
        return _refuse(invocation, LiaisonError(Code.INTERNAL))
    return result if isinstance(result, int) else 0


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run())


def _refuse(invocation: Invocation, error: LiaisonError) -> int:
    text = json.dumps(error.as_json(), ensure_ascii=False) if invocation.json else error.diagnostics()
    click.echo(text, err=True)
    return error.entry.exit


def _record(home: Path, error: Exception) -> None:
    """Keep kind and places of a defect in the home; its words could hold what no log may hold."""
    if not (home / SETTINGS).is_file():
        return
    places = "".join(
        f"  {f.filename}:{f.lineno} {f.name}\n" for f in traceback.extract_tb(error.__traceback__)
    )
    try:
        with (home / ERROR_FILE).open("a", encoding="utf-8") as file:
            file.write(f"{stamp(datetime.now(UTC))} {type(error).__name__}\n{places}")
    except OSError:
        return
