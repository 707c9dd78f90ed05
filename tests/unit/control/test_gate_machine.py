"""Whatever is said, by whom, in whatever order, while the database stalls or fails and the process is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from bot.control.capture import Actor, ActorKind
from bot.errors import ProblemError
from bot.events import AudioState, CaptureAction, CaptureState, ConsentState, GateState, PauseReason, Role
from tests.unit.control import gate_world
from tests.unit.control.gate_model import ENDED, Model, Said, stands
from tests.unit.control.gate_world import (
    ABSENT_S,
    CLIENT,
    DOCTOR,
    HELPER,
    PARENT,
    PAUSE_ALL,
    ROLES,
    WITHHOLD,
    GateWorld,
    Ground,
    ScriptedRoom,
)

ACTIONS = st.sampled_from([*["pause", "resume", "start"] * 3, "finish", "discard"])
OTHERS = st.sampled_from([CLIENT, CLIENT, PARENT, HELPER])
ANYBODY = st.sampled_from([DOCTOR, CLIENT, CLIENT, PARENT, HELPER])
DOORS = st.sampled_from(["platform", "user", "page", "channel", "token"])
SEQ = st.sampled_from([None, None, "current", 0])
TROUBLE = st.tuples(
    st.sampled_from(["stalls", "fails", "killed"]), st.sampled_from([1, 1, 2, 2, 3, 5, 8]), st.booleans()
)
"""What happens, at which write or for how many, and whether after it rather than before."""
SAID = st.tuples(
    DOORS,
    st.sampled_from([CLIENT, CLIENT, PARENT, HELPER, DOCTOR]),
    st.sampled_from(
        [*["turn", "change"] * 7, "pause", "resume", "start", "granted", "revoked", "declined", "finish", "discard"]
    ),
)
"""By which door, who, and what; a clinician says what only clinicians may say.

``turn`` is the action, and ``change`` the answer, that leads elsewhere from where things stand.
"""
LOOK_EVERY = 5
"""Eighths of a second between two looks while time passes."""
LATEST_S = ABSENT_S + 1.5
"""By then the absence of every clinician has been seen: it is looked at once a second."""


class GateMachine(RuleBasedStateMachine):
    """The people of one session, and what may go wrong."""

    ground: ClassVar[Ground]
    loop: ClassVar[asyncio.AbstractEventLoop]

    def __init__(self) -> None:
        super().__init__()
        self.world = GateWorld(self.ground)
        self.model = Model()
        self.held = False
        self.waiting: list[tuple[Said, Any]] = []
        """Messages without an answer yet, each with how to find it."""
        self.absent_from: int | None = None
        self.reasons: frozenset[PauseReason] = frozenset()
        self.terminal: str | None = None

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    # -- the people ----------------------------------------------------------------------------------------------------

    @initialize(clinic=st.sampled_from([PAUSE_ALL, WITHHOLD]), running=st.sampled_from([True, True, True, False]))
    def session(self, clinic: str, running: bool) -> None:
        self.clinic = clinic
        self.run(self.world.open(clinic))
        if running:
            for who in (DOCTOR, CLIENT):
                self.enter(who)
            self.capture("platform", DOCTOR, "start", None)
            self.consent("page", CLIENT, "granted", None)
            self.pass_time(3, 0.0)

    @rule(who=ANYBODY)
    def comes_or_goes(self, who: str) -> None:
        if self.world.people[who].page is None:
            self.enter(who)
        else:
            self.leave(who)

    @rule(who=ANYBODY)
    def opens_another_page(self, who: str) -> None:
        if self.world.people[who].page is not None:
            self.enter(who)

    @rule(eighths=st.integers(0, 4))
    def all_is_well(self, eighths: int) -> None:
        """Whatever was wrong is put right: everything works, all are there and agree, and recording goes on."""
        self.database_goes_on()
        for who in (DOCTOR, CLIENT):
            if self.world.people[who].page is None:
                self.enter(who)
        for who, person in self.world.people.items():
            if person.page is not None and self.row()["consents"][who] != ConsentState.GRANTED.value:
                self.consent("page", who, "granted", None)
        begun = self.row()["capture"] != CaptureState.OFF.value
        self.capture("platform", DOCTOR, "resume" if begun else "start", None)
        self.pass_time(eighths, 0.0)

    def enter(self, who: str) -> None:
        self.world.come_in(who)
        self.after()
        if not self.world.live.lobby.seats[who].admitted and who != DOCTOR:
            self.world.let_in(who, self.actor("platform", DOCTOR))
            self.after()

    def leave(self, who: str) -> None:
        person = self.world.people[who]
        if person.page is not None:
            page, person.page = person.page, None
            self.world.spawn(self.world.live.exit(person.member, page))
            self.after()

    @rule(eighths=st.integers(1, 40), delay=st.sampled_from([0.0, 0.125, 0.25]))
    def pass_time(self, eighths: int, delay: float) -> None:
        self.world.delay_s = delay
        for step in range(0, eighths, LOOK_EVERY):
            self.run(self.world.pass_time(gate_world.STEP_S * min(LOOK_EVERY, eighths - step)))
            self.look()

    # -- what they say -------------------------------------------------------------------------------------------------

    @rule(door=DOORS, action=st.sampled_from(["pause", "resume", "start"]), seq=SEQ)
    def clinician_says(self, door: str, action: str, seq: Any) -> None:
        self.capture(door, DOCTOR, action, seq)

    @rule(door=DOORS, who=ANYBODY, action=ACTIONS, seq=SEQ)
    def capture(self, door: str, who: str, action: str, seq: Any) -> None:
        if door in {"platform", "user"}:
            who = DOCTOR
        message = {"type": action, "message_id": f"m{len(self.model.said)}"} | self.seq(seq)
        self.send(door, who, action, message, allowed=ROLES[who] is Role.CLINICIAN)

    @rule(
        door=st.sampled_from(["page", "channel", "token"]),
        who=ANYBODY,
        decision=st.sampled_from(["granted", "granted", "declined", "revoked"]),
        seq=SEQ,
    )
    def consent(self, door: str, who: str, decision: str, seq: Any) -> None:
        message = {"type": "consent", "message_id": f"m{len(self.model.said)}", "consent": {"decision": decision}}
        self.send(door, who, decision, message | self.seq(seq))

    @rule(who=ANYBODY, about=ANYBODY, decision=st.sampled_from(["granted", "declined", "revoked"]))
    def answer_for_somebody_else(self, who: str, about: str, decision: str) -> None:
        if who != about:
            message = {"message_id": f"m{len(self.model.said)}", "consent": {"decision": decision}, "about": about}
            self.send("token", who, decision, message, allowed=False)

    @rule(who=ANYBODY, eighths=st.integers(0, 4))
    def consent_runs_out(self, who: str, eighths: int) -> None:
        """What they agreed to was on file with an end, and that has come."""
        if self.row()["consents"][who] == ConsentState.GRANTED.value:
            self.send("system", who, "expired", {"message_id": f"m{len(self.model.said)}"})
            self.pass_time(eighths, 0.0)

    @rule(data=st.data())
    def say_it_again(self, data: st.DataObject) -> None:
        """The same message once more: a page that got no answer, or two of the same."""
        answered = [s for s in self.model.said if s.answer is not None and s.answer["ok"]]
        known = [s for s in answered if s.kept and s.door != "system"]
        if not known or self.waiting:
            return
        first = data.draw(st.sampled_from(known))
        row, view = self.row(), self.world.live.view
        again = Said(-1, self.world.now, first.door, first.who, first.kind, first.message)
        find = self.deliver(again)
        if find is None:
            return
        self.after()
        answer = find()
        assert answer is not None
        assert answer["ok"], answer
        for part in ("state", "effective_at_ms", "seq"):
            assert answer[part] == first.answer[part], "another answer to the same message"  # type: ignore[index]
        now = self.row()
        changed = {name for name in row if row[name] != now[name]}
        assert not changed & {"capture", "pause_reasons", "consents", "bot"}, changed
        assert self.world.live.view == view

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

    # -- what goes wrong -----------------------------------------------------------------------------------------------

    @rule(said=SAID, trouble=TROUBLE, eighths=st.integers(1, 12))
    def one_thing(self, said: tuple[str, str, str], trouble: tuple[str, int, bool], eighths: int) -> None:
        self.in_trouble((said,), trouble, eighths)

    @rule(said=st.lists(SAID, min_size=2, max_size=4), trouble=TROUBLE, eighths=st.integers(1, 12))
    def several_things(self, said: list[tuple[str, str, str]], trouble: tuple[str, int, bool], eighths: int) -> None:
        self.in_trouble(said, trouble, eighths)

    def in_trouble(
        self, said: Sequence[tuple[str, str, str]], trouble: tuple[str, int, bool], eighths: int
    ) -> None:
        """Something is said just when the database stalls or fails, or before the process is killed."""
        db = self.ground.db
        what, count, after = trouble
        match what:
            case "stalls":
                self.held = True
                db.stall(count)
            case "fails":
                db.failing, db.sparing = (1, count - 1) if after else (count, 0)
            case "killed":
                db.kill_in, db.kill_after = count, after
        for door, who, kind in said:
            if kind == "turn":
                view = self.world.live.view
                paused = PauseReason.CLINICIAN in view.reasons
                kind = "start" if view.state is CaptureState.OFF else "resume" if paused else "pause"
            elif kind == "change":
                granted = self.row()["consents"][who] == ConsentState.GRANTED.value
                kind = "revoked" if granted else "granted"
            if kind in {"granted", "revoked", "declined"}:
                self.consent("token" if door in {"platform", "user"} else door, who, kind, None)
            else:
                self.capture(door, DOCTOR, kind, None)
            self.pass_time(1, 0.0)
        self.pass_time(eighths, 0.0)
        self.database_goes_on()

    @rule(down=st.integers(0, 30), again=st.sampled_from([None, None, 1, 2, 3]), after=st.booleans())
    def killed(self, down: int, again: int | None, after: bool) -> None:
        self.crash(down, again, after)

    def database_goes_on(self) -> None:
        self.held = False
        self.ground.db.go_on()
        self.after()

    def crash(self, down: int, again: int | None = None, after: bool = False) -> None:
        """kill -9, then a start; ``again``: the start is killed too, at that write."""
        there = [who for who, person in self.world.people.items() if person.page is not None]
        self.run(self.world.crash())
        self.held = False
        self.waiting.clear()
        self.world.clock.advance(down * gate_world.STEP_S)
        self.ground.db.kill_in, self.ground.db.kill_after = again, after
        self.model.crashed(self.row(), self.world.now)
        self.reasons, self.absent_from = frozenset(), None
        self.world.spawn(self.world.recover())
        self.run(self.world.settle())
        if self.ground.db.killed.is_set():
            self.crash(0)
        else:
            self.ground.db.kill_in = None
            self.model._take_over(self.model.off, held=self.row()["capture"] == "off", at=self.world.now)
            self.reasons = self.world.live.view.reasons
            self.look()
            if down % 4:  # mostly, the pages that were open come back by themselves
                for who in there:
                    self.enter(who)

    # -- what must hold ------------------------------------------------------------------------------------------------

    def row(self) -> dict[str, Any]:
        return self.ground.row(self.world.session_id)

    def after(self) -> None:
        """Let it all happen, then look."""
        self.run(self.world.settle())
        self.look()

    def look(self) -> None:
        if self.ground.db.killed.is_set():
            self.crash(3)
            return
        for said, find in list(self.waiting):
            answer = find()
            if answer is not None:
                self.waiting.remove((said, find))
                self.model.answered(said, answer)
                self.hold_to_answer(said, answer)
        assert not self.world.faults, self.world.faults
        ticker = self.world.live._ticker
        assert ticker is None or not ticker.done(), "time stands still for this session"
        assert self.held or self.ground.db.busy or not self.waiting, "a message without an answer"
        self.presence()
        self.model.check(self.ground.kept)
        self.gates()
        self.owners()

    def hold_to_answer(self, said: Said, answer: dict[str, Any]) -> None:
        if not said.allowed:
            assert not answer["ok"], said
            assert answer["problem"]["slug"] == "forbidden", said
            return
        if not answer["ok"]:
            stuck = said.kind == "start" and answer["problem"]["slug"] == "invalid-transition"
            assert not stuck or self.row()["capture"] != CaptureState.OFF.value, "what never began can be started"
            assert answer["problem"]["slug"] in {
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
        if row["capture"] == CaptureState.OFF.value and not self.waiting:
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
            assert row["capture"] == self.terminal, "what has ended stays ended"
        elif row["capture"] in ENDED:
            self.terminal = row["capture"]
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
            assert live.lobby.clinician_present()
        if PauseReason.CONSENT in gone:
            assert any(not stands(self.model.own[who]) for who in (CLIENT, PARENT)) or self.waiting

    @invariant()
    def audio_is_held_once_anything_was_kept(self) -> None:
        if self.ground.kept:
            assert self.row()["audio"] != AudioState.ABSENT.value

    def teardown(self) -> None:
        """Everything works again: what has ended is handed on, and every account has closed."""
        if not self.world.session_id:
            return
        self.ground.db.go_on()
        self.held = False
        self.after()
        self.pass_time(25, 0.0)
        if self.row()["capture"] in ENDED:
            wanted = ("finish" if self.row()["capture"] == "finished" else "discard", self.world.session_id)
            assert wanted in self.world.after, "what has ended is handed to the workflow"
        self.run(self.world.close())


def _ack(messages: Any, mid: str) -> dict[str, Any] | None:
    return next((dict(m) for m in messages if m["type"] == "ack" and m["message_id"] == mid), None)


def _since(room: ScriptedRoom, start: int) -> Any:
    return room.sent[start:]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[GateMachine]]:
    with asyncio.Runner() as runner:
        GateMachine.loop = runner.get_loop()
        GateMachine.ground = runner.run(gate_world.open_ground(tmp_path, monkeypatch))
        yield GateMachine
        runner.run(GateMachine.ground.close())
        del GateMachine.ground, GateMachine.loop


def profile(examples: int, steps: int, *, same: bool = False) -> settings:
    """``same``: the same examples every time."""
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=same,
        database=None,
    )


def test_whatever_happens_the_gate_holds(machine: type[GateMachine]) -> None:
    run_state_machine_as_test(machine, settings=profile(35, 30, same=True))


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_whatever_happens_the_gate_holds_for_long(machine: type[GateMachine]) -> None:
    run_state_machine_as_test(machine, settings=profile(1500, 50))
