"""How a command ends: SIGTERM and Ctrl-C stop it in order, and within a time.

Nothing depends on the order being kept: what was captured is sealed on the disk, what was begun is in the database, and
the next start takes both up. So a part that does not end in time is left where it stands, and the process ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

ORDERLY_S = 9.0
"""Longest orderly end. Container engines and service managers wait ten seconds before they kill."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell has it."""

STDERR = 2
TOO_LATE = b"quietnote: ended without waiting longer for what was under way\n"
GUARD = "stop-guard"


def run(work: Callable[[], Coroutine[Any, Any, Any]], *, within_s: float = ORDERLY_S) -> Any:
    """What ``work`` gives. SIGTERM ends it with exit code 0, Ctrl-C with 130; a second Ctrl-C does not wait."""
    return _Run(within_s).run(work)


class _Run:
    """One command, until it is done or told to stop."""

    def __init__(self, within_s: float) -> None:
        self._within_s = within_s
        self._asked: list[int] = []
        self._begun = threading.Event()
        self._over = threading.Event()

    def run(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Run it on a loop of its own, on the main thread."""
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        guard = threading.Thread(target=self._guard, name=GUARD, daemon=True)
        guard.start()
        try:
            return asyncio.run(self._body(work))
        except asyncio.CancelledError:
            if not self._asked:
                raise
            raise SystemExit(INTERRUPTED if self._asked[0] == signal.SIGINT else 0) from None
        finally:
            if not self._asked:
                self._over.set()
                self._begun.set()
                for number, handler in before.items():
                    signal.signal(number, handler)

    async def _body(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def asked(number: int, _: FrameType | None) -> None:
            self._asked.append(number)
            if len(self._asked) == 1:
                self._begun.set()
                with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                    loop.call_soon_threadsafe(task.cancel)
            elif number == signal.SIGINT:
                os._exit(INTERRUPTED)

        # plain handlers, not the loop's: they also run while a library blocks the loop
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, asked)
        return await work()

    def _guard(self) -> None:
        self._begun.wait()
        if not self._over.wait(self._within_s):
            with contextlib.suppress(OSError, ValueError):
                # a terminal or pipe that takes nothing more may be what everything waits for
                if select.select([], [STDERR], [], 0)[1]:
                    os.write(STDERR, TOO_LATE)
            os._exit(1)


def leave(code: int) -> None:
    """End the process here if a thread was left behind: Python would wait for it, or end it in the middle of a decode.

    To be called last.
    """
    if all(thread is threading.main_thread() or thread.name == GUARD for thread in threading.enumerate()):
        return
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
