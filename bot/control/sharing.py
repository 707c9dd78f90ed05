"""Several named persons at one microphone: a couple, a parent and child.

Each is a participant of their own, with their own answer, record and link, and none of them has a lane alone: the one
of the page at which they sit is captured once all of them have agreed, and its turns are called theirs together.
"""

from __future__ import annotations

from typing import Any

from bot.control.attesting import OVER
from bot.control.capture import Action, Actor, permit
from bot.control.lobby import Seat
from bot.control.stage import BOT_PRESENT
from bot.control.watching import Watching
from bot.control.wording import ConsentText, start_text
from bot.errors import ConfigInvalid, InvalidTransition, NotFound
from bot.events import CLIENT_SIDE, CaptureState, Role
from bot.media.room import Member
from bot.store.parts import check_continues
from bot.store.records import NewParticipant, ParticipantRecord

MOST_AT_ONE = 4
"""Named persons at one microphone, whose it is among them."""
CLIENT_SIDE_ONLY = "Only clients and guardians share a microphone; everybody else needs one of their own."
NOT_TWICE = "They sit at another person's microphone themselves: name the one whose it is."
TOO_MANY = f"At most {MOST_AT_ONE} named persons share a microphone."


def check_shared(role: Role, host: Role, *, host_shares: bool, there: int) -> None:
    """Raise ConfigInvalid unless somebody of this role can sit at that microphone, where ``there`` people do so far."""
    if not {role, host} <= CLIENT_SIDE:
        raise ConfigInvalid(CLIENT_SIDE_ONLY)
    if host_shares:
        raise ConfigInvalid(NOT_TWICE)
    if there >= MOST_AT_ONE:
        raise ConfigInvalid(TOO_MANY)


class Sharing(Watching):
    """A session whose microphones can be shared."""

    async def share(self, actor: Actor, person: NewParticipant) -> ParticipantRecord:
        """Somebody else sits at a participant's microphone: it is withheld from now on until they have agreed too."""
        permit(actor, Action.DECLARE_SHARED)
        holder = self.lobby.seats.get(person.shares_with or "")
        if holder is None:
            raise NotFound("Nobody of that id is invited to this session.")
        there = len(self.lobby.at_microphone(holder))
        check_shared(person.role, holder.member.role, host_shares=holder.host is not None, there=there)
        if self.view.state is CaptureState.FINISHED:
            check_continues(self.record, self._clock.now())  # who sits down in a break is named before the next part
        elif self.view.state in OVER:
            raise InvalidTransition("The recording has ended.", state=self.view.state.value)
        who, at = holder.member.participant_id, self._now_sample()
        self._joining_in[who] += 1
        try:
            self._apply_gates(at)
            async with self._lock:
                self.record, made = await self._store.share_microphone(self.session_id, person, by=actor.name)
                member = Member(made.id, made.role, made.display_name)
                seat = Seat(member, admitted=False, consent=made.consent, language=made.language, host=holder)
                self.lobby.seats[made.id] = seat
                await self._tell_wording()
                if seat.present and self.media is not None and self.record.bot in BOT_PRESENT:
                    await self._ask(seat)
                await self._resettle(at)
        finally:
            self._joining_in[who] -= 1
            self._apply_gates(self._now_sample())
        await self._tell_state()
        return made

    async def _tell_wording(self) -> None:
        """What people are asked says who is heard: with somebody more it is another text, before they answer."""
        for seat in list(self.lobby.seats.values()):
            if seat.link is not None:
                await seat.link.send({"type": "wording"} | self.wording_for(seat))

    def wording_for(self, seat: Seat) -> dict[str, Any]:
        """What a page shows before its people answer, and a clinician's beside Start."""
        company = self.lobby.company_of(seat.member.participant_id)
        also = [named(one.member) | {"consent_wording": worded(self.consent_text(one))} for one in company]
        shown = {"consent_wording": worded(self.consent_text(seat)), "also_here": also}
        return shown | ({"start_wording": worded(start_text())} if seat.member.role is Role.CLINICIAN else {})


def worded(text: ConsentText) -> dict[str, str]:
    """A text as pages get it."""
    return {"version": text.version, "text": text.text, "language": text.language}


def named(member: Member) -> dict[str, str]:
    """Somebody invited, as pages get them."""
    return {
        "participant_id": member.participant_id,
        "role": member.role.value,
        "display_name": member.display_name,
    }
