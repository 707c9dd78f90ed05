from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bot.asr.scheduler import Scheduler, SetAside, SetAsideReason
from bot.clock import ManualClock
from bot.events import Segment
from tests.unit.asr.fakes import SECOND, FakeEngine, voice, window


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
async def scheduler(engine: FakeEngine) -> AsyncIterator[Scheduler]:
    made = Scheduler(engine, ManualClock(), partial_share=1.0)
    made.start()
    yield made
    for _ in range(100):
        engine.go.release()
    await made.close()


async def running(engine: FakeEngine) -> None:
    """Until the next decode has begun."""
    assert await asyncio.to_thread(engine.started.acquire, timeout=20)


async def test_a_final_is_delivered_with_its_watermark(scheduler: Scheduler) -> None:
    got: list[Segment] = []
    assert scheduler.submit(window("w1", start=SECOND), voice(), got.append)
    assert await scheduler.drain("s", 20)
    (segment,) = got
    assert (segment.segment_id, segment.text, segment.final, segment.rev) == ("w1", "said 1", True, 1)
    assert segment.committed_through_sample == 2 * SECOND
    assert segment.participant_id == "person-l"


async def test_finals_go_before_partials_and_lanes_take_turns(scheduler: Scheduler, engine: FakeEngine) -> None:
    engine.hold = True
    got: list[Segment] = []
    scheduler.submit(window("w1"), voice(lane="a"), got.append)
    await running(engine)
    scheduler.submit(window("w9", final=False), voice(lane="c"), got.append)
    for number in (2, 3, 4):
        scheduler.submit(window(f"w{number}"), voice(lane="a"), got.append)
    scheduler.submit(window("w5"), voice(lane="b"), got.append)
    assert scheduler.stats.waiting_finals == 4
    assert scheduler.stats.waiting_partials == 1
    for _ in range(6):
        engine.go.release()
    assert await scheduler.drain("s", 20)
    await running_all(engine, 5)
    assert [number for number, _ in engine.order] == [1, 5, 2, 3, 4, 9]


async def running_all(engine: FakeEngine, count: int) -> None:
    for _ in range(count):
        await running(engine)


async def test_a_newer_revision_replaces_the_one_that_waits(scheduler: Scheduler, engine: FakeEngine) -> None:
    engine.hold = True
    got: list[Segment] = []
    scheduler.submit(window("w1"), voice(lane="a"), got.append)
    await running(engine)
    for seconds in (1, 2, 3):
        scheduler.submit(window("w2", seconds=seconds, final=False), voice(), got.append)
    assert scheduler.stats.waiting_partials == 1
    engine.go.release()
    await running(engine)
    assert engine.order == [(1, True), (2, False)]
    assert scheduler.stats.partials_skipped == 2


async def test_a_final_cancels_its_windows_partials_even_the_one_being_decoded(
    scheduler: Scheduler, engine: FakeEngine
) -> None:
    engine.hold = True
    got: list[Segment] = []
    scheduler.submit(window("w2", final=False), voice(), got.append)
    await running(engine)
    scheduler.submit(window("w2", seconds=2, final=False), voice(), got.append)
    scheduler.submit(window("w2", seconds=3), voice(), got.append)
    assert scheduler.stats.waiting_partials == 0
    engine.go.release()
    engine.go.release()
    assert await scheduler.drain("s", 20)
    assert engine.order == [(2, False), (2, True)]
    assert [segment.final for segment in got] == [True]


async def test_revisions_of_a_window_count_up(scheduler: Scheduler, engine: FakeEngine) -> None:
    got: asyncio.Queue[Segment] = asyncio.Queue()
    revs = []
    for seconds in (1, 2):
        scheduler.submit(window("w2", seconds=seconds, final=False), voice(), got.put_nowait)
        revs.append((await asyncio.wait_for(got.get(), 20)).rev)
    scheduler.submit(window("w2", seconds=3), voice(), got.put_nowait)
    final = await asyncio.wait_for(got.get(), 20)
    assert [*revs, final.rev] == [1, 2, 3]


async def test_a_window_that_grew_by_silence_only_is_not_decoded_again(
    scheduler: Scheduler, engine: FakeEngine
) -> None:
    got: asyncio.Queue[Segment] = asyncio.Queue()
    scheduler.submit(window("w2", seconds=1, speech=0.8, final=False), voice(), got.put_nowait)
    await asyncio.wait_for(got.get(), 20)
    scheduler.submit(window("w2", seconds=2, speech=0.4, final=False), voice(), got.put_nowait)
    assert scheduler.stats.waiting_partials == 0
    assert scheduler.stats.partials_skipped == 1
    assert engine.order == [(2, False)]


async def test_a_settled_window_is_the_final_before_its_end(scheduler: Scheduler, engine: FakeEngine) -> None:
    got: asyncio.Queue[Segment] = asyncio.Queue()
    scheduler.submit(window("w2", seconds=2, settled=True), voice(), got.put_nowait)
    partial = await asyncio.wait_for(got.get(), 20)
    assert (partial.final, partial.text) == (False, "said 2")
    scheduler.submit(window("w2", seconds=2), voice(), got.put_nowait)
    final = await asyncio.wait_for(got.get(), 20)
    assert (final.final, final.text, final.rev) == (True, "said 2", 2)
    assert engine.order == [(2, True)], "decoded once, in full"
    assert scheduler.stats.ready == 1


async def test_a_settled_window_that_grew_on_is_decoded_again(scheduler: Scheduler, engine: FakeEngine) -> None:
    got: asyncio.Queue[Segment] = asyncio.Queue()
    scheduler.submit(window("w2", seconds=2, settled=True), voice(), got.put_nowait)
    await asyncio.wait_for(got.get(), 20)
    scheduler.submit(window("w2", seconds=3), voice(), got.put_nowait)
    assert (await asyncio.wait_for(got.get(), 20)).final
    assert engine.order == [(2, True), (2, True)]
    assert scheduler.stats.ready == 0


async def test_a_final_that_ends_while_its_settled_window_is_decoded_waits_for_those_words(
    scheduler: Scheduler, engine: FakeEngine
) -> None:
    engine.hold = True
    got: list[Segment] = []
    scheduler.submit(window("w2", settled=True), voice(), got.append)
    await running(engine)
    scheduler.submit(window("w2"), voice(), got.append)
    engine.go.release()
    assert await scheduler.drain("s", 20)
    assert [(segment.final, segment.text) for segment in got] == [(True, "said 2")]
    assert engine.order == [(2, True)]


async def test_a_settled_decode_that_fails_leaves_the_final_to_itself(
    scheduler: Scheduler, engine: FakeEngine
) -> None:
    engine.failures[2] = 1
    got: list[Segment] = []
    scheduler.submit(window("w2", settled=True), voice(), got.append)
    await running(engine)
    scheduler.submit(window("w2"), voice(), got.append)
    assert await scheduler.drain("s", 20)
    assert [segment.text for segment in got] == ["said 2"]
    assert scheduler.stats.set_aside == 0


async def test_settled_windows_go_before_growing_ones_and_need_no_rest(engine: FakeEngine) -> None:
    engine.hold = True
    scheduler = Scheduler(engine, ManualClock(), partial_share=0.01)
    scheduler.start()
    got: asyncio.Queue[Segment] = asyncio.Queue()
    scheduler.submit(window("w1"), voice(lane="a"), got.put_nowait)
    await running(engine)
    scheduler.submit(window("w2", final=False), voice(lane="b"), got.put_nowait)
    scheduler.submit(window("w3", settled=True), voice(lane="c"), got.put_nowait)
    for _ in range(3):
        engine.go.release()
    for _ in range(3):
        await asyncio.wait_for(got.get(), 20)
    assert [number for number, _ in engine.order] == [1, 3, 2]
    await scheduler.close()


async def test_nothing_of_a_settled_window_outlives_its_lane(scheduler: Scheduler, engine: FakeEngine) -> None:
    got: asyncio.Queue[Segment] = asyncio.Queue()
    scheduler.submit(window("w2", settled=True), voice(), got.put_nowait)
    await asyncio.wait_for(got.get(), 20)
    scheduler.forget_lane("s", "l")
    scheduler.submit(window("w2"), voice(), got.put_nowait)
    assert (await asyncio.wait_for(got.get(), 20)).rev == 1
    assert engine.order == [(2, True), (2, True)]


async def test_a_failed_final_is_tried_again(scheduler: Scheduler, engine: FakeEngine) -> None:
    engine.failures[1] = 2
    got: list[Segment] = []
    scheduler.submit(window("w1"), voice(), got.append)
    assert await scheduler.drain("s", 20)
    assert [segment.text for segment in got] == ["said 1"]
    assert len(engine.order) == 3


async def test_a_final_that_cannot_be_recognised_keeps_its_audio_and_all_after_it(
    scheduler: Scheduler, engine: FakeEngine
) -> None:
    engine.failures[2] = 99
    got: list[Segment] = []
    aside: list[SetAside] = []
    for number in (1, 2, 3):
        scheduler.submit(window(f"w{number}", start=number * SECOND), voice(), got.append, aside.append)
    assert not await scheduler.drain("s", 20)
    assert [(segment.text, segment.committed_through_sample) for segment in got] == [
        ("said 1", 2 * SECOND),
        ("said 3", 2 * SECOND),
    ]
    assert [(a.window_id, a.start_sample, a.reason) for a in aside] == [("w2", 2 * SECOND, SetAsideReason.ENGINE)]
    assert scheduler.stats.set_aside == 1


async def test_more_than_may_wait_is_set_aside_not_lost(engine: FakeEngine) -> None:
    engine.hold = True
    scheduler = Scheduler(engine, ManualClock(), max_waiting_s=2.0)
    scheduler.start()
    got: list[Segment] = []
    aside: list[SetAside] = []
    scheduler.submit(window("w1", start=0), voice(), got.append, aside.append)
    await running(engine)
    for number in (2, 3, 4):
        scheduler.submit(window(f"w{number}", start=(number - 1) * SECOND), voice(), got.append, aside.append)
    for _ in range(4):
        engine.go.release()
    assert not await scheduler.drain("s", 20)
    assert [a.reason for a in aside] == [SetAsideReason.OVERLOADED]
    assert max(segment.committed_through_sample for segment in got) == aside[0].start_sample
    assert scheduler.stats.waiting_s == 0
    await scheduler.close()


async def test_nothing_of_a_forgotten_session_is_delivered(scheduler: Scheduler, engine: FakeEngine) -> None:
    engine.hold = True
    got: list[Segment] = []
    scheduler.submit(window("w1"), voice(), got.append)
    scheduler.submit(window("w2"), voice(), got.append)
    await running(engine)
    drained = asyncio.create_task(scheduler.drain("s", 20))
    await asyncio.sleep(0)
    scheduler.forget("s")
    assert not await drained
    assert not scheduler.submit(window("w3"), voice(), got.append)
    scheduler.submit(window("w4"), voice(session="other"), got.append)
    engine.go.release()
    engine.go.release()
    assert await scheduler.drain("other", 20)
    assert [segment.segment_id for segment in got] == ["w4"]
    assert [number for number, _ in engine.order] == [1, 4]


async def test_a_result_on_its_way_to_the_loop_is_stopped_too(scheduler: Scheduler, engine: FakeEngine) -> None:
    got: list[Segment] = []
    scheduler.submit(window("w1"), voice(), got.append)
    while scheduler.stats.finals == 0:  # the loop is not given a turn, so that the result waits at its door
        engine.started.acquire(timeout=0.01)
    scheduler.forget("s")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert got == []


async def test_a_forgotten_session_can_be_opened_for_the_pass_after_the_call(scheduler: Scheduler) -> None:
    got: list[Segment] = []
    scheduler.forget("s")
    scheduler.reopen("s")
    assert scheduler.submit(window("w1"), voice(), got.append)
    assert await scheduler.drain("s", 20)
    assert len(got) == 1


async def test_one_lane_is_forgotten_and_the_other_goes_on(scheduler: Scheduler, engine: FakeEngine) -> None:
    engine.hold = True
    got: list[Segment] = []
    scheduler.submit(window("w1"), voice(lane="a"), got.append)
    await running(engine)
    scheduler.submit(window("w2"), voice(lane="a"), got.append)
    scheduler.submit(window("w3", lane="b"), voice(lane="b"), got.append)
    scheduler.forget_lane("s", "a")
    for _ in range(3):
        engine.go.release()
    assert await scheduler.drain("s", 20)
    assert [segment.segment_id for segment in got] == ["w3"]


async def test_drain_gives_up_in_time(scheduler: Scheduler, engine: FakeEngine) -> None:
    engine.hold = True
    scheduler.submit(window("w1"), voice(), lambda _: None)
    assert not await scheduler.drain("s", 0.0)
    assert await scheduler.drain("nobody", 0.0)


async def test_a_listener_that_fails_stops_nobody(scheduler: Scheduler) -> None:
    got: list[Segment] = []

    def broken(segment: Segment) -> None:
        raise ValueError(segment.text)

    scheduler.submit(window("w1"), voice(), broken)
    scheduler.submit(window("w2"), voice(), got.append)
    assert await scheduler.drain("s", 20)
    assert len(got) == 1


async def test_lag_is_the_age_of_the_oldest_final_without_words(engine: FakeEngine) -> None:
    clock = ManualClock()
    engine.hold = True
    scheduler = Scheduler(engine, clock)
    scheduler.start()
    scheduler.submit(window("w1"), voice(), lambda _: None)
    await running(engine)
    clock.advance(3)
    assert scheduler.stats.lag_ms == scheduler.lag_ms("s") == 3000
    assert scheduler.lag_ms("other") == 0
    assert scheduler.stats.busy_share == pytest.approx(0.3)
    engine.go.release()
    assert await scheduler.drain("s", 20)
    assert scheduler.stats.lag_ms == 0
    await scheduler.close()
    assert not scheduler.submit(window("w2"), voice(), lambda _: None)
    await scheduler.close()


async def test_after_a_partial_the_engine_rests_from_partials(engine: FakeEngine) -> None:
    clock = ManualClock()
    scheduler = Scheduler(engine, clock, partial_share=0.5)
    engine.hold = True
    scheduler.start()
    got: asyncio.Queue[Segment] = asyncio.Queue()
    scheduler.submit(window("w1", final=False), voice(lane="a"), got.put_nowait)
    await running(engine)
    clock.advance(1.0)
    engine.go.release()
    await asyncio.wait_for(got.get(), 20)
    scheduler.submit(window("w2", final=False), voice(lane="b"), got.put_nowait)
    scheduler.submit(window("w3"), voice(lane="c"), got.put_nowait)
    await running(engine)
    engine.go.release()
    assert await scheduler.drain("s", 20)
    assert [number for number, _ in engine.order] == [1, 3], "a final needs no rest"
    clock.advance(1.0)
    engine.go.release()
    await running(engine)
    assert engine.order[-1] == (2, False)
    await scheduler.close()


async def test_nobody_waits_for_last_words_once_the_process_ends(scheduler: Scheduler, engine: FakeEngine) -> None:
    engine.hold = True
    got: list[Segment] = []
    scheduler.submit(window("w1"), voice(), got.append)
    scheduler.submit(window("w2"), voice(), got.append)
    await running(engine)
    waiting = asyncio.create_task(scheduler.drain("s", 1000))
    await asyncio.sleep(0)
    scheduler.release()
    assert not await asyncio.wait_for(waiting, 20)
    assert not await asyncio.wait_for(scheduler.drain("s", 1000), 20)
    assert got == []
