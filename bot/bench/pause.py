"""Random pauses: whether anything is kept after one, how soon it holds, and which words are lost around it.

Most pauses are made in virtual time (:mod:`bot.bench.pause_virtual`), the others over real WebRTC
(:mod:`bot.bench.pause_calls`). The service runs in this process, on a fresh data directory and a free port, so that all
that lies behind the gate can be watched (:mod:`bot.bench.taps`) while the synthetic participants come in through the
same public doors as anybody.

How the two clocks are related: the sender notes the click on the machine's monotonic clock; the ack gives the media
time from which nothing is kept, in milliseconds on the call's clock. The call's clock counts from the wall time of the
first Start, which is stored with the session; read beside the wall clock, that gives the monotonic moment at which it
stood at 0 (:class:`bot.clock.CallClock`, made here from the stored time as a restarted service makes it). The click is
put on the call's clock so, and the difference is taken there.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from bot.asr.scheduler import Scheduler
from bot.asr.whisper import WhisperEngine
from bot.bench.forensics import said_in
from bot.bench.pause_calls import AT_ONCE, LONG_PAUSE_S, PAUSES_A_CALL, Call, Caller
from bot.bench.pause_talk import Talk, on_record
from bot.bench.pause_virtual import PAUSES_A_CASE, Case, Ear, play
from bot.bench.progress import Progress, to_stderr
from bot.bench.service import DEV_KEY
from bot.bench.spans import Lost, Span, common
from bot.bench.taps import Place, Watch, watching
from bot.bench.wer import percentile
from bot.clock import SystemClock
from bot.media.vad import SileroVad
from bot.server import serving
from bot.settings import Settings
from bot.store.clinic_store import ClinicStore
from bot.store.vault import FileVault

PAUSES = 1000
REAL = 50
MASTER_KEY_BYTES = 32
SEEDS = 1 << 32
STAGGER_S = 0.7
TOLD_EVERY = 5
"""Cases between two lines of progress."""


@dataclass(slots=True)
class Found:
    """What some pauses came to."""

    pauses: int = 0
    after_ack: Counter[Place] = field(default_factory=Counter)
    """Samples from after a pause took effect, by where they were seen."""
    lost: Lost = field(default_factory=Lost)
    click_ms: list[float] = field(default_factory=list)
    ack_ms: list[float] = field(default_factory=list)
    long: int = 0
    """Pauses after which lanes had to be taken up again."""
    first_ms: list[float] = field(default_factory=list)
    """From the resume of such a pause to the first captured sample, of each lane."""
    unshown: int = 0
    """Words lost after such a resume, before the page of who said them said Recording again."""
    leaked: bool = False
    """The code word was found somewhere."""
    closed: bool = True
    """Every lane's account adds up."""

    def add(self, other: Found) -> None:
        """Count others too."""
        self.pauses += other.pauses
        self.after_ack.update(other.after_ack)
        self.lost += other.lost
        self.click_ms += other.click_ms
        self.ack_ms += other.ack_ms
        self.long += other.long
        self.first_ms += other.first_ms
        self.unshown += other.unshown
        self.leaked |= other.leaked
        self.closed &= other.closed


async def run(
    n: int = PAUSES,
    *,
    real: int = REAL,
    seed: int | None = None,
    model: str = "tiny.en",
    talk: Talk | None = None,
    progress: Progress = to_stderr,
) -> dict[str, Any]:
    """Make ``n`` pauses, ``real`` of them over WebRTC; the figures as printed. Raises CallFailed.

    ``talk`` is what is said, if its words were timed before. The same seed gives the same virtual pauses.
    """
    seed = int.from_bytes(os.urandom(8)) % SEEDS if seed is None else seed
    real = min(real, n)
    if talk is None:
        progress("the words of the conversation, and when they are said")
        talk = await on_record(model)
    found = Found()
    rng = np.random.default_rng(seed)
    if n > real:
        found.add(await in_virtual_time(n - real, talk, rng, progress=progress))
    if real:
        found.add(await in_calls(real, talk, rng, model=model, progress=progress))
    return report(found) | {"real": real, "seed": seed, "model": model}


# -- virtual time -----------------------------------------------------------------------------------------------------


async def in_virtual_time(n: int, talk: Talk, rng: np.random.Generator, *, progress: Progress = to_stderr) -> Found:
    """So many pauses as fast as they go."""
    found = Found()
    watch = Watch(marked=True)
    vad = await asyncio.to_thread(SileroVad)
    scheduler = Scheduler(Ear(), SystemClock())
    scheduler.start()
    try:
        with tempfile.TemporaryDirectory(prefix="quietnote-pause-") as folder, watching(watch, Ear):
            vault = FileVault(Path(folder) / "vault", bytes(MASTER_KEY_BYTES))
            for number, count in enumerate(shares(n, PAUSES_A_CASE)):
                watch.clear()
                case = Case(number, count, talk, rng, vad, scheduler, vault, Path(folder) / "spool", watch)
                await play(case, scheduler)
                after_ack = found_after(watch, case.paused())
                found.add(Found(count, after_ack, case.lost(), closed=case.ledgers_close))
                if (number + 1) % TOLD_EVERY == 0:
                    progress(f"virtual: {found.pauses} of {n} pauses, {_bad(found)}")
    finally:
        await scheduler.close()
    progress(f"virtual: {found.pauses} pauses, {found.lost.words} words, {_bad(found)}")
    return found


# -- real calls -------------------------------------------------------------------------------------------------------


async def in_calls(
    n: int, talk: Talk, rng: np.random.Generator, *, model: str = "tiny.en", progress: Progress = to_stderr
) -> Found:
    """So many pauses in real calls, some of them at once. Raises CallFailed."""
    found = Found()
    watch = Watch()
    with tempfile.TemporaryDirectory(prefix="quietnote-pause-") as folder, watching(watch, WhisperEngine):
        settings = Settings(data_dir=Path(folder), dev=True, host="127.0.0.1", port=0, asr_model=model)
        async with serving(settings) as (service, base_url), _http(base_url) as http:
            await _pauses_are_soon_long(service.services.clinics)
            caller = Caller(base_url, http, service.services.store, talk)
            await caller.prepare()
            counts = shares(n, PAUSES_A_CALL)
            for first in range(0, len(counts), AT_ONCE):
                watch.clear()
                group = counts[first : first + AT_ONCE]
                progress(f"real: {len(group)} call(s) at once with {sum(group)} pauses")
                async with asyncio.TaskGroup() as tasks:
                    calls = [
                        tasks.create_task(_after(index * STAGGER_S, caller.call(count, child)))
                        for index, (count, child) in enumerate(zip(group, rng.spawn(len(group)), strict=True))
                    ]
                for task in calls:
                    found.add(_found_in(task.result(), talk, watch))
                word = talk.dialogue.code_word
                found.leaked |= any(word in text.lower() for text in watch.heard)
                found.leaked |= bool(await asyncio.to_thread(said_in, settings.data_dir, word))
                progress(f"real: {found.pauses} of {n} pauses, {found.lost.words} words, {_bad(found)}")
    return found


async def _pauses_are_soon_long(clinics: ClinicStore) -> None:
    """Lower the clinic's setting, so that many pauses are long enough for lanes to be stopped in them."""
    _, config = await clinics.current("demo")
    capture = config.capture.model_copy(update={"long_pause_s": LONG_PAUSE_S})
    await clinics.save(config.model_copy(update={"capture": capture}), author="bench")


async def _after(delay_s: float, work: Any) -> Any:
    await asyncio.sleep(delay_s)
    return await work


def _found_in(call: Call, talk: Talk, watch: Watch) -> Found:
    lost = call.lost(talk, watch)
    return Found(
        len(call.pauses),
        found_after(watch, call.paused(watch)),
        lost,
        [pause.click_to_effective_ms for pause in call.pauses],
        [pause.ack_ms for pause in call.pauses],
        sum(resume.stopped for resume in call.resumes),
        call.first_samples_ms(watch),
        max(0, call.lost(talk, watch, by_ack=True).after_resume - lost.after_resume),
        any(talk.dialogue.code_word in text.lower() for text in call.told),
        call.ledger_closed,
    )


def _http(base_url: str) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {DEV_KEY}"}
    return httpx.AsyncClient(base_url=base_url, headers=headers, trust_env=False, timeout=30.0)


# -- figures ----------------------------------------------------------------------------------------------------------


def shares(n: int, most: int) -> list[int]:
    """``n`` in as few shares as there must be, none more than ``most``, as equal as can be."""
    count = -(-n // most)
    return [n // count + (index < n % count) for index in range(count)] if n else []


def found_after(watch: Watch, paused: Mapping[str, Sequence[Span]]) -> Counter[Place]:
    """Samples that lie in a pause of their lane or are marked as said in one, by where they were seen."""
    placed: Counter[Place] = Counter()
    for (lane_id, place), spans in watch.seen.items():
        placed[place] += common(spans, paused.get(lane_id, ()))
    return Counter({place: most for place in Place if (most := max(placed[place], watch.off_record[place]))})


def report(found: Found) -> dict[str, Any]:
    """The figures of one measurement."""
    return {
        "n": found.pauses,
        "samples_after_ack": found.after_ack.total(),
        "click_to_effective_ms": _spread(found.click_ms),
        "ack_ms": _spread(found.ack_ms),
        "n_long": found.long,
        "resume_to_first_sample_ms": _spread(found.first_ms),
        "words_lost_before_pause": found.lost.before_pause,
        "words_lost_after_resume": found.lost.after_resume,
        "words_lost_before_recording_shown": found.unshown,
        "words": found.lost.words,
        "words_cut": found.lost.cut,
        "words_cut_lost": found.lost.cut_lost,
        "codeword_leaked": found.leaked,
        "ledger_closed": found.closed,
    }


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    return {"p50": percentile(values, 0.5), "p99": percentile(values, 0.99)}


def _bad(found: Found) -> str:
    """In one line, what should be nothing."""
    where = " ".join(f"{place.value}={count}" for place, count in found.after_ack.items())
    lost = found.lost
    return f"samples after the ack: {where or 0}, words lost: {lost.before_pause} before, {lost.after_resume} after"
