"""`make demo` after installation: the whole command, from nothing to a verified log."""

from __future__ import annotations

import subprocess
import sys
import time

from bench.figures import Figure


def run() -> list[Figure]:
    """Seconds of one whole demo."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "demo"], check=True, capture_output=True)
    return [
        Figure("demo_time", "make demo after installation", time.perf_counter() - start, "s", goal="<= 60")
    ]
