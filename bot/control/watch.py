"""Who is there, and what follows from it: a pure judgement, made once a second while a session is captured."""

from __future__ import annotations

from dataclasses import dataclass

from bot.clinics import CapturePolicy
from bot.control.capture import CaptureView
from bot.control.leaving import SIDES, Elapsed, away_s, end_of
from bot.control.lobby import Lobby
from bot.events import CaptureState, EndReason, PauseReason


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do, where it is not an end: reasons to pause that begin to hold, and such that hold no longer."""

    hold: frozenset[PauseReason] = frozenset()
    lift: frozenset[PauseReason] = frozenset()


STAY = Verdict()
UNDER_WAY = frozenset({CaptureState.CONSENT_PENDING, CaptureState.CAPTURING, CaptureState.PAUSED})


def judge(
    view: CaptureView, lobby: Lobby, policy: CapturePolicy, since: Elapsed, *, now_s: float
) -> Verdict | EndReason:
    """An end reason when it is time for one (:mod:`bot.control.leaving`); else hold, lift or stay."""
    if view.state not in UNDER_WAY:
        return STAY
    seats = list(lobby.seats.values())
    ends = end_of(view.state, seats, policy, since, now_s=now_s)
    if ends is not None:
        return ends
    if view.state is CaptureState.CONSENT_PENDING:
        return STAY
    reasons = (
        (PauseReason.CLINICIAN_ABSENT, policy.clinician_absent_s),
        (PauseReason.CLIENT_ABSENT, policy.client_absent_s),
    )
    hold, lift = set(), set()
    for (reason, longest_s), roles in zip(reasons, SIDES, strict=True):
        there = [seat for seat in seats if seat.member.role in roles]
        missed_s = away_s(there, now_s, now_s - since.asked_s)
        if any(seat.present for seat in there):
            lift |= {reason} & view.reasons
        elif reason not in view.reasons and missed_s is not None and missed_s >= longest_s:
            hold.add(reason)
    return Verdict(frozenset(hold), frozenset(lift))
