"""Browsers that may go by a TURN server only: the page uses the account it was given, and the bot hears it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

pytest.importorskip("playwright.async_api", reason="the browser tests need the extra `e2e`")

from playwright.async_api import Playwright, expect

from tests.e2e.browsers import Person
from tests.e2e.conftest import service
from tests.e2e.steps import WATCH_BOT_LINK, discard, ledger_of, recording, two_people
from tests.integration.turn_world import turn_server

RELAYS_ONLY = """
(() => {
  const Real = RTCPeerConnection;
  window.RTCPeerConnection = class extends Real {
    constructor(configuration) { super({ ...configuration, iceTransportPolicy: "relay" }); }
  };
})()
"""
PAIR = """async () => {
  const report = [...(await toTheBot.getStats()).values()];
  const { selectedCandidatePairId } = report.find((one) => one.type === "transport");
  const pair = report.find((one) => one.id === selectedCandidatePairId);
  return report.find((one) => one.id === pair.localCandidateId).candidateType;
}"""


async def goes_by_a_relay(somebody: Person) -> bool:
    return bool(await somebody.page.evaluate(PAIR) == "relay")


@pytest.mark.soak
async def test_chromium_by_relays_only(
    playwright: Playwright, microphones: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "turn").mkdir()
    async with turn_server(tmp_path / "turn") as turn:
        monkeypatch.setenv("QUIETNOTE_TURN_URLS", f'["{turn.url}"]')
        monkeypatch.setenv("QUIETNOTE_TURN_SECRET", turn.secret)
        with service(tmp_path / "data") as served:
            async with two_people(playwright, microphones) as (clinician, client):
                for somebody in (clinician, client):
                    await somebody.page.add_init_script(f"{RELAYS_ONLY};{WATCH_BOT_LINK}")
                await recording(clinician, client, served)
                await expect(clinician.page.locator("qn-captions")).to_contain_text("breathing", timeout=60_000)
                for somebody in (clinician, client):
                    assert await goes_by_a_relay(somebody)
                for role in ("clinician", "client"):
                    account = await ledger_of(clinician, served, role)
                    assert account["captured"] > 16_000
                await discard(clinician)
        assert turn.secret not in "".join(served.said)
