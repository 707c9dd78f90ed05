"""A supervisor, a co-therapist: Start is the yes of who pressed it, and the other clinician is asked like anybody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.integration.call_world import CLIENT, CLINICIAN, World, world
from tests.integration.group_world import clinic_says, group

DANA = "dana"
PEOPLE: list[dict[str, Any]] = [
    {"id": CLIENT, "role": "client", "display_name": "Robin"},
    {"id": DANA, "role": "clinician", "display_name": "Dr. Dana"},
]


@pytest_asyncio.fixture
async def place(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path / "data") as made:
        yield made


async def answers(place: World, session_id: str, who: str) -> list[tuple[str, str, str]]:
    given = (await place.get(f"/v1/sessions/{session_id}/participants/{who}/consent"))["answers"]
    return [(one["decision"], one["method"], one["by"]) for one in given]


async def test_start_is_the_yes_of_who_pressed_it_and_the_other_is_asked(place: World) -> None:
    async with group(place, PEOPLE) as call:
        await call.enter(CLINICIAN, DANA, CLIENT)
        await call.start(CLINICIAN, DANA, CLIENT)
        await call.shows(DANA, DANA, "requested")
        assert "the other clinician" in call.pages[DANA].welcome["consent_wording"]["text"]
        await call.answer(CLIENT, "granted")
        await call.becomes("consent_pending")
        assert await answers(place, call.id, CLINICIAN) == [("granted", "pressed_start", CLINICIAN)]
        assert await answers(place, call.id, DANA) == []
        await call.answer(DANA, "granted")
        await call.becomes("capturing")
        assert await answers(place, call.id, DANA) == [("granted", "in_call", DANA)]
        await call.answer(DANA, "revoked")
        await call.becomes("paused", "consent")
        await call.clinician.control("discard")


async def test_until_they_agree_their_lane_is_withheld(place: World) -> None:
    await clinic_says(place, late_joiner="withhold_lane")
    async with group(place, PEOPLE) as call:
        await call.enter(CLINICIAN, DANA, CLIENT)
        # by HTTP too it is one clinician's yes, of the one who is named
        started = await place.http.post(
            f"/v1/sessions/{call.id}/capture", json={"action": "start", "clinician_id": DANA}
        )
        assert started.status_code == 200, started.text
        await call.shows(CLINICIAN, CLINICIAN, "requested")
        await call.answer(CLIENT, "granted")
        await call.becomes("capturing")
        for page in call.pages.values():
            await page.until_connected()

        def captured(who: str) -> int:
            return int(call.clinician.ledger.get(who, {}).get("captured_ms", 0))

        await call.clinician.until(lambda: captured(DANA) > 0 and captured(CLIENT) > 0, "the others to be captured")
        assert captured(CLINICIAN) == 0
        assert await answers(place, call.id, CLINICIAN) == []
        assert await answers(place, call.id, DANA) == [("granted", "pressed_start", f"platform:{DANA}")]
        await call.answer(CLINICIAN, "granted")
        await call.clinician.until(lambda: captured(CLINICIAN) > 0, "who agreed to be captured")
        await call.clinician.control("discard")
