"""Recognition of what a spool still holds after the call: what a crash or an overload kept from being words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

from bot.asr.scheduler import LaneVoice, Scheduler, SetAside
from bot.errors import Overloaded, TranscriptPurged
from bot.events import SAMPLE_RATE_HZ, SAMPLES_PER_MS, Segment, SpeechWindow
from bot.media.pipeline import leftover_windows
from bot.media.spool import Spool
from bot.media.vad import SileroVad
from bot.store.parts import audio_name
from bot.store.records import LaneRecord
from bot.store.sessions import SessionStore
from bot.store.vault import Vault

EDGE_MS = 120
"""How far a word may reach beyond the times that were recognised for it."""
WAIT_S = 600.0
"""Longest wait for the words of one window: live calls go first."""


async def _untold(_done: int, _total: int) -> None: ...


async def recognise_rest(
    session_id: str,
    *,
    store: SessionStore,
    scheduler: Scheduler,
    vad: SileroVad,
    vault: Vault,
    folder: Path,
    tell: Callable[[int, int], Awaitable[None]] = _untold,
) -> int:
    """Recognise and commit everything past each lane's watermark; how many finals that made.

    Begins where the last committed final ended, so a run that was interrupted goes on and says nothing twice. ``tell``
    is told after each window how much of all the sound is in words, in seconds.
    """
    record = await store.get(session_id)
    name = audio_name(session_id, record.part)
    scheduler.reopen(session_id)  # the call that ended had itself forgotten
    segments = await segments_of(store, session_id)
    made = done = 0
    lanes = await store.lanes(session_id)
    total = sum(_rest(lane) for lane in lanes)
    for lane in lanes:
        voice = LaneVoice(session_id, lane.id, lane.participant_id, lane.role, record.language)

        spool = await asyncio.to_thread(Spool, folder, vault, name, lane.id, hash_tree=lane.hash_tree)
        await store.save_ledger(session_id, lane.id, lane.ledger, spool.hash_tree)
        written = written_spans(lane.id, segments, lane.committed_through_sample)
        windows: Iterator[SpeechWindow] = leftover_windows(lane.id, spool, vad, lane.committed_through_sample, written)
        while (window := await asyncio.to_thread(next, windows, None)) is not None:
            segment = await _words(scheduler, window, voice)
            await store.commit_final(session_id, segment, epoch=record.epoch)
            await asyncio.to_thread(spool.erase_through, segment.committed_through_sample)
            made += bool(segment.text)
            here = segment.committed_through_sample - lane.committed_through_sample
            await tell((done + min(here, _rest(lane))) // SAMPLE_RATE_HZ, total // SAMPLE_RATE_HZ)
        done += _rest(lane)
    return made


def _rest(lane: LaneRecord) -> int:
    """Samples of a lane that lay past its watermark."""
    return max(0, lane.ledger.elapsed - lane.committed_through_sample)


async def segments_of(store: SessionStore, session_id: str) -> Sequence[Segment]:
    """What is in words so far; nothing where that was destroyed."""
    try:
        return (await store.transcript(session_id)).segments
    except TranscriptPurged:
        return ()


def written_spans(lane_id: str, segments: Sequence[Segment], from_sample: int) -> list[tuple[int, int]]:
    """The spans of a lane that are in words behind its watermark, with what a word's edges may take more."""
    spans = [
        ((s.start_ms - EDGE_MS) * SAMPLES_PER_MS, (s.end_ms + EDGE_MS) * SAMPLES_PER_MS)
        for s in segments
        if s.lane_id == lane_id and s.end_ms * SAMPLES_PER_MS > from_sample
    ]
    return sorted(spans)


async def _words(scheduler: Scheduler, window: SpeechWindow, voice: LaneVoice) -> Segment:
    done: asyncio.Future[Segment] = asyncio.get_running_loop().create_future()

    def deliver(segment: Segment) -> None:
        if segment.final and not done.done():
            done.set_result(segment)

    def set_aside(_: SetAside) -> None:
        if not done.done():
            done.set_exception(Overloaded("A stretch of this recording could not be recognised yet."))

    if not scheduler.submit(window, voice, deliver, set_aside):
        raise Overloaded("Recognition is closing.")
    return await asyncio.wait_for(done, WAIT_S)
