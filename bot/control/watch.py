"""Who is there, and what follows from it: a pure judgement, made once a second while a session is captured."""

from __future__ import annotations

from enum import Enum, auto

from bot.clinics import CapturePolicy
from bot.control.capture import CaptureView
from bot.control.lobby import Lobby
from bot.events import CaptureState, EndReason, PauseReason, Role


class Verdict(Enum):
    """What to do, where it is not an end."""

    STAY = auto()
    HOLD = auto()
    """Pause: no clinician has been there for too long."""
    LIFT = auto()
    """The clinician is back."""


def judge(view: CaptureView, lobby: Lobby, policy: CapturePolicy, *, now_s: float, call_ms: int) -> Verdict | EndReason:
    """An end reason when everybody has been away too long or the call is too long; else hold, lift or stay."""
    if view.state not in {CaptureState.CAPTURING, CaptureState.PAUSED}:
        return Verdict.STAY
    if call_ms >= policy.max_duration_min * 60_000:
        return EndReason.MAX_DURATION
    seats = list(lobby.seats.values())
    left = [seat.left_at_s for seat in seats if seat.left_at_s is not None]
    if left and not any(seat.link for seat in seats) and now_s - max(left) >= policy.alone_s:
        return EndReason.LEFT_ALONE
    held = PauseReason.CLINICIAN_ABSENT in view.reasons
    if lobby.clinician_present():
        return Verdict.LIFT if held else Verdict.STAY
    gone = [seat.left_at_s for seat in seats if seat.member.role is Role.CLINICIAN and seat.left_at_s is not None]
    if not held and gone and now_s - max(gone) >= policy.clinician_absent_s:
        return Verdict.HOLD
    return Verdict.STAY
