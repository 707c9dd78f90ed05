"""No dump of this process's memory is written, however it ends: sound, words and keys are in it."""

from __future__ import annotations

import ctypes
import resource
import sys

import structlog

log = structlog.get_logger()

_PR_SET_DUMPABLE = 4
"""``prctl(2)``. The limit alone does not do it: the kernel does not apply it where dumps are piped to a program."""


def refuse() -> None:
    """From now on, for this process and what it forks; the limit holds for programs it starts too."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        log.warning("dumps_not_refused", cause="prctl")
