"""SIGTERM while everything is under way: the service ends in order, and the next start goes on with the call."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.integration.call_world import CLIENT, CLINICIAN, Call, Place, two_people
from tests.integration.test_cli import environment

SPOKEN = (4_000, 27_000)
"""Part of the dialogue, in ms, that both lanes play."""
WITHIN_S = 60


@dataclass
class Process:
    """``quietnote serve --dev`` in a process of its own."""

    process: asyncio.subprocess.Process
    said: list[str] = field(default_factory=list)

    async def read(self, listening: asyncio.Future[str]) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.said.append(line.decode())
            if not listening.done() and self.said[-1].startswith("Quietnote listens on "):
                listening.set_result(self.said[-1].split()[3])
        if not listening.done():
            listening.set_exception(RuntimeError("".join(self.said)))


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[Process, Place]]:
    """Start it; it is ended at the end if it still runs, and its Valkey with it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "serve", "--dev", "--port", "0",
        env=environment(folder, QUIETNOTE_LOG_LEVEL="WARNING"),
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
        try:
            await asyncio.wait_for(process.wait(), WITHIN_S)
        except TimeoutError:
            process.kill()
            await process.wait()
        await reader


async def ended(served: Process) -> int:
    """Ask it to end; its exit code. It is 0 only for an orderly end, which has ten seconds."""
    served.process.send_signal(signal.SIGTERM)
    return await asyncio.wait_for(served.process.wait(), WITHIN_S)


async def follow(place: Place, session_id: str, opened: asyncio.Event) -> str:
    """Read the event stream to its end."""
    text = ""
    async with place.http.stream("GET", f"/v1/sessions/{session_id}/events", timeout=None) as stream:
        opened.set()
        async for line in stream.aiter_lines():
            text += line
    return text


def finals(call: Call) -> dict[str, str]:
    """What was captioned for good, by segment."""
    captions = (heard.message for heard in call.clinician.heard if heard.message.get("type") == "caption")
    return {caption["segment_id"]: caption["text"] for caption in captions if caption["final"] and caption["text"]}


def growing(call: Call) -> bool:
    """True while somebody is in the middle of a sentence that is being recognised."""
    captions = [heard.message for heard in call.clinician.heard if heard.message.get("type") == "caption"]
    return bool(captions) and not captions[-1]["final"]


@pytest.mark.timeout(240)
async def test_a_call_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with serving(tmp_path) as (served, place):
        recordings = {who: place.cut(who, SPOKEN) for who in (CLINICIAN, CLIENT)}
        async with two_people(place, recordings) as call:
            await call.begin()
            opened = asyncio.Event()
            stream = asyncio.create_task(follow(place, call.session_id, opened))
            await asyncio.wait_for(opened.wait(), WITHIN_S)
            call.play()
            mid_sentence = "the middle of a sentence"
            await call.clinician.until(lambda: len(finals(call)) >= 2 and growing(call), mid_sentence, WITHIN_S)
            code = await ended(served)
            said = finals(call)
            await asyncio.wait_for(stream, WITHIN_S)
    assert (code, "".join(served.said).count("Traceback")) == (0, 0), "".join(served.said)
    assert call.clinician.closed
    assert call.client.closed
    assert not (tmp_path / "data" / "valkey.pid").exists(), "its Valkey ended with it"

    session_url = f"/v1/sessions/{call.session_id}"
    async with serving(tmp_path) as (served, place):
        session = await place.get(session_url)
        assert (session["capture"], session["audio"]) == ("capturing", "held")
        body = {"action": "finish", "message_id": "m1", "clinician_id": CLINICIAN}
        answer = await place.http.post(f"{session_url}/capture", json=body)
        assert answer.status_code == 200, answer.text
        await place.until(call.session_id, "note", "draft")
        await place.until(call.session_id, "audio", "erased")
        transcript = await place.get(f"{session_url}/transcript")
        assert await ended(served) == 0

    written = {segment["id"]: segment["text"] for segment in transcript["segments"]}
    assert said.items() <= written.items(), "what was captioned before is there, once"
    [gap] = [gap for gap in transcript["gaps"] if gap["reason"] == "interrupted"]
    assert gap["start_ms"] < gap["end_ms"]
    assert all(segment["end_ms"] <= gap["start_ms"] + 1000 for segment in transcript["segments"])
    assert not list((tmp_path / "data" / "spool").rglob("*.chunk"))
