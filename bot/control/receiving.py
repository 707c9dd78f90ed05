"""Whose sound the bot receives: those whose gate is open, and for a while after it shut.

A pause is often over within seconds. So a lane that was open goes on arriving for the clinic's `capture.long_pause_s`,
to be dropped at its gate; a lane that is withheld only as long as sound from before may be under way. A lane that was
never open is not received at all. What is not received is dropped as it arrives, undecoded; a page that follows the
`receive` message does not even send it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bot.control.callmedia import IN_FLIGHT_MS
from bot.events import SAMPLE_RATE_HZ, SAMPLES_PER_MS, GateState


@dataclass(slots=True)
class _Lane:
    gate: GateState
    wanted_until: int | None = None
    """Up to which sample it was open, or about to be; None: never yet."""
    on: bool | None = None
    """Whether it is received; None: nobody was told yet."""


class Receiving:
    """Kept for the time of one bot run. ``turn`` is told whenever somebody's sound is taken up or stopped."""

    def __init__(self, long_pause_s: float, now_sample: Callable[[], int], turn: Callable[[str, bool], None]) -> None:
        self._long_pause = round(long_pause_s * SAMPLE_RATE_HZ)
        self._now = now_sample
        self._turn = turn
        self._lanes: dict[str, _Lane] = {}

    def follow(self, gates: Mapping[str, GateState]) -> None:
        """Gates changed: an open one is received at once."""
        now = self._now()
        for participant_id, gate in gates.items():
            lane = self._lanes.setdefault(participant_id, _Lane(gate))
            if GateState.OPEN in {lane.gate, gate}:
                lane.wanted_until = now
            lane.gate = gate
        self.look()

    def about_to_open(self) -> None:
        """Somebody asked to go on: take up at once what may be captured then, before it is decided and recorded.

        Gates stay as they are. If nothing comes of it, it ends like a pause that was just made.
        """
        now = self._now()
        for lane in self._lanes.values():
            if lane.gate in {GateState.PAUSED, GateState.OFF}:
                lane.wanted_until = now
        self.look()

    def look(self) -> None:
        """Time passed: stop what has been shut for long enough."""
        now = self._now()
        for participant_id, lane in self._lanes.items():
            on = self._wanted(lane, now)
            if on is not lane.on:
                lane.on = on
                self._turn(participant_id, on)

    def receives(self, participant_id: str) -> bool:
        """Whether this person's sound is received now."""
        lane = self._lanes.get(participant_id)
        return lane is not None and lane.on is True

    def _wanted(self, lane: _Lane, now: int) -> bool:
        if lane.gate is GateState.OPEN:
            return True
        stays = IN_FLIGHT_MS * SAMPLES_PER_MS if lane.gate is GateState.WITHHELD else self._long_pause
        return lane.wanted_until is not None and now < lane.wanted_until + stays
