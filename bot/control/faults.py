"""Watchdogs over what is captured: faults that would otherwise look like silence. Pure; time is given.

| warning | what is wrong | it is over when |
|---|---|---|
| `no-words` | somebody spoke for `capture.no_words_s`, and no word came of it | words of theirs come |
| `microphone-silent` | packets come, without sound for `capture.silent_microphone_s` | sound comes, or they mute |
| `recognition-stalled` | one decode runs for :data:`DECODE_S` | it ends |
| `media-stalled` | one call of the media thread runs for :data:`MEDIA_S` | it ends |

A lane without packets is `absent` (:mod:`bot.control.hearing`), words that come late are `lag`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bot.clinics import CapturePolicy
from bot.events import SAMPLE_RATE_HZ, GateState

NO_WORDS, SILENT, RECOGNITION, MEDIA = "no-words", "microphone-silent", "recognition-stalled", "media-stalled"
FAULTS = frozenset({NO_WORDS, SILENT, RECOGNITION, MEDIA})

SILENT_DBFS = -85.0
"""A switch or a dead plug gives less (a 16-bit sample ends at -96); an open microphone in a quiet room, through Opus
and in our band, gave -81."""
ONCE_HEARD = 4
"""A microphone that gave sound before is given so many times as long: some give exact silence between words."""
DECODE_S = 15.0
"""Several times what the longest window takes where the recogniser keeps up at all."""
MEDIA_S = 5.0
"""A call of the media thread takes milliseconds, and a disk's worst second more."""

Warned = tuple[str, str | None]
"""A warning: its slug, and whom it concerns; None: everybody."""


@dataclass(frozen=True, slots=True)
class LaneLook:
    """One participant's lane at one moment."""

    gate: GateState
    speech_samples: int
    """What the VAD called speech so far."""
    rms_dbfs: float | None
    """Loudness a moment ago; None: nothing was captured then."""
    muted: bool = False
    absent: bool = False
    """No packets come, though they should."""


@dataclass(slots=True)
class _Known:
    speech: int = 0
    worded: int = 0
    """Speech that words came of, or of which none are expected any more."""
    heard: bool = False
    """Their microphone gave sound since they began to send, or unmuted."""
    silent_since_s: float | None = None


class Watchdogs:
    """One session's, for the time of one bot run. On the event loop."""

    def __init__(self, policy: CapturePolicy) -> None:
        self._no_words = policy.no_words_s * SAMPLE_RATE_HZ
        self._silent_s = policy.silent_microphone_s
        self._known: dict[str, _Known] = {}
        self._spoken_at_s: float | None = None

    def words(self, participant_id: str) -> None:
        """Words of theirs came, for certain or for now."""
        known = self._known.get(participant_id)
        if known is not None:
            known.worded = known.speech

    def quiet_s(self, now_s: float) -> float:
        """How long nobody has spoken, of the time in which somebody could be heard."""
        return 0.0 if self._spoken_at_s is None else now_s - self._spoken_at_s

    def look(
        self, lanes: Mapping[str, LaneLook], *, now_s: float, decode_s: float = 0.0, media_s: float = 0.0
    ) -> frozenset[Warned]:
        """What is wrong now. ``decode_s`` and ``media_s``: how long what these threads do has been going on."""
        spoke = [self._take(who, lane) for who, lane in lanes.items()]
        if self._spoken_at_s is None or any(spoke) or all(lane.gate is not GateState.OPEN for lane in lanes.values()):
            self._spoken_at_s = now_s
        found: set[Warned] = {(SILENT, who) for who, lane in lanes.items() if self._is_silent(who, lane, now_s)}
        found |= {(NO_WORDS, who) for who in lanes if self._unworded(who) >= self._no_words}
        if decode_s >= DECODE_S:
            found.add((RECOGNITION, None))
        if media_s >= MEDIA_S:
            found.add((MEDIA, None))
        return frozenset(found)

    def _take(self, who: str, lane: LaneLook) -> bool:
        """Take up how much was said; whether that is more than before."""
        known = self._known.get(who)
        if known is None:
            known = self._known[who] = _Known(lane.speech_samples, lane.speech_samples)
        more, known.speech = lane.speech_samples > known.speech, lane.speech_samples
        if lane.gate in {GateState.WITHHELD, GateState.OFF}:
            known.worded = known.speech  # what was withdrawn has no words to come
        return more

    def _unworded(self, who: str) -> int:
        return self._known[who].speech - self._known[who].worded

    def _is_silent(self, who: str, lane: LaneLook, now_s: float) -> bool:
        known = self._known[who]
        if lane.muted or lane.absent:
            known.heard = False
        if lane.muted or lane.absent or lane.rms_dbfs is None or lane.gate is not GateState.OPEN:
            known.silent_since_s = None
            return False
        if lane.rms_dbfs >= SILENT_DBFS:
            known.heard, known.silent_since_s = True, None
            return False
        if known.silent_since_s is None:
            known.silent_since_s = now_s
        return now_s - known.silent_since_s >= self._silent_s * (ONCE_HEARD if known.heard else 1)
