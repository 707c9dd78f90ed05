"""Who uses a data folder: one process alone, or several that share its database and its bus.

The lock is the system's, on an open file: it ends with the process, however that ends.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from bot.errors import SetupError, StorageUnavailable

LOCK = "service.lock"


class InUse(SetupError):
    """Another service uses the data folder or the database, and does not share it."""

    def __init__(self, what: object) -> None:
        super().__init__(
            f"another Quietnote process uses {what}; stop it or set QUIETNOTE_DATA_DIR (several processes share one "
            "PostgreSQL, one Redis and one data directory)"
        )


class DataFolder:
    """A process's hold on a data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None

    def take(self, *, alone: bool) -> None:
        """Use it, ``alone`` or with others that do not want it alone either. Raises InUse, StorageUnavailable."""
        try:
            descriptor = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageUnavailable.of("data folder", error) from None
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise InUse(self._folder) from None
        self._descriptor = descriptor

    def release(self) -> None:
        """Let others have it. Idempotent."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
