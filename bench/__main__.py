"""`python -m bench [NAME…]`: run the named benchmarks, or all."""

from __future__ import annotations

import importlib
import sys

from bench.figures import show

NAMES = ("engine", "log", "node_memory", "search_path", "demo_time")


def main() -> int:
    """Run and print; exit 1 when a goal is missed, 2 for an unknown name."""
    names = sys.argv[1:] or list(NAMES)
    if unknown := [name for name in names if name not in NAMES]:
        sys.stderr.write(f"No benchmark is called {unknown[0]}; there are: {', '.join(NAMES)}.\n")
        return 2
    missed = False
    for name in names:
        figures = importlib.import_module(f"bench.{name}").run()
        show(figures)
        missed |= any(figure.met is False for figure in figures)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
