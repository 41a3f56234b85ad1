"""Where servers write their events: a stream that never stops whoever writes to it.

On a full disk, or when whoever read the pipe has gone, a line of the log is lost. The work that it speaks of must go
on: a writer that died of its own log line would leave every caller waiting for ever.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TextIO


class EventStream:
    """A text stream that drops what cannot be written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write if that is possible; the number of characters given."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Hand on what is buffered if that is possible."""
        with suppress(OSError, ValueError):
            self._stream.flush()
