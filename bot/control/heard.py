"""One participant's lane while the bot is in the call: the sound's way, whose it is, and what is missing of it."""

from __future__ import annotations

from dataclasses import dataclass

from bot.asr.scheduler import LaneVoice
from bot.control.holes import Absence
from bot.events import Gap, GapReason, LaneLevel, ms_of
from bot.media.pipeline import LanePipeline


@dataclass(slots=True)
class HeardLane:
    """What :class:`bot.control.callmedia.CallMedia` knows of a lane."""

    pipeline: LanePipeline
    voice: LaneVoice
    committed_through_sample: int
    absence: Absence
    at_risk_from: int | None = None
    """From where on an earlier process had words due of sound that lay in its memory only."""
    level: LaneLevel | None = None

    def gap(self, span: tuple[int, int], reason: GapReason) -> Gap:
        """A stretch of samples as an entry of the transcript."""
        return Gap(ms_of(span[0]), ms_of(span[1]), reason, self.voice.participant_id)

    def finish(self, at_sample: int) -> None:
        """End the lane; what came too late until now decides what is said of its holes. On the media thread."""
        self.pipeline.finish(at_sample)
        self.state_absence()

    def state_absence(self) -> None:
        """State an absence that goes on. On the media thread."""
        self.absence.so_far(self.pipeline.cursor)
