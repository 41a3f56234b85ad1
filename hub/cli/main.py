"""The commands of `hub`, put together."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from hub.cli.agencies import agency, token
from hub.cli.log import log
from hub.cli.policy import policy
from hub.cli.region import certify, init, serve
from hub.cli.shell import HubGroup, run
from hub.cli.status import status


@click.group(cls=HubGroup)
@click.version_option(package_name="liaison-hub", prog_name="hub")
def cli() -> None:
    """Run a region's hub: enrol agencies, publish policy, route probe requests, keep the log.

    The hub holds no gallery and sees no face. Exit codes: 0 done, 2 wrong usage, 10-17 what was handed in, 20-28
    identity, 30-34 policy, 40-44 the log, 50-59 the broker, 67 the disk, 70 a defect.
    """


for command in (init, serve, agency, token, policy, log, status, certify):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(cli, arguments))
