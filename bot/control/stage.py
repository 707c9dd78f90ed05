"""What every part of a live session stands on: its record, its people, its clock, and telling them all."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from bot.clinics import ClinicConfig
from bot.clock import CallClock
from bot.control import wording
from bot.control.callmedia import CallMedia
from bot.control.capture import (
    CaptureView,
)
from bot.control.faults import Warned
from bot.control.lobby import BOT_ID, BOT_NAME, Lobby, Seat
from bot.control.mediaservices import MediaServices
from bot.control.memory import AckMemory
from bot.control.telling import Teller, as_read_by
from bot.errors import (
    QuietnoteError,
)
from bot.events import (
    BotState,
    CaptureState,
    Role,
    ms_of,
    whole_ms,
)
from bot.store.bus import Bus
from bot.store.members import Members
from bot.store.sessions import SessionRecord, SessionStore
from bot.store.states import WARNED

log = structlog.get_logger()

BOT_PRESENT = frozenset(
    {BotState.REQUESTED, BotState.JOINING, BotState.WAITING_FOR_CLIENT, BotState.IN_CALL, BotState.REJOINING}
)

LATE_MS = 5000
"""Words later than this are said to be late: several times what a busy machine takes for an utterance."""


@dataclass(frozen=True, slots=True)
class LiveServices:
    """What live sessions are built from."""

    media: MediaServices
    bus: Bus
    begin_aftercall: Callable[[str], Awaitable[None]]
    discard_session: Callable[[str], Awaitable[None]]
    """Erase the audio, destroy the words, issue the receipts."""
    members: Members | None = None
    """The processes that share the database; None: this one has it alone."""


class Stage:
    """The state of one live session, and the ways to tell of it."""

    def __init__(self, services: LiveServices, record: SessionRecord, lobby: Lobby) -> None:
        self._services = services
        self._store: SessionStore = services.media.store
        self._clock = services.media.clock
        self.record = record
        self.config = ClinicConfig.model_validate(record.snapshot)
        self.lobby = lobby
        self.view = CaptureView(record.capture, record.pause_reasons)
        self.media: CallMedia | None = None
        self._call_clock: CallClock | None = None
        self._lock = asyncio.Lock()
        self._acks = AckMemory(self._store, record.id)
        self._teller = Teller(
            record.id, lobby, services.bus, services.media.vault, client_captions=self.config.capture.client_captions
        )
        self._control_seq = record.seq
        self._since_sample = 0
        self._late = False
        """Whether the pages were told that words are behind."""
        self._starting = False
        """The bot came in, and somebody who is in the room is still being connected to it."""
        self._ticker: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._warnings: dict[tuple[str, str | None], int] = {}
        self._unstored: deque[dict[str, Any]] = deque()
        """Warnings that the log of the session does not have yet; as many as there are kinds, at most."""
        self._storing = False
        self._passing: dict[Warned, int] = {}
        """Warnings that hold at this moment and end by themselves, with when they began."""

    async def remember(self) -> None:
        """Take up the acks that were given before this process."""
        await self._acks.load()

    @property
    def session_id(self) -> str:
        """The session's id."""
        return self.record.id

    def now_ms(self) -> int:
        """Milliseconds on the call's clock; 0 before the first Start."""
        return self._call_clock.now_ms() if self._call_clock else 0

    def bot_seat(self) -> dict[str, str] | None:
        """The bot as the roster shows it, or None while there is none."""
        if self.record.bot not in BOT_PRESENT or self.media is None or self.media.room is None:
            return None
        return {"participant_id": BOT_ID, "display_name": BOT_NAME, "state": self._scribe_state()}

    def state_for(self, role: Role) -> Mapping[str, Any]:
        """The session's state, as a page of this role reads it."""
        return as_read_by(role, self.state_message())

    def consent_text(self, seat: Seat) -> wording.ConsentText:
        """What somebody is shown before they answer, in their language where the clinic has it."""
        invited = [seat.member.role for seat in self.lobby.seats.values()]
        language = seat.language or self.record.language
        return wording.consent_text(self.config, language, seat.member.role, invited)

    def state_message(self) -> dict[str, Any]:
        """The session's state, whole."""
        record = self.record
        return {
            "type": "state",
            "session_id": record.id,
            "seq": record.seq,
            "bot": record.bot.value,
            "bot_end_reason": record.bot_end_reason.value if record.bot_end_reason else None,
            "capture": self.view.state.value,
            "pause_reasons": sorted(reason.value for reason in self.view.reasons),
            "since_ms": ms_of(self._since_sample),
            "now_ms": self.now_ms(),
            "audio": record.audio.value,
            "transcript": record.transcript.value,
            "note": record.note.value,
            "note_id": record.note_id,
            "withdrawn_by": record.withdrawn_by,
            "part": record.part,
            "words": self._words(),
            "attributes": {"scribe.state": self._scribe_state()},
        }

    def _words(self) -> str:
        """The status pill's words: it says Recording once everybody in the room is really heard."""
        if self._starting and self.view.state is CaptureState.CAPTURING:
            return wording.STARTING
        return wording.status_words(
            self.view.state, self.record.transcript, self.record.note, failed=self.record.failure_slug is not None
        )

    def _scribe_state(self) -> str:
        return {
            CaptureState.CAPTURING: "capturing",
            CaptureState.PAUSED: "paused",
            CaptureState.CONSENT_PENDING: "waiting",
        }.get(self.view.state, "off")

    def _now_sample(self) -> int:
        """Now, up to the next whole millisecond: what changes now changes just where acks and records say it does."""
        return whole_ms(self._call_clock.now_sample()) if self._call_clock else 0

    def _on_fault(self, slug: str) -> None:
        self._warn(slug, None)

    def _warn(self, slug: str, participant_id: str | None) -> None:
        if (slug, participant_id) in self._warnings:
            return
        self._warnings[slug, participant_id] = since_ms = self.now_ms()
        self._unstored.append({"slug": slug, "participant_id": participant_id, "since_ms": since_ms})
        self._spawn(self.broadcast(_warning(slug, participant_id, since_ms)), "warn")
        self.keep_warnings()

    def keep_warnings(self) -> None:
        """Store what was warned of, for those who read the session later; what cannot be stored now waits."""
        if self._unstored and not self._storing:
            self._storing = True
            self._spawn(self._store_warnings(), "warnings")

    async def _store_warnings(self) -> None:
        try:
            while self._unstored:
                async with self._lock:
                    self.record = await self._store.change(self.session_id, WARNED, data=self._unstored[0])
                self._unstored.popleft()
        except QuietnoteError as error:
            log.warning("warning_not_stored", session_id=self.session_id, error=type(error).__name__)
        finally:
            self._storing = False

    def standing_warnings(self) -> list[dict[str, Any]]:
        """Every lasting warning so far and every other that holds now, for a page that comes in late."""
        every = self._warnings | self._passing
        return [_warning(slug, who, since_ms) for (slug, who), since_ms in every.items()]

    def _stand(self, now: Collection[Warned]) -> None:
        """These passing warnings hold now, and no others: tell of what began and of what is over, and log both."""
        for (slug, who), since_ms in list(self._passing.items()):
            if (slug, who) not in now:
                del self._passing[slug, who]
                self._spawn(self._tell_passing("session.alert_over", _warning(slug, who, since_ms, over=True)), "warn")
        for slug, who in now:
            if (slug, who) not in self._passing:
                self._passing[slug, who] = since_ms = self.now_ms()
                self._spawn(self._tell_passing("session.alert", _warning(slug, who, since_ms)), "warn")

    async def _tell_passing(self, kind: str, message: Mapping[str, Any]) -> None:
        await self.broadcast(message)
        data = {"slug": message["slug"], "participant_id": message["participant_id"], "at_ms": self.now_ms()}
        async with self._lock:
            self.record = await self._store.change(self.session_id, kind, data=data)

    async def broadcast(self, message: Mapping[str, Any]) -> None:
        """To the pages that may see it, the data channels, and, sealed, the streams."""
        await self._teller.tell(message, self.media.room if self.media is not None else None)

    async def _tell_state(self) -> None:
        self.keep_warnings()
        await self.lobby.send_roster(self.bot_seat())
        await self.broadcast(self.state_message())

    async def _tell_ledger(self) -> None:
        if self.media is None:
            return
        lanes = {
            pid: {
                f"{part}_ms": ms_of(getattr(ledger, part))
                for part in ("captured", "paused", "withheld", "lost", "absent")
            }
            for pid, ledger in self.media.ledgers().items()
        }
        await self.broadcast({"type": "ledger", "lanes": lanes})

    async def _tell_lag(self) -> None:
        """How far behind the words are, while that is long enough to be said, and once that it is over."""
        lag_ms = self.media.lag_ms() if self.media is not None else 0
        late = lag_ms >= LATE_MS
        if late or self._late:
            await self.broadcast({"type": "lag", "lag_ms": lag_ms if late else 0})
        self._late = late

    def _spawn(self, work: Awaitable[None], name: str) -> None:
        async def run() -> None:
            try:
                await work
            except QuietnoteError as error:
                log.error("session_task_failed", session_id=self.session_id, task=name, error=type(error).__name__)
                self._on_fault(getattr(error, "slug", "overloaded"))

        task = asyncio.create_task(run(), name=f"{name}:{self.session_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _to_its_end(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Await what goes on to its end though nobody waits for it any more."""
        task = asyncio.create_task(work, name=f"{name}:{self.session_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(task)

    async def settle_tasks(self) -> None:
        """Wait for what is under way (the end of a call, a discard)."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)


def _warning(slug: str, participant_id: str | None, since_ms: int, *, over: bool = False) -> dict[str, Any]:
    return {"type": "warning", "slug": slug, "participant_id": participant_id, "since_ms": since_ms, "over": over}
