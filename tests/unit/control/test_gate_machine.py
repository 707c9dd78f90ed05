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

from bot.events import AudioState, CaptureState, ConsentState, PauseReason, Role
from tests.unit.control import gate_world
from tests.unit.control.gate_doors import Watched
from tests.unit.control.gate_model import ENDED, NOT_BEGUN, Model, Said
from tests.unit.control.gate_world import (
    CLIENT,
    DOCTOR,
    HELPER,
    PARENT,
    PAUSE_ALL,
    ROLES,
    WITHHOLD,
    GateWorld,
    Ground,
)

ACTIONS = st.sampled_from([*["pause", "resume", "start"] * 3, "finish", "discard"])
OTHERS = st.sampled_from([CLIENT, CLIENT, PARENT, HELPER])
ANYBODY = st.sampled_from([DOCTOR, CLIENT, CLIENT, PARENT, HELPER])
DOORS = st.sampled_from(["platform", "user", "page", "channel", "token"])
SEQ = st.sampled_from([None, None, "current", 0])
TROUBLE = st.tuples(
    st.sampled_from(["stalls", "fails", "fails", "unreadable", "killed"]),
    st.sampled_from([1, 1, 2, 2, 3, 5, 8]),
    st.booleans(),
)
"""What happens, at which write or for how many reads or writes, and whether after it rather than before."""
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


class GateMachine(Watched, RuleBasedStateMachine):
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
        self.terminal: tuple[int, str] | None = None
        self.dealt_with_to = 0
        """Up to this sample the sound of earlier parts was dealt with."""

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    # -- the people ----------------------------------------------------------------------------------------------------

    @initialize(
        clinic=st.sampled_from([PAUSE_ALL, WITHHOLD]),
        begun=st.sampled_from(["recorded", "recorded", "again", "waits", "not"]),
    )
    def session(self, clinic: str, begun: str) -> None:
        """``waits``: for the client's answer; ``again``: it was finished, and recording went on."""
        self.clinic = clinic
        self.run(self.world.open(clinic))
        if begun != "not":
            for who in (DOCTOR, CLIENT):
                self.enter(who)
            self.capture("platform", DOCTOR, "start", None)
            if begun in {"recorded", "again"}:
                self.consent("page", CLIENT, "granted", None)
            self.pass_time(3, 0.0)
        if begun == "again":
            self.goes_on_after_the_end(("nothing", 0, False), 2)
            assert self.row()["part"] == 2

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
        self.is_dealt_with()
        begun = self.row()["capture"] not in NOT_BEGUN
        self.capture("platform", DOCTOR, "resume" if begun else "start", None)
        self.pass_time(eighths, 0.0)

    @rule()
    def is_dealt_with(self) -> None:
        """The workflow comes to what was handed to it: after that, Start begins another part."""
        if not self.held and not self.waiting and self.run(self.world.deal_with_end()):
            self.dealt_with_to = self.world.now
            self.after()

    @rule(trouble=TROUBLE, eighths=st.integers(1, 12))
    def goes_on_after_the_end(self, trouble: tuple[str, int, bool], eighths: int) -> None:
        """Finish, and when that is dealt with, Start: in whatever trouble."""
        if self.held:
            return
        self.capture("platform", DOCTOR, "finish", None)
        self.pass_time(8, 0.0)
        self.is_dealt_with()
        self.in_trouble((("platform", DOCTOR, "start"),), trouble, eighths)

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
            case "unreadable":
                db.unreadable = count
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
            self.model._take_over(self.model.off, held=self.row()["capture"] in NOT_BEGUN, at=self.world.now)
            self.reasons = self.world.live.view.reasons
            self.look()
            if down % 4:  # mostly, the pages that were open come back by themselves
                for who in there:
                    self.enter(who)

    # -- what must hold ------------------------------------------------------------------------------------------------

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

    @invariant()
    def audio_is_held_once_anything_was_kept(self) -> None:
        if any(kept.end > self.dealt_with_to for kept in self.ground.kept):
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
            last = "finish" if self.row()["capture"] == "finished" else "discard"
            finished = self.row()["part"] - (last == "discard")
            assert (last, self.world.session_id) in self.world.after, "what has ended is handed to the workflow"
            assert self.world.after.count(("finish", self.world.session_id)) >= finished, "and so is every part"
        self.run(self.world.close())


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


def test_a_discard_of_what_was_never_captured_is_taken_up_after_a_crash(machine: type[GateMachine]) -> None:
    state = machine()
    state.session(clinic="pause-all", begun="waits")
    state.clinician_says(action="pause", door="platform", seq=None)
    state.one_thing(eighths=1, said=("platform", "cl", "discard"), trouble=("killed", 1, True))
    state.teardown()


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_whatever_happens_the_gate_holds_for_long(machine: type[GateMachine]) -> None:
    run_state_machine_as_test(machine, settings=profile(1500, 50))
