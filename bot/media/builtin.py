"""The built-in room: one WebRTC connection per participant, by aiortc. The only module of the bot that imports it.

The page always offers, the bot answers and receives only. aiortc's own way from packet to sound (a jitter buffer that
counts packets, an unbounded queue, a thread per track) is not taken: packets are tapped where a receiver gets them,
at its private ``_handle_rtp_packet``, and go to the lane's :class:`bot.media.stream.LaneStream` on the media thread.
Its RTCP receiver reports go on, because the tap feeds their statistics.

A lane outlives connections: mute, a replaced track, a new offer and a new connection all come out on the same lane.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import structlog
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.codecs import HEADER_EXTENSIONS
from aiortc.exceptions import InternalError, InvalidAccessError, InvalidStateError, OperationError
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters
from aiortc.rtcrtpreceiver import StreamStatistics
from aiortc.rtp import RtcpSrPacket
from aiortc.sdp import candidate_from_sdp

from bot.clock import CallClock, Clock
from bot.errors import ConfigInvalid, InvalidTransition, Overloaded
from bot.events import AudioFrame, EndReason
from bot.ice import IceServer
from bot.media import sdp as sdp_text
from bot.media.channel import LABEL, ControlChannel
from bot.media.room import ControlMessage, LaneStarted, LaneStopped, Room, RoomListener
from bot.media.rtp import RtpIn
from bot.media.stream import LaneStream
from bot.media.taking import Taking
from bot.media.worker import MediaThread

log = structlog.get_logger()

NEGOTIATE_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 5.0
LOOKUP_TIMEOUT_S = 5.0
PTIMES_MS = (20, 40, 60)

_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
if all(one.uri != _SEND_TIME for one in HEADER_EXTENSIONS["audio"]):
    # aiortc reads it in any packet and asks for it in video only
    HEADER_EXTENSIONS["audio"].append(RTCRtpHeaderExtensionParameters(id=3, uri=_SEND_TIME))

_STATISTICS = "_RTCRtpReceiver__remote_streams"
_CODECS = "_RTCRtpReceiver__codecs"
_RTC_ERRORS = (
    InternalError,
    InvalidAccessError,
    InvalidStateError,
    OperationError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    StopIteration,
    TypeError,
    ValueError,
)
"""What aiortc raises on descriptions and candidates it cannot use."""


@dataclass(eq=False, slots=True)
class _Seat:
    """One connection of one participant."""

    participant_id: str
    number: int
    pc: RTCPeerConnection
    identity: tuple[str, str]
    channel: ControlChannel | None = None
    started: bool = False
    ended: bool = False
    tapped: set[int] = field(default_factory=set)


class BuiltinRoom(Room):
    """A room of this machine. All methods run on the event loop; frames come out on the media thread."""

    def __init__(
        self,
        *,
        call_clock: CallClock,
        clock: Clock,
        worker: MediaThread,
        lane_ids: Callable[[str], str],
        ptime_ms: int = 60,
        ice_servers: Callable[[], Sequence[IceServer]] = tuple,
    ) -> None:
        if ptime_ms not in PTIMES_MS:
            raise ConfigInvalid(f"media_ptime_ms: one of {', '.join(map(str, PTIMES_MS))}.", paths=["media_ptime_ms"])
        self._call_clock = call_clock
        self._clock = clock
        self._worker = worker
        self._lane_ids = lane_ids
        self._ptime_ms = ptime_ms
        self._ice_servers = ice_servers
        self._listener: RoomListener | None = None
        self._seats: dict[str, _Seat] = {}
        self._streams: dict[str, LaneStream] = {}
        self.taking = Taking()
        """Whose packets are taken."""
        self._turns: dict[str, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = count(1)
        self._closed = False
        self.unsent = 0
        """Control messages that a full or closed channel did not take."""

    # -- Room ----------------------------------------------------------------------------------------------------------

    async def join(self, listener: RoomListener) -> None:
        """Be ready for offers. The bot is seen in the room because the pages are told of it."""
        if self._listener is not None:
            raise InvalidTransition("The bot is in the room already.")
        self._listener = listener

    async def leave(self, reason: EndReason) -> None:
        """Close every connection and wait for every task. Idempotent."""
        self._closed = True
        seats = list(self._seats.values())
        if seats:
            log.info("room_left", reason=reason.value, connections=len(seats))
        await asyncio.gather(*(self._end(seat) for seat in seats))
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=CLOSE_TIMEOUT_S)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    def receive(self, participant_id: str, on: bool) -> None:
        """Take somebody's packets, or drop them as they arrive: docs/adr/0012-a-lane-is-stopped-by-a-message.md."""
        self.taking.turn(participant_id, on)
        if not on and participant_id in self._streams:
            self._worker.post(self._streams[participant_id].rest)

    async def send(self, payload: bytes, to: str | None = None) -> None:
        """Send on the control channel, to those that have one open."""
        seats = list(self._seats.values()) if to is None else [s for s in (self._seats.get(to),) if s]
        for seat in seats:
            if seat.channel is not None and not seat.channel.send(payload):
                self.unsent += 1

    # -- signalling ----------------------------------------------------------------------------------------------------

    async def offer(self, participant_id: str, sdp: str) -> str:
        """Answer a page's offer, with all our candidates in the answer.

        An offer of the connection that stands renegotiates it; any other makes a new one, and the old is closed.
        Raises :class:`ConfigInvalid` or :class:`AudioFormatUnsupported`; the connection that stands goes on then.
        """
        if self._listener is None or self._closed:
            raise InvalidTransition("The bot is not in the room.")
        offer = sdp_text.read_offer(sdp)
        async with self._turns.setdefault(participant_id, asyncio.Lock()):
            standing = self._seats.get(participant_id)
            if standing is not None and standing.identity == offer.identity:
                answer = await self._negotiate(standing, offer)
                self._follow(standing)
            else:
                seat = self._new_seat(participant_id, offer.identity)
                try:
                    answer = await self._negotiate(seat, offer)
                except BaseException:
                    await self._end(seat)
                    raise
                if standing is not None:
                    self._spawn(self._end(standing))
                self._seats[participant_id] = seat
                self._follow(seat)
        for candidate, mid in offer.names:
            self._look_up(participant_id, {"candidate": f"candidate:{candidate}", "sdpMid": mid})
        return answer

    async def candidate(self, participant_id: str, candidate: Mapping[str, object] | None) -> None:
        """Take one of a page's ICE candidates; None is the last. Raises :class:`ConfigInvalid`.

        That it was the last is not passed on: aiortc would give up at once where none can be reached from here (names
        that only the page's own network knows), before the page's own checks arrive (RFC 8863).
        """
        parsed = _parse_candidate(candidate)
        if parsed is None:
            return
        if parsed.ip.lower().endswith(".local"):
            self._look_up(participant_id, candidate or {})
            return
        async with self._turns.setdefault(participant_id, asyncio.Lock()):
            seat = self._seats.get(participant_id)
            if seat is not None:
                await self._add_candidate(seat, parsed)

    async def drop(self, participant_id: str) -> None:
        """Close a participant's connection; their lane stays."""
        seat = self._seats.get(participant_id)
        if seat is not None:
            await self._end(seat)

    async def _negotiate(self, seat: _Seat, offer: sdp_text.Offer) -> str:
        pc = seat.pc
        try:
            async with asyncio.timeout(NEGOTIATE_TIMEOUT_S):
                await pc.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
                for transceiver in pc.getTransceivers():
                    if transceiver.kind == "audio":
                        transceiver.direction = "recvonly"
                        self._tap(seat, transceiver.receiver)
                    else:
                        transceiver.direction = "inactive"
                await pc.setLocalDescription(await pc.createAnswer())
        except TimeoutError:
            raise Overloaded("The connection could not be negotiated in time.") from None
        except _RTC_ERRORS as error:
            log.info("offer_refused", participant_id=seat.participant_id, error=type(error).__name__)
            raise ConfigInvalid("sdp: this session description cannot be used.", paths=["sdp"]) from None
        return sdp_text.write_answer(pc.localDescription.sdp, offer.sdp, ptime_ms=self._ptime_ms)

    def _new_seat(self, participant_id: str, identity: tuple[str, str]) -> _Seat:
        servers = [RTCIceServer(list(one.urls), one.username, one.credential) for one in self._ice_servers()]
        pc = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        seat = _Seat(participant_id, next(self._numbers), pc, identity)

        @pc.on("connectionstatechange")
        def changed() -> None:
            if pc.connectionState == "failed":
                log.info("connection_failed", participant_id=participant_id)
                self._spawn(self._end(seat))
            elif pc.connectionState == "closed" and not seat.ended:
                self._spawn(self._end(seat))
            else:
                self._follow(seat)

        @pc.on("datachannel")
        def opened(channel: Any) -> None:
            if channel.label == LABEL:
                seat.channel = ControlChannel(
                    channel, lambda said: self._tell(ControlMessage(participant_id, said)), _RTC_ERRORS
                )

        return seat

    def _follow(self, seat: _Seat) -> None:
        """Tell upwards whether sound can arrive on this connection."""
        if self._seats.get(seat.participant_id) is not seat:
            return
        can = seat.pc.connectionState == "connected" and any(
            transceiver.kind == "audio" and transceiver.currentDirection == "recvonly"
            for transceiver in seat.pc.getTransceivers()
        )
        if can and not seat.started:
            seat.started = True
            self._tell(LaneStarted(seat.participant_id, self._lane_ids(seat.participant_id)))
        elif seat.started and not can:
            self._stopped(seat)

    def _stopped(self, seat: _Seat) -> None:
        seat.started = False
        stream = self._streams.get(seat.participant_id)
        if stream is not None and self._seats.get(seat.participant_id) is seat:
            self._worker.post(stream.stop)
        self._tell(LaneStopped(seat.participant_id, self._lane_ids(seat.participant_id)))

    async def _end(self, seat: _Seat) -> None:
        """Close a connection. Idempotent."""
        if seat.ended:
            return
        seat.ended = True
        if seat.started:
            self._stopped(seat)
        if self._seats.get(seat.participant_id) is seat:
            del self._seats[seat.participant_id]
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await seat.pc.close()
        except (TimeoutError, *_RTC_ERRORS) as error:
            log.warning("connection_not_closed", participant_id=seat.participant_id, error=type(error).__name__)

    def _look_up(self, participant_id: str, candidate: Mapping[str, object]) -> None:
        """Add a candidate that has a multicast DNS name, whose address may take a second to learn or never come."""

        async def add() -> None:
            seat = self._seats.get(participant_id)
            if seat is None:
                return
            try:
                async with asyncio.timeout(LOOKUP_TIMEOUT_S):
                    await self._add_candidate(seat, _parse_candidate(candidate))
            except (TimeoutError, ConfigInvalid):
                log.debug("candidate_unknown", participant_id=participant_id)

        self._spawn(add())

    async def _add_candidate(self, seat: _Seat, parsed: Any) -> None:
        try:
            await seat.pc.addIceCandidate(parsed)
        except _RTC_ERRORS:
            raise ConfigInvalid("candidate: this ICE candidate cannot be used.", paths=["candidate"]) from None

    # -- sound ---------------------------------------------------------------------------------------------------------

    def _tap(self, seat: _Seat, receiver: Any) -> None:
        """Take a receiver's packets before its own buffer does, and keep its RTCP statistics fed."""
        if id(receiver) in seat.tapped:
            return
        seat.tapped.add(id(receiver))
        statistics: dict[int, StreamStatistics] = getattr(receiver, _STATISTICS)
        codecs: dict[int, Any] = getattr(receiver, _CODECS)
        participant_id = seat.participant_id
        stream = self._stream(participant_id)
        connection = seat.number << 8 | len(seat.tapped)

        async def handle(packet: Any, arrival_time_ms: int) -> None:  # noqa: ARG001 -- the call's clock is used
            codec = codecs.get(packet.payload_type)
            if codec is None or codec.mimeType.lower() != "audio/opus":
                return
            if packet.ssrc not in statistics:
                statistics[packet.ssrc] = StreamStatistics(codec.clockRate)
            statistics[packet.ssrc].add(packet)
            arrival = self._call_clock.now_sample()
            if not self.taking.takes(participant_id, connection, arrival) or seat.ended:
                return
            self._worker.post(
                stream.packet,
                RtpIn(
                    connection,
                    packet.ssrc,
                    packet.sequence_number,
                    packet.timestamp,
                    packet.payload,
                    arrival,
                    packet.extensions.abs_send_time,
                ),
            )

        take_rtcp = receiver._handle_rtcp_packet  # noqa: SLF001

        async def reported(packet: Any) -> None:
            if isinstance(packet, RtcpSrPacket):
                told = packet.sender_info
                source = (connection, packet.ssrc)
                self._worker.post(stream.report, source, told.ntp_timestamp, told.rtp_timestamp)
            await take_rtcp(packet)

        receiver._handle_rtp_packet = handle  # noqa: SLF001 -- the seams this module is about
        receiver._handle_rtcp_packet = reported  # noqa: SLF001

    def _stream(self, participant_id: str) -> LaneStream:
        stream = self._streams.get(participant_id)
        if stream is None:
            stream = LaneStream(
                self._lane_ids(participant_id),
                self._frame,
                now_sample=self._call_clock.now_sample,
                later=self._worker.later,
            )
            self._streams[participant_id] = stream
        return stream

    def _frame(self, frame: AudioFrame) -> None:
        if self._listener is not None:
            self._listener.frame(frame)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _tell(self, event: LaneStarted | LaneStopped | ControlMessage) -> None:
        if self._listener is not None:
            self._listener.event(event)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="builtin-room")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _parse_candidate(candidate: Mapping[str, object] | None) -> Any:
    text = "" if candidate is None else candidate.get("candidate", "")
    if not text:
        return None
    mid, line = (candidate or {}).get("sdpMid"), (candidate or {}).get("sdpMLineIndex")
    if not isinstance(text, str) or len(text) > 1024 or (mid is None and line is None):
        raise ConfigInvalid("candidate: this is not an ICE candidate.", paths=["candidate"])
    try:
        parsed = candidate_from_sdp(text.removeprefix("a=").removeprefix("candidate:"))
    except _RTC_ERRORS:
        raise ConfigInvalid("candidate: this is not an ICE candidate.", paths=["candidate"]) from None
    parsed.sdpMid = mid if isinstance(mid, str) else None
    parsed.sdpMLineIndex = line if isinstance(line, int) else None
    return parsed
