"""How the tests are spread over several workers (``make test``).

A file stays with one worker. Calls are spoken in real time, and two at once are all that a small machine can hold, so
that there are two lanes which run in order: the tests with browsers, and the calls without. Both begin first;
everything else takes the workers that are left, what waits for people before what needs the processor.
"""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from xdist.remote import Producer
from xdist.scheduler.loadscope import LoadScopeScheduling
from xdist.workermanage import WorkerController

BROWSERS, CALLS = "browsers", "calls"
WITH_CALLS = {
    "test_bench_demo.py",
    "test_bench_live.py",
    "test_stopping.py",
    "test_whole_call.py",
}
"""Below ``tests/integration``: what needs the words of a call, and so its time."""


def lane_of(nodeid: str) -> str:
    """What may not run beside itself: one of the lanes, or a file."""
    file = PurePosixPath(nodeid.split("::", 1)[0])
    if "e2e" in file.parts:
        return BROWSERS
    return CALLS if "integration" in file.parts and file.name in WITH_CALLS else str(file)


SPOKEN = {
    "test_absence.py",
    "test_access.py",
    "test_bench_pause.py",
    "test_builtin_room.py",
    "test_call_crash.py",
    "test_call_doors.py",
    "test_client_reads.py",
    "test_coming_back.py",
    "test_full_disk.py",
    "test_held_up.py",
    "test_late_words.py",
    "test_rough_network.py",
    "test_set_aside.py",
    "test_turn.py",
}
"""Below ``tests/integration``: what mostly waits, and so comes before what needs the processor."""


class Spread(LoadScopeScheduling):  # type: ignore[misc]  # xdist is not typed
    """The lanes first, then what waits, then files in the order of their names: what takes no time fills the end."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return lane_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        spoken = [file for file in self.workqueue if PurePosixPath(file).name in SPOKEN]
        for lane in (*spoken, CALLS, BROWSERS):
            if lane in self.workqueue:
                self.workqueue.move_to_end(lane, last=False)
        super()._assign_work_unit(node)
