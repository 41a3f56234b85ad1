"""The command line of the hub: `hub …`."""

from hub.cli.main import main

__all__ = ["main"]
