"""How the tests are spread over several workers (``make test``).

A file stays with one worker. Calls are spoken in real time, and few at once are all that a small machine can hold, so
that there are three lanes which run in order: two of tests with browsers, and the calls without. They begin first;
everything else takes the workers that are left.
"""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from xdist.remote import Producer
from xdist.scheduler.loadscope import LoadScopeScheduling
from xdist.workermanage import WorkerController

BROWSERS, MORE_BROWSERS, CALLS = "browsers", "more browsers", "calls"
WITH_CALLS = {
    "test_bench_demo.py",
    "test_bench_live.py",
    "test_bench_start.py",
    "test_stopping.py",
    "test_whole_call.py",
}
"""Below ``tests/integration``: what needs the words of a call, and so its time."""
FIRST_BROWSERS = {"test_call.py", "test_firefox.py", "test_senders.py"}
"""Below ``tests/e2e``: about half of the time."""


def lane_of(nodeid: str) -> str:
    """What may not run beside itself: one of the lanes, or a file."""
    file = PurePosixPath(nodeid.split("::", 1)[0])
    if "e2e" in file.parts:
        return BROWSERS if file.name in FIRST_BROWSERS else MORE_BROWSERS
    return CALLS if "integration" in file.parts and file.name in WITH_CALLS else str(file)


class Spread(LoadScopeScheduling):  # type: ignore[misc]  # xdist is not typed
    """The lanes first, then files in the order of their names: what takes no time fills the end."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return lane_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        for lane in (CALLS, MORE_BROWSERS, BROWSERS):
            if lane in self.workqueue:
                self.workqueue.move_to_end(lane, last=False)
        super()._assign_work_unit(node)
