"""The media thread: order, bounds, timers, an end."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from bot.media.worker import MediaThread


@pytest.fixture
def worker() -> Iterator[MediaThread]:
    thread = MediaThread(limit=4)
    yield thread
    thread.close()


def test_work_is_done_in_order_and_to_the_end(worker: MediaThread) -> None:
    done: list[int] = []
    worker.start()
    gate = threading.Event()
    assert worker.post(gate.wait, 5)
    for number in range(3):
        assert worker.post(done.append, number)
    gate.set()
    worker.close()
    assert done == [0, 1, 2]
    assert not worker.post(done.append, 3)


def test_a_full_queue_refuses_and_says_so(worker: MediaThread) -> None:
    for number in range(4):
        assert worker.post(list, (number,))
    assert worker.depth == 4
    assert not worker.post(list)
    assert worker.refused == 1
    worker.start()


def test_a_fault_is_counted_and_ends_nothing(worker: MediaThread) -> None:
    done = threading.Event()

    def fail() -> None:
        raise ValueError("what somebody said")

    worker.start()
    worker.post(fail)
    worker.post(done.set)
    assert done.wait(5)
    assert worker.faults == 1


def test_timers_run_on_the_thread_in_order_of_time(worker: MediaThread) -> None:
    done: list[str] = []
    end = threading.Event()

    def plan() -> None:
        worker.later(0.02, end.set)
        worker.later(0.01, lambda: done.append("second"))
        worker.later(0.0, lambda: done.append(threading.current_thread().name))

    worker.start()
    worker.post(plan)
    assert end.wait(5)
    assert done == ["media", "second"]


def test_it_starts_once(worker: MediaThread) -> None:
    worker.start()
    with pytest.raises(RuntimeError):
        worker.start()


def test_close_before_start_and_twice(worker: MediaThread) -> None:
    worker.close()
    worker.close()
