"""The senders that play calls in demos and benches send what a browser sends: as often, and as much."""

from __future__ import annotations

import asyncio
import json
import wave
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("playwright.async_api", reason="the browser tests need the extra `e2e`")

from playwright.async_api import Playwright

from bot.demo.dialogue import Dialogue
from bot.demo.packets import RTP_RATE_HZ, Asked, Sound, asked_by, encode, read_sound
from tests.e2e.browsers import Person, person
from tests.e2e.conftest import Served
from tests.e2e.steps import WATCH_BOT_LINK, ledger_of, recording

SECONDS = 9.6
"""A whole number of 60 ms packets. Chromium plays the file in a loop, so that any stretch this long is all of it."""
MUTED_SECONDS = 2.4
MADE_UP_FOR = 1.05
TRIES = 4

MEASURE = """
async (seconds) => {
  const sender = toTheBot.getSenders()[0];
  const read = async () => {
    for (const one of (await sender.getStats()).values())
      if (one.type === "outbound-rtp") return [one.packetsSent, one.bytesSent, one.timestamp];
  };
  const seen = [await read()];
  while (seen.at(-1)[2] - seen[0][2] < seconds * 1000) {
    await new Promise((done) => setTimeout(done, 15));
    seen.push(await read());
  }
  return { seen, answer: toTheBot.remoteDescription.sdp };
}
"""


@dataclass(frozen=True, slots=True)
class Sent:
    """Packets of one lane, in whatever order."""

    packets_per_s: float
    sizes: tuple[float, ...]
    """Of each packet's Opus payload, in bytes."""
    asked: Asked

    @property
    def mean_bytes(self) -> float:
        return float(np.mean(self.sizes))

    @property
    def speech_bytes(self) -> float:
        """Mean of the larger fifth: all of it is speech in a lane that speaks for a third of the time."""
        return float(np.mean(sorted(self.sizes)[-len(self.sizes) // 5 :]))

    @property
    def quiet_bytes(self) -> float:
        """Mean of the smaller half."""
        return float(np.mean(sorted(self.sizes)[: len(self.sizes) // 2]))

    def as_row(self) -> dict[str, float]:
        figures = {name: getattr(self, name) for name in ("packets_per_s", "mean_bytes", "speech_bytes", "quiet_bytes")}
        return {name: round(value, 1) for name, value in figures.items()}


async def by_browser(somebody: Person, seconds: float) -> Sent:
    """What a page sends to the bot, by the browser's own statistics."""
    told = await somebody.page.evaluate(MEASURE, seconds)
    seen = told["seen"]
    sizes: list[float] = []
    for (packets, size, _), (more, larger, _) in pairwise(seen):
        if new := more - packets:
            sizes += [(larger - size) / new] * new
    assert "abs-send-time" in told["answer"], "each packet says when it left: see bot/media/sendtime.py"
    return Sent(len(sizes) * 1000 / (seen[-1][2] - seen[0][2]), tuple(sizes), asked_by(told["answer"]))


async def in_real_time(somebody: Person) -> Sent:
    """As :func:`by_browser`, once the browser makes up for nothing any more.

    A microphone gives a second a second. On a machine that is busy Chromium's stops, and then gives more.
    """
    for _ in range(TRIES):
        sent = await by_browser(somebody, SECONDS)
        if sent.packets_per_s * sent.asked.ptime_ms <= 1_000 * MADE_UP_FOR:
            return sent
    raise AssertionError(f"more than real time for {TRIES * SECONDS} s: {sent.packets_per_s} packets a second")


def by_us(sound: Sound, asked: Asked) -> Sent:
    """What a sender made of prepared packets sends for the same sound when it is asked the same."""
    lane = encode(sound, asked)
    return Sent(lane.packets_per_s, tuple(float(len(packet.payload)) for packet in lane.packets), asked)


def looped(sound: Sound, target: Path) -> Path:
    with wave.open(str(target), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RTP_RATE_HZ)
        out.writeframes(sound.tobytes())
    return target


async def test_prepared_packets_are_those_of_chromium(
    served: Served, playwright: Playwright, spoken: Dialogue, tmp_path: Path
) -> None:
    sounds = {lane: read_sound(spoken.path(lane), seconds=SECONDS) for lane in spoken.lanes}
    files = {lane: looped(sound, tmp_path / f"{lane}.wav") for lane, sound in sounds.items()}
    async with (
        person(playwright, microphone=files["clinician"]) as clinician,
        person(playwright, microphone=files["client"]) as client,
    ):
        for somebody in (clinician, client):
            await somebody.page.add_init_script(WATCH_BOT_LINK)
        await recording(clinician, client, served)
        await clinician.page.locator(".caption").first.wait_for(timeout=60_000)
        both = await asyncio.gather(in_real_time(clinician), in_real_time(client))
        sent = dict(zip(("clinician", "client"), both, strict=True))
        for lane, theirs in sent.items():
            ours = by_us(sounds[lane], theirs.asked)
            print(json.dumps({"lane": lane, "chromium": theirs.as_row(), "ours": ours.as_row()}))
            assert theirs.asked == Asked(ptime_ms=60, dtx=False, max_rate_hz=16_000, fec=True)
            assert ours.packets_per_s == pytest.approx(theirs.packets_per_s, rel=0.1)
            assert ours.mean_bytes == pytest.approx(theirs.mean_bytes, rel=0.25)
            assert ours.speech_bytes == pytest.approx(theirs.speech_bytes, rel=0.25)
            assert ours.quiet_bytes == pytest.approx(theirs.quiet_bytes, rel=0.25)

        # a muted microphone goes on sending: silence, not absence
        lost = (await ledger_of(clinician, served, "client"))["lost"]
        await client.press("Mute")
        await client.page.get_by_role("button", name="Unmute", exact=True).wait_for()
        muted = await by_browser(client, MUTED_SECONDS)
        nothing = by_us(np.zeros(int(MUTED_SECONDS * RTP_RATE_HZ), np.int16), muted.asked)
        print(json.dumps({"lane": "client, muted", "chromium": muted.as_row(), "ours": nothing.as_row()}))
        assert nothing.packets_per_s == pytest.approx(muted.packets_per_s, rel=0.1)
        assert nothing.quiet_bytes == pytest.approx(muted.quiet_bytes, rel=0.25)
        ledger = await ledger_of(clinician, served, "client")
        assert ledger["lost"] == lost
        assert ledger["captured"] >= SECONDS * 16_000
        assert clinician.complaints == client.complaints == []
