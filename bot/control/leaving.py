"""When a recording ends by itself, and what clinicians are told before. Pure; time is given.

| what has been so | for | it ends as | told before |
|---|---|---|---|
| nobody has the call open | `capture.alone_s` | `left_alone` | nobody is there to be told |
| no clinician is in the room, or nobody of the client's side | `capture.one_sided_s` | `left_alone` | a minute |
| nobody spoke, while recording ran | `capture.silence_min` | `call_ended` | a minute |
| recording began | `capture.max_duration_min` | `max_duration` | five minutes, and one |

Each ends like Finish: what was captured becomes a note; where nothing could be yet, because somebody had not agreed,
recording is off again. Only the empty room ends that waiting. The reasons are a closed set that knows no silence: a
conversation that is over is a call that has ended, though its connections stand.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from bot.clinics import CapturePolicy
from bot.control.lobby import Seat
from bot.events import CLIENT_SIDE, CaptureState, EndReason, Role

MINUTE_S = 60.0
SOON_MIN = 5

ALONE, SILENCE, SOON, NOW = "ending-alone", "ending-silence", "ending-soon", "ending-now"
ENDINGS = frozenset({ALONE, SILENCE, SOON, NOW})

SIDES = (frozenset({Role.CLINICIAN}), CLIENT_SIDE)


@dataclass(frozen=True, slots=True)
class Elapsed:
    """How long what has been so."""

    captured_s: float = 0.0
    """Since the first sample could be captured, pauses included, over every restart of the service."""
    quiet_s: float = 0.0
    """Since somebody spoke, or recording went on after a pause."""
    asked_s: float = 0.0
    """Since recording was asked for, or the service was started anew."""


def away_s(seats: Collection[Seat], now_s: float, since_s: float | None = None) -> float | None:
    """How long all of these people have been away; None while one of them is here.

    Who never was here is missed from ``since_s`` on; without it, not at all.
    """
    left = [seat.left_at_s for seat in seats if seat.left_at_s is not None]
    if any(seat.present for seat in seats) or not (left or since_s is not None):
        return None
    return now_s - (max(left) if left else since_s or 0.0)


@dataclass(frozen=True, slots=True)
class _Rung:
    left_s: float
    reason: EndReason
    warnings: tuple[tuple[float, str], ...] = ()
    """What is told when no more than so many seconds are left; of several, the last."""


def _rungs(
    state: CaptureState, seats: Collection[Seat], policy: CapturePolicy, since: Elapsed, now_s: float
) -> Iterator[_Rung]:
    empty_s = None if any(seat.link for seat in seats) else away_s(seats, now_s)
    if empty_s is not None:
        yield _Rung(policy.alone_s - empty_s, EndReason.LEFT_ALONE)
    if state not in {CaptureState.CAPTURING, CaptureState.PAUSED}:
        return
    a_minute = MINUTE_S
    yield _Rung(
        policy.max_duration_min * MINUTE_S - since.captured_s,
        EndReason.MAX_DURATION,
        ((SOON_MIN * MINUTE_S, SOON), (a_minute, NOW)),
    )
    for side in SIDES:
        missed_s = away_s([seat for seat in seats if seat.member.role in side], now_s, now_s - since.asked_s)
        if missed_s is not None:
            longest_s = max(policy.one_sided_s, policy.alone_s)
            yield _Rung(longest_s - missed_s, EndReason.LEFT_ALONE, ((a_minute, ALONE),))
    yield _Rung(policy.silence_min * MINUTE_S - since.quiet_s, EndReason.CALL_ENDED, ((a_minute, SILENCE),))


def end_of(
    state: CaptureState, seats: Collection[Seat], policy: CapturePolicy, since: Elapsed, *, now_s: float
) -> EndReason | None:
    """Why the recording ends now; None: it does not."""
    due = (rung.reason for rung in _rungs(state, seats, policy, since, now_s) if rung.left_s <= 0)
    return next(due, None)


def told_before(
    state: CaptureState, seats: Collection[Seat], policy: CapturePolicy, since: Elapsed, *, now_s: float
) -> frozenset[str]:
    """The warnings of an end that is near."""
    told = set()
    for rung in _rungs(state, seats, policy, since, now_s):
        near = [slug for within_s, slug in rung.warnings if rung.left_s <= within_s]
        told.update(near[-1:])
    return frozenset(told)
