"""Locks between the processes of one node: whoever ends, however it ends, lets go."""

from __future__ import annotations

import fcntl
from pathlib import Path

from federation.errors import Code, LiaisonError


class FileLock:
    """An exclusive lock on a file, held until `release` or until the process is gone."""

    def __init__(self, path: Path, held_by_other: str) -> None:
        """Take the lock at once, or raise GALLERY_BUSY with the sentence `held_by_other`."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = path.open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise LiaisonError(Code.GALLERY_BUSY, held_by_other) from None

    def release(self) -> None:
        """Let go; calling it twice is no error."""
        self._file.close()
