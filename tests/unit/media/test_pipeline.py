"""Lane, spool and windows joined: rolling erasure, recovery, books that close."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bot.events import AudioFrame, BoundaryReason, GateState, LaneBoundary, LaneLevel, Ledger, Pcm, SpeechWindow
from bot.media.pipeline import AT_RISK, LanePipeline, leftover_windows, window_id
from bot.media.spool import Spool
from tests.unit.media.fakes import FakeVault, ScriptedVad

SECOND = 16_000


class World:
    def __init__(self, folder: Path, vault: FakeVault, ledger: Ledger | None = None, kind: str = "disk") -> None:
        self.folder, self.vault = folder, vault
        self.windows: list[SpeechWindow] = []
        self.levels: list[LaneLevel] = []
        self.boundaries: list[LaneBoundary] = []
        self.spool = Spool(folder, vault, "ses", "lane", kind=kind)
        self.pipeline = LanePipeline(
            lane_id="lane",
            vad=ScriptedVad(),
            spool=self.spool,
            on_window=self.windows.append,
            on_level=self.levels.append,
            on_boundary=self.boundaries.append,
            ledger=ledger or Ledger(),
        )

    def hear(self, pcm: Pcm, start: int) -> int:
        for at in range(0, len(pcm), 960):
            self.pipeline.gate(AudioFrame("lane", start + at, pcm[at : at + 960]))
            assert self.pipeline.ledger().closes
        return start + len(pcm)

    @property
    def finals(self) -> list[SpeechWindow]:
        return [window for window in self.windows if window.final]

    @property
    def starts(self) -> list[int]:
        return [int(path.name.split(".")[1]) for path in sorted(self.folder.rglob("*.chunk"))]

    @property
    def held(self) -> list[int]:
        return [start // SECOND for start in self.starts]


def quiet(seconds: float) -> Pcm:
    return np.zeros(int(seconds * SECOND), np.int16)


def speech(seconds: float) -> Pcm:
    return np.full(int(seconds * SECOND), 1000, np.int16)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path, FakeVault())
    made.pipeline.set_state(GateState.OPEN, 0)
    return made


def test_silence_is_erased_behind_the_pre_roll(world: World) -> None:
    world.hear(quiet(30), 0)
    assert min(world.held) >= 26
    assert world.pipeline.ledger().silence == world.pipeline.ledger().captured > 29 * SECOND


def test_speech_stays_until_its_words_are_committed(world: World) -> None:
    at = world.hear(np.concatenate([quiet(5), speech(3), quiet(12)]), 0)
    (window,) = world.finals
    assert 4 in world.held
    assert 8 in world.held
    world.pipeline.committed(window.end_sample)
    assert min(world.held) >= at // SECOND - 2


def test_a_chunk_that_two_windows_share_stays_until_both_are_committed(world: World) -> None:
    world.hear(np.concatenate([speech(1.2), quiet(0.95), speech(1.2), quiet(6)]), 0)
    first, second = world.finals
    shared = second.start_sample // SECOND
    assert first.end_sample > shared * SECOND
    world.pipeline.committed(first.end_sample)
    assert min(world.held) == shared
    world.pipeline.committed(second.end_sample)
    assert min(world.held) > second.end_sample // SECOND


def test_a_commit_takes_the_sound_of_its_window_to_the_sample(world: World) -> None:
    world.hear(np.concatenate([speech(1.2), quiet(0.95), speech(1.2), quiet(1.5)]), 0)
    first, second = world.finals
    assert first.end_sample // SECOND == second.start_sample // SECOND, "they share a chunk"
    world.pipeline.committed(first.end_sample)
    assert min(world.starts) == second.start_sample
    world.pipeline.committed(second.end_sample)
    assert all(start >= second.end_sample for start in world.starts)


def test_a_pause_seals_the_rest_and_ends_the_window(world: World) -> None:
    world.hear(speech(2.5), 0)
    world.pipeline.set_state(GateState.PAUSED, int(2.5 * SECOND))
    world.hear(speech(3), int(2.5 * SECOND))
    assert [w.end_sample for w in world.finals] == [int(2.5 * SECOND)]
    assert world.held == [0, 1, 2]
    assert world.boundaries == [LaneBoundary("lane", int(2.5 * SECOND), BoundaryReason.PAUSED)]
    ledger = world.pipeline.ledger()
    assert ledger.closes
    assert (ledger.captured, ledger.paused) == (int(2.5 * SECOND), 3 * SECOND)


def test_discard_open_destroys_what_is_not_in_words_and_goes_on(world: World) -> None:
    at = world.hear(speech(2.5), 0)
    world.pipeline.discard_open()
    assert not world.held
    assert not world.finals
    world.hear(np.concatenate([speech(1), quiet(2)]), at)
    assert [w.start_sample for w in world.finals] == [at]


def test_discard_destroys_everything(world: World) -> None:
    at = world.hear(speech(2.5), 0)
    world.pipeline.set_state(GateState.OFF, at)
    world.pipeline.discard(at)
    assert not world.held
    assert not world.finals
    assert world.pipeline.ledger().closes


def test_finish_closes_the_books(world: World) -> None:
    world.hear(speech(2.5), 0)
    world.pipeline.finish(3 * SECOND)
    ledger = world.pipeline.ledger()
    assert ledger.closes
    assert (ledger.elapsed, ledger.captured, ledger.absent) == (3 * SECOND, int(2.5 * SECOND), SECOND // 2)
    assert len(world.finals) == 1
    assert world.levels


def test_after_a_kill_nothing_is_said_twice_and_nothing_sealed_is_lost(tmp_path: Path) -> None:
    vault = FakeVault()
    killed = World(tmp_path, vault)
    killed.pipeline.set_state(GateState.OPEN, 0)
    killed.hear(np.concatenate([speech(2), quiet(3), speech(2), quiet(1.02)]), 0)
    saved = killed.pipeline.ledger()
    killed.hear(speech(2.9), int(8.02 * SECOND))
    committed = killed.finals[0].end_sample
    killed.pipeline.committed(committed)

    again = World(tmp_path, vault, ledger=saved)
    again.pipeline.recover(committed, 20 * SECOND)
    assert [w.start_sample for w in again.finals] == [killed.finals[1].start_sample, again.finals[1].start_sample]
    assert again.finals[0].window_id == killed.finals[1].window_id
    assert again.finals[-1].end_sample == 10 * SECOND
    ledger = again.pipeline.ledger()
    assert ledger.closes
    assert (ledger.elapsed, ledger.captured) == (20 * SECOND, 10 * SECOND)
    again.pipeline.set_state(GateState.OPEN, 20 * SECOND)
    again.hear(np.concatenate([speech(1), quiet(2)]), 20 * SECOND)
    assert again.finals[-1].start_sample == 20 * SECOND
    for window in again.finals:
        again.pipeline.committed(window.end_sample)
    assert not again.held or min(again.held) >= 20


def test_left_over_audio_is_not_erased_before_it_is_recovered(tmp_path: Path) -> None:
    vault = FakeVault()
    killed = World(tmp_path, vault)
    killed.pipeline.set_state(GateState.OPEN, 0)
    killed.hear(speech(3), 0)
    again = World(tmp_path, vault, ledger=killed.pipeline.ledger())
    again.pipeline.set_state(GateState.OPEN, 4 * SECOND)
    again.hear(quiet(10), 4 * SECOND)
    assert again.held[:3] == [0, 1, 2]


def test_left_over_windows(tmp_path: Path) -> None:
    vault = FakeVault()
    killed = World(tmp_path, vault)
    killed.pipeline.set_state(GateState.OPEN, 0)
    killed.hear(np.concatenate([speech(2), quiet(3), speech(2), quiet(3)]), 0)
    killed.pipeline.flush()
    first, second = killed.finals
    left = list(leftover_windows("lane", Spool(tmp_path, vault, "ses", "lane"), ScriptedVad(), first.end_sample))
    assert [(w.window_id, w.start_sample) for w in left] == [(second.window_id, second.start_sample)]
    assert left[0].final
    assert np.array_equal(left[0].pcm, second.pcm)


def test_what_is_in_words_already_is_not_cut_again(tmp_path: Path) -> None:
    vault = FakeVault()
    world = World(tmp_path, vault)
    world.pipeline.set_state(GateState.OPEN, 0)
    world.hear(np.concatenate([speech(2), quiet(3), speech(2), quiet(3), speech(2), quiet(3)]), 0)
    world.pipeline.flush()
    first, second, third = world.finals
    spool = Spool(tmp_path, vault, "ses", "lane")
    span = (second.start_sample, second.end_sample)
    left = list(leftover_windows("lane", spool, ScriptedVad(), 0, [span]))
    assert [(w.start_sample, w.end_sample) for w in left] == [
        (first.start_sample, first.end_sample),
        (third.start_sample, third.end_sample),
    ]
    whole = [(0, 40 * SECOND)]
    assert list(leftover_windows("lane", Spool(tmp_path, vault, "ses", "lane"), ScriptedVad(), 0, whole)) == []


def test_after_a_kill_what_is_in_words_behind_a_stretch_that_is_not_is_left_alone(tmp_path: Path) -> None:
    vault = FakeVault()
    killed = World(tmp_path, vault)
    killed.pipeline.set_state(GateState.OPEN, 0)
    killed.hear(np.concatenate([speech(2), quiet(3), speech(2), quiet(3), speech(2), quiet(3)]), 0)
    killed.pipeline.flush()
    first, second, third = killed.finals

    again = World(tmp_path, vault)
    again.pipeline.recover(0, 20 * SECOND, written=[(second.start_sample, second.end_sample)])
    assert [(w.start_sample, w.end_sample) for w in again.finals] == [
        (first.start_sample, first.end_sample),
        (third.start_sample, third.end_sample),
    ]
    ledger = again.pipeline.ledger()
    assert ledger.closes
    assert (ledger.elapsed, ledger.captured) == (20 * SECOND, 15 * SECOND)
    assert ledger.speech >= 6 * SECOND


def test_window_ids_are_short_and_stable() -> None:
    assert window_id("lane_" + "a" * 32, 123) == window_id("lane_" + "a" * 32, 123)
    assert len(window_id("x", 1)) <= 40


def test_the_account_ends_where_the_lane_was_shut_off(world: World) -> None:
    at = world.hear(speech(2.5), 0)
    world.pipeline.set_state(GateState.OFF, at)
    world.pipeline.elapse(at + 20 * SECOND)
    world.hear(speech(1), at)
    world.pipeline.finish(at)
    world.pipeline.elapse(at + 30 * SECOND)
    assert world.pipeline.ledger().elapsed == at


def test_a_crash_in_memory_costs_what_has_no_words_and_that_is_known(tmp_path: Path) -> None:
    vault = FakeVault()
    killed = World(tmp_path, vault, kind="memory")
    killed.pipeline.set_state(GateState.OPEN, 0)
    killed.hear(quiet(2), 0)
    assert AT_RISK not in killed.pipeline.hash_tree(), "nobody said anything"
    killed.hear(np.concatenate([speech(2), quiet(3)]), 2 * SECOND)
    (window,) = killed.finals
    assert killed.pipeline.hash_tree()[AT_RISK] == window.start_sample
    killed.pipeline.committed(window.end_sample)
    assert AT_RISK not in killed.pipeline.hash_tree()
    killed.hear(speech(3), 7 * SECOND)
    stored, saved = killed.pipeline.hash_tree(), killed.pipeline.ledger()
    assert not list(tmp_path.rglob("*"))

    again = World(tmp_path, vault, ledger=saved, kind="memory")
    known, gone = again.pipeline.recover(window.end_sample, 20 * SECOND, stored[AT_RISK])
    assert (known, gone) == (saved.elapsed, [(stored[AT_RISK], saved.elapsed)])
    assert 6 * SECOND < stored[AT_RISK] < 7 * SECOND
    assert again.pipeline.ledger().closes


def test_what_can_be_heard_no_more_is_given_up_and_named(tmp_path: Path) -> None:
    world = World(tmp_path, FakeVault(), kind="memory")
    world.pipeline.set_state(GateState.OPEN, 0)
    end = world.hear(np.concatenate([speech(2), quiet(3), speech(2)]), 0)
    world.pipeline.finish(end)
    world.pipeline.flush()
    assert AT_RISK in world.pipeline.hash_tree()
    assert world.pipeline.give_up() == [(w.start_sample, w.end_sample) for w in world.finals]
    assert AT_RISK not in world.pipeline.hash_tree()
    assert not world.pipeline.give_up()


def test_what_the_disk_has_is_not_given_up(world: World) -> None:
    world.pipeline.finish(world.hear(speech(2.5), 0))
    world.pipeline.flush()
    assert not world.pipeline.at_risk
    assert not world.pipeline.give_up()
