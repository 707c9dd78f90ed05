"""What each seat may read of a message."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from bot.control.lobby import BLIP_S, Lobby
from bot.control.telling import Teller, as_read_by
from bot.events import Role
from bot.store.bus import Bus
from bot.store.vault import Vault
from tests.unit.control.rooms import Page, seat

STATE: dict[str, Any] = {
    "type": "state",
    "session_id": "ses_1",
    "seq": 12,
    "bot": "done",
    "bot_end_reason": "stopped_by_clinician",
    "capture": "finished",
    "pause_reasons": [],
    "since_ms": 9000,
    "now_ms": 9500,
    "audio": "erased",
    "transcript": "ready",
    "note": "draft",
    "note_id": "not_1",
    "words": "Draft ready",
    "attributes": {"scribe.state": "off"},
}
OF_THE_NOTE = {"audio", "transcript", "note", "note_id"}


@pytest.mark.parametrize("role", sorted(set(Role) - {Role.CLINICIAN}))
def test_nobody_but_clinicians_reads_what_becomes_of_the_note(role: Role) -> None:
    read = as_read_by(role, STATE | {"a_field_of_tomorrow": "private"})
    assert set(read) == set(STATE) - OF_THE_NOTE
    assert read["words"] == "Not recording"
    for words in ("Processing", "Could not generate"):
        assert as_read_by(role, STATE | {"words": words})["words"] == "Not recording"
    for words in ("Waiting for consent", "Starting", "Recording", "Paused"):
        assert as_read_by(role, STATE | {"words": words})["words"] == words


def test_clinicians_read_it_all_and_other_messages_are_the_same_for_all() -> None:
    assert as_read_by(Role.CLINICIAN, STATE) == STATE
    caption = {"type": "caption", "text": "I slept badly."}
    assert as_read_by(Role.CLIENT, caption) == caption


class Heard:
    """A bus that keeps what it was given."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    async def publish(self, _channel: str, sealed: bytes) -> None:
        self.messages.append(json.loads(sealed))


class OpenVault:
    """Seals nothing."""

    def seal(self, _scope: str, _purpose: str, plaintext: bytes) -> bytes:
        return plaintext


@pytest.fixture
def lobby() -> Lobby:
    return Lobby([seat("ellis", Role.CLINICIAN), seat("robin"), seat("kim", Role.INTERPRETER)])


async def test_a_caption_goes_to_those_in_whose_presence_it_was_said(lobby: Lobby) -> None:
    pages = {who: Page() for who in lobby.seats}
    for who, page in pages.items():
        await lobby.seat_page(lobby.seats[who].member, page)
    for who, since in (("ellis", 5_000), ("robin", 0), ("kim", 3_000)):
        lobby.seats[who].admitted, lobby.seats[who].here_since_ms = True, since
    bus, vault = Heard(), OpenVault()
    teller = Teller("ses_1", lobby, cast("Bus", bus), cast("Vault", vault), client_captions=True)
    for start in (1_000, 3_000):
        await teller.tell({"type": "caption", "start_ms": start, "text": "I slept badly."}, None)
    starts = {who: [m["start_ms"] for m in page.got if m["type"] == "caption"] for who, page in pages.items()}
    assert starts == {"ellis": [1_000, 3_000], "robin": [1_000, 3_000], "kim": [3_000]}
    assert [message["seen_by"] for message in bus.messages] == [["ellis", "robin"], ["ellis", "robin", "kim"]]
    assert not any("seen_by" in m for page in pages.values() for m in page.got)


async def test_where_clients_see_no_captions_nobody_but_clinicians_does(lobby: Lobby) -> None:
    for held in lobby.seats.values():
        held.admitted, held.here_since_ms = True, 0
    bus, vault = Heard(), OpenVault()
    teller = Teller("ses_1", lobby, cast("Bus", bus), cast("Vault", vault), client_captions=False)
    await teller.tell({"type": "caption", "start_ms": 9, "text": "I slept badly."}, None)
    assert bus.messages[0]["seen_by"] == ["ellis"]


async def test_who_was_gone_for_long_came_in_anew_and_a_blip_is_no_leaving(lobby: Lobby) -> None:
    robin = lobby.seats["robin"]
    for away, still_here in ((BLIP_S, True), (BLIP_S + 1, False)):
        page = Page()
        await lobby.seat_page(robin.member, page, now_s=100.0)
        robin.admitted, robin.here_since_ms = True, 2_000
        lobby.unseat_page("robin", page, 100.0)
        await lobby.seat_page(robin.member, Page(), now_s=100.0 + away)
        assert robin.was_here(2_000) is still_here


async def test_a_link_opened_once_more_hears_nothing_of_before(lobby: Lobby) -> None:
    robin = lobby.seats["robin"]
    await lobby.seat_page(robin.member, Page(), "first")
    robin.admitted, robin.admitted_pass, robin.here_since_ms = True, "first", 0
    await lobby.seat_page(robin.member, Page(), "second")
    robin.admitted = True
    assert not robin.was_here(50_000), "until the room says since when they are here"
