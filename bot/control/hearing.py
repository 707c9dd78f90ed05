"""Whose sound arrives at the bot. A silent lane is heard, however few packets carry its silence; one without packets
is not: a locked phone, an incoming call, a lost connection. Of a lane that is not received nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable

from bot.events import SAMPLES_PER_MS

FIRST_SOUND_MS = 3000
"""How long somebody who is in the room may take to be heard for the first time: their page is still connecting."""
ABSENT_AFTER_MS = 2000
"""Without a packet for this long a participant is absent. Five times the pause that DTX leaves between packets."""


class Hearing:
    """Kept for the time of one bot run. :meth:`frame` is called on the media thread, everything else on the loop."""

    def __init__(self, now_sample: Callable[[], int], on_first: Callable[[], None]) -> None:
        self._now = now_sample
        self._on_first = on_first
        self._until: dict[str, int] = {}
        """Up to which sample each participant counts as heard if nothing more comes."""
        self._unheard: set[str] = set()
        self._resting: dict[str, bool] = {}
        """Who is not received, and whether they were absent when that began: they stay what they were."""

    def expect(self, participant_id: str) -> None:
        """From now on this person's sound is waited for."""
        if participant_id not in self._until:
            self._until[participant_id] = self._now() + FIRST_SOUND_MS * SAMPLES_PER_MS
            self._unheard.add(participant_id)

    def rest(self, participant_id: str) -> None:
        """From now on this person is not received: that nothing comes says nothing of them."""
        if participant_id not in self._resting:
            self._resting[participant_id] = participant_id in self.absent()

    def go_on(self, participant_id: str) -> None:
        """They are received again: their sound is waited for as at the beginning, unless they were absent all along."""
        absent = self._resting.pop(participant_id, None)
        if absent is False and participant_id in self._until:
            self._until[participant_id] = self._now() + FIRST_SOUND_MS * SAMPLES_PER_MS
            self._unheard.add(participant_id)

    def came_back(self, participant_id: str) -> None:
        """A connection of theirs stands anew: whoever is not received is no longer taken for absent."""
        if participant_id in self._resting:
            self._resting[participant_id] = False

    def frame(self, participant_id: str, end_sample: int) -> None:
        """Sound of theirs, or the silence they sent, reached this sample."""
        self._until[participant_id] = end_sample + ABSENT_AFTER_MS * SAMPLES_PER_MS
        if participant_id in self._unheard:
            self._unheard.discard(participant_id)
            self._on_first()

    def absent(self) -> frozenset[str]:
        """Who is expected and cannot be heard."""
        now = self._now()
        due = {who for who, until in list(self._until.items()) if until <= now}
        return frozenset((due - self._resting.keys()) | {who for who, absent in self._resting.items() if absent})

    @property
    def waits(self) -> bool:
        """True while somebody has not been heard yet who may still be connecting."""
        now = self._now()
        return any(self._until[who] > now for who in list(self._unheard) if who not in self._resting)
