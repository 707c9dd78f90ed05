"""One peer connection of a synthetic participant: to the bot or to another person."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from bot.demo.packets import Asked, Recording, asked_by

if TYPE_CHECKING:
    from bot.demo.peer import Peer

BOT = "bot"
CHANNEL = "scribe.control.v1"
USUAL = Asked(ptime_ms=60, max_rate_hz=16_000, fec=True)
"""What the built-in room asks for by default; a lane is encoded so before the answer is there."""


class Link:
    """One peer connection: to the bot a microphone and the control channel, to people a microphone each way."""

    def __init__(self, owner: Peer, peer: str) -> None:
        self._owner = owner
        self._peer = peer
        self._pc = RTCPeerConnection(RTCConfiguration([RTCIceServer(**server) for server in owner.ice_servers]))
        self._pc.on("connectionstatechange", self._changed)
        self._pc.on("track", self._drain)
        self._channel: Any = None
        self._track = owner.new_track(USUAL)
        self.asked: Asked | None = None
        self.received = 0
        """Frames of the other's voice."""
        self.ready = False
        """The lane is encoded as asked."""
        self._held = False

    @property
    def connected(self) -> bool:
        """True while sound and messages can pass."""
        return bool(self._pc.connectionState == "connected")

    @property
    def channel_open(self) -> bool:
        """True while control messages can go this way."""
        return self._channel is not None and self._channel.readyState == "open"

    async def offer(self) -> str:
        """The offer of what is sent."""
        self._pc.addTransceiver(self._track, direction="sendonly" if self._peer == BOT else "sendrecv")
        if self._peer == BOT:
            self._channel = self._pc.createDataChannel(CHANNEL)
            self._channel.on("message", self._message)
            self._channel.on("open", self._changed)
        await self._pc.setLocalDescription(await self._pc.createOffer())
        return str(self._pc.localDescription.sdp)

    async def answered(self, sdp: str) -> None:
        """Take the answer; the microphone is exchanged if it asks for other packets than expected."""
        self.asked = asked_by(sdp) if self._peer == BOT else USUAL
        if self.asked != USUAL:
            self._track.stop()
            self._track = self._owner.new_track(self.asked)
            self._track.hold(self._held)
            self._pc.getSenders()[0].replaceTrack(self._track)
        await self._pc.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="answer"))

    async def answer(self, sdp: str) -> str:
        """The answer to another person's offer."""
        await self._pc.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="offer"))
        self._pc.addTrack(self._track)
        await self._pc.setLocalDescription(await self._pc.createAnswer())
        self.asked, self.ready = USUAL, True
        return str(self._pc.localDescription.sdp)

    def play(self, recording: Recording, at_s: float) -> float:
        """Speak from ``at_s`` (monotonic) on; when the first sample is really spoken."""
        return self._track.play(recording.as_asked(self.asked or USUAL), at_s)

    def mute(self, muted: bool) -> None:
        """Send silence."""
        self._track.muted = muted

    def hold(self, held: bool) -> None:
        """Send nothing at all, or go on with what is said from now on."""
        self._held = held
        self._track.hold(held)

    def say(self, message: Mapping[str, Any]) -> bool:
        """Send a control message; False while the channel is not open."""
        if not self.channel_open:
            return False
        self._channel.send(json.dumps(message))
        return True

    async def close(self) -> None:
        """End it."""
        await self._pc.close()
        self._track.stop()

    async def _changed(self) -> None:
        await self._owner.changed()

    def _message(self, payload: str | bytes) -> None:
        self._owner.spawn(self._owner.take(json.loads(payload)))

    def _drain(self, track: MediaStreamTrack) -> None:
        """Somebody else's voice: a received track must be read, or it fills the memory."""

        async def read() -> None:
            with contextlib.suppress(MediaStreamError):
                while True:
                    await track.recv()
                    self.received += 1
                    if self.received == 1:
                        await self._owner.changed()

        self._owner.spawn(read())
