"""Sessions that end in every way there is, and then every byte that is left: no sound, no key, no word of them.

A recording that is uploaded is another way in; it belongs in ``ended`` below as soon as there is one.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from bot.asr.engine import Recognition
from bot.asr.whisper import WhisperEngine
from bot.bench.forensics import Report
from bot.bench.needles import Kind
from bot.bench.replay import Player
from bot.bench.witness import Witness
from bot.events import AudioState, CaptureAction, ConsentState, NoteState, Pcm, TranscriptState
from tests.conftest import ROOT
from tests.integration.forensic_world import LATER_S, Scene, scene
from tests.postgres_server import PostgresServer

SAID_S = 7.0
"""Both have said something by then."""
WITHIN_S = 60.0
ERASE_BY_S = 25 * 3600.0
"""The day on which a recording may be tried again is over."""


def assert_gone(report: Report) -> None:
    assert report.clean, ([(hit.file, hit.at, hit.kind, hit.form) for hit in report.hits[:20]], report.unreadable)
    assert report.files > 10


async def finished(here: Scene) -> Player:
    player = await here.enter()
    await player.begin()
    await player.play(SAID_S)
    await player.do(CaptureAction.FINISH)
    await player.ends.any_of("note.draft_ready", within_s=WITHIN_S)
    return player


async def discarded(here: Scene) -> Player:
    player = await here.enter()
    await player.begin()
    await player.play(SAID_S)
    await nothing_in_the_clear_while_it_is_held(here)
    await player.do(CaptureAction.DISCARD)
    await player.ends.any_of("transcript.purged", within_s=WITHIN_S)
    return player


async def nothing_in_the_clear_while_it_is_held(here: Scene) -> None:
    """Who has the files and not the vault finds nothing; and what lies in the clear would be found."""
    data = here.home / "data"
    assert list((data / "spool").rglob("*.chunk")), "sound is held at this moment"
    assert_gone(await here.search())
    planted = data / "planted"
    planted.write_bytes(here.talk.piece("clinician", 20_000, 16_000).tobytes())
    assert (await here.search()).counts[Kind.AUDIO] > 50
    planted.unlink()


async def declined(here: Scene) -> Player:
    player = await here.enter()
    await player.ask()
    await player.play(SAID_S)
    await player.answer(ConsentState.DECLINED)
    return player


async def withdrawn(here: Scene) -> Player:
    player = await finished(here)
    await player.answer(ConsentState.REVOKED, destroy=True)
    await player.ends.any_of("transcript.purged", within_s=WITHIN_S)
    return player


async def failed(here: Scene, monkeypatch: pytest.MonkeyPatch) -> Player:
    def fails(self: WhisperEngine, pcm: Pcm, *, language: str, word_times: bool) -> Recognition:
        raise RuntimeError("no words today")

    player = await here.enter()
    await player.begin()
    with monkeypatch.context() as patched:
        patched.setattr(WhisperEngine, "recognise", fails)
        await player.play(SAID_S)
        await player.do(CaptureAction.FINISH)
        await player.ends.any_of("transcript.delayed", within_s=WITHIN_S)
        assert_gone(await here.search())  # it waits for another try, sealed
        here.clock.advance(ERASE_BY_S)
        await player.ends.any_of("transcript.failed", within_s=WITHIN_S)
        await player.ends.any_of("audio.erased", within_s=WITHIN_S)
    return player


async def states(here: Scene, player: Player) -> tuple[AudioState, TranscriptState, NoteState]:
    record = await here.service.services.store.get(player.session_id)
    return record.audio, record.transcript, record.note


async def test_whatever_its_end_nothing_of_a_session_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    witness = Witness()
    async with scene(tmp_path, witness) as here:
        ended = {
            "finished": await finished(here),
            "discarded": await discarded(here),
            "declined": await declined(here),
            "withdrawn": await withdrawn(here),
            "failed": await failed(here, monkeypatch),
        }
        came_to = {name: await states(here, player) for name, player in ended.items()}
        assert came_to == {
            "finished": ("erased", "ready", "draft"),
            "discarded": ("erased", "purged", "absent"),
            "declined": ("absent", "absent", "absent"),
            "withdrawn": ("erased", "purged", "discarded"),
            "failed": ("erased", "failed", "absent"),
        }
        assert_gone(await here.search())
        figures = here.service.services.metrics.render().decode()
        for name in ("erasure_delay_p50_seconds", "erasure_delay_p95_seconds", "audio_half_life_seconds"):
            assert f"\nquietnote_{name} " in figures
        assert "\nquietnote_erasures_measured 0.0" not in figures
        for player in ended.values():
            await player.leave()
    assert_gone(await here.search())
    taken = witness.needles.taken
    assert taken["samples"] > 5 * 2 * SAID_S * 16_000, "what was sent to all five is looked for"
    assert taken["keys"] > 50
    assert taken["words"] >= 5


async def test_killed_and_erased_at_the_next_start_nothing_is_left(tmp_path: Path) -> None:
    home, noted = tmp_path / "home", tmp_path / "noted"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.forensic_world", str(home), str(noted),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    async with asyncio.timeout(WITHIN_S):
        session_id = (await child.stdout.readline()).decode().strip()
        for _ in range(5):
            assert await child.stdout.readline(), "it ended by itself"
    child.send_signal(signal.SIGKILL)
    await child.wait()
    witness = Witness()
    witness.read(noted)
    before = dict(witness.needles.taken)
    assert before["samples"] > 16_000
    assert before["keys"] > 5
    async with scene(home, witness, later_s=LATER_S) as here:
        player = await Player.back_in(here.service, here.clock, here.talk, session_id)
        await player.do(CaptureAction.FINISH)
        await player.ends.any_of("note.draft_ready", within_s=WITHIN_S)
        assert (await states(here, player))[0] == "erased"
        assert_gone(await here.search())
    assert_gone(await here.search())


async def test_nor_is_anything_in_the_files_of_postgres(
    tmp_path: Path, postgres_server: PostgresServer, postgres_url: str
) -> None:
    witness = Witness()
    async with scene(tmp_path, witness, database_url=postgres_url) as here:
        await (await finished(here)).leave()
        await (await discarded(here)).leave()
        rows = await asyncio.to_thread(
            postgres_server.run, "SELECT count(*) FROM segments", postgres_url.rpartition("/")[2]
        )
        assert rows[0][0] > 0, "the words of the first are in it, sealed"
        await asyncio.to_thread(postgres_server.run, "CHECKPOINT")
        report = await here.search(postgres_server.data)
        assert_gone(report)
        assert report.bytes > 10_000_000, "its data directory was looked through"


async def test_a_process_that_crashes_leaves_no_dump_of_its_memory() -> None:
    script = (
        "import ctypes, resource; from bot import dumps; dumps.refuse();"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE))"
    )
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", script, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    out, _ = await child.communicate()
    assert out.split() == [b"0", b"0", b"0"], "not dumpable, whatever the kernel pipes dumps to"
