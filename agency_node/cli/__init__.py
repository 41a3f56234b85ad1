"""The command line of a node: `agency-node …`."""

from agency_node.cli.main import main

__all__ = ["main"]
