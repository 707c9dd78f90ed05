"""The guards that every test runs under do guard."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests import conftest
from tests.conftest import REQUIRE, ROOT, missing_part

GUILTY = '''
import asyncio, contextlib, socket

async def test_leaves_a_task():
    asyncio.get_running_loop().create_task(asyncio.sleep(60), name="forgotten")

async def test_ends_what_it_began():
    task = asyncio.create_task(asyncio.sleep(60))
    task.cancel()

def test_swallows_the_refusal():
    with contextlib.suppress(OSError):
        socket.create_connection(("192.0.2.1", 80), timeout=0.1)

def test_stays():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
'''


def test_a_task_left_behind_and_a_step_outside_fail_their_test(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_guilty.py").write_text(GUILTY)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "--rootdir",
         str(tmp_path), str(tmp_path)],
        capture_output=True, check=False, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert "tasks left behind: forgotten (sleep)" in done.stdout
    assert "tried to reach 192.0.2.1" in done.stdout
    assert "4 passed, 2 errors" in done.stdout


def test_a_missing_part_skips_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REQUIRE, raising=False)
    with pytest.raises(pytest.skip.Exception, match="a harp is missing"):
        missing_part("a harp")
    monkeypatch.setenv(REQUIRE, "1")
    with pytest.raises(pytest.fail.Exception, match="a harp is missing"):
        missing_part("a harp")


def test_other_machines_are_out_of_reach() -> None:
    for family, address in ((socket.AF_INET, ("192.0.2.1", 9)), (socket.AF_INET6, ("2001:db8::1", 9))):
        with socket.socket(family, socket.SOCK_DGRAM) as sock, pytest.raises(ConnectionRefusedError):
            sock.connect(address)
    conftest._outside.clear()
