"""What must hold of the gate, told from outside: by what people said and when, never by what the code thinks.

A :class:`Ban` is a stretch of the call's clock in which nothing of somebody, or of anybody, may be captured. A person's
ban begins when they say no and ends when they say yes; the ban of all begins with Pause and ends with a Resume that was
accepted. Each begins at the moment it was asked for, not when it was answered.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from bot.events import CaptureState, ConsentState, PauseReason
from tests.unit.control.gate_world import CLIENT, DOCTOR, ROLES, Kept

ENDED = {CaptureState.FINISHED.value, CaptureState.DISCARDED.value}
NOT_BEGUN = ENDED | {CaptureState.OFF.value}
CONDUCTS = {"pause", "resume", "start", "finish", "discard"}
SHUTS = {"pause", "finish", "discard"}


@dataclass
class Ban:
    """Nothing may be captured from ``start`` to ``end``; ``number`` is that of the message it began with."""

    start: int
    number: int
    end: int | None = None
    acked: bool = False
    """Whoever asked for it was told that it holds."""

    def meets(self, start: int, end: int) -> bool:
        return start < end and start < (self.end if self.end is not None else end) and end > self.start


def stands(bans: list[Ban]) -> bool:
    """One of them has no end yet."""
    return any(ban.end is None for ban in bans)


@dataclass
class Said:
    """A message, and what came of it."""

    number: int
    at: int
    door: str
    who: str
    kind: str
    message: dict[str, Any]
    answer: dict[str, Any] | None = None
    """The ack; None while there is none."""
    lost: bool = False
    """The process ended before it answered."""
    kept: bool = True
    """Its ack would be found after a crash: the database took it."""
    allowed: bool = True
    """Whoever said it may say it."""
    ban: Ban | None = None

    @property
    def name(self) -> str:
        return "usr_1" if self.door == "user" else self.who


@dataclass
class Model:
    """Everything that was said, and the bans that follow from it."""

    own: dict[str, list[Ban]] = field(default_factory=lambda: {who: [Ban(0, 0, acked=True)] for who in ROLES})
    hold: list[Ban] = field(default_factory=list)
    off: list[Ban] = field(default_factory=lambda: [Ban(0, 0)])
    joiner: list[Ban] = field(default_factory=list)
    absent: list[Ban] = field(default_factory=list)
    over: bool = False
    said: list[Said] = field(default_factory=list)
    resumed: bool = False
    """A clinician lifted their own pause since the last look."""

    # -- what was said -------------------------------------------------------------------------------------------------

    def says(self, said: Said) -> None:
        """Somebody asks; what shuts counts from here."""
        self.said.append(said)
        if said.allowed and said.kind in SHUTS:
            said.ban = self.shut(self.hold, said)
        elif said.allowed and said.kind in {"declined", "revoked", "expired"}:
            said.ban = self.shut(self.own[said.who], said)

    def shut(self, bans: list[Ban], said: Said) -> Ban:
        bans.append(Ban(said.at, said.number))
        return bans[-1]

    def answered(self, said: Said, answer: dict[str, Any]) -> None:
        """They are told what came of it."""
        said.answer = answer
        if not answer["ok"]:
            if said.ban is not None and answer["problem"]["slug"] == "invalid-transition":
                self.lift([said.ban], said.number, said.at)
            return
        if said.ban is not None:
            said.ban.acked = True
        if said.kind in {"finish", "discard"}:
            self.over = True
        elif said.kind in {"start", "resume"}:
            self.over = False
            self.lift(self.off, said.number, said.at)
            self.lift(self.hold, said.number, said.at)
            self.resumed = True
            if said.kind == "start":  # a clinician's own yes by every door: nobody else's Start is carried out
                self.lift(self.own["dr"], said.number, said.at)
        elif said.kind == "granted":
            self.lift(self.own[said.who], said.number, said.at)

    @staticmethod
    def lift(bans: Iterable[Ban], number: int, at: int) -> None:
        for ban in bans:
            if ban.end is None and ban.number <= number:
                ban.end = max(at, ban.start)

    # -- a crash -------------------------------------------------------------------------------------------------------

    def crashed(self, row: dict[str, Any], at: int) -> None:
        """Go on from what is recorded; whatever somebody was told must be."""
        under_way = [said for said in self.said if said.answer is None and not said.lost]
        for said in under_way:
            said.lost = True
        for said in self.said:
            said.kept = (said.name, said.message["message_id"]) in row["acks"]
        if self.over and not any(said.kind == "start" for said in under_way):
            assert row["capture"] in ENDED, "an end that was acknowledged was forgotten"
        self.over = row["capture"] in ENDED
        self._take_over(self.off, held=row["capture"] in NOT_BEGUN, at=at)
        held = PauseReason.CLINICIAN.value in row["pause_reasons"].split(",")
        told = any(ban.end is None and ban.acked for ban in self.hold)
        if told and not any(said.kind in CONDUCTS - SHUTS for said in under_way):
            assert held or row["capture"] != CaptureState.CAPTURING.value, "an acknowledged pause was forgotten"
        self._take_over(self.hold, held=held, at=at)
        for who, bans in self.own.items():
            no = row["consents"][who] != ConsentState.GRANTED.value
            told = any(ban.end is None and ban.acked for ban in bans)
            if told and not any(said.who == who and said.kind in {"granted", "start"} for said in under_way):
                assert no or who == "dr", f"a no of {who} that was acknowledged was forgotten"
            self._take_over(bans, held=no, at=at)
        for bans in (self.joiner, self.absent):
            self._take_over(bans, held=False, at=at)

    def _take_over(self, bans: list[Ban], *, held: bool, at: int) -> None:
        if held and not stands(bans):
            bans.append(Ban(at, len(self.said), acked=True))
        elif not held:
            self.lift(bans, len(self.said) + 1, at)

    # -- the check -----------------------------------------------------------------------------------------------------

    def under(self, bans: list[Ban], openers: set[str], who: str | None = None) -> list[Ban]:
        """The bans, as they are if what was asked for and is not answered yet is granted."""
        asked = [s for s in self.said if s.answer is None and not s.lost and s.allowed and s.kind in openers
                 and (who is None or s.who == who)]  # fmt: skip
        return [self._opened(ban, asked) for ban in bans]

    @staticmethod
    def _opened(ban: Ban, asked: list[Said]) -> Ban:
        at = next((said.at for said in asked if said.number > ban.number), None)
        return ban if at is None or ban.end is not None else replace(ban, end=max(at, ban.start))

    def check(self, kept: list[Kept]) -> None:
        """Nothing that was kept lies where it may not."""
        everybody = [
            ("pause", self.under(self.hold, {"start", "resume"})),
            ("no Start", self.under(self.off, {"start"})),
            ("a joiner", self.joiner),
            ("absence", self.absent),
        ]
        own = {who: self.under(bans, {"granted", "start"} if who == DOCTOR else {"granted"}, who)
               for who, bans in self.own.items()}  # fmt: skip
        for one in kept:
            for why, bans in (*everybody, ("their own no", own[one.participant_id])):
                for ban in bans:
                    assert not ban.meets(one.start, one.end), f"{one} was captured in spite of {why}: {ban}"
            for ban in own[CLIENT]:
                assert not ban.meets(one.start, one.end), f"{one} was captured though the client had not agreed: {ban}"
