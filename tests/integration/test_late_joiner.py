"""Who comes in while recording runs: the clinic pauses everybody until they agree, or withholds them alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.integration.call_world import CLIENT, CLINICIAN, World, world
from tests.integration.group_world import Group, clinic_says, group

KIM, SAM = "kim", "sam"
LONG_MS = 200
"""Of a pause that is an entry of the transcript."""
PEOPLE: list[dict[str, Any]] = [
    {"id": CLIENT, "role": "client", "display_name": "Robin"},
    {"id": KIM, "role": "client", "display_name": "Kim"},
    {"id": SAM, "role": "guardian", "display_name": "Sam"},
]


@pytest_asyncio.fixture
async def place(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path / "data") as made:
        yield made


async def recording(call: Group) -> None:
    await call.enter(CLINICIAN, CLIENT)
    await call.start(CLINICIAN, CLIENT)
    await call.answer(CLIENT, "granted")
    await call.becomes("capturing")


def captured(call: Group, who: str) -> int:
    return int(call.clinician.ledger.get(who, {}).get("captured_ms", 0))


def paused(call: Group) -> int:
    return int(call.clinician.ledger.get(CLIENT, {}).get("paused_ms", 0))


async def grows(call: Group, *people: str) -> None:
    before = {who: captured(call, who) for who in people}
    await call.clinician.until(lambda: all(captured(call, who) > before[who] for who in people), f"sound of {people}")


async def stays_away(call: Group, who: str) -> None:
    await call.pages[who].until_connected()
    await call.pages[who].leave()
    await call.clinician.until(lambda: not call.row(CLINICIAN, who)["present"], f"{who} to be gone")


async def comes_back(call: Group, who: str) -> None:
    """On a new page, by the token they came with: nobody admits them again."""
    token, left = call.join[who]["token"], call.pages[who]
    call.pages[who] = type(left)(call.place.url, call.id, token, recording=call.place.cut(CLIENT, (0, 400)))
    await call.pages[who].join()
    await call.pages[who].until(lambda: call.pages[who].admitted, "the seat they left")


async def test_everybody_is_paused_until_who_came_late_has_agreed(place: World) -> None:
    async with group(place, PEOPLE) as call:
        await recording(call)
        await call.enter(KIM)
        await call.becomes("paused", "consent")
        held = captured(call, CLIENT)
        await call.shows(CLINICIAN, KIM, "requested")
        await call.clinician.until(lambda: paused(call) > LONG_MS, "a while in the pause")
        await stays_away(call, KIM)
        await call.becomes("capturing")  # who left without an answer holds nobody up
        await grows(call, CLIENT, CLINICIAN)
        await comes_back(call, KIM)
        await call.becomes("paused", "consent")
        await call.shows(KIM, KIM, "requested")  # and is still asked

        await call.answer(KIM, "declined")
        await call.shows(CLINICIAN, KIM, "declined")
        await call.becomes("paused", "consent")  # a no of one who came late ends nothing: it pauses while they are here
        await stays_away(call, KIM)
        await call.becomes("capturing")
        await comes_back(call, KIM)
        await call.becomes("paused", "consent")
        await call.answer(KIM, "granted")
        await call.becomes("capturing")

        await call.enter(SAM)
        await call.becomes("paused", "consent")
        await call.answer(SAM, "granted")
        await call.becomes("capturing")
        await call.pages[KIM].until_connected()
        await grows(call, CLIENT, KIM)
        assert captured(call, CLIENT) > held
        await call.clinician.control("finish")
        assert ("paused", ["consent"]) in [(one["reason"], one["pause_reasons"]) for one in await gaps_of(call)]


async def test_who_came_late_is_withheld_alone(place: World) -> None:
    await clinic_says(place, late_joiner="withhold_lane")
    async with group(place, PEOPLE) as call:
        await recording(call)
        await call.enter(KIM, SAM)
        await call.shows(CLINICIAN, KIM, "requested")
        await call.becomes("capturing")
        await grows(call, CLIENT, CLINICIAN)
        await stays_away(call, KIM)
        await comes_back(call, KIM)
        await call.shows(KIM, KIM, "requested")
        await call.answer(SAM, "declined")
        await call.shows(CLINICIAN, SAM, "declined")
        await call.becomes("capturing")
        await grows(call, CLIENT, CLINICIAN)
        assert captured(call, KIM) == captured(call, SAM) == 0

        await call.answer(KIM, "granted")
        await call.pages[KIM].until_connected()
        await grows(call, KIM, CLIENT)
        await call.answer(KIM, "revoked")
        await call.becomes("capturing")  # the others agreed, and go on
        await call.shows(CLINICIAN, KIM, "revoked")
        await grows(call, CLIENT)
        kims = captured(call, KIM)
        await grows(call, CLIENT)
        assert captured(call, KIM) == kims
        assert captured(call, SAM) == 0

        # the first client's no is another thing: of those who agreed, a client must be left
        await call.answer(CLIENT, "revoked")
        await call.becomes("paused", "consent")
        await call.clinician.control("finish")
        withheld = {one["participant_id"] for one in await gaps_of(call) if one["reason"] == "withheld"}
        assert withheld >= {KIM, SAM}


async def gaps_of(call: Group) -> list[dict[str, Any]]:
    await call.place.until(call.id, "transcript", "ready")
    gaps: list[dict[str, Any]] = (await call.place.get(f"/v1/sessions/{call.id}/transcript"))["gaps"]
    return gaps
