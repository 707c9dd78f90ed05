"""Files that hold keys: made whole, overwritten where they lie, and locked against other processes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
from pathlib import Path
from typing import Self

LOCK_WAIT_S = 10.0
LOCK_RETRY_S = 0.005


class FolderLock:
    """One holder at a time among all processes and threads; the same thread may take it again.

    Waits ten seconds at most, then raises OSError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = threading.RLock()
        self._depth = 0
        self._fd = -1

    def __enter__(self) -> Self:
        if not self._thread.acquire(timeout=LOCK_WAIT_S):
            raise OSError(errno.EAGAIN, "locked")
        try:
            if self._depth == 0:
                self._fd = self._taken()
            self._depth += 1
        except BaseException:
            self._thread.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            os.close(self._fd)  # gives the lock back
        self._thread.release()

    def _taken(self) -> int:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        until = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    os.close(fd)
                    raise
                time.sleep(LOCK_RETRY_S)
            except BaseException:
                os.close(fd)
                raise
            else:
                return fd


def private_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, for its owner only."""
    for folder in [*reversed(path.parents), path]:
        if not folder.is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)


def unfinished(path: Path) -> Path:
    """Where :func:`create` writes before the file gets its name."""
    return path.with_name(f".{path.name}.new")


def create(path: Path, content: bytes) -> None:
    """Make a file of mode 600 that is there whole or not at all, also after a crash."""
    new = unfinished(path)
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        if os.write(fd, content) != len(content):
            raise OSError(errno.ENOSPC, "short write")
        os.fsync(fd)
    except BaseException:
        os.close(fd)
        new.unlink(missing_ok=True)
        raise
    os.close(fd)
    new.rename(path)
    sync_folder(path.parent)


def wipe(path: Path, *, remove: bool = True) -> bool:
    """Overwrite a file where it lies, sync, then remove it; False when there is none."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        os.pwrite(fd, bytes(os.fstat(fd).st_size), 0)
        os.fsync(fd)
    finally:
        os.close(fd)
    if remove:
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
    return True


def sync_folder(folder: Path) -> None:
    """Make names that were added to or taken from a folder last."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # some file systems cannot sync a folder, and need not
            os.fsync(fd)
    finally:
        os.close(fd)


def read_file(path: Path) -> bytes | None:
    """The content; None when there is no such file."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def names_in(folder: Path) -> list[str]:
    """Names in a folder; none when there is no such folder."""
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except FileNotFoundError:
        return []
