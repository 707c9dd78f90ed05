"""Seats, admission, the roster each person may see, and the relay of signalling."""

from __future__ import annotations

from typing import Any

import pytest

from bot.control.lobby import REPLACED, Lobby
from bot.errors import ConfigInvalid, Forbidden
from bot.events import ConsentState, Role
from tests.unit.control.rooms import Page, member, seat

BOT = {"participant_id": "bot", "state": "capturing"}


@pytest.fixture
def lobby() -> Lobby:
    return Lobby([seat("ellis", Role.CLINICIAN), seat("robin"), seat("kim", Role.INTERPRETER)])


def seen(roster: dict[str, Any]) -> set[str]:
    return {person["participant_id"] for person in roster["members"]}


async def test_a_clinician_is_in_and_a_client_waits(lobby: Lobby) -> None:
    await lobby.seat_page(member("ellis", Role.CLINICIAN), Page())
    await lobby.seat_page(member("robin"), Page())
    assert lobby.seat("ellis").present
    assert not lobby.client_present(), "a client in the waiting room is not in the room"
    lobby.seat("robin").admitted = True
    assert lobby.client_present()


async def test_admission_outlasts_the_page(lobby: Lobby) -> None:
    page = Page()
    robin = await lobby.seat_page(member("robin"), page)
    robin.admitted = True
    assert lobby.unseat_page("robin", page, 50.0)
    assert not lobby.client_present()
    assert robin.left_at_s == 50.0
    await lobby.seat_page(member("robin"), Page())
    assert lobby.client_present()
    assert robin.left_at_s is None


async def test_a_link_opened_once_more_waits_and_the_first_may_come_back(lobby: Lobby) -> None:
    first = Page()
    robin = await lobby.seat_page(member("robin"), first, "first")
    robin.admitted, robin.admitted_pass = True, "first"
    assert (await lobby.seat_page(member("robin"), Page(), "second")).admitted is False
    assert first.closed is not None
    assert not lobby.client_present()
    assert (await lobby.seat_page(member("robin"), Page(), "first")).admitted is True


async def test_after_a_restart_the_first_to_come_back_is_taken_for_who_was_let_in() -> None:
    lobby = Lobby([seat("robin", admitted=True)])
    assert (await lobby.seat_page(member("robin"), Page(), "first")).admitted is True
    assert (await lobby.seat_page(member("robin"), Page(), "second")).admitted is False


async def test_the_newest_page_has_the_seat(lobby: Lobby) -> None:
    old, new = Page(), Page()
    await lobby.seat_page(member("robin"), old)
    await lobby.seat_page(member("robin"), new)
    assert old.closed is not None
    assert old.closed[0] == REPLACED
    assert not lobby.unseat_page("robin", old, 1.0), "the older page's end changes nothing"
    assert lobby.seat("robin").link is new
    await lobby.seat_page(member("robin"), new)
    assert new.closed is None, "a page does not replace itself"


async def test_who_was_not_invited_has_no_seat(lobby: Lobby) -> None:
    with pytest.raises(Forbidden):
        await lobby.seat_page(member("stranger"), Page())
    assert not lobby.unseat_page("stranger", Page(), 1.0)


async def test_each_sees_what_they_may(lobby: Lobby) -> None:
    for who, role in (("ellis", Role.CLINICIAN), ("robin", Role.CLIENT), ("kim", Role.INTERPRETER)):
        await lobby.seat_page(member(who, role), Page())
    lobby.seat("robin").consent = ConsentState.GRANTED
    waiting = lobby.roster(lobby.seat("robin"), BOT)
    assert seen(waiting) == {"ellis", "robin"}
    assert waiting["bot"] is None
    lobby.seat("robin").admitted = True
    assert seen(lobby.roster(lobby.seat("robin"), BOT)) == {"ellis", "robin", "kim"}

    def consents(viewer: str) -> dict[str, str | None]:
        roster = lobby.roster(lobby.seat(viewer), BOT)
        return {person["participant_id"]: person["consent"] for person in roster["members"]}

    assert consents("ellis") == {"ellis": "unknown", "robin": "granted", "kim": "unknown"}
    assert consents("robin") == {"ellis": None, "robin": "granted", "kim": None}


async def test_rosters_and_messages_reach_connected_pages_only(lobby: Lobby) -> None:
    ellis, robin = Page(), Page()
    await lobby.seat_page(member("ellis", Role.CLINICIAN), ellis)
    await lobby.seat_page(member("robin"), robin)
    await lobby.send_roster(None)
    await lobby.send_where({"type": "caption"}, lambda s: s.member.role is Role.CLINICIAN, lambda _, m: m)
    await lobby.send_where({"type": "state"}, lambda _: True, lambda role, m: {**m, "for": role.value})
    assert [m["type"] for m in ellis.got] == ["roster", "caption", "state"]
    assert [m["type"] for m in robin.got] == ["roster", "state"]
    assert (ellis.got[-1]["for"], robin.got[-1]["for"]) == ("clinician", "client")


async def test_signalling_is_passed_on_untouched_between_people_in_the_room(lobby: Lobby) -> None:
    ellis, robin = Page(), Page()
    await lobby.seat_page(member("ellis", Role.CLINICIAN), ellis)
    await lobby.seat_page(member("robin"), robin)
    data = {"type": "offer", "sdp": "v=0"}
    with pytest.raises(Forbidden, match="waiting room"):
        await lobby.relay("robin", "ellis", data)
    with pytest.raises(ConfigInvalid, match="to:"):
        await lobby.relay("ellis", "robin", data)
    assert not ellis.got
    assert not robin.got
    lobby.seat("robin").admitted = True
    await lobby.relay("ellis", "robin", data)
    assert robin.got == [{"type": "signal", "from": "ellis", "data": data}]
    for nobody in ("kim", "stranger", ""):
        with pytest.raises(ConfigInvalid, match="to:"):
            await lobby.relay("ellis", nobody, data)
