"""Several ``quietnote serve`` beside each other: on one PostgreSQL and one Valkey, and where that is not meant."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from bot.store.valkey import EmbeddedValkey
from tests.integration.call_world import Place
from tests.integration.test_cli import environment
from tests.integration.test_stopping import Process
from tests.postgres_server import PostgresServer

WITHIN_S = 90
LEASE_S = "1"
PEOPLE = [
    {"id": "ellis", "role": "clinician", "display_name": "Dr. Ellis"},
    {"id": "robin", "role": "client", "display_name": "Robin"},
]


@asynccontextmanager
async def serve(folder: Path, **more: str) -> AsyncIterator[tuple[Process, Place]]:
    """One process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "serve", "--dev", "--port", "0",
        env=environment(folder, QUIETNOTE_LOG_LEVEL="WARNING", QUIETNOTE_LEASE_S=LEASE_S, **more),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    served = Process(process)
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    reader = asyncio.create_task(served.read(listening))
    try:
        url = await asyncio.wait_for(listening, WITHIN_S)
        headers = {"Authorization": "Bearer dev"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30.0, trust_env=False) as http:
            yield served, Place(url, folder / "data", http)
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), WITHIN_S)
        await reader
        print(*served.said[-20:])  # shown where the test fails


async def kill(served: Process) -> None:
    served.process.send_signal(signal.SIGKILL)
    await served.process.wait()


async def start(place: Place, session_id: str) -> httpx.Response:
    """Ask for Start, which is refused for want of a client wherever the session is served."""
    return await place.http.post(
        f"/v1/sessions/{session_id}/capture", json={"action": "start", "clinician_id": "ellis"}
    )


async def once_served(place: Place, session_id: str) -> tuple[httpx.Response, list[httpx.Response]]:
    """Ask until it is certain that whoever served the session is dead; the answer then, and those before."""
    seen: list[httpx.Response] = []
    async with asyncio.timeout(WITHIN_S):
        while (answer := await start(place, session_id)).json()["slug"] in {"session-locked", "worker-unreachable"}:
            seen.append(answer)
            await asyncio.sleep(0.1)
    return answer, seen


async def test_three_share_the_work_and_the_last_one_ends_it(tmp_path: Path, postgres_server: PostgresServer) -> None:
    (tmp_path / "bus").mkdir()
    valkey = EmbeddedValkey(tmp_path / "bus")
    shared = {"DATABASE_URL": postgres_server.new_database(), "REDIS_URL": await valkey.start()}
    try:
        async with AsyncExitStack() as stack:
            begun = (stack.enter_async_context(serve(tmp_path, **shared)) for _ in range(3))
            (first, here), (second, there), (_, last) = await asyncio.gather(*begun)
            made = await here.http.post("/v1/sessions", json={"clinic_id": "demo", "participants": PEOPLE})
            assert made.status_code == 201, made.text
            session_id = made.json()["session"]["id"]
            [token] = [one["token"] for one in made.json()["join"] if one["participant_id"] == "ellis"]

            # who holds the clinician's page serves the session; another one says so, and still tells of it
            page = await stack.enter_async_context(connect(f"{here.url.replace('http', 'ws')}/v1/rooms/{session_id}"))
            await page.send(json.dumps({"type": "hello", "token": token}))
            assert json.loads(await page.recv())["type"] == "welcome"
            elsewhere = await start(there, session_id)
            assert (elsewhere.status_code, elsewhere.json()["slug"]) == (409, "session-locked")
            assert (await there.get(f"/v1/sessions/{session_id}"))["id"] == session_id
            typed = {"kind": "clinician_summary", "text": "Slept better this week."}
            assert (await last.http.post(f"/v1/sessions/{session_id}/inputs", json=typed)).status_code == 201

            # it dies: the session goes on where it is asked for
            await kill(first)
            answer, before = await once_served(there, session_id)
            assert answer.json()["slug"] == "client-not-present"
            assert before[-1].status_code == 503
            assert int(before[-1].headers["retry-after"]) > 0

            # the note is asked for, and who was asked dies: it is made all the same, once
            assert (await there.http.post(f"/v1/sessions/{session_id}/note")).status_code == 202
            await kill(second)
            await last.until(session_id, "note", "draft")
            await assert_one_draft(last, session_id)
            answer, _ = await once_served(last, session_id)
            assert answer.json()["slug"] == "invalid-transition"
    finally:
        await valkey.close()
        postgres_server.drop(shared["DATABASE_URL"])


async def assert_one_draft(place: Place, session_id: str) -> None:
    items = (await place.get("/v1/inbox"))["items"]
    assert [(item["kind"], item["session_id"]) for item in items] == [("draft_ready", session_id)]
    chain: list[dict[str, Any]] = (await place.get("/v1/audit"))["items"]
    done = Counter(entry["action"] for entry in chain if entry.get("session_id") == session_id)
    assert (done["note.queued"], done["note.draft_ready"]) == (1, 1)


async def refused(folder: Path, **more: str) -> str:
    """What a ``quietnote serve`` says that cannot start."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "serve", "--dev", "--port", "0",
        env=environment(folder, **more),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await asyncio.wait_for(process.communicate(), WITHIN_S)
    assert process.returncode == 1
    return errors.decode()


async def test_a_second_one_beside_a_running_one_is_refused_in_one_line(tmp_path: Path) -> None:
    async with serve(tmp_path) as (_, place):
        said = await refused(tmp_path)
        assert said.startswith("quietnote: another Quietnote process uses ")
        assert said.count("\n") == 1
        assert (await place.http.get("/readyz")).status_code == 200


@pytest.mark.soak
async def test_where_several_do_not_fit_together_the_later_one_says_so(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    url = postgres_server.new_database()
    (tmp_path / "bus").mkdir()
    valkey = EmbeddedValkey(tmp_path / "bus")
    shared = {"DATABASE_URL": url, "REDIS_URL": await valkey.start()}
    try:
        async with serve(tmp_path / "one", **shared):
            assert "another data directory" in await refused(tmp_path / "two", **shared)
            assert "another Quietnote process uses this database" in await refused(tmp_path / "two", DATABASE_URL=url)
            assert "REDIS_URL does not answer" in await refused(
                tmp_path / "one", DATABASE_URL=url, REDIS_URL="redis://127.0.0.1:1/0"
            )
    finally:
        await valkey.close()
        postgres_server.drop(url)
