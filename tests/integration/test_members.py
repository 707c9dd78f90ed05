"""Which processes live, on a real Valkey: nobody is taken for dead on less than proof."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.clock import ManualClock, SystemClock
from bot.store.bus import Bus
from bot.store.members import BusNeeded, Members, OtherVault, new_process
from bot.store.valkey import EmbeddedValkey

TTL_S = 20.0
VAULT = "vault-1"


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    server = EmbeddedValkey(tmp_path)
    await server.start()
    yield server
    await server.close()


@pytest.fixture
async def bus(valkey: EmbeddedValkey) -> AsyncIterator[Bus]:
    bus = Bus(valkey.url, clock=SystemClock())
    await bus.open()
    yield bus
    await bus.close()


def member(bus: Bus, clock: ManualClock) -> Members:
    return Members(new_process(), bus, clock, ttl_s=TTL_S)


async def vanish(bus: Bus, one: Members) -> None:
    """Its lease is over, as after a kill."""
    await bus.release(f"process:{one.id}", one.id)


async def test_dead_is_who_was_missing_for_a_whole_lease(bus: Bus) -> None:
    clock = ManualClock()
    here, there = member(bus, clock), member(bus, clock)
    for one in (here, there):
        await one.join(VAULT)
    assert await here.look([there.id, here.id]) == frozenset()
    assert await here.answers(there.id)
    await vanish(bus, there)
    assert not await here.answers(there.id)
    assert await here.look([there.id]) == frozenset()
    clock.advance(TTL_S - 1)
    assert await here.look([there.id]) == frozenset()
    clock.advance(2)
    assert await here.look([there.id]) == {there.id}
    assert here.is_dead(there.id)


async def test_who_comes_back_in_time_is_not_dead(bus: Bus) -> None:
    """As after a Redis that was started again and remembers nothing."""
    clock = ManualClock()
    here, there = member(bus, clock), member(bus, clock)
    await there.join(VAULT)
    await vanish(bus, there)
    await here.look([there.id])
    clock.advance(TTL_S - 1)
    await there.renew(VAULT)
    await here.look([there.id])
    await vanish(bus, there)
    clock.advance(2)
    assert await here.look([there.id]) == frozenset(), "it counts anew"


async def test_a_bus_that_is_away_proves_nothing(valkey: EmbeddedValkey, bus: Bus) -> None:
    clock = ManualClock()
    here, there = member(bus, clock), member(bus, clock)
    await here.look([there.id])
    await valkey.close()
    clock.advance(10 * TTL_S)
    assert await here.look([there.id]) == frozenset()
    with pytest.raises(BusNeeded):
        await here.join(VAULT)
    await valkey.start()
    assert await bus.ping()
    assert await here.look([there.id]) == frozenset(), "what was missing before counts for nothing"
    clock.advance(TTL_S)
    assert await here.look([there.id]) == {there.id}


async def test_who_leaves_in_good_order_is_gone_at_once(bus: Bus) -> None:
    clock = ManualClock()
    here, there = member(bus, clock), member(bus, clock)
    await there.join(VAULT)
    await there.leave()
    assert await here.look([there.id]) == {there.id}


async def test_another_vault_is_refused(bus: Bus) -> None:
    clock = ManualClock()
    await member(bus, clock).join(VAULT)
    await member(bus, clock).join(VAULT)
    with pytest.raises(OtherVault, match="QUIETNOTE_DATA_DIR"):
        await member(bus, clock).join("vault-2")
