"""A session in which a clinician and a client speak, for tests that tell what happens step by step."""

from __future__ import annotations

from typing import Any

from bot.control.capture import Ack, Actor, ActorKind
from bot.events import CaptureAction, ConsentState, GateState
from tests.unit.control.gate_world import CLIENT, DOCTOR, PAUSE_ALL, ROLES, GateWorld

OPEN = GateState.OPEN


class Call(GateWorld):
    """A session in which a clinician and a client speak."""

    async def begin(self, clinic_id: str = PAUSE_ALL) -> None:
        await self.open(clinic_id)
        await self.meet()
        await self.act("start")
        await self.answer(CLIENT, "granted")
        await self.pass_time(0.5)
        assert self.gates == {OPEN}

    async def meet(self) -> None:
        for who in (DOCTOR, CLIENT):
            self.come_in(who)
            await self.settle()
            if not self.live.lobby.seats[who].admitted:
                await self.live.admit(Actor(ActorKind.PLATFORM, "c", participant_id=DOCTOR), who)

    async def leave(self, who: str) -> None:
        page, self.people[who].page = self.people[who].page, None
        assert page is not None
        await self.live.exit(self.people[who].member, page)
        await self.settle()

    async def act(self, action: str, message_id: str | None = None) -> Ack:
        actor = Actor(ActorKind.PLATFORM, "c", participant_id=DOCTOR)
        return await self.live.capture(actor, CaptureAction(action), message_id=message_id, seq=None)

    async def answer(self, who: str, decision: str, message_id: str | None = None) -> Ack:
        actor = Actor(ActorKind.PARTICIPANT, "c", role=ROLES[who], participant_id=who)
        given: dict[str, Any] = {"method": "api", "text_version": "", "message_id": message_id, "seq": None}
        return await self.live.consent(actor, who, ConsentState(decision), **given)

    async def come_back(self) -> None:
        """kill -9, and a start."""
        await self.crash()
        self.spawn(self.recover())
        await self.settle()

    @property
    def gates(self) -> set[GateState]:
        """What the lanes of the two who speak let through."""
        assert self.live.media is not None
        return {self.live.media._gates[who] for who in (DOCTOR, CLIENT)}

    @property
    def row(self) -> dict[str, Any]:
        return self.on.row(self.session_id)
