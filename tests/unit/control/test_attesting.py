"""Consent that a clinician vouches for: when it may be said, and when it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.clinics import ConsentPolicy
from bot.control.attesting import ON_FILE, VERBAL, check_aloud, ran_out
from bot.control.capture import Action, Actor, ActorKind, consent_action, permit
from bot.control.lobby import Lobby, Seat, attested
from bot.errors import ConfigInvalid, Forbidden, Overloaded, ProblemError
from bot.events import CaptureState, ConsentState, GateState, Role
from bot.media.room import Member
from bot.store.records import Attestation, NewParticipant, NewSession
from tests.unit.control.gate_call import Call
from tests.unit.control.gate_world import CLIENT, DOCTOR, PAUSE_ALL, ROLES, open_ground
from tests.unit.control.rooms import Page

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
ALLOWED = ConsentPolicy(verbal_attested=True)
OPEN = GateState.OPEN


def seat(consent: ConsentState = ConsentState.REQUESTED, role: Role = Role.CLIENT, *, here: bool = True) -> Seat:
    return Seat(Member("robin", role, "Robin"), admitted=True, consent=consent, link=Page() if here else None)


def on_file(until: datetime | None = None) -> Attestation:
    return Attestation(ON_FILE, DOCTOR, "form-en-1-0a1b2c3d", date(2026, 3, 2), "DOC-7", until)


@pytest.mark.parametrize("consent", [ConsentState.UNKNOWN, ConsentState.REQUESTED, ConsentState.EXPIRED])
def test_a_yes_said_aloud_can_be_attested_where_the_clinic_allows_it(consent: ConsentState) -> None:
    check_aloud(seat(consent), ALLOWED, CaptureState.CONSENT_PENDING)
    with pytest.raises(Forbidden) as refused:
        check_aloud(seat(consent), ConsentPolicy(), CaptureState.CONSENT_PENDING)
    assert refused.value.extra == {"policy": "consent.verbal_attested"}


@pytest.mark.parametrize(
    ("somebody", "capture", "slug"),
    [
        (seat(ConsentState.DECLINED), CaptureState.CONSENT_PENDING, "forbidden"),
        (seat(ConsentState.REVOKED), CaptureState.PAUSED, "forbidden"),
        (seat(role=Role.CLINICIAN), CaptureState.CONSENT_PENDING, "forbidden"),
        (seat(here=False), CaptureState.CONSENT_PENDING, "invalid-transition"),
        (seat(), CaptureState.FINISHED, "invalid-transition"),
        (seat(), CaptureState.DISCARDED, "invalid-transition"),
    ],
)
def test_nobody_s_own_no_is_attested_away_and_nobody_is_spoken_for_who_is_not_here(
    somebody: Seat, capture: CaptureState, slug: str
) -> None:
    with pytest.raises(ProblemError) as refused:
        check_aloud(somebody, ALLOWED, capture)
    assert refused.value.slug == slug


def test_only_a_yes_is_attested_and_never_one_s_own() -> None:
    assert consent_action(ConsentState.GRANTED, aloud=True) is Action.ATTEST_ALOUD
    for no in (ConsentState.DECLINED, ConsentState.REVOKED):
        with pytest.raises(ConfigInvalid):
            consent_action(no, aloud=True)
    clinician = Actor(ActorKind.PARTICIPANT, "c", role=Role.CLINICIAN, participant_id="ellis")
    permit(clinician, Action.ATTEST_ALOUD, about="robin")
    with pytest.raises(Forbidden):
        permit(clinician, Action.ATTEST_ALOUD, about="ellis")
    for kind in (ActorKind.PLATFORM, ActorKind.USER, ActorKind.SYSTEM):
        with pytest.raises(Forbidden):
            permit(Actor(kind, "c", role=Role.CLINICIAN), Action.ATTEST_ALOUD, about="robin")


def test_only_what_is_on_file_with_an_end_runs_out() -> None:
    given = seat(ConsentState.GRANTED)
    assert not ran_out(given, NOW)
    given.attestation = on_file()
    assert not ran_out(given, NOW + timedelta(days=3650))
    given.attestation = on_file(NOW)
    assert ran_out(given, NOW)
    assert not ran_out(given, NOW - timedelta(milliseconds=1))
    given.consent = ConsentState.REVOKED
    assert not ran_out(given, NOW)


def test_who_vouches_is_shown_to_the_person_and_to_clinicians_and_to_nobody_else() -> None:
    people = [
        Seat(Member(who, role, who.title()), admitted=True, consent=ConsentState.GRANTED, link=Page())
        for who, role in ROLES.items()
    ]
    lobby = Lobby(people)
    lobby.seats[CLIENT].attestation = on_file(NOW)
    assert attested(lobby.seats[CLIENT], lobby.seats) == {
        "method": "on_file", "by": "Dr", "date": "2026-03-02", "until": "2026-05-04T12:00:00+00:00",
    }  # fmt: skip
    for viewer in people:
        for member in lobby.roster(viewer, None)["members"]:
            shown = member["participant_id"] == CLIENT and viewer.member.participant_id in {CLIENT, DOCTOR}
            assert (member["attested"] is not None) is shown


# -- its end, by the clock --------------------------------------------------------------------------------------------


class OnFile(Call):
    """The client's consent is on file, with an end."""

    lasts_s = 10.0

    async def open(self, clinic_id: str) -> None:
        until = self.clock.now() + timedelta(seconds=self.lasts_s)
        people = tuple(
            NewParticipant(who, role, who, on_file=on_file(until) if who == CLIENT else None)
            for who, role in ROLES.items()
        )
        new = NewSession(clinic_id, clinician_user_id="usr_1", participants=people, made_by="platform")
        self.session_id = (await self.on.store.create(new)).id
        await self.begin_process()

    async def recorded(self) -> list[tuple[str, str]]:
        given = await self.on.store.consents(self.session_id)
        return [(one.decision.value, one.method) for one in given if one.participant_id == CLIENT]


@pytest.fixture
async def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OnFile]:
    on = await open_ground(tmp_path, monkeypatch)
    made = OnFile(on)
    await made.open(PAUSE_ALL)
    yield made
    await made.close()
    await on.close()


async def test_nobody_is_asked_whose_consent_is_on_file_until_it_ends_in_the_call(call: OnFile) -> None:
    await call.meet()
    await call.act("start")
    await call.pass_time(0.5)
    assert call.gates == {OPEN}
    events = await call.on.store.events(call.session_id)
    [granted] = [one for one in events if one.data.get("participant_id") == CLIENT and one.kind.startswith("consent.")]
    assert granted.kind == "consent.granted"
    assert granted.data == {
        "participant_id": CLIENT, "method": "on_file", "by": "platform", "text_version": "form-en-1-0a1b2c3d",
        "language": "", "attested_by": DOCTOR, "document_id": "DOC-7",
    }  # fmt: skip
    [record] = [one for one in await call.on.store.consents(call.session_id) if one.participant_id == CLIENT]
    assert record.attestation == on_file(call.live.lobby.seats[CLIENT].attestation.until)  # type: ignore[union-attr]
    assert record.text_sha256 == "", "nothing was shown here"
    await call.pass_time(call.lasts_s)
    assert OPEN not in call.gates
    assert (call.row["capture"], call.row["pause_reasons"]) == ("paused", "consent")
    assert call.row["consents"][CLIENT] == "requested"
    end = round(call.lasts_s * 16_000)
    assert max(one.end for one in call.on.kept) <= end + 16_000 // 5, "the tick sees it within two tenths of a second"
    assert await call.recorded() == [("granted", "on_file"), ("expired", "on_file")]
    assert call.live.lobby.seats[CLIENT].attestation is None
    await call.answer(CLIENT, "granted")
    assert call.gates == {OPEN}
    await call.pass_time(2 * call.lasts_s)
    assert call.gates == {OPEN}, "their own yes holds for the session"
    assert (await call.recorded())[2:] == [("granted", "api")]


async def test_a_client_takes_back_what_is_on_file_at_any_moment(call: OnFile) -> None:
    await call.meet()
    await call.act("start")
    await call.pass_time(0.5)
    await call.answer(CLIENT, "revoked")
    assert OPEN not in call.gates
    await call.pass_time(call.lasts_s)
    assert call.row["consents"][CLIENT] == "revoked"
    assert await call.recorded() == [("granted", "on_file"), ("revoked", "api")]


async def test_what_ended_before_start_is_asked_for_anew(call: OnFile) -> None:
    await call.meet()
    await call.pass_time(call.lasts_s + 0.25)
    assert call.row["consents"][CLIENT] == "expired"
    await call.act("start")
    assert (call.row["capture"], call.row["consents"][CLIENT]) == ("consent_pending", "requested")


async def test_an_end_holds_though_the_database_does_not_take_it(call: OnFile) -> None:
    await call.meet()
    await call.act("start")
    await call.pass_time(0.5)
    call.on.db.failing = 3
    await call.pass_time(call.lasts_s)
    assert OPEN not in call.gates
    call.on.db.go_on()
    await call.pass_time(2)
    assert call.row["capture"] == "paused"
    assert ("expired", "on_file") in await call.recorded()


async def test_a_process_that_starts_again_knows_when_it_ends(call: OnFile) -> None:
    await call.meet()
    await call.act("start")
    await call.pass_time(0.5)
    await call.come_back()
    await call.meet()
    await call.pass_time(0.5)
    assert call.gates == {OPEN}
    await call.crash()
    call.clock.advance(call.lasts_s)
    call.spawn(call.recover())
    await call.settle()
    assert OPEN not in call.gates, "it ended while no process was there"
    await call.pass_time(0.5)
    assert call.row["consents"][CLIENT] == "expired"
    await call.meet()
    await call.pass_time(0.5)
    assert call.row["consents"][CLIENT] == "requested", "asked when they are back"


async def test_what_they_took_back_themselves_is_not_attested_again(call: OnFile) -> None:
    call.live.config = call.live.config.model_copy(update={"consent": ALLOWED})
    await call.meet()
    await call.answer(CLIENT, "revoked")
    clinician = Actor(ActorKind.PARTICIPANT, "c", role=Role.CLINICIAN, participant_id=DOCTOR)
    given: dict[str, Any] = {"method": VERBAL, "text_version": "", "message_id": None, "seq": None}
    with pytest.raises(Forbidden):
        await call.live.consent(clinician, CLIENT, ConsentState.GRANTED, **given)
    assert call.row["consents"][CLIENT] == "revoked"


async def test_a_yes_said_aloud_is_recorded_as_the_clinicians_word_before_it_opens_anything(call: OnFile) -> None:
    call.live.config = call.live.config.model_copy(update={"consent": ALLOWED})
    await call.meet()
    await call.pass_time(call.lasts_s + 0.25)
    await call.act("start")
    clinician = Actor(ActorKind.PARTICIPANT, "c", role=Role.CLINICIAN, participant_id=DOCTOR)
    given: dict[str, Any] = {"method": VERBAL, "text_version": "", "message_id": None, "seq": None}
    call.on.db.failing = 1
    with pytest.raises(Overloaded):
        await call.live.consent(clinician, CLIENT, ConsentState.GRANTED, **given)
    assert OPEN not in call.gates
    await call.live.consent(clinician, CLIENT, ConsentState.GRANTED, **given)
    assert call.gates == {OPEN}
    [record] = [one for one in await call.on.store.consents(call.session_id) if one.method == VERBAL]
    assert (record.by, record.text_version, record.text_sha256, record.language) == (DOCTOR, "", "", "")
    assert record.attestation == Attestation(VERBAL, DOCTOR)
    await call.answer(CLIENT, "revoked")
    assert OPEN not in call.gates
