"""Which packets of a participant are taken, and which are dropped as they arrive."""

from __future__ import annotations

from collections import Counter

from bot.events import SAMPLES_PER_MS

HELD = 200 * SAMPLES_PER_MS
"""A connection that sent nothing for so long while it was not wanted had stopped sending: three packets and more."""


class Taking:
    """All of it on the event loop. Everybody is taken unless told otherwise."""

    def __init__(self) -> None:
        self._off: set[str] = set()
        self._back: set[str] = set()
        """Who is taken again, and has not sent anything since."""
        self._last: dict[str, tuple[int, int]] = {}
        """Connection and arrival of each participant's last packet."""
        self.unwanted: Counter[str] = Counter()
        """Packets that came while their sender was not taken, by participant."""

    def turn(self, participant_id: str, on: bool) -> None:
        """Take this participant's packets from now on, or none."""
        if on and participant_id in self._off:
            self._off.discard(participant_id)
            self._back.add(participant_id)
        elif not on:
            self._off.add(participant_id)

    def takes(self, participant_id: str, connection: int, arrival_sample: int) -> bool:
        """A packet arrived: whether it is taken.

        The first one of a connection that had stopped sending is not: an encoder may have kept sound from before, up to
        a packet of it, and put it in front. In Chromium 10 ms stay behind where a microphone does not run at 48 kHz,
        and as much as a packet when a page takes its track off the sender.
        """
        before = self._last.get(participant_id)
        self._last[participant_id] = connection, arrival_sample
        if participant_id in self._off:
            self.unwanted[participant_id] += 1
            return False
        if participant_id not in self._back:
            return True
        self._back.discard(participant_id)
        return before is None or before[0] != connection or arrival_sample - before[1] < HELD
