"""Several people in one session over real WebRTC, some of them at one microphone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from bot.demo.packets import Recording
from bot.demo.peer import CallFailed, Peer
from tests.integration.call_world import CLIENT, CLINICIAN, World


@dataclass
class Group:
    """One session and its pages."""

    place: World
    id: str
    join: Mapping[str, Mapping[str, Any]]
    """By participant: token and links."""
    pages: dict[str, Peer]

    @property
    def clinician(self) -> Peer:
        return self.pages[CLINICIAN]

    async def enter(self, *people: str) -> None:
        """Let people in and have them connected, where there is a bot."""
        for who in people:
            await self.pages[who].join()
            if who != CLINICIAN:
                await self.clinician.admit(who)
            await self.pages[who].until(lambda who=who: self.pages[who].admitted, "admission")  # type: ignore[misc]

    async def start(self, *people: str) -> None:
        await self.clinician.control("start")
        for who in people:
            await self.pages[who].until_connected()

    async def becomes(self, capture: str, *reasons: str) -> None:
        """Every page that is open is told so."""
        for peer in self.pages.values():
            if peer.welcome and not peer.closed:

                def told(peer: Peer = peer) -> bool:
                    return (peer.state.get("capture"), peer.state.get("pause_reasons")) == (capture, sorted(reasons))

                try:
                    await peer.until(told, f"{capture} {reasons}")
                except CallFailed as missed:
                    raise AssertionError(f"{peer.participant_id}: {peer.state}") from missed

    async def answer(self, page: str, decision: str, about: str | None = None, **more: Any) -> Mapping[str, Any]:
        """Answer on a page, for oneself or as one of those who sit at it."""
        peer = self.pages[page]
        shown = {**peer.welcome, **self.wording(page)}
        texts = {one["participant_id"]: one["consent_wording"] for one in shown["also_here"]}
        text = shown["consent_wording"] if about is None else texts[about]
        consent = {"decision": decision, "text_version": text["version"], **more}
        return await peer.control("consent", consent=consent | ({"participant_id": about} if about else {}))

    def wording(self, page: str) -> dict[str, Any]:
        """The texts as the page was told of them last, where that was after its welcome."""
        told = [dict(one.message) for one in self.pages[page].heard if one.message["type"] == "wording"]
        return told[-1] if told else {}

    def row(self, page: str, who: str) -> Mapping[str, Any]:
        """Somebody's line of the roster on a page."""
        members = self.pages[page].roster["members"]
        return next(row for m in members for row in (m, *m["also_here"]) if row["participant_id"] == who)

    async def shows(self, page: str, who: str, consent: str | None) -> None:
        await self.pages[page].until(lambda: self.row(page, who)["consent"] == consent, f"{who}: {consent}")

    def captions(self, page: str) -> list[dict[str, Any]]:
        return [dict(one.message) for one in self.pages[page].heard if one.message["type"] == "caption"]

    async def http(self, who: str, method: str, path: str, **sent: Any) -> httpx.Response:
        """With somebody's session token."""
        headers = {"Authorization": f"Bearer {self.join[who]['token']}"}
        return await self.place.http.request(method, f"/v1/sessions/{self.id}{path}", headers=headers, **sent)

    async def captured(self, who: str) -> int:
        """Samples that were captured of a lane so far, as it was stored last."""
        session = await self.place.get(f"/v1/sessions/{self.id}")
        lanes = {lane["participant_id"]: lane["ledger"]["captured"] for lane in session["lanes"]}
        return int(lanes.get(who, 0))

    def play(self, *people: str) -> None:
        at_s = time.monotonic() + 0.3
        for who in people:
            self.pages[who].play(at_s)


@asynccontextmanager
async def group(
    place: World, people: list[dict[str, Any]], recordings: Mapping[str, Recording] | None = None
) -> AsyncIterator[Group]:
    """A session of these people beside its clinician; nobody is in the room yet."""
    invited = [{"id": CLINICIAN, "role": "clinician", "display_name": "Dr. Ellis"}, *people]
    answer = await place.http.post("/v1/sessions", json={"clinic_id": "demo", "participants": invited})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    session_id, join = made["session"]["id"], {one["participant_id"]: one for one in made["join"]}
    silent, origin_s = place.cut(CLIENT, (0, 400)), time.monotonic()
    pages = {
        who: Peer(place.url, session_id, one["token"], recording=(recordings or {}).get(who, silent), origin_s=origin_s)
        for who, one in join.items()
        if one["invite_url"] is not None
    }
    try:
        yield Group(place, session_id, join, pages)
    finally:
        await asyncio.gather(*(peer.leave() for peer in pages.values()))


async def clinic_says(place: World, **consent: Any) -> None:
    """Change how the clinic asks, for sessions that are made from now on."""
    clinics = place.service.services.clinics
    _, clinic = await clinics.current("demo")
    policy = clinic.consent.model_copy(update=consent)
    await clinics.save(clinic.model_copy(update={"consent": policy}), author="test")
