"""The bus on a real Valkey, with outages."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bot.clock import ManualClock
from bot.store.bus import Bus, live_channel
from bot.store.valkey import EmbeddedValkey, ValkeyUnusable, end_survivor, runtime_folder

WAIT_S = 20


def noted_pid(server: EmbeddedValkey) -> int:
    return int(json.loads(server.pid_file.read_text())["pid"])


def alive(pid: int) -> bool:
    """True when it runs: a zombie that nobody waits for has no command line."""
    words = Path(f"/proc/{pid}/cmdline")
    return words.exists() and words.read_bytes() != b""


def tcp_sockets(pid: int) -> list[str]:
    links = {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
    ]
    return [row[1] for row in rows if f"socket:[{row[9]}]" in links]


def everything_under(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    server = EmbeddedValkey(tmp_path)
    await server.start()
    yield server
    await server.close()


async def test_messages_leases_and_the_end(valkey: EmbeddedValkey) -> None:
    here, there = Bus(valkey.url), Bus(valkey.url)
    await here.open()
    await there.open()
    channel = live_channel("se_1")
    assert channel == "qn:live:se_1"
    async with there.subscribe(channel) as messages:
        await here.publish(channel, b"\x00sealed")
        assert await asyncio.wait_for(anext(messages), WAIT_S) == b"\x00sealed"
    assert here.stats.published == 1

    assert await here.lease("serve:se_1", "a", 30)
    assert await here.lease("serve:se_1", "a", 30)
    assert not await there.lease("serve:se_1", "b", 30)
    await there.release("serve:se_1", "b")
    assert not await there.lease("serve:se_1", "b", 30)
    await here.release("serve:se_1", "a")
    assert await there.lease("serve:se_1", "b", 30)
    with pytest.raises(ValueError, match="too large"):
        await here.publish(channel, b"x" * (1 << 21))
    await here.close()
    await here.close()
    await there.close()


async def test_an_outage_is_counted_and_a_subscription_lives_on(valkey: EmbeddedValkey) -> None:
    clock = ManualClock()
    bus, listener = Bus(valkey.url, clock=clock), Bus(valkey.url)
    await bus.open()
    await listener.open()
    async with listener.subscribe("qn:live:x") as messages:
        waiting = asyncio.ensure_future(anext(messages))
        await valkey.close()
        assert not await bus.ping()
        for _ in range(100):
            await bus.publish("qn:live:x", b"1")
        assert (bus.stats.lost, bus.stats.outages, bus.reachable) == (100, 1, False)
        assert not await bus.lease("n", "o", 1)
        await valkey.start()
        await bus.publish("qn:live:x", b"2")
        assert bus.stats.lost == 101, "nothing is tried while the bus rests"
        clock.advance(5)
        while not waiting.done():
            await bus.publish("qn:live:x", b"3")
            await asyncio.wait({waiting}, timeout=0.05)
        assert await waiting == b"3"
        assert bus.reachable
    await listener.close()
    await bus.close()


async def until(happened: Callable[[], Awaitable[bool]]) -> None:
    """Ask until it is so: a server's end and its start are told to nobody."""
    async with asyncio.timeout(WAIT_S):
        while not await happened():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def kill(server: EmbeddedValkey) -> int:
    """End it as the kernel would; the process that it was."""
    pid = noted_pid(server)
    os.kill(pid, signal.SIGKILL)

    async def ended() -> bool:
        return not alive(pid)

    await until(ended)
    return pid


async def test_a_server_that_is_killed_is_started_again_and_found_by_all(valkey: EmbeddedValkey) -> None:
    bus, listener = Bus(valkey.url), Bus(valkey.url)
    await bus.open()
    await listener.open()
    async with listener.subscribe("qn:live:x") as messages:
        waiting = asyncio.ensure_future(anext(messages))

        async def served() -> bool:
            noted = valkey.pid_file.read_text()
            return noted != "" and json.loads(noted)["pid"] not in pids and await bus.ping()

        pids: list[int] = []
        for _ in range(2):
            pids.append(await kill(valkey))
            await until(served)
        while not waiting.done():
            await bus.publish("qn:live:x", b"after it")
            await asyncio.wait({waiting}, timeout=0.05)
        assert await waiting == b"after it"
    await listener.close()
    await bus.close()
    last = noted_pid(valkey)
    await valkey.close()
    assert not alive(last)


async def test_a_server_that_cannot_start_is_tried_again_until_it_can(
    valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[None] = []
    real = EmbeddedValkey._serve

    def serve(self: EmbeddedValkey, server: Any) -> None:
        tries.append(None)
        if len(tries) < 3:
            raise OSError("no room")
        real(self, server)

    monkeypatch.setattr(EmbeddedValkey, "_serve", serve)
    bus = Bus(valkey.url)
    await kill(valkey)
    await bus.open()
    await until(bus.ping)
    assert len(tries) == 3
    await bus.close()


async def test_an_end_while_it_is_started_again_leaves_no_process(
    valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_its_way, go = asyncio.Event(), threading.Event()
    loop, real = asyncio.get_running_loop(), EmbeddedValkey._serve

    def serve(self: EmbeddedValkey, server: Any) -> None:
        loop.call_soon_threadsafe(on_its_way.set)
        assert go.wait(WAIT_S)
        real(self, server)

    monkeypatch.setattr(EmbeddedValkey, "_serve", serve)
    await kill(valkey)
    await asyncio.wait_for(on_its_way.wait(), WAIT_S)
    closing = asyncio.create_task(valkey.close())
    await asyncio.sleep(0)
    go.set()
    await closing
    assert not valkey.pid_file.exists()
    assert not valkey.socket_path.exists()
    bus = Bus(valkey.url)
    assert not await bus.ping()
    await bus.close()


async def test_a_bus_that_was_never_there_opens_and_swallows(tmp_path: Path) -> None:
    bus = Bus(f"unix://{tmp_path}/nothing.sock")
    await bus.open()
    await bus.publish("qn:live:x", b"1")
    async with bus.subscribe("qn:live:x") as messages:
        reader = asyncio.ensure_future(anext(messages, None))
        await asyncio.sleep(0)
        await bus.close()
        assert await asyncio.wait_for(reader, WAIT_S) is None
    assert bus.stats.lost == 1


async def test_it_listens_on_its_socket_only_and_writes_nothing(valkey: EmbeddedValkey, tmp_path: Path) -> None:
    folder = valkey.socket_path.parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not tcp_sockets(noted_pid(valkey))
    bus = Bus(valkey.url)
    await bus.open()
    await bus.lease("serve:se_1", "needle-owner", 30)
    await bus.publish("qn:live:se_1", b"needle-words")
    await bus.close()
    await valkey.close()
    assert b"needle" not in everything_under(tmp_path)


async def test_a_long_or_odd_data_folder_gets_a_short_socket(tmp_path: Path) -> None:
    for name in ("x" * 120, "with space"):
        data = tmp_path / name
        server = EmbeddedValkey(data)
        url = await server.start()
        assert len(str(server.socket_path)) <= 100
        assert runtime_folder(data) == server.socket_path.parent
        bus = Bus(url)
        await bus.open()
        assert bus.reachable
        await bus.close()
        await server.close()
        assert not server.socket_path.parent.exists(), "nothing is left outside the data folder"


async def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    long = tmp_path / ("y" * 120)
    long.mkdir()
    taken = runtime_folder(long)
    taken.rmdir()
    taken.symlink_to("/etc")
    try:
        with pytest.raises(ValkeyUnusable, match="not a folder of this user"):
            runtime_folder(long)
    finally:
        taken.unlink()  # where no path of the test's own folder is short enough, it is in the machine's


async def test_a_start_that_is_called_off_leaves_no_process(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path)
    starting = asyncio.create_task(server.start())
    await asyncio.sleep(0)  # its thread is on its way
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not server.pid_file.exists()
    again = EmbeddedValkey(tmp_path)
    await again.start()
    await again.close()


async def test_two_processes_on_one_folder_are_refused(valkey: EmbeddedValkey, tmp_path: Path) -> None:
    with pytest.raises(ValkeyUnusable, match="another Quietnote process"):
        await EmbeddedValkey(tmp_path).start()
    bus = Bus(valkey.url)
    await bus.open()
    assert bus.reachable
    await bus.close()


SURVIVOR = """
import asyncio, os, signal, sys
from pathlib import Path
from bot.store.valkey import EmbeddedValkey
async def main():
    await EmbeddedValkey(Path(sys.argv[1])).start()
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


@pytest.mark.parametrize("frozen", [False, True])
async def test_the_survivor_of_a_killed_run_is_ended(tmp_path: Path, frozen: bool) -> None:
    killed = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", SURVIVOR, str(tmp_path)], check=False, timeout=WAIT_S
    )
    assert killed.returncode == -signal.SIGKILL
    server = EmbeddedValkey(tmp_path)
    old = noted_pid(server)
    assert alive(old)
    if frozen:
        os.kill(old, signal.SIGSTOP)
    await server.start()
    assert noted_pid(server) != old
    assert not alive(old)
    await server.close()
    assert not server.pid_file.exists()


async def test_one_whose_starter_was_killed_before_it_noted_it_is_ended(tmp_path: Path) -> None:
    await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", SURVIVOR, str(tmp_path)], check=False, timeout=WAIT_S
    )
    server = EmbeddedValkey(tmp_path)
    old = noted_pid(server)
    server.pid_file.unlink()
    await server.start()
    assert not alive(old)
    await server.close()


@pytest.mark.parametrize("content", ["", "[]", '{"pid": "x"}', "not json"])
def test_a_damaged_pid_file_ends_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "valkey.pid").write_text(content)
    assert not end_survivor(tmp_path / "valkey.pid")


def test_a_number_that_is_now_another_process_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "valkey.pid").write_text(json.dumps({"pid": os.getpid(), "socket": str(tmp_path / "valkey.sock")}))
    assert not end_survivor(tmp_path / "valkey.pid")
