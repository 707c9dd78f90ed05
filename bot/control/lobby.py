"""Who is in the room: pages, admission, presence, and the relay of signalling between pages.

A page is one WebSocket of one participant. The newest page of a participant replaces the older one, which is closed:
reconnecting with the same token is always possible and never makes a second person.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from bot.errors import ConfigInvalid, Forbidden
from bot.events import CLIENT_SIDE, ConsentState, Role, Speaker
from bot.media.room import Member
from bot.store.records import Attestation

log = structlog.get_logger()

BLIP_S = 10.0
"""Away for less, somebody has not left: they get the captions of what was said meanwhile."""
REPLACED = 4001
"""WebSocket close code: the same participant came in again."""
BOT_ID = "bot"
BOT_NAME = "Quietnote (transcription)"


class PageLink(Protocol):
    """A connected page. ``send`` never waits for the network: it queues, or drops what may be dropped."""

    async def send(self, message: Mapping[str, Any]) -> None:
        """Queue a message."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """Close the WebSocket."""
        ...


@dataclass(slots=True)
class Seat:
    """An invited participant, and what the room knows of them now."""

    member: Member
    admitted: bool
    consent: ConsentState
    link: PageLink | None = None
    muted: bool = False
    absent: bool = False
    """The bot gets no sound from them, though it should."""
    left_at_s: float | None = None
    here_since_ms: int | None = None
    """Media time at which they came into the room: what was said before is not for them. None: they were not in it."""
    admitted_pass: str | None = None
    """The token of the page that was let in; None until one is, and after a restart."""
    page_pass: str = ""
    """The token of the page that holds the seat."""
    language: str | None = None
    """What they read, as a BCP 47 tag; None: the language of the session."""
    attestation: Attestation | None = None
    """Who vouches for their consent; None where they gave it themselves."""
    host: Seat | None = None
    """At whose page and microphone they sit; None: at their own."""

    @property
    def present(self) -> bool:
        """In the room: admitted, with a page, be it another's at which they sit."""
        if self.host is not None:
            return self.host.present
        return self.admitted and self.link is not None

    def was_here(self, at_ms: int) -> bool:
        """True when what was said at that media time was said in their presence."""
        return self.admitted and self.here_since_ms is not None and at_ms >= self.here_since_ms


class Lobby:
    """The seats of one session."""

    def __init__(self, seats: list[Seat]) -> None:
        self.seats = {seat.member.participant_id: seat for seat in seats}

    def seat(self, participant_id: str) -> Seat:
        """The seat of an invited participant. Raises :class:`Forbidden` for anybody else."""
        try:
            return self.seats[participant_id]
        except KeyError:
            raise Forbidden("This person is not invited to this session.") from None

    def at_microphone(self, seat: Seat) -> tuple[Seat, ...]:
        """Everybody at the microphone at which this person sits: whose it is first."""
        holder = seat.host or seat
        return (holder, *(one for one in self.seats.values() if one.host is holder))

    def company_of(self, participant_id: str) -> tuple[Seat, ...]:
        """Those who sit at this participant's own page and microphone beside them."""
        seat = self.seats.get(participant_id)
        return () if seat is None or seat.host is not None else self.at_microphone(seat)[1:]

    def speakers(self, participant_id: str) -> tuple[Speaker, ...]:
        """Whose voice a turn from this microphone may be, where that is more than one; else nobody."""
        company = self.company_of(participant_id)
        there = (self.seats[participant_id], *company) if company else ()
        return tuple(Speaker(one.member.participant_id, one.member.role) for one in there)

    def client_present(self) -> bool:
        """True when a client, or who answers for one, is in the room."""
        return any(seat.present and seat.member.role in CLIENT_SIDE for seat in self.seats.values())

    async def seat_page(self, member: Member, link: PageLink, pass_id: str = "", *, now_s: float = 0.0) -> Seat:
        """Take a page in; an older page of the same participant is closed. Clinicians need no admission.

        Anybody else is let in once, and comes back by the same token. Another token is their link opened once more,
        perhaps by somebody else: whoever it is waits.
        """
        seat = self.seat(member.participant_id)
        if seat.host is not None:
            raise Forbidden("You are in this session at another person's page, and answer there.")
        old, seat.link = seat.link, link
        if seat.left_at_s is not None and now_s - seat.left_at_s > BLIP_S:
            seat.here_since_ms = None
        seat.muted = False  # it says so itself where it is
        seat.page_pass = pass_id
        if member.role is Role.CLINICIAN:
            seat.admitted = True
        elif seat.admitted or seat.admitted_pass is not None:
            seat.admitted_pass = pass_id if seat.admitted_pass is None else seat.admitted_pass
            seat.admitted = seat.admitted_pass == pass_id
        if seat.admitted:
            seat.left_at_s = None  # whoever waits to be let in again is still away
        else:
            seat.here_since_ms = None
        if old is not None and old is not link:
            await old.close(REPLACED, "another page took this seat")
        return seat

    def unseat_page(self, participant_id: str, link: PageLink, now_s: float) -> bool:
        """Let a page go; False when a newer page already holds the seat."""
        seat = self.seats.get(participant_id)
        if seat is None or seat.link is not link:
            return False
        seat.link, seat.left_at_s = None, now_s
        return True

    async def send_where(
        self,
        message: Mapping[str, Any],
        wanted: Callable[[Seat], bool],
        as_read_by: Callable[[Role, Mapping[str, Any]], Mapping[str, Any]],
    ) -> None:
        """Send to every page whose seat ``wanted`` accepts what its role may read of the message."""
        seats = [seat for seat in self.seats.values() if wanted(seat)]
        links = [(seat.link, as_read_by(seat.member.role, message)) for seat in seats if seat.link is not None]
        await asyncio.gather(*(link.send(readable) for link, readable in links))

    async def send_roster(self, bot: Mapping[str, Any] | None) -> None:
        """Tell every page who is there. Only clinicians see other people's consent."""
        for seat in list(self.seats.values()):
            if seat.link is not None:
                await seat.link.send(self.roster(seat, bot))

    def roster(self, viewer: Seat, bot: Mapping[str, Any] | None) -> dict[str, Any]:
        """The roster as ``viewer`` may see it; somebody still waiting sees themselves and the clinician's name only."""

        def visible(seat: Seat) -> bool:
            return viewer.admitted or seat is viewer or seat.member.role is Role.CLINICIAN

        def consent(seat: Seat) -> str | None:
            own = seat is viewer or seat.host is viewer
            return seat.consent.value if viewer.member.role is Role.CLINICIAN or own else None

        def answer(seat: Seat) -> dict[str, Any]:
            return {
                "participant_id": seat.member.participant_id,
                "role": seat.member.role.value,
                "display_name": seat.member.display_name,
                "consent": consent(seat),
                "attested": attested(seat, self.seats) if consent(seat) else None,
            }

        return {
            "type": "roster",
            "members": [
                answer(seat)
                | {
                    "admitted": seat.admitted,
                    "present": seat.link is not None,
                    "muted": seat.muted,
                    "absent": seat.absent,
                    "also_here": [answer(one) for one in self.company_of(seat.member.participant_id)],
                }
                for seat in self.seats.values()
                if visible(seat) and seat.host is None
            ],
            "bot": bot if viewer.admitted else None,
        }

    async def relay(self, sender: str, to: str, data: Mapping[str, Any]) -> None:
        """Pass signalling from one admitted page to another, untouched."""
        source, target = self.seat(sender), self.seats.get(to)
        if not source.admitted:
            raise Forbidden("You are still in the waiting room.")
        if target is None or not target.present or target.link is None:
            raise ConfigInvalid("to: nobody of that id is in the room.")
        await target.link.send({"type": "signal", "from": sender, "data": dict(data)})


def attested(seat: Seat, seats: Mapping[str, Seat]) -> dict[str, Any] | None:
    """Who vouches for a consent, as it is shown to the person themselves and to clinicians; None for one's own."""
    given = seat.attestation
    if given is None:
        return None
    by = seats.get(given.attested_by)
    return {
        "method": given.method,
        "by": by.member.display_name if by is not None else given.attested_by,
        "date": given.signed_on.isoformat() if given.signed_on else None,
        "until": given.until.isoformat() if given.until else None,
    }
