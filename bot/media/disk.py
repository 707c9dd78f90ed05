"""The part of a disk that sealed sound may take: bounded for each session, and never the last of what is free.

What is over a bound is not written, and raises what a full disk would: callers need know one case only.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter
from pathlib import Path

MEGABYTE = 1024 * 1024


class Disk:
    """What the spools of this process hold on one disk. May be called from any thread."""

    def __init__(self, *, session_bytes: int | None = None, reserve_bytes: int = 0) -> None:
        """``session_bytes``: the most one session may hold; ``reserve_bytes``: what stays free for everything else."""
        self._session_bytes, self._reserve_bytes = session_bytes, reserve_bytes
        self._held: Counter[str] = Counter()
        self._lock = threading.Lock()

    def held(self, session_id: str) -> int:
        """Bytes that a session holds."""
        return self._held[session_id]

    def take(self, session_id: str, size: int, folder: Path) -> None:
        """Count in what is about to be written. Raises OSError where there is no room for it."""
        if self._reserve_bytes:
            disk = os.statvfs(folder)
            if disk.f_bavail * disk.f_frsize < self._reserve_bytes + size:
                raise OSError(errno.ENOSPC, "the reserve is reached")
        with self._lock:
            if self._session_bytes is not None and self._held[session_id] + size > self._session_bytes:
                raise OSError(errno.EDQUOT, "the session's part is taken")
            self._held[session_id] += size

    def found(self, session_id: str, size: int) -> None:
        """Count in what an earlier process left, over a bound or not."""
        with self._lock:
            self._held[session_id] += size

    def give(self, session_id: str, size: int) -> None:
        """Count out what was removed, or could not be written."""
        with self._lock:
            self._held[session_id] -= size
            if self._held[session_id] <= 0:
                del self._held[session_id]

    def forget(self, session_id: str) -> None:
        """All of a session was removed."""
        with self._lock:
            self._held.pop(session_id, None)


def write(path: Path, content: bytes) -> None:
    """Write so that the name stands for the whole content or does not exist. Waits for no disk: see docs/adr/0013."""
    draft = path.with_suffix(path.suffix + ".tmp")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
