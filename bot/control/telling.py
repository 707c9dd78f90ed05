"""Telling everybody: pages, data channels, and the streams behind the live bus."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bot.control import wording
from bot.control.faults import SILENT
from bot.control.lobby import Lobby, Seat
from bot.events import Role
from bot.media.room import Room
from bot.store.bus import Bus, live_channel
from bot.store.ground import words_scope
from bot.store.vault import KeyDestroyed, Vault

CLINICIANS_ONLY = frozenset({"ledger", "lag", "warning", "progress"})
ON_CHANNEL = frozenset({"state", "caption"})
"""Kinds that also go over the data channels: the broadcasts of scribe.control.v1."""
SEEN_BY = "seen_by"
"""With a caption on the bus, and nowhere else: the participants in whose presence it was said."""
THEIRS = frozenset({SILENT})
"""Warnings about a person that are told to that person too: they can mend it."""
STATE_FOR_ALL = (
    *("type", "session_id", "seq", "bot", "bot_end_reason", "capture", "pause_reasons", "since_ms", "now_ms", "words"),
    "attributes",
)
"""What of a state everybody in the call may read: the bot's and the recording's, not what becomes of the note."""


def as_read_by(role: Role, message: Mapping[str, Any]) -> Mapping[str, Any]:
    """A message with what somebody of this role may read of it."""
    if role is Role.CLINICIAN or message["type"] != "state":
        return message
    return {name: message[name] for name in STATE_FOR_ALL} | {"words": wording.words_for_all(message["words"])}


def reads_warning(seat: Seat, message: Mapping[str, Any]) -> bool:
    """Whether a warning is for this person: clinicians read all, others what is the matter with their microphone."""
    own = message["slug"] in THEIRS and message["participant_id"] == seat.member.participant_id
    return seat.admitted and (own or seat.member.role is Role.CLINICIAN)


class Teller:
    """Sends one session's messages to whoever may see them."""

    def __init__(self, session_id: str, lobby: Lobby, bus: Bus, vault: Vault, *, client_captions: bool) -> None:
        self._session_id = session_id
        self._lobby = lobby
        self._bus = bus
        self._vault = vault
        self._client_captions = client_captions

    async def tell(self, message: Mapping[str, Any], room: Room | None) -> None:
        """To every page and data channel that may see it and, sealed under the session's words key, to the bus."""
        kind = message["type"]
        guarded = kind in CLINICIANS_ONLY or (kind == "caption" and not self._client_captions)

        def may_see(seat: Seat) -> bool:
            if kind == "warning":
                return reads_warning(seat, message)
            if seat.member.role is Role.CLINICIAN or not seat.admitted:
                return seat.admitted
            return not guarded and (kind != "caption" or seat.was_here(message["start_ms"]))

        await self._lobby.send_where(message, may_see, as_read_by)
        if room is not None and kind in ON_CHANNEL:
            for seat in list(self._lobby.seats.values()):
                if seat.present and may_see(seat):
                    payload = json.dumps(as_read_by(seat.member.role, message)).encode()
                    await room.send(payload, to=seat.member.participant_id)
        seen_by = [pid for pid, seat in self._lobby.seats.items() if may_see(seat)]
        content = {**message, SEEN_BY: seen_by} if kind == "caption" else message
        await publish(self._session_id, content, self._bus, self._vault)


async def publish(session_id: str, message: Mapping[str, Any], bus: Bus, vault: Vault) -> None:
    """To the streams that follow a session from outside the call, in every process."""
    try:
        sealed = vault.seal(words_scope(session_id), "live", json.dumps(message).encode())
    except KeyDestroyed:
        return  # the words are gone: nothing more is said of them
    await bus.publish(live_channel(session_id), sealed)
