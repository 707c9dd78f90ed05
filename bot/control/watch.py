"""Who is there, and what follows from it: a pure judgement, made once a second while a session is captured."""

from __future__ import annotations

from dataclasses import dataclass

from bot.clinics import CapturePolicy
from bot.control.capture import CaptureView
from bot.control.lobby import Lobby
from bot.events import CLIENT_SIDE, CaptureState, EndReason, PauseReason, Role


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do, where it is not an end: reasons to pause that begin to hold, and such that hold no longer."""

    hold: frozenset[PauseReason] = frozenset()
    lift: frozenset[PauseReason] = frozenset()


STAY = Verdict()


def judge(view: CaptureView, lobby: Lobby, policy: CapturePolicy, *, now_s: float, call_ms: int) -> Verdict | EndReason:
    """An end reason when everybody has been away too long or the call is too long; else hold, lift or stay."""
    if view.state not in {CaptureState.CAPTURING, CaptureState.PAUSED}:
        return STAY
    if call_ms >= policy.max_duration_min * 60_000:
        return EndReason.MAX_DURATION
    seats = list(lobby.seats.values())
    left = [seat.left_at_s for seat in seats if seat.left_at_s is not None]
    if left and not any(seat.link for seat in seats) and now_s - max(left) >= policy.alone_s:
        return EndReason.LEFT_ALONE
    sides = (
        (PauseReason.CLINICIAN_ABSENT, {Role.CLINICIAN}, policy.clinician_absent_s),
        (PauseReason.CLIENT_ABSENT, CLIENT_SIDE, policy.client_absent_s),
    )
    hold, lift = set(), set()
    for reason, roles, longest_s in sides:
        there = [seat for seat in seats if seat.member.role in roles]
        gone = [seat.left_at_s for seat in there if seat.left_at_s is not None]
        if any(seat.present for seat in there):
            lift |= {reason} & view.reasons
        elif reason not in view.reasons and gone and now_s - max(gone) >= longest_s:
            hold.add(reason)
    return Verdict(frozenset(hold), frozenset(lift))
