"""A recorded call played through the whole service in real time: what it costs, how late its words are, how right.

The service is a process of its own and so are the participants; only the service's processor time is counted, from the
first played sample to the last final caption, after a short call that warms everything up.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from bot.bench import offline
from bot.bench.progress import Progress, to_stderr
from bot.bench.senders import ROLES
from bot.bench.service import DEV_KEY, Service, Usage
from bot.bench.wer import (
    Caption,
    Latencies,
    TimedWord,
    Turn,
    latencies,
    percentile,
    read_turns,
    score_all,
    spread,
)
from bot.demo.checks import lane_ledgers, ledgers_close, lost_ms
from bot.demo.dialogue import load
from bot.errors import QuietnoteError
from bot.events import SAMPLES_PER_MS

CALLS_A_PROCESS = 10
WARM_UP_S = 8.0
LEAD_S = 1.0
READY_TIMEOUT_S = 120.0
STEP_TIMEOUT_S = 200.0


class BenchFailed(QuietnoteError):
    """The measurement could not be made."""


async def run(
    base: Path,
    seconds: float,
    *,
    model: str = "tiny.en",
    calls: int = 1,
    clinic_id: str = "demo",
    warm_up_s: float = WARM_UP_S,
    progress: Progress = to_stderr,
) -> dict[str, Any]:
    """Measure ``calls`` copies of the call ``BASE`` at once; the figures as printed. Raises :class:`BenchFailed`."""
    files = {lane: Path(f"{base}.{lane}.opus") for lane in ROLES}
    turns_file = Path(f"{base}.json")
    for path in (*files.values(), turns_file):
        if not path.is_file():
            raise BenchFailed(f"There is no {path}.")
    turns = read_turns(turns_file)
    async with Service(model=model) as service:
        progress(f"service is up (process {service.pid}); warming up")
        demo = load()
        warm = {"doctor": demo.path("clinician"), "patient": demo.path("client")}
        await _play(service, clinic_id, warm, warm_up_s, 1, lambda _: None)
        progress(f"playing {seconds:g} s, {calls} call(s)")
        heard = await _play(service, clinic_id, files, seconds, calls, progress)
    progress("offline pass over the source lanes")
    reference = {lane: await offline.words(model, path, seconds) for lane, path in files.items()}
    return report(heard, turns, reference, seconds) | {"model": model, "calls": calls, "seconds": seconds}


# -- playing ----------------------------------------------------------------------------------------------------------


class Heard:
    """What came of one call. Caption times are on the lanes' own clock, in milliseconds."""

    def __init__(self, lines: Mapping[str, Mapping[str, Any]], session: Mapping[str, Any]) -> None:
        ready, playing, told = lines["ready"], lines["playing"], lines["captions"]
        role_of = {pid: lane for lane, pid in ready["participants"].items()}
        zero_s: float = told["clock_zero_s"]
        starts_s: Mapping[str, float] = playing["starts_s"]
        self.captions = [
            Caption(
                role=role,
                start_ms=caption["start_ms"] - (starts_s[role] - zero_s) * 1000,
                end_ms=caption["end_ms"] - (starts_s[role] - zero_s) * 1000,
                text=caption["text"],
                final_at_ms=(caption["at_s"] - starts_s[role]) * 1000,
                first_at_ms=None if caption["first_s"] is None else (caption["first_s"] - starts_s[role]) * 1000,
            )
            for caption in told["captions"]
            for role in (role_of[caption["participant_id"]],)
        ]
        self.session = session
        self.began_s = min(starts_s.values())
        self.last_final_s = max((c["at_s"] for c in told["captions"]), default=self.began_s)
        self.asked: Mapping[str, Mapping[str, int | bool] | None] = playing["asked"]
        # the gates opened; from there a lane is absent until its first frame, and never after it
        absent_ms = max(ledger["absent"] / SAMPLES_PER_MS for ledger in lane_ledgers(session))
        self.start_to_first_frame_ms = (zero_s - ready["pressed_s"]) * 1000 + ready["opened_ms"] + absent_ms


class Played:
    """All calls of one measurement, and the service's use of the machine while they were played."""

    def __init__(self, calls: Sequence[Heard], first: Usage, last: Usage, peak_rss_mb: float) -> None:
        self.calls = calls
        self.first = first
        self.last = last
        self.peak_rss_mb = peak_rss_mb


async def _play(
    service: Service, clinic_id: str, files: Mapping[str, Path], seconds: float, calls: int, progress: Progress
) -> Played:
    """Hold the calls; returns once every transcript is there."""
    async with httpx.AsyncClient(
        base_url=service.base_url, headers={"Authorization": f"Bearer {DEV_KEY}"}, trust_env=False, timeout=30.0
    ) as http:
        jobs = [await _new_session(http, clinic_id, index) for index in range(calls)]
        groups = [jobs[i : i + CALLS_A_PROCESS] for i in range(0, calls, CALLS_A_PROCESS)]
        lines: dict[int, dict[str, Mapping[str, Any]]] = {index: {} for index in range(calls)}

        async def everybody(event: str, timeout_s: float) -> None:
            try:
                async with asyncio.timeout(timeout_s):
                    await asyncio.gather(*(s.expect(event, lines) for s in senders))
            except TimeoutError:
                raise BenchFailed(f"Waited {timeout_s:g} s in vain for: {event}.") from None

        async with _senders(len(groups)) as senders:
            for sender, group in zip(senders, groups, strict=True):
                names = {lane: str(path) for lane, path in files.items()}
                await sender.order(base_url=service.base_url, seconds=seconds, files=names, calls=group)
                sender.calls = len(group)
            await everybody("ready", READY_TIMEOUT_S)
            at_s = time.monotonic() + LEAD_S
            for sender in senders:
                await sender.order(play_at_s=at_s)
            await everybody("playing", STEP_TIMEOUT_S)
            await everybody("captions", seconds + STEP_TIMEOUT_S)
            progress("played; waiting for the transcripts")
            for sender in senders:
                await sender.order(finish=True)
            await everybody("finished", STEP_TIMEOUT_S)
            sessions = [(await http.get(f"/v1/sessions/{job['session_id']}")).raise_for_status().json() for job in jobs]
    heard = [Heard(lines[index], session) for index, session in enumerate(sessions)]
    began_s, ended_s = min(h.began_s for h in heard), max(h.last_final_s for h in heard)
    first, last = service.between(began_s, ended_s)
    peak = max((u.rss_mb for u in service.samples if first.at_s <= u.at_s <= last.at_s), default=last.rss_mb)
    return Played(heard, first, last, peak)


async def _new_session(http: httpx.AsyncClient, clinic_id: str, index: int) -> dict[str, Any]:
    people = [{"id": role, "role": role, "display_name": role.title()} for role in ROLES.values()]
    answer = await http.post("/v1/sessions", json={"clinic_id": clinic_id, "participants": people})
    if answer.is_error:
        raise BenchFailed(f"A session could not be made: {answer.status_code}.")
    made = answer.json()
    tokens = {entry["role"]: entry["token"] for entry in made["join"]}
    return {"index": index, "session_id": made["session"]["id"], "tokens": tokens}


class _Sender:
    """One process of participants."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.calls = 0

    async def order(self, **what: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(what).encode() + b"\n")
        await self.process.stdin.drain()

    async def expect(self, event: str, lines: dict[int, dict[str, Mapping[str, Any]]]) -> None:
        """Read until every call of this process said ``event``."""
        assert self.process.stdout is not None
        for _ in range(self.calls):
            raw = await self.process.stdout.readline()
            if not raw:
                raise BenchFailed("The participants' process ended.")
            line: dict[str, Any] = json.loads(raw)
            if line["event"] != event:
                raise BenchFailed(str(line.get("reason", f"Expected {event}, got {line['event']}.")))
            lines[int(line["call"])][event] = line


@asynccontextmanager
async def _senders(count: int) -> AsyncIterator[list[_Sender]]:
    senders: list[_Sender] = []
    try:
        for _ in range(count):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bot.bench.senders",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 26,
            )  # fmt: skip
            senders.append(_Sender(process))
        yield senders
    finally:
        for sender in senders:
            if sender.process.returncode is None and sender.process.stdin is not None:
                sender.process.stdin.close()
            try:
                await asyncio.wait_for(sender.process.wait(), 10)
            except TimeoutError:
                sender.process.kill()
                await sender.process.wait()


# -- figures ----------------------------------------------------------------------------------------------------------


def report(
    played: Played, turns: Sequence[Turn], reference: Mapping[str, Sequence[TimedWord]], seconds: float
) -> dict[str, Any]:
    """The figures of one measurement."""
    limit_ms = seconds * 1000
    calls = played.calls
    late = [latencies(call.captions, reference) for call in calls]
    both = Latencies(
        tuple(x for one in late for x in one.final),
        tuple(x for one in late for x in one.first_partial),
        sum(one.unaligned for one in late),
    )
    per_call_s = len(calls) * seconds
    first, last = played.first, played.last
    return {
        "wer": score_all(turns, [_words_of(call.captions) for call in calls], limit_ms),
        "wer_offline": score_all(turns, [reference], limit_ms),
        "final_latency_ms": {"p50": percentile(both.final, 0.5), "p95": percentile(both.final, 0.95)},
        "first_partial_ms": {"p50": percentile(both.first_partial, 0.5)},
        "start_to_first_frame_ms": round(max(call.start_to_first_frame_ms for call in calls)),
        "cpu_s_per_call_s": round((last.cpu_s - first.cpu_s) / per_call_s, 4),
        "valkey_cpu_s_per_call_s": round((last.children_cpu_s - first.children_cpu_s) / per_call_s, 4),
        "rss_mb": round(played.peak_rss_mb),
        "ledger_closed": all(ledgers_close(call.session) for call in calls),
        "segments": sum(len(call.captions) for call in calls),
        "dropped_ms": round(sum(lost_ms(call.session) for call in calls)),
        "captions_unaligned": both.unaligned,
        "asked": calls[0].asked,
    }


def _words_of(captions: Sequence[Caption]) -> dict[str, list[TimedWord]]:
    ordered = sorted(captions, key=lambda c: c.start_ms)
    return {
        role: [word for c in ordered if c.role == role for word in spread(c.text, c.start_ms, c.end_ms)]
        for role in ROLES
    }
