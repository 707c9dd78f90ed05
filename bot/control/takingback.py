"""Consent that is taken back together with what was recorded so far.

What was captured of a session is one conversation: others answer, repeat and paraphrase what somebody said. So all of
it is destroyed, on the word of the one who withdraws, and no clinician is needed for it. A recording that runs ends
with that, as by Discard; after the call no note is made of it.
"""

from __future__ import annotations

import structlog

from bot.control.capture import CaptureView
from bot.control.endings import Endings
from bot.control.lobby import Seat
from bot.control.moves import Answer
from bot.errors import QuietnoteError
from bot.events import CaptureState, EndReason, ms_of

log = structlog.get_logger()

RUNNING = frozenset({CaptureState.CONSENT_PENDING, CaptureState.CAPTURING, CaptureState.PAUSED})


class TakingBack(Endings):
    """A session that people can have destroyed."""

    async def _take_back(self, seat: Seat, answer: Answer, at: int) -> None:
        """Shut every gate, record answer and destruction in one change, and let the destruction begin.

        A change that is not recorded undoes nothing of the withdrawal itself: whoever asked holds it and asks again.
        """
        before = self.view
        runs = before.state in RUNNING and self.record.captured_from is not None
        if runs:
            self.view = CaptureView(CaptureState.DISCARDED)
            self._apply_gates(at)
        try:
            self.record = await self._store.withdraw(
                self.session_id,
                seat.member.participant_id,
                answer.decision,
                method=answer.method,
                by=answer.actor.name,
                at_ms=ms_of(at),
            )
        except BaseException:
            self.view = before
            raise
        seat.consent, seat.attestation = answer.decision, None
        self._noes.pop(seat.member.participant_id, None)
        self._control_seq = self.record.seq
        if runs:
            self._unrecorded, self._held_for, self._since_sample = False, frozenset(), at
            self._spawn(self._throw_away(at, EndReason.CONSENT_DECLINED), "throw_away")

    async def _destroy_ended(self) -> None:
        """Destroy what there is of a session whose recording is over. What fails now is the sweep's."""
        try:
            await self._services.discard_session(self.session_id)
        except QuietnoteError as error:
            log.warning("destruction_deferred", session_id=self.session_id, error=type(error).__name__)
        await self.refresh()
