"""Make the pictures of docs/img anew: a whole call of the bundled conversation, in a real service and real browsers.

    python tools/screenshots.py [--out docs/img] [--only call-paused]

Both people are Chromium with the demo's lanes as microphones and a painted landscape as camera. Each picture is taken
at 1280 and at 390 pixels. It takes about three minutes and needs the extra `e2e`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import random
import re
import tempfile
import time
import wave
from array import array
from pathlib import Path

import av
import states
from playwright.async_api import Locator, Page, Playwright, ViewportSize, async_playwright, expect

from bot.demo import dialogue
from bot.demo.dialogue import Dialogue
from tests.e2e.browsers import PHONE, WIDE, Person, as_wav, person
from tests.e2e.conftest import Served, service
from tests.e2e.steps import CLIENT_NAME, admit, sign_in, start_call

OUT = Path(__file__).resolve().parent.parent / "docs" / "img"
SIZES: dict[int, ViewportSize] = {1280: WIDE, 390: PHONE}
PHONE_UNDER = 900
"""Widths in pixels below which the pages are laid out for a phone."""
LEAD_S = 12.0
"""Silence in front of each lane: the time in which the client is asked."""
LATE_S = 0.5
"""A pause that comes later than this is after the words that it is for."""
TAIL_S = 300.0
"""Silence behind it: Chromium plays a file over and over."""
BESIDE = "Sam Reyes"
"""Who sits at the client's microphone."""
HUSH = 12
"""Loudness of that silence, of 32,768: a microphone that gives nothing at all is called silent."""
RATE_HZ = 48_000
SETTLE_MS = 700
"""For what moves: the page's transitions, and the picture that gets sharp."""
PAINT = """
([sky, ground]) => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [1280, 720];
  const paint = canvas.getContext("2d");
  const light = paint.createLinearGradient(0, 0, 0, 720);
  sky.forEach((colour, place) => light.addColorStop(place / (sky.length - 1), colour));
  paint.fillStyle = light;
  paint.fillRect(0, 0, 1280, 720);
  paint.fillStyle = "rgb(255 255 255 / 55%)";
  paint.beginPath();
  paint.arc(640, 300, 84, 0, 2 * Math.PI);
  paint.fill();
  ground.forEach((colour, hill) => {
    paint.fillStyle = colour;
    paint.beginPath();
    paint.moveTo(0, 720);
    for (let x = 0; x <= 1280; x += 8)
      paint.lineTo(x, 430 + 88 * hill - (60 - 12 * hill) * Math.sin(x / (210 + 70 * hill) + 1.7 * hill));
    paint.lineTo(1280, 720);
    paint.fill();
  });
  return canvas.toDataURL("image/png").split(",")[1];
}
"""
NAMES = """
(() => {
  const names = { audioinput: "microphone", videoinput: "camera", audiooutput: "speakers" };
  const media = navigator.mediaDevices;
  const real = media.enumerateDevices.bind(media);
  media.enumerateDevices = async () => {
    const seen = {};
    return (await real()).map(({ deviceId, groupId, kind, label }) => {
      seen[kind] = (seen[kind] ?? 0) + 1;
      const name = seen[kind] === 1 ? `Built-in ${names[kind]}` : `External ${names[kind]} ${seen[kind] - 1}`;
      return { deviceId, groupId, kind, label: label && name };
    });
  };
})()
"""
"""Chromium calls a camera by the path of its film: devices are shown under names as people have them."""
PLACES = {
    "clinician": (["#7fa8ad", "#c4d6d3", "#f0e6d8"], ["#8fb0ab", "#5f8c88", "#376864"]),
    "client": (["#8a93b8", "#d3b9bf", "#f3dcc4"], ["#b39aa5", "#80708c", "#4d4d6b"]),
}
"""What each camera sees: colours of the sky from above, and of the hills from behind."""


# -- microphones and cameras -------------------------------------------------------------------------------------------


def microphone(lane: Path, target: Path) -> Path:
    """A lane with near silence around it."""
    chance = random.Random(lane.name)

    def hush(seconds: float) -> bytes:
        second = array("h", (chance.randint(-HUSH, HUSH) for _ in range(RATE_HZ))).tobytes()
        return second * round(seconds)

    with wave.open(str(as_wav(lane, target.with_suffix(".lane.wav"))), "rb") as said:
        spoken = said.readframes(said.getnframes())
    with wave.open(str(target), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE_HZ)
        out.writeframes(hush(LEAD_S) + spoken + hush(TAIL_S))
    return target


async def camera(page: Page, lane: str, target: Path) -> Path:
    """A still of a painted landscape, as the film that Chromium takes for a camera."""
    picture = target.with_suffix(".png")
    picture.write_bytes(base64.b64decode(await page.evaluate(PAINT, list(PLACES[lane]))))
    with av.open(str(picture)) as source, av.open(str(target), "w", format="yuv4mpegpipe") as film:
        stream = film.add_stream("wrapped_avframe", rate=10)
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        frame = next(source.decode(video=0)).reformat(1280, 720, "yuv420p")
        for number in range(2):
            frame.pts = number
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
    return target


# -- pictures ----------------------------------------------------------------------------------------------------------


class Album:
    """Where the pictures go, and which are wanted."""

    def __init__(self, out: Path, only: str) -> None:
        self.out, self.only = out, only

    async def take(self, somebody: Person, name: str, *, about: Locator | None = None) -> None:
        """One picture in each size, on a phone scrolled to what it is about; the page is left in the size it had."""
        if self.only not in name:
            return
        page = somebody.page
        before = page.viewport_size
        for width, size in SIZES.items():
            await page.set_viewport_size(size)
            await page.mouse.move(0, 0)
            await page.evaluate("scrollTo(0, 0)")
            if about is not None and width < PHONE_UNDER:
                await about.evaluate("node => scrollTo(0, node.getBoundingClientRect().top - innerHeight / 5)")
            await page.wait_for_timeout(SETTLE_MS)
            await page.screenshot(path=str(self.out / f"{name}-{width}.png"), animations="disabled")
            print(f"  {name}-{width}.png")
        if before is not None:
            await page.set_viewport_size(before)


async def begin_to_speak(*people: Person) -> None:
    """Both open another of Chromium's microphones at the same moment, which plays its file from the beginning."""
    for somebody in people:
        await somebody.press("Devices")
    pickers = [somebody.page.get_by_role("dialog").get_by_label("Microphone", exact=True) for somebody in people]
    await asyncio.gather(*(picker.select_option(index=1) for picker in pickers))
    for somebody in people:
        await somebody.press("Done")


async def first_word(clinician: Person) -> float:
    """Wait for the clinician's meter to move: the monotonic second of the conversation's first word."""
    loud = clinician.page.locator(".person", has_text="(you)").locator("qn-meter i.on")
    if await loud.count() > 1:
        raise SystemExit("The conversation began before the client had agreed: this machine is too busy, try again.")
    await loud.nth(3).wait_for(state="attached")
    return time.monotonic()


async def call(album: Album, served: Served, clinician: Person, client: Person, spoken: Dialogue) -> None:
    """From the invitation to the draft."""
    await sign_in(clinician, served)
    link = await start_call(clinician, "Start Call")
    await client.page.goto(link)
    await expect(client.page.get_by_text("Your microphone works.")).to_be_visible()
    await album.take(client, "waiting")
    await admit(clinician)
    for somebody in (clinician, client):
        await expect(somebody.page.locator(".tiles .tile[data-picture='yes']")).to_have_count(1)

    await begin_to_speak(clinician, client)
    await clinician.press("Start recording")
    await expect(client.page.get_by_role("dialog")).to_be_visible()
    await album.take(client, "consent")
    await client.press("I agree to recording")
    for somebody in (clinician, client):
        await somebody.sees("Recording")
    first_s = await first_word(clinician)

    async def until(spoken_ms: int) -> None:
        """Wait for a moment of the conversation."""
        ahead_s = first_s + (spoken_ms - spoken.turns[0].start_ms) / 1000 - time.monotonic()
        if ahead_s < -LATE_S:
            raise SystemExit("This machine was too busy to keep up with the conversation: try again.")
        await asyncio.sleep(max(0.0, ahead_s))

    await until(19_500)
    await album.take(clinician, "call-recording")
    await until(spoken.pause_at_ms)
    await clinician.page.keyboard.press("r")
    await clinician.sees("Paused")
    await expect(clinician.page.locator(".ledger")).to_contain_text(re.compile("0:0[2-9] paused"))
    await album.take(clinician, "call-paused")
    await until(spoken.resume_at_ms)
    await clinician.press("Resume recording")
    await until(56_500)
    await album.take(client, "call-client")
    await until(spoken.duration_ms + 1_500)
    await clinician.press("Finish and Generate Note")
    await clinician.sees("Draft ready", timeout_s=180)
    await client.page.close()


async def note(album: Album, served: Served, clinician: Person) -> None:
    """The draft with its evidence, the signature, the receipts, and the start page after it all."""
    page = clinician.page
    await page.goto(f"{served.url}/notes")
    await page.locator("a.inbox-item").click()
    await expect(page.locator(".evidence .line").first).to_be_visible()
    sentence = page.locator(".sentence:has(.mark)").first
    await sentence.click()
    await expect(page.locator(".evidence .line.lit").first).to_be_visible()
    await album.take(clinician, "notes", about=sentence)
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Sign", exact=True).click()
    await page.get_by_role("dialog").get_by_role("button", name="Sign", exact=True).click()
    await expect(page.get_by_text(re.compile("^Signed by"))).to_be_visible()
    await page.mouse.move(0, 0)
    await page.keyboard.press("Escape")
    await album.take(clinician, "notes-signed")
    await page.get_by_role("button", name="Receipts", exact=True).click()
    await expect(page.locator(".receipt[data-verdict='valid']")).to_have_count(2)
    await album.take(clinician, "receipts")
    await page.goto(f"{served.url}/")
    await expect(page.get_by_text(CLIENT_NAME)).to_be_visible()
    await album.take(clinician, "start")


async def shared(album: Album, served: Served, clinician: Person, client: Person) -> None:
    """Two people at one microphone: how they are named, and how each is asked. Nothing is recorded."""
    await sign_in(clinician, served)
    await client.page.goto(await start_call(clinician, "Start Call"))
    await admit(clinician)
    await clinician.press(f"Somebody sits with {CLIENT_NAME}")
    dialog = clinician.page.get_by_role("dialog")
    await dialog.get_by_role("textbox", name="Their name").fill(BESIDE)
    await dialog.get_by_role("combobox").select_option("guardian")
    await album.take(clinician, "shared-named")
    await dialog.get_by_role("button", name="Ask them too").click()
    await clinician.press("Start recording")
    await client.press("I agree to recording")
    await expect(client.page.get_by_role("dialog").get_by_role("heading")).to_contain_text(BESIDE)
    await album.take(client, "shared-consent")
    await album.take(clinician, "shared-waiting")
    await client.press("I decline")
    await client.page.close()


async def run(playwright: Playwright, album: Album, folder: Path) -> None:
    """Everything, in one service on a fresh data directory."""
    spoken = dialogue.load()
    films = {}
    async with person(playwright) as painter:
        for lane in spoken.lanes:
            films[lane] = await camera(painter.page, lane, folder / f"{lane}.y4m")
    sounds = {lane: microphone(spoken.path(lane), folder / f"{lane}.wav") for lane in spoken.lanes}
    flags = {lane: [f"--use-file-for-fake-video-capture={film}"] for lane, film in films.items()}
    with service(folder / "shared") as served:
        async with (
            person(playwright, microphone=sounds["clinician"], flags=flags["clinician"]) as clinician,
            person(playwright, microphone=sounds["client"], flags=flags["client"], viewport=PHONE) as client,
        ):
            await shared(album, served, clinician, client)
    if album.only.startswith("shared"):
        return
    for scene in (states.declined, states.interrupted, states.papers):
        with service(folder / scene.__name__) as served:
            async with (
                person(playwright, microphone=sounds["clinician"], flags=flags["clinician"]) as clinician,
                person(playwright, microphone=sounds["client"], flags=flags["client"], viewport=PHONE) as client,
            ):
                await scene(album.take, served, clinician, client)
    if album.only.startswith("state"):
        return
    with service(folder / "data") as served:
        async with (
            person(playwright, microphone=sounds["clinician"], flags=flags["clinician"]) as clinician,
            person(playwright, microphone=sounds["client"], flags=flags["client"], viewport=PHONE) as client,
        ):
            for somebody in (clinician, client):
                await somebody.page.add_init_script(NAMES)
            await call(album, served, clinician, client, spoken)
            await note(album, served, clinician)


async def main() -> None:
    """Read the command line, then take the pictures."""
    parser = argparse.ArgumentParser(description="Make the pictures of docs/img anew.")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--only", default="", help="take only the pictures whose name holds this")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="quietnote-pictures-") as folder:
        async with async_playwright() as playwright:
            await run(playwright, Album(given.out, given.only), Path(folder))


if __name__ == "__main__":
    asyncio.run(main())
