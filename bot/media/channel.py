"""The control channel of one connection: bytes in and out, bounded both ways."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from bot.errors import PayloadTooLarge

LABEL = "scribe.control.v1"
MAX_MESSAGE_BYTES = 256 * 1024
"""What aiortc announces (`a=max-message-size`)."""
MAX_BUFFERED_BYTES = 1024 * 1024
"""Overload policy: a page that reads so slowly misses messages; :meth:`ControlChannel.send` says so."""


class ControlChannel:
    """Wraps a data channel of whatever library; ``faults`` is what its ``send`` may raise."""

    def __init__(self, channel: Any, take: Callable[[bytes], None], faults: tuple[type[Exception], ...]) -> None:
        self._channel = channel
        self._faults = faults

        @channel.on("message")  # type: ignore[untyped-decorator]
        def message(content: str | bytes) -> None:
            payload = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
            if len(payload) > MAX_MESSAGE_BYTES:
                self.send(_too_large())
                return
            take(payload)

    def send(self, payload: bytes) -> bool:
        """False when an open channel did not take it."""
        if self._channel.readyState != "open":
            return True
        if self._channel.bufferedAmount > MAX_BUFFERED_BYTES:
            return False
        try:
            self._channel.send(payload.decode("utf-8"))
        except self._faults:
            return False
        return True


def _too_large() -> bytes:
    problem = PayloadTooLarge(f"Messages may have {MAX_MESSAGE_BYTES} bytes.").members()
    return json.dumps({"type": "ack", "message_id": None, "seq": None, "ok": False, "problem": problem}).encode()
