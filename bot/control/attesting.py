"""Consent that a clinician vouches for: what lies on file, and what was said aloud.

Neither is an answer that the participant gave here themselves, and the record never says so: it names the clinician.
What somebody said no to themselves, nobody can attest away.
"""

from __future__ import annotations

from datetime import datetime

from bot.clinics import ConsentPolicy
from bot.control.lobby import Seat
from bot.errors import Forbidden, InvalidTransition
from bot.events import CaptureState, ConsentState, Role

ASKED, PRESSED_START, ON_FILE, VERBAL, LINK = "asked", "pressed_start", "on_file", "verbal_attested", "link"
"""How the house itself records a consent."""
OURS = frozenset({ASKED, PRESSED_START, ON_FILE, LINK})
"""Methods that nobody may give to an answer of their own."""
OVER = frozenset({CaptureState.FINISHED, CaptureState.DISCARDED})


def ran_out(seat: Seat, now: datetime) -> bool:
    """True when what they agreed to was on file with an end, and that has come."""
    given = seat.attestation
    if seat.consent is not ConsentState.GRANTED or given is None or given.until is None:
        return False
    return now >= given.until


def check_aloud(seat: Seat, policy: ConsentPolicy, capture: CaptureState) -> None:
    """Raise unless it can be attested now that this person agreed aloud, in this call."""
    if not policy.verbal_attested:
        raise Forbidden(
            "This clinic does not let anybody attest what was said aloud: they answer for themselves.",
            policy="consent.verbal_attested",
        )
    if seat.member.role is Role.CLINICIAN:
        raise Forbidden("A clinician agrees by Start, or answers for themselves.")
    if seat.consent in {ConsentState.DECLINED, ConsentState.REVOKED}:
        raise Forbidden("They said no themselves, and only they can take that back.")
    if capture in OVER:
        raise InvalidTransition("The recording has ended.", state=capture.value)
    if not seat.present:
        raise InvalidTransition("They are not in the room.", state=capture.value)
