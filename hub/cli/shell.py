"""What every command shares: the home, the form of the answer, the database, and how errors reach the shell."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from federation.canonical import stamp
from federation.errors import Code, LiaisonError
from hub.config import HOME_VARIABLE, Hub, default_home, load_hub, parse_duration
from hub.registry.offline import OFFLINE_VARIABLE, Offline
from hub.store.writer import Job, Writer

T = TypeVar("T")
ERROR_FILE = "hub-errors.log"
_WIDE = 400


def now() -> datetime:
    """The clock of every command."""
    return datetime.now(UTC)


@dataclass
class Shell:
    """One run of the command line."""

    home: Path = field(default_factory=default_home)
    json: bool = False

    def hub(self) -> Hub:
        """The hub at the home."""
        return load_hub(self.home)

    def offline(self, folder: Path | None) -> Offline:
        """The offline keys: in the folder that is named, or in the home."""
        return Offline(self.home.absolute() / "offline" if folder is None else folder)

    @contextmanager
    def database(self) -> Iterator[Engine]:
        """The hub's database, open."""
        engine = self.hub().open_database()
        try:
            yield engine
        finally:
            engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """One consistent view of the database, also while the hub runs."""
        with self.database() as engine, Session(engine, expire_on_commit=False) as session:
            yield session

    def write(self, job: Job[T]) -> T:
        """Do a job through a writer of this process: rows, log entries and checkpoint in one commit."""
        with self.database() as engine:
            writer = Writer(engine, self.hub().load_log_signer(), now)
            try:
                return writer.write(job)
            finally:
                writer.close()

    def answer(self, value: Any, words: str | Table | Callable[[], None]) -> None:
        """Print an answer: `value` for a machine, or `words` for a person."""
        if self.json:
            click.echo(json.dumps(value, ensure_ascii=False))
        elif isinstance(words, str):
            click.echo(words)
        elif isinstance(words, Table):
            show(words)
        else:
            words()


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table for people."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def show(made: Table) -> None:
    """Print a table: as wide as the terminal, or one line a row when something else reads it."""
    Console(width=None if sys.stdout.isatty() else _WIDE).print(made)


def _set_json(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    shell = context.ensure_object(Shell)
    shell.json = shell.json or value


def _set_home(context: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
    if value is not None:
        context.ensure_object(Shell).home = value


def _options() -> list[click.Option]:
    return [
        click.Option(
            ["--home"],
            type=click.Path(path_type=Path, file_okay=False),
            expose_value=False,
            callback=_set_home,
            metavar="DIR",
            help=f"The hub's folder [${HOME_VARIABLE}, else ./hub-home].",
        ),
        click.Option(
            ["--json"], is_flag=True, expose_value=False, callback=_set_json, help="Answer in JSON."
        ),
    ]


class HubCommand(click.Command):
    """A command that takes `--home` and `--json` itself, so that they may stand before it or after it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _options()

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the examples as they are written, not as one paragraph."""
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.strip().splitlines():
                    formatter.write(f"  {line.strip()}\n")


class HubGroup(click.Group):
    """A group of such commands."""

    command_class = HubCommand
    group_class = type

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _options()


class Duration(click.ParamType[timedelta]):
    """A duration such as 90s, 30m, 24h or 7d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """A timedelta."""
        if isinstance(value, timedelta):
            return value
        try:
            return parse_duration(value)
        except LiaisonError as error:
            self.fail(error.detail, param, ctx)


offline_option = click.option(
    "--offline",
    type=click.Path(path_type=Path, file_okay=False),
    envvar=OFFLINE_VARIABLE,
    metavar="DIR",
    help=f"The folder of the offline keys [${OFFLINE_VARIABLE}, else HOME/offline].",
)


def run(command: click.Command, arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; no traceback ever reaches a person."""
    shell = Shell()
    try:
        result = command.main(args=arguments, prog_name="hub", obj=shell, standalone_mode=False)
    except LiaisonError as error:
        return _refuse(shell, error)
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
        return _refuse(shell, LiaisonError(Code.STORAGE_FAILED, f"{place}{error.strerror}."))
    except Exception as error:
        _record(shell, error)
        if isinstance(error, SQLAlchemyError):
            return _refuse(shell, LiaisonError(Code.STORAGE_FAILED, "The database cannot be used."))
        return _refuse(shell, LiaisonError(Code.INTERNAL))
    return result if isinstance(result, int) else 0


def _refuse(shell: Shell, error: LiaisonError) -> int:
    text = json.dumps(error.as_json(), ensure_ascii=False) if shell.json else error.diagnostics()
    click.echo(text, err=True)
    return error.entry.exit


def _record(shell: Shell, error: Exception) -> None:
    """Keep the details where the hub's operator finds them; they hold no values, only places in the program."""
    if not (shell.home / "hub.toml").is_file():
        return
    lines = "".join(traceback.format_tb(error.__traceback__))
    try:
        with (shell.home / ERROR_FILE).open("a", encoding="utf-8") as file:
            file.write(f"{stamp(now())} {type(error).__name__}\n{lines}\n")
    except OSError:
        return
