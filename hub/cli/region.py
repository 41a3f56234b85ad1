"""`hub init` and `hub serve`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
from pydantic import ValidationError

from federation.errors import Code, LiaisonError
from hub.cli.shell import HubCommand, Shell, now, offline_option
from hub.config import Settings
from hub.registry.bundle import replace_file
from hub.registry.certify import recertify
from hub.registry.founding import Founded, found

_WILDCARDS = ("0.0.0.0", "[::]")  # noqa: S104 - recognised, not bound to


@click.command(
    cls=HubCommand,
    epilog="""
hub init --region delta
hub init --region delta --offline /media/usb/delta --listen 0.0.0.0:7443 --host hub.delta.example
hub init --region delta --policy region.yaml --statutes statutes/
""",
)
@click.option("--region", required=True, help="The region's name: lower-case letters, digits, hyphens.")
@offline_option
@click.option(
    "--listen", default="127.0.0.1:7443", show_default=True, metavar="HOST:PORT", help="Where nodes connect."
)
@click.option(
    "--join-listen",
    default="127.0.0.1:7444",
    show_default=True,
    metavar="HOST:PORT",
    help="Where nodes join.",
)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A name or address of this machine for its certificate; repeatable. Nodes dial the first.",
)
@click.option(
    "--tls-life", default="7d", show_default=True, metavar="DURATION", help="Life of TLS certificates."
)
@click.option(
    "--policy",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="The region's policy file; without one, a case number is required and candidates are limited to 50.",
)
@click.option(
    "--statutes",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="The folder of statute packs that the region's policy adopts.",
)
@click.pass_obj
def init(
    shell: Shell,
    region: str,
    offline: Path | None,
    listen: str,
    join_listen: str,
    hosts: tuple[str, ...],
    tls_life: str,
    policy: Path | None,
    statutes: Path | None,
) -> None:
    """Found a region: its root, its coordinator, its hub, its log and the first bundle of rules.

    Everything is made at once or not at all; a folder that is set up already is left as it is. The root's and the
    coordinator's keys are needed only by `agency confirm` and `policy publish`: keep them on a medium that is
    not in this machine (--offline).
    """
    settings = _settings(region, listen, join_listen, hosts, tls_life)
    text = read_text(policy) if policy else None
    made = found(shell.home, offline, settings, text, read_statutes(statutes), now)
    value = {
        "home": str(made.hub.home),
        "offline": str(made.offline),
        "region": region,
        "root": made.fingerprint,
        "log_key": made.log_vkey,
        "broker": made.hub.broker_address,
        "join": made.hub.join_address,
    }
    shell.answer(value, _founded(made))


def _settings(region: str, listen: str, join_listen: str, hosts: tuple[str, ...], tls_life: str) -> Settings:
    if not hosts:
        host = listen.rpartition(":")[0]
        if host in _WILDCARDS:
            raise LiaisonError(
                Code.CONFIG_INVALID,
                f"{host} is every address of this machine; name the one that nodes dial with --host.",
            )
        local = ("localhost",) if host == "127.0.0.1" else ()
        hosts = (host.strip("[]"), *local)
    try:
        return Settings(region=region, broker=listen, join=join_listen, hosts=hosts, tls_life=tls_life)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise LiaisonError(Code.CONFIG_INVALID, f"{place}: {first['msg']}.") from error


def read_text(file: Path) -> str:
    """A policy file's text. Raises LiaisonError(POLICY_INVALID) when it is not UTF-8."""
    try:
        return file.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise LiaisonError(Code.POLICY_INVALID, f"{file} is not UTF-8.") from error


def read_statutes(folder: Path | None) -> list[str]:
    """The statute packs in a folder, by name; files of cases beside them are not packs."""
    if folder is None:
        return []
    files = sorted(file for file in folder.glob("*.yaml") if not file.name.endswith(".cases.yaml"))
    return [read_text(file) for file in files]


def _founded(made: Founded) -> str:
    hub = made.hub
    return f"""\
The region {hub.region} is founded in {hub.home}.

  Root       {made.fingerprint}
  Log key    {made.log_vkey}
  Broker     {hub.broker_address}
  Joining    {hub.join_address}

Write the first two down where auditors find them: they are how anybody checks this hub.
Keep {made.offline} on a medium that is not in this machine; `hub serve` does not need it.

Next:
  hub agency add AGENCY --name "Its name"
  hub token AGENCY
  hub serve"""


@click.command(cls=HubCommand, epilog="hub serve\nhub --home /var/lib/liaison-hub serve")
@click.pass_obj
def serve(shell: Shell) -> None:
    """Run the hub until it is stopped: the broker, the join service, the log.

    It needs no offline key. The region's rules, and what other `hub` commands change, take effect while it runs.
    """
    from hub.broker.server import serve as run_broker

    asyncio.run(run_broker(shell.hub()))


@click.command(cls=HubCommand, epilog="hub certify --offline /media/usb/delta")
@offline_option
@click.pass_obj
def certify(shell: Shell, offline: Path | None) -> None:
    """Renew the certificates of the hub's and the coordinator's signing keys for another year, with the offline root.

    The keys stay, and a new bundle is published under the coordinator's new certificate. Do it when `hub status`
    lists one of them as ending; then restart `hub serve`.
    """
    hub, keys = shell.hub(), shell.offline(offline)
    root, (coordinator, _) = keys.root(hub), keys.coordinator()
    made = recertify(hub, root, coordinator, now())
    shell.write(made.log)
    replace_file(keys.folder / "coordinator.der", made.coordinator)
    replace_file(hub.home / "certs" / "hub.der", made.hub)
    replace_file(hub.bundle_path, made.signed.encode())
    value = {"region": hub.region, "bundle_version": made.bundle.version}
    shell.answer(
        value, "Both are certified for another year. Restart `hub serve`; put the offline keys away again."
    )
