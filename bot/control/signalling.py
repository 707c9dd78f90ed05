"""Signalling a page sends: to another page it is passed on untouched, to the bot it is answered here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bot.control.callmedia import CallMedia
from bot.control.lobby import BOT_ID, Lobby, PageLink
from bot.errors import ConfigInvalid, Forbidden, InvalidTransition
from bot.media.room import Member

MAX_CONN_CHARS = 80


async def carry(
    lobby: Lobby, media: CallMedia | None, member: Member, message: Mapping[str, Any], link: PageLink
) -> None:
    """Carry out one ``signal`` message.

    Raises ConfigInvalid for anything malformed, Forbidden from the waiting room, InvalidTransition without a bot.
    """
    to, data = message.get("to"), message.get("data")
    if not isinstance(to, str) or not isinstance(data, dict):
        raise ConfigInvalid("signal: needs `to` and an object `data`.")
    if not lobby.seat(member.participant_id).admitted:
        raise Forbidden("You are still in the waiting room.")
    if to != BOT_ID:
        await lobby.relay(member.participant_id, to, data)
        return
    if media is None or media.room is None:
        raise InvalidTransition("There is no bot in this call.")
    match data.get("type"):
        case "offer":
            sdp = data.get("sdp")
            if not isinstance(sdp, str):
                raise ConfigInvalid("signal: an offer needs `sdp`.")
            await media.ensure_lane(member.participant_id, member.role)
            answer = await media.room.offer(member.participant_id, sdp)
            told = {"type": "answer", "sdp": answer} | _named(data)
            await link.send({"type": "signal", "from": BOT_ID, "data": told})
        case "candidate":
            candidate = data.get("candidate")
            if candidate is not None and not isinstance(candidate, dict):
                raise ConfigInvalid("signal: `candidate` must be an object or null.")
            await media.room.candidate(member.participant_id, candidate)
        case "bye":
            await media.room.drop(member.participant_id)
        case _:
            raise ConfigInvalid("signal: `data.type` must be offer, candidate or bye.")


def _named(data: Mapping[str, Any]) -> dict[str, str]:
    """The id that the page gave its connection, if it gave one: an answer says which offer it is for."""
    conn = data.get("conn")
    return {"conn": conn} if isinstance(conn, str) and 0 < len(conn) <= MAX_CONN_CHARS else {}
