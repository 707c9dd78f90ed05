"""Reading what a process uses."""

from __future__ import annotations

import asyncio
import os
import sys

from bot.bench.service import Service, free_port, usage_of


def test_a_free_port_is_free_and_this_process_uses_something() -> None:
    assert 1024 < free_port() < 65536
    first = usage_of(os.getpid())
    while usage_of(os.getpid()).cpu_s <= first.cpu_s:
        sum(range(100_000))
    assert usage_of(os.getpid()).rss_mb > 10


async def test_what_children_use_is_counted_apart() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import sys; sum(range(10**7)); print(1, flush=True); sys.stdin.read()'])"  # noqa: E501
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    await process.stdout.readline()
    used = usage_of(process.pid)
    process.stdin.close()
    await process.wait()
    assert used.children_cpu_s > 0


def test_samples_next_to_two_moments_are_taken() -> None:
    from bot.bench.service import Usage

    service = Service()
    service.samples = [Usage(float(s), float(s), 0.0, 1.0) for s in range(10)]
    first, last = service.between(2.4, 6.6)
    service.folder.rmdir()
    assert (first.at_s, last.at_s) == (2.0, 7.0)
