"""Finals are stored in order or wait: none is passed over because the disk was full for a moment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import cast

import pytest

from bot.control import keeping
from bot.control.keeping import DISK_FULL, STORAGE, Keeper, warning_of
from bot.errors import NotFound, QuietnoteError, SessionLocked, StorageUnavailable
from bot.events import Gap, GapReason, Role, Segment
from bot.store.sessions import SessionStore

FULL = StorageUnavailable("database", "full")


class Disk:
    """A store that takes what it is given while it is well."""

    def __init__(self) -> None:
        self.fault: QuietnoteError | None = None
        self.stored: list[str] = []

    async def commit_final(self, _session_id: str, segment: Segment, *, epoch: int) -> None:
        self._take(segment.segment_id)

    async def add_gap(self, _session_id: str, gap: Gap) -> None:
        self._take(f"gap {gap.start_ms}")

    def _take(self, name: str) -> None:
        if self.fault is not None:
            raise self.fault
        self.stored.append(name)


class Told:
    """A keeper over a disk, and what it told."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.segments: list[str] = []
        self.texts: list[str] = []
        self.committed: list[str] = []
        self.faults: list[str] = []
        self.keeper = Keeper(
            cast("SessionStore", self.disk),
            "ses_1",
            on_segment=self._on_segment,
            on_committed=lambda segment: self.committed.append(segment.segment_id),
            on_fault=self.faults.append,
        )

    async def _on_segment(self, segment: Segment) -> None:
        self.segments.append(segment.segment_id)
        self.texts.append(segment.text)

    async def taken(self) -> None:
        """Everything put so far was looked at."""
        await self.keeper._incoming.join()


@pytest.fixture
async def told() -> AsyncIterator[Told]:
    made = Told()
    made.keeper.start()
    yield made
    await made.keeper.close()


def segment(name: str, *, final: bool = True) -> Segment:
    return Segment(name, 1, final, "lan_1", "robin", Role.CLIENT, 0, 900, "yes", committed_through_sample=14_400)


async def test_finals_wait_in_order_and_partials_do_not(told: Told) -> None:
    told.keeper.put(segment("a"))
    await told.taken()
    told.disk.fault = FULL
    told.keeper.put(segment("b"))
    told.keeper.put(Gap(100, 200, GapReason.ABSENT, "robin"))
    told.keeper.put(segment("draft", final=False))
    await told.taken()
    assert (told.segments, told.committed) == (["a", "draft"], ["a"])
    assert set(told.faults) == {DISK_FULL}
    assert told.keeper.depth == 2
    assert not await told.keeper.save()
    told.disk.fault = None
    told.keeper.put(segment("c"))
    await told.taken()
    assert told.disk.stored == ["a", "b", "gap 100", "c"]
    assert told.segments == ["a", "draft", "b", "c"]
    assert told.keeper.depth == 0


async def test_what_will_never_be_taken_holds_up_nothing(told: Told) -> None:
    told.disk.fault = SessionLocked()
    told.keeper.put(segment("a"))
    await told.taken()
    told.disk.fault = None
    told.keeper.put(segment("b"))
    assert await told.keeper.settle()
    assert told.disk.stored == ["b"]
    assert told.faults == ["session-locked"]


async def test_the_end_waits_for_the_disk_but_not_for_ever(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "SETTLE_S", 0.05)
    monkeypatch.setattr(keeping, "TRY_AGAIN_S", 0.001)
    told.disk.fault = FULL
    told.keeper.put(segment("a"))
    assert not await told.keeper.settle()
    assert told.keeper.depth == 1
    told.keeper.forget()
    assert await told.keeper.settle()


async def test_there_is_an_end_to_what_is_kept(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "KEPT", 1)
    told.disk.fault = FULL
    told.keeper.put(segment("a"))
    told.keeper.put(segment("b"))
    await told.taken()
    assert told.faults[-1] == "overloaded"
    assert told.keeper.depth == 1


def test_what_a_fault_is_called() -> None:
    assert warning_of(FULL) == DISK_FULL
    assert warning_of(StorageUnavailable("database", "io")) == STORAGE
    assert warning_of(NotFound()) == "not-found"


async def test_what_waits_of_one_lane_is_dropped_and_taken_back_from_the_pages(told: Told) -> None:
    told.disk.fault = FULL
    told.keeper.put(segment("a"))
    await told.taken()
    told.keeper.put(segment("b", final=False))
    await told.taken()
    assert told.segments == ["b"]
    told.keeper.put(segment("c"))
    told.keeper.drop_lane("lan_1")
    told.disk.fault = None
    await told.taken()
    told.keeper.put(segment("d"))
    await told.taken()
    assert told.disk.stored == ["d"]
    assert told.segments == ["b", "b", "d"], "the partial was taken back"
    assert told.texts == ["yes", "", "yes"]


async def test_another_lane_is_kept_when_one_is_dropped(told: Told) -> None:
    told.disk.fault = FULL
    told.keeper.put(replace(segment("a"), lane_id="lan_2"))
    await told.taken()
    told.keeper.drop_lane("lan_1")
    told.disk.fault = None
    assert await told.keeper.save()
    assert told.disk.stored == ["a"]
