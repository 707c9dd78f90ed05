"""From Finish to the draft, and what is left of the sound: calls of any length replayed at speed, then searched for.

The service runs in this process on a data directory of its own (:mod:`bot.bench.replay`). What it captured, which keys
it had and what it recognised is noted from outside (:mod:`bot.bench.witness`); when the draft is there, and once more
after the service ended, every byte it left under data, temporary files and logs is searched for all of it
(:mod:`bot.bench.forensics`).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from bot import log
from bot.app import Running, running
from bot.bench.forensics import Report, control, search
from bot.bench.progress import Progress, to_stderr
from bot.bench.replay import Player, ReplayClock, conversation
from bot.bench.witness import Witness, witnessing
from bot.errors import SetupError
from bot.events import CaptureAction
from bot.settings import Settings

SHORTEST_MIN, LONGEST_MIN = 5.0, 120.0
"""Lengths that several sessions are spread over."""
TOLD_EVERY_S = 300.0
"""Of the call, between two lines of progress."""
WARM_UP_S = 8.0
"""A call before the measured ones: what is loaded at the first use is loaded."""
RARE = "quietnote forensic control"


@dataclass(slots=True)
class Played:
    """What came of one session."""

    minutes: float
    transcript_s: float
    draft_s: float
    erased_s: float
    took_s: float
    """From Start to Finish, on the machine's clock."""
    lag_ms: int
    closes: bool


class NotEmpty(SetupError):
    """The folder to keep the data in holds something already."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"--keep takes a folder that is empty or not there yet: {folder}")


async def run(
    minutes: float = 60.0,
    *,
    sessions: int = 1,
    model: str = "tiny.en",
    keep: Path | None = None,
    progress: Progress = to_stderr,
) -> dict[str, Any]:
    """Replay one call of ``minutes``, or several of 5 to 120 minutes; the figures as printed."""
    lengths = [minutes] if sessions == 1 else [float(n) for n in np.linspace(SHORTEST_MIN, LONGEST_MIN, sessions)]
    witness = Witness()
    with _home(keep) as home, witnessing(witness):
        settings = Settings(data_dir=home / "data", dev=True, asr_model=model, database_url="", redis_url="")
        clock = ReplayClock(datetime.now(UTC) - timedelta(minutes=sum(lengths) + 1))
        async with running(settings, clock=clock) as service:
            played = await _all(service, clock, lengths, progress)
            figures = service.media.forgetting
            delay = {f"p{share}": round(figures.delay_s(share), 3) for share in (50, 95)}
            found = {"erasure_delay_s": delay, "audio_half_life_s": round(figures.half_life_s, 2),
                     "windows": figures.count}  # fmt: skip
            progress("searching every byte")
            reports = [await asyncio.to_thread(search, witness.done(), home)]
        reports.append(await asyncio.to_thread(search, witness.done(), home))
    missed = await asyncio.to_thread(_control)
    return _timings(played) | found | _forensics(reports, witness, missed) | {"model": model}


async def _all(service: Running, clock: ReplayClock, lengths: Sequence[float], progress: Progress) -> list[Played]:
    talk = conversation()
    played = []
    for number, minutes in enumerate([WARM_UP_S / 60, *lengths]):
        player = await Player.enter(service, clock, talk)
        if number == 1:
            service.media.forgetting.clear()
        one = await _one(player, minutes, progress)
        if number:
            played.append(one)
            progress(
                f"session {number} of {len(lengths)}: {minutes:g} minutes in {one.took_s:.0f} s, "
                f"transcript after {one.transcript_s:.2f} s, draft after {one.draft_s:.2f} s"
            )
    return played


async def _one(player: Player, minutes: float, progress: Progress) -> Played:
    await player.begin()
    began_s, left_s = time.monotonic(), minutes * 60
    while left_s > 0:
        part_s = min(left_s, TOLD_EVERY_S)
        await player.play(part_s)
        left_s -= part_s
        if left_s > 0:
            progress(f"{minutes - left_s / 60:.0f} of {minutes:g} minutes, {time.monotonic() - began_s:.0f} s")
    finished_s = time.monotonic()
    await player.do(CaptureAction.FINISH)
    for kind in ("transcript.ready", "audio.erased", "note.draft_ready"):
        await player.ends.any_of(kind)
    at_s = player.ends.at_s
    store = player.service.services.store
    lanes = await store.lanes(player.session_id)
    await player.leave()
    return Played(
        minutes,
        at_s["transcript.ready"] - finished_s,
        at_s["note.draft_ready"] - finished_s,
        at_s["audio.erased"] - finished_s,
        finished_s - began_s,
        player.longest_lag_ms,
        all(lane.ledger.closes for lane in lanes),
    )


def _timings(played: Sequence[Played]) -> dict[str, Any]:
    def told(values: Sequence[float]) -> Any:
        if len(values) == 1:
            return round(values[0], 3)
        return {f"p{share}": round(float(np.percentile(values, share)), 3) for share in (50, 95)}

    minutes = [one.minutes for one in played]
    return {
        "minutes": minutes[0] if len(played) == 1 else [round(one, 1) for one in minutes],
        "sessions": len(played),
        "end_to_transcript_s": told([one.transcript_s for one in played]),
        "end_to_draft_s": told([one.draft_s for one in played]),
        "end_to_erased_s": told([one.erased_s for one in played]),
        "speed": round(sum(minutes) * 60 / sum(one.took_s for one in played), 1),
        "longest_lag_s": round(max(one.lag_ms for one in played) / 1000, 3),
        "ledger_closed": all(one.closes for one in played),
    }


def _forensics(reports: Sequence[Report], witness: Witness, missed: Sequence[str]) -> dict[str, Any]:
    return {
        "forensic_hits": sum(report.total for report in reports),
        "forensic": {
            "looked_for": witness.needles.taken,
            "found": {str(kind): count for report in reports for kind, count in report.counts.items()},
            "where": sorted({Path(hit.file).name for report in reports for hit in report.hits}),
            "files": reports[0].files,
            "bytes": reports[0].bytes,
            "unreadable": sum(len(report.unreadable) for report in reports),
            "control_missed": list(missed),
        },
    }


def _control() -> list[str]:
    """The search finds what it is meant to find: one of each, planted in every form."""
    witness, rng = Witness(), np.random.default_rng()
    sound, key, packet = rng.normal(0, 2000, 16_000).astype(np.int16), os.urandom(32), os.urandom(80)
    witness.sound(0, 0, sound)
    witness.key(key)
    witness.packet(packet)
    witness.word(RARE)
    return control(witness.done(), sound[4001:], packet[3:40], key, RARE)


@contextmanager
def _home(keep: Path | None) -> Iterator[Path]:
    """Data, temporary files and logs in one folder; ``keep``: it stays."""
    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise NotEmpty(keep)
    home = keep or Path(tempfile.mkdtemp(prefix="quietnote-aftercall-"))
    with ExitStack() as stack:
        if keep is None:
            stack.callback(shutil.rmtree, home, ignore_errors=True)
        for name in ("tmp", "logs"):
            (home / name).mkdir(parents=True, exist_ok=True)
        stack.enter_context(patch.object(tempfile, "tempdir", str(home / "tmp")))
        stream = stack.enter_context((home / "logs" / "quietnote.log").open("w", encoding="utf-8"))
        log.setup(level="INFO", json=True, stream=stream)
        stack.callback(log.setup, level="ERROR", json=False)
        yield home.resolve()
