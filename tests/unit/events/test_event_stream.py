"""A server's events may be lost; the server may not."""

from __future__ import annotations

import io
from typing import TextIO, cast

import structlog

from federation.event_stream import EventStream


class _Full(io.StringIO):
    full = True

    def write(self, text: str, /) -> int:
        if self.full:
            raise OSError(28, "No space left on device")
        return super().write(text)

    def flush(self) -> None:
        if self.full:
            raise OSError(28, "No space left on device")


def test_a_line_that_cannot_be_written_is_dropped_and_the_next_is_written_when_it_can_be() -> None:
    disk = _Full()
    log = structlog.PrintLogger(cast("TextIO", EventStream(disk)))
    log.msg("lost")
    disk.full = False
    log.msg("kept")
    assert disk.getvalue() == "kept\n"


def test_a_stream_that_is_closed_is_no_reason_to_stop() -> None:
    stream = io.StringIO()
    stream.close()
    EventStream(stream).write("lost")
    EventStream(stream).flush()
