"""The contract between a call and everything behind it.

A room brings people and their sound; it knows nothing of consent, gates or words. Two rooms exist: the built-in one
(:mod:`bot.media.builtin`, aiortc) and LiveKit's. Both place sound on the call's clock themselves, because only they
know its transport (RTP time and sequence numbers, or sample counts).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bot.events import AudioFrame, EndReason, Role


@dataclass(frozen=True, slots=True)
class Member:
    """A person in the room, by verified token."""

    participant_id: str
    role: Role
    display_name: str


@dataclass(frozen=True, slots=True)
class LaneStarted:
    """A participant's sound can arrive from now on. Comes again after a reconnection, with the same lane id."""

    participant_id: str
    lane_id: str


@dataclass(frozen=True, slots=True)
class LaneStopped:
    """No more sound will arrive on this lane until the next :class:`LaneStarted`."""

    participant_id: str
    lane_id: str


@dataclass(frozen=True, slots=True)
class MemberMuted:
    """A participant switched their microphone off or on."""

    participant_id: str
    muted: bool


@dataclass(frozen=True, slots=True)
class ControlMessage:
    """Bytes of the in-call control topic from a participant whose identity the room vouches for."""

    participant_id: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class RoomClosed:
    """The room is gone and will not come back."""

    reason: EndReason


RoomEvent = LaneStarted | LaneStopped | MemberMuted | ControlMessage | RoomClosed


class RoomListener(Protocol):
    """What a room calls upwards. ``event`` is called on the event loop, ``frame`` on the media thread."""

    def event(self, event: RoomEvent) -> None:
        """Something happened in the room."""
        ...

    def frame(self, frame: AudioFrame) -> None:
        """A frame of a lane arrived. Frames of a lane come in order and never overlap."""
        ...


class Room(Protocol):
    """The bot's seat in a call."""

    async def join(self, listener: RoomListener) -> None:
        """Enter, as a visible participant that publishes no media."""
        ...

    async def leave(self, reason: EndReason) -> None:
        """Close every connection. Idempotent."""
        ...

    def receive(self, participant_id: str, on: bool) -> None:
        """Take up or stop receiving a participant's sound, in whatever connection. Received unless told otherwise.

        Holds when it returns: nothing of what comes while it is off reaches the listener, then or later. What the
        transport itself can do (unsubscribe, ask the sender to stop) may follow behind.
        """
        ...

    async def send(self, payload: bytes, to: str | None = None) -> None:
        """Send bytes of the control topic to one participant, or to all."""
        ...
