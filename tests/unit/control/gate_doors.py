"""How people reach a session by each door, and what must hold of it after every step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bot.control.capture import Actor, ActorKind
from bot.errors import ProblemError
from bot.events import CaptureAction, CaptureState, ConsentState, GateState, PauseReason, Role
from tests.unit.control.gate_model import ENDED, NOT_BEGUN, Model, Said, stands
from tests.unit.control.gate_parts import ScriptedRoom
from tests.unit.control.gate_world import ABSENT_S, CLIENT, DOCTOR, PARENT, PAUSE_ALL, ROLES, GateWorld

LATEST_S = ABSENT_S + 1.5
"""By then the absence of every clinician has been seen: it is looked at about once a second."""
Find = Callable[[], "dict[str, Any] | None"]
"""Looks for the answer to a message."""


class Doors:
    """A session as it is reached."""

    world: GateWorld
    model: Model
    clinic: str
    held: bool
    waiting: list[tuple[Said, Find]]
    """Messages without an answer yet, each with how to find it."""

    def row(self) -> dict[str, Any]:
        """The session as it is recorded."""
        return self.world.on.row(self.world.session_id)

    def after(self) -> None:
        """Let it all happen, then look."""
        raise NotImplementedError

    def seq(self, kind: Any) -> dict[str, int]:
        if kind is None:
            return {}
        return {"seq": self.world.live.record.seq if kind == "current" else 0}

    def actor(self, door: str, who: str) -> Actor:
        match door:
            case "platform":
                return Actor(ActorKind.PLATFORM, self.clinic, participant_id=DOCTOR)
            case "user":
                return Actor(ActorKind.USER, self.clinic, role=Role.CLINICIAN, user_id="usr_1")
        return Actor(ActorKind.PARTICIPANT, self.clinic, role=ROLES[who], participant_id=who)

    def send(self, door: str, who: str, kind: str, message: dict[str, Any], *, allowed: bool = True) -> None:
        number = len(self.model.said) + 1
        said = Said(number, self.world.now, door, who, kind, message, allowed=allowed)
        find = self.deliver(said)
        if find is not None:
            self.model.says(said)
            self.waiting.append((said, find))
            self.after()

    def deliver(self, said: Said) -> Any:
        """Through its door; how to find the answer, or None if the door is not there now."""
        world, mid = self.world, said.message["message_id"]
        if said.door == "page":
            page = world.people[said.who].page
            if page is None:
                return None
            before = len(page.got)
            world.say(said.who, page, said.message)
            return lambda: _ack((m for m in page.got[before:]), mid)
        if said.door == "channel":
            room = world.room
            if room is None or world.people[said.who].page is None:
                return None
            start = len(room.sent)
            world.say_by_channel(said.who, said.message)
            return lambda: _ack((m for to, m in _since(room, start) if to == said.who), mid)
        task = world.spawn(self.by_http(said))
        return lambda: task.result() if task.done() else None

    async def by_http(self, said: Said) -> dict[str, Any]:
        live, message = self.world.live, said.message
        actor = self.actor(said.door, said.who)
        given: dict[str, Any] = {"message_id": message["message_id"], "seq": message.get("seq")}
        try:
            if said.kind == "expired":
                await live.expire(said.who)
                return {"ok": True, "state": live.view.state.value, "effective_at_ms": 0, "seq": 0}
            if "consent" in message:
                decision = ConsentState(message["consent"]["decision"])
                about = message.get("about", said.who)
                ack = await live.consent(actor, about, decision, method="api", text_version="", **given)
            else:
                ack = await live.capture(actor, CaptureAction(said.kind), **given)
        except ProblemError as error:
            return {"ok": False, "problem": {"slug": error.slug}}
        return {"ok": True, "state": ack.state.value, "effective_at_ms": ack.effective_at_ms, "seq": ack.seq}


class Watched(Doors):
    """A session that is looked at from outside."""

    absent_from: int | None
    reasons: frozenset[PauseReason]
    terminal: tuple[int, str] | None
    """The part of the session that ended, and how."""

    def hold_to_answer(self, said: Said, answer: dict[str, Any]) -> None:
        if not said.allowed:
            assert not answer["ok"], said
            assert answer["problem"]["slug"] == "forbidden", said
            return
        if not answer["ok"]:
            stuck = said.kind == "start" and answer["problem"]["slug"] == "invalid-transition"
            assert not stuck or self.row()["capture"] != CaptureState.OFF.value, "what never began can be started"
            locked = said.kind == "start" and self.row()["withdrawn_by"] is not None
            assert answer["problem"]["slug"] in {
                *(("session-locked",) if locked else ()),
                "invalid-transition", "precondition-failed", "client-not-present", "overloaded",
            }, answer  # fmt: skip
            assert said.kind not in {"pause", "finish", "discard", "declined", "revoked"} or (
                answer["problem"]["slug"] != "precondition-failed"
            ), "what shuts is never stale"
        elif said.kind == "pause":
            assert answer["effective_at_ms"] <= said.at // 16, "a pause holds from the moment it was asked for"

    def presence(self) -> None:
        """Bans that follow from who is there."""
        world, model, now = self.world, self.model, self.world.now
        row = self.row()
        if row["capture"] in NOT_BEGUN and not self.waiting:
            model._take_over(model.off, held=True, at=now)
        seats = world.live.lobby.seats
        undecided = [w for w, s in seats.items() if s.present and stands(model.own[w])]
        in_call = world.live.media is not None and not self.held
        model._take_over(model.joiner, held=bool(undecided) and self.clinic == PAUSE_ALL and in_call, at=now)
        if self.held or seats[DOCTOR].present or world.live.media is None:
            self.absent_from = None
            model._take_over(model.absent, held=False, at=now)
        elif self.absent_from is None:
            self.absent_from = now
        if self.absent_from is not None and now - self.absent_from > LATEST_S * 16_000:
            model._take_over(model.absent, held=True, at=now)

    def gates(self) -> None:
        """Never more open than what is recorded; and every account closes."""
        media, row = self.world.live.media, self.row()
        if self.terminal is not None:
            part, ended = self.terminal
            begun_anew = row["part"] == part + 1 and ended == CaptureState.FINISHED.value
            assert begun_anew or (row["part"], row["capture"]) == self.terminal, "a part that has ended stays ended"
            self.terminal = None if begun_anew else self.terminal
        if row["capture"] in ENDED:
            self.terminal = row["part"], row["capture"]
        if media is None:
            return
        for who, gate in media._gates.items():
            if gate is GateState.OPEN:
                assert row["capture"] == CaptureState.CAPTURING.value, "open before it is recorded"
                assert row["consents"][who] == ConsentState.GRANTED.value, who
        if GateState.OPEN in media._gates.values():
            clients = {row["consents"][who] for who in (CLIENT, PARENT)}
            assert ConsentState.GRANTED.value in clients, "somebody is captured though no client agreed"
        for lane in media._lanes.values():
            assert lane.pipeline.ledger().closes
            assert lane.pipeline._lane.cursor <= self.world.now

    def owners(self) -> None:
        """A reason goes only by who it belongs to."""
        live, before = self.world.live, self.reasons
        self.reasons, resumed = live.view.reasons, self.model.resumed
        self.model.resumed = False
        if live.view.state.value in ENDED | {CaptureState.OFF.value}:
            return
        gone = before - self.reasons
        if PauseReason.CLINICIAN in gone:
            assert resumed or any(s.kind in {"start", "resume"} for s, _ in self.waiting)
        if PauseReason.CLINICIAN_ABSENT in gone:
            assert any(s.present for s in live.lobby.seats.values() if s.member.role is Role.CLINICIAN)
        if PauseReason.CONSENT in gone:
            assert any(not stands(self.model.own[who]) for who in (CLIENT, PARENT)) or self.waiting


def _ack(messages: Any, mid: str) -> dict[str, Any] | None:
    return next((dict(m) for m in messages if m["type"] == "ack" and m["message_id"] == mid), None)


def _since(room: ScriptedRoom, start: int) -> Any:
    return room.sent[start:]
