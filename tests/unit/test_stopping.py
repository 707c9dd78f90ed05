"""A command told to stop: in order if it can, ended all the same if it cannot. Each in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass

import pytest

from bot.stopping import TOO_LATE
from tests.conftest import ROOT

WITHIN_S = 60

PROGRAM = """
import asyncio, os, signal, sys, threading, time
from bot import stopping

async def work():
    print("ready", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        print("closing", flush=True)
{closing}

try:
    stopping.run(work, within_s={within_s})
except SystemExit as end:
    print("ended", flush=True)
    stopping.leave(end.code)
    raise
"""


@dataclass(frozen=True)
class Stopped:
    code: int
    out: list[str]
    err: str


def stopped(*signals: int, closing: str, within_s: float = 30.0, err: int = subprocess.PIPE) -> Stopped:
    """Run a program that waits, send it the signals (the later ones once it is closing), and see how it ended."""
    program = PROGRAM.format(closing=textwrap.indent(textwrap.dedent(closing), " " * 8), within_s=within_s)
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        for number, expected in zip(signals, ("ready", "closing"), strict=False):
            assert process.stdout.readline() == f"{expected}\n"
            process.send_signal(number)
        out, said = process.communicate(timeout=WITHIN_S)
    finally:
        process.kill()
        process.wait()
    return Stopped(process.returncode, out.split(), said or "")


def test_sigterm_is_no_failure() -> None:
    assert stopped(signal.SIGTERM, closing="pass") == Stopped(0, ["closing", "ended"], "")


def test_ctrl_c_ends_as_a_shell_expects() -> None:
    assert stopped(signal.SIGINT, closing="pass") == Stopped(130, ["closing", "ended"], "")


def test_a_second_sigterm_does_not_cut_the_end_short() -> None:
    orderly = """
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    print("books", flush=True)
    """
    assert stopped(signal.SIGTERM, closing=orderly) == Stopped(0, ["closing", "books", "ended"], "")


def test_a_second_ctrl_c_does_not_wait() -> None:
    ended = stopped(signal.SIGINT, signal.SIGINT, closing="await asyncio.sleep(1000)")
    assert (ended.code, ended.out) == (130, [])


@pytest.mark.parametrize("closing", ["await asyncio.sleep(1000)", "time.sleep(1000)", "threading.Event().wait()"])
def test_an_end_that_does_not_come_is_not_waited_for(closing: str) -> None:
    assert stopped(signal.SIGTERM, closing=closing, within_s=0.2) == Stopped(1, ["closing"], TOO_LATE.decode())


def test_a_thread_that_was_left_behind_is_not_waited_for() -> None:
    left = "threading.Thread(target=lambda: time.sleep(1000)).start()"
    assert stopped(signal.SIGTERM, closing=left) == Stopped(0, ["closing", "ended"], "")


def test_a_terminal_that_takes_nothing_more_holds_nobody_up() -> None:
    """A full pipe blocks whoever writes a log line: the loop, and with it everything that would end the process."""
    reading, writing = os.pipe()
    try:
        ended = stopped(signal.SIGTERM, closing="os.write(2, b'x' * 10_000_000)", within_s=0.2, err=writing)
    finally:
        os.close(reading)
        os.close(writing)
    assert (ended.code, ended.out) == (1, ["closing"])
