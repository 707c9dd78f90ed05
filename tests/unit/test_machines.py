"""The tables of states: complete, connected, and the only way to move."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest

from bot.errors import InvalidTransition
from bot.events import AudioState, BotState, CaptureState, ConsentState, NoteState, PauseReason, TranscriptState
from bot.machines import AUDIO, BOT, CAPTURE, CONSENT, NOTE, PAUSED_FOR, TRANSCRIPT, Table, is_final, move

TABLES: dict[str, tuple[type[StrEnum], Table[Any], StrEnum, set[StrEnum]]] = {
    "bot": (BotState, BOT, BotState.ABSENT, set()),
    "consent": (ConsentState, CONSENT, ConsentState.UNKNOWN, set()),
    "capture": (CaptureState, CAPTURE, CaptureState.OFF, {CaptureState.FINISHED, CaptureState.DISCARDED}),
    "audio": (AudioState, AUDIO, AudioState.ABSENT, {AudioState.ERASED}),
    "transcript": (TranscriptState, TRANSCRIPT, TranscriptState.ABSENT, {TranscriptState.PURGED}),
    "note": (NoteState, NOTE, NoteState.ABSENT, {NoteState.DISCARDED}),
}
"""By name: the states, the table, where it begins, where it ends for good."""


@pytest.mark.parametrize("name", TABLES)
def test_every_state_has_its_line_and_can_be_reached(name: str) -> None:
    states, table, first, _ = TABLES[name]
    assert set(table) == set(states)
    reached, edge = {first}, {first}
    while edge:
        edge = {after for state in edge for after in table[state]} - reached
        reached |= edge
    assert reached == set(states)


@pytest.mark.parametrize("name", TABLES)
def test_nothing_follows_what_is_final(name: str) -> None:
    states, table, _, final = TABLES[name]
    assert {state for state in states if is_final(table, state)} == final


@pytest.mark.parametrize("name", TABLES)
def test_what_the_table_does_not_hold_is_refused(name: str) -> None:
    states, table, _, _ = TABLES[name]
    for now in states:
        for to in states:
            if to in table[now]:
                assert move(table, now, to) is to
                continue
            with pytest.raises(InvalidTransition) as refused:
                move(table, now, to)
            assert refused.value.extra["state"] == now.value
            assert (refused.value.slug, refused.value.status) == ("invalid-transition", 409)


@pytest.mark.parametrize("name", TABLES)
def test_every_transition_says_what_brings_it_about(name: str) -> None:
    _, table, _, _ = TABLES[name]
    for now, steps in table.items():
        assert all(why and why == why.strip() for why in steps.values()), now
        assert now not in steps or name == "note", "to stay is no transition; only an amendment follows another"


def test_every_reason_to_pause_has_an_owner_who_alone_lifts_it() -> None:
    assert set(PAUSED_FOR) == set(PauseReason)
    assert all(sets and lifts for sets, lifts in PAUSED_FOR.values())
    assert len({lifts for _, lifts in PAUSED_FOR.values()}) == len(PAUSED_FOR)


def test_what_was_destroyed_never_comes_back() -> None:
    assert is_final(AUDIO, AudioState.ERASED)
    assert is_final(TRANSCRIPT, TranscriptState.PURGED)
    assert NoteState.DRAFT not in NOTE[NoteState.SIGNED], "a signed note is amended, never made a draft again"
