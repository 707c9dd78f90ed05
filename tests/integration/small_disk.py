"""A disk that can really be full: a small file system in memory, mounted where a test says."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import missing_part

BALLAST = "ballast"
BLOCK = 64 * 1024


@dataclass(frozen=True)
class SmallDisk:
    """A mounted file system."""

    folder: Path

    def fill(self, *, leave: int = 0) -> None:
        """Take all the space there is but ``leave`` bytes."""
        with (self.folder / BALLAST).open("ab", buffering=0) as file:
            while (free := self.free() - leave) > 0:
                try:
                    file.write(bytes(min(BLOCK, free)))
                except OSError:
                    return

    def empty(self) -> None:
        """Give back what :meth:`fill` took."""
        (self.folder / BALLAST).unlink(missing_ok=True)

    def free(self) -> int:
        """Bytes that can still be written."""
        status = os.statvfs(self.folder)
        return status.f_bavail * status.f_frsize


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[SmallDisk]:
    """Mount one on ``folder``, such as ``8m`` large; away again at the end."""
    folder.mkdir(mode=0o700)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "none", str(folder)],
        capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        missing_part("a small disk (mounting one needs root)")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
