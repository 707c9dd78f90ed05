"""After the call: what was captured becomes a transcript, the audio is destroyed, the words become a draft note.

One durable workflow for each part of a session (:mod:`bot.store.parts`). A step that finished is never run again; one
that a crash interrupted is, so each is written to come to the same end however often it runs:

    ========  ===================================  ===========================================  ======================
    step      what it does                         run again                                    fails for good
    ========  ===================================  ===========================================  ======================
    drain     recognises what the spool still      begins where each lane's last final was      told; tried again until
              holds past each lane's watermark     committed                                    ``erase_by``, then
                                                                                                transcript ``failed``
    commit    transcript ``ready`` (or ``failed``; finds the state it set                       begun again by a sweep
              no words: says so)
    erase     epoch, keys, copies, receipt;        converges to the one stored receipt          words go on; a sweep
              audio ``erased``                                                                  erases again
    draft     note ``queued``, ``generating``,     a stored draft stays; else written anew      note ``failed``, words
              ``draft``; sealed                                                                 kept, may be asked for
                                                                                                again
    deliver   inbox item, webhooks                 one item a draft or failure, by its key      begun again by a sweep
    ========  ===================================  ===========================================  ======================

A note can be asked for by hand (:meth:`AfterCall.write_note`): the first one of a session that was not recorded, or
another try. It is queued in the database first, and from there on the same workflow makes it. One that failed for a
cause that may pass is asked for by the sweep, at growing waits (:data:`bot.notes.failures.AGAIN_AFTER_S`).

Words that cannot be recognised yet end a run after ``commit``: the audio is kept, the clinician is told, and the sweep
begins again at growing waits (:data:`WORDS_AGAIN_AFTER_S`). They may type a summary meanwhile and have a note made of
it, which is made again once the words are there. At ``erase_by`` the audio is destroyed whatever happened.
What makes no progress is stopped, and has failed (:mod:`bot.notes.making`); what it writes late is not kept.

Who takes their consent back with what was captured (:mod:`bot.store.withdrawals`) stops it wherever it is: what is
under way is cancelled, and no later step finds anything to do.

A part's workflow that is still at the draft when another part begins makes none: the later one does, of the words of
both. A draft that somebody edited stays as it is, and they are told that words were added.

The workflow ends at the inbox. Destroying transcripts and overdue audio is :meth:`AfterCall.sweep`, run at start and on
a schedule: a workflow asleep for days would not survive an upgrade. Step inputs and outputs, which the engine stores,
are ids, states, counts and hashes.

How it survives a crash, and how it runs beside the event loop, is :mod:`bot.durable`'s.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import structlog

from bot.clinics import ClinicConfig, NoteChoice
from bot.durable import Durable, Others, reason_of
from bot.errors import InvalidTransition, NoteGenerationFailed, TranscriptPurged
from bot.events import AudioState, CaptureState, NoteDraft, NoteRequest, NoteState, TranscriptState
from bot.notes import material
from bot.notes.contract import NoteWriter
from bot.notes.failures import AGAIN_AFTER_S, PASSING, failed
from bot.notes.making import STALLED_S, Making
from bot.notes.underway import Stopped, UnderWay
from bot.store.erase import Eraser
from bot.store.making import Superseded, has_time
from bot.store.parts import of_subject, subject_of
from bot.store.retention import Due
from bot.store.sessions import SessionRecord, SessionStore
from bot.store.tries import BY_ITSELF

log = structlog.get_logger()

VERSION = "1"
"""Raised only when the recorded steps of a running workflow would no longer fit this file; unfinished workflows of an
older version are begun anew by :meth:`AfterCall.sweep`."""

ATTEMPTS = 4
RETRY_AFTER_S = 0.5
WORDS_AGAIN_AFTER_S = (60, 120, 300, 900, 1800, 3600)
"""Waits before a recording is tried again that could not be put into words; the last one until its time is up."""
DRAIN_TIMEOUT_S = 1800.0
STEP_TIMEOUT_S = 120.0
DRAFT_TIMEOUT_S = 3600.0

TRANSCRIPTION_FAILED = "transcription-failed"
NOTE_FAILED = NoteGenerationFailed.slug

WAITING, FROM_TYPED = "waiting", "from-typed"  # words are tried again later; a note is made without them all the same
PASSED = "passed"  # what a step comes to that is another's to do: a later part's, or nobody's any more
SETTLED_NOTES = frozenset({NoteState.DRAFT, NoteState.SIGNED, NoteState.AMENDED, NoteState.DISCARDED})
ASKED_FOR = frozenset({NoteState.QUEUED, NoteState.GENERATING})


Work = Callable[[], Awaitable[dict[str, Any]]]
"""What a step does."""


@dataclass(frozen=True, slots=True)
class AfterCallServices:
    """What the steps need. All of it is used on the event loop only."""

    store: SessionStore
    eraser: Eraser
    recognise_rest: Callable[[str], Awaitable[int]]
    """Recognise and commit what the session's spools hold past each lane's watermark; how many finals that made."""
    writer_for: Callable[[NoteChoice], NoteWriter]
    check: Callable[[NoteDraft, NoteRequest], NoteDraft]
    """Hold a draft against its evidence."""
    encode: Callable[[NoteDraft], bytes]
    end_unrecorded: Callable[[str], Awaitable[None]]
    """End a session that was never recorded (capture ``off`` becomes ``finished``); any other is left alone."""
    progress: Callable[[str, str, int, int], Awaitable[None]] | None = None
    """Told (session id, step, done, total) while the workflow runs."""
    deliver: Callable[[str], Awaitable[None]] | None = None
    """Told that a session may have something for webhooks. Must be idempotent."""


class AfterCall:
    """The after-call workflow of one process. Only one may be launched at a time."""

    def __init__(
        self,
        services: AfterCallServices,
        *,
        database_url: str,
        executor_id: str,
        retry_after_s: float = RETRY_AFTER_S,
        others: Others | None = None,
        stalled_s: float = STALLED_S,
    ) -> None:
        self._services = services
        self.due = Due(services.store, self._force_erasure)
        self._under_way = UnderWay()
        self._drafting: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._engine = Durable(
            self._workflow,
            name="aftercall",
            version=VERSION,
            database_url=database_url,
            executor_id=executor_id,
            attempts=ATTEMPTS,
            retry_after_s=retry_after_s,
            others=others,
        )
        self.making = Making(services.store, services.progress, self._engine.own, stalled_s)

    async def launch(self) -> None:
        """Start; workflows that a crash interrupted go on by themselves."""
        self.making.begin()
        await self._engine.launch()

    async def close(self) -> None:
        """Stop; running steps are left for the next launch. Idempotent."""
        await self._engine.close()

    @property
    def engine(self) -> Durable:
        """What carries the workflows out."""
        return self._engine

    # -- asking for it -------------------------------------------------------------------------------------------------

    async def begin(self, session_id: str) -> None:
        """Start the workflow of a session that has ended. Again: nothing, unless it ended with work left undone."""
        unsettled = {record.id for record in await self._services.store.unfinished()}
        await self._engine.start(await self._subject(session_id), again=session_id in unsettled)

    async def _subject(self, session_id: str) -> str:
        return subject_of(await self._services.store.get(session_id))

    async def write_note(self, session_id: str, by: str) -> SessionRecord:
        """Ask for a session's note; ``by`` is the id of who asks. The workflow makes it, or makes it again.

        Raises NotFound, and InvalidTransition with a sentence for whoever asks; then nothing has changed.
        """
        store = self._services.store
        record = await store.get(session_id)
        running = material.undecided(record) and await self._engine.is_running(subject_of(record))
        material.refuse(record, running=running, delayed=await material.is_delayed(store, record))
        if not material.is_there(await material.gather(store, record)):
            raise InvalidTransition(material.NOTHING, state=record.note.value, cause="nothing-to-write-from")
        if record.capture is CaptureState.OFF:
            await self._services.end_unrecorded(session_id)
        record = await store.queue_note(session_id, by=by)
        await self._guarded("begin", session_id, self._begin_next(session_id))
        return record

    async def _begin_next(self, session_id: str) -> None:
        """A run at its last steps takes up nothing new: the next one begins once it has ended."""
        if await self._engine.is_running(await self._subject(session_id)):
            self._engine.own(self._guarded("begin", session_id, self._begin_after(session_id)))
        else:
            await self.begin(session_id)

    async def _begin_after(self, session_id: str) -> None:
        await self.wait(session_id)
        await self.begin(session_id)

    async def wait(self, session_id: str) -> None:
        """Wait until the workflow of the session's newest part has ended."""
        await self._engine.wait(await self._subject(session_id))

    async def discard(self, session_id: str) -> None:
        """Destroy the audio of a session that was discarded, or taken back, and every word of it. Idempotent.

        What is being made of it is stopped first.
        """
        self._under_way.stop(session_id)
        await self._services.eraser.erase_audio(session_id)
        await self._services.store.purge_transcript(session_id, "discarded")
        self._under_way.stop(session_id)  # a step that had looked just before began just after

    async def sweep(self) -> None:
        """Destroy what is due and take up what was left undone; at start, after :meth:`launch`, and on a schedule.

        Idempotent; what fails for one session is tried at the next sweep and stops no other.
        """
        store = self._services.store
        await self.due.destroy()
        await self._guarded("stalled", None, self._end_stalled())
        for record in await store.unfinished():
            if record.capture is CaptureState.DISCARDED or record.withdrawn_by is not None:
                await self._guarded("discard", record.id, self.discard(record.id))
            elif record.capture is CaptureState.FINISHED and (
                record.note in ASKED_FOR or await self._engine.was_started(subject_of(record))
            ):
                await self._guarded("begin", record.id, self._take_up(record))
        for session_id in await store.due_notes(PASSING, AGAIN_AFTER_S):
            await self._guarded("note", session_id, self.write_note(session_id, BY_ITSELF))
        await self._guarded("prune", None, store.idempotency_prune())

    async def _force_erasure(self, session_id: str) -> None:
        await self._services.eraser.erase_audio(session_id)
        record = await self._services.store.get(session_id)
        if record.transcript is TranscriptState.LIVE and record.capture is CaptureState.FINISHED:
            await self._commit(session_id, drained=False)
            await self._guarded("begin", session_id, self._engine.start(subject_of(record), again=True))

    async def _end_stalled(self) -> None:
        for session_id in await self.making.give_up_stalled():
            self._under_way.stop(session_id)
            await self._deliver(session_id)

    async def _take_up(self, record: SessionRecord) -> None:
        """Go on with a session whose workflow ended before its work was done; a running one is left alone."""
        if await self._engine.is_running(subject_of(record)):
            return
        waits = record.transcript is TranscriptState.LIVE and record.note not in ASKED_FOR
        if waits and not await self._services.store.words_due(record.id, WORDS_AGAIN_AFTER_S):
            return
        if record.audio is AudioState.HELD and record.transcript in {TranscriptState.READY, TranscriptState.FAILED}:
            await self._services.eraser.erase_audio(record.id)
        await self.begin(record.id)

    async def _guarded(self, what: str, session_id: str | None, work: Awaitable[object]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001  the next sweep tries again
            log.warning("sweep_failed", what=what, session_id=session_id, error=type(error).__name__)

    # -- the workflow, on an engine thread -----------------------------------------------------------------------------

    def _workflow(self, engine: Durable, subject: str) -> None:
        """The table above. Every decision rests on what a step gave or raised, so a resumed run decides the same."""
        session_id, part = of_subject(subject)

        def step(name: str, work: Work, timeout_s: float = STEP_TIMEOUT_S) -> str:
            alone = partial(self._unless_passed, session_id, part, work)
            return str(engine.step(name, subject, alone, timeout_s=timeout_s)["state"])

        drained = True
        try:
            step("drain", lambda: self._drain(session_id), DRAIN_TIMEOUT_S)
        except Exception:  # noqa: BLE001  logged by the engine; the transcript will say so
            drained = False
        words = step("commit", lambda: self._commit(session_id, drained=drained))
        if words == WAITING:
            return
        try:
            if words != FROM_TYPED:
                step("erase", lambda: self._erase(session_id, part))
        except Exception:  # noqa: BLE001  the keys go first, and the sweep goes on; the words need not wait
            log.warning("erase_incomplete", session_id=session_id)
        try:
            step("draft", lambda: self._draft(session_id, part), DRAFT_TIMEOUT_S)
        except Exception as error:  # noqa: BLE001  told to the clinician by its slug
            slug = reason_of(error) or NOTE_FAILED
            step("fail", lambda: self._fail_note(session_id, slug))
        step("deliver", lambda: self._deliver(session_id))

    # -- the steps, on the event loop ----------------------------------------------------------------------------------

    async def _unless_passed(self, session_id: str, part: int, work: Work) -> dict[str, Any]:
        """A step is not taken once another part began: what is left is that part's to do."""
        newest = (await self._services.store.get(session_id)).part
        return await work() if newest == part else _outcome(PASSED)

    async def _drain(self, session_id: str) -> dict[str, Any]:
        record = await self._services.store.get(session_id)
        heard = record.audio is AudioState.HELD and record.transcript is TranscriptState.LIVE
        if not heard or record.capture is not CaptureState.FINISHED or record.withdrawn_by is not None:
            return _outcome(record.audio.value)
        await self.making.came_to(session_id, "transcript", 0)
        hearing = self._under_way.run(session_id, self._services.recognise_rest(session_id))
        try:
            made = await self.making.unless_stalled(session_id, hearing)
        except Stopped:
            made = 0
        return _outcome(record.audio.value, made)

    async def _commit(self, session_id: str, *, drained: bool) -> dict[str, Any]:
        store = self._services.store
        record = await store.get(session_id)
        if record.transcript is TranscriptState.ABSENT and record.note is NoteState.ABSENT:
            slug = await material.why_no_words(store, session_id)
            if slug != record.failure_slug:
                await store.change(session_id, "transcript.absent", failure_slug=slug)
        if record.transcript is not TranscriptState.LIVE or record.withdrawn_by is not None:
            return _outcome(record.transcript.value)
        try:
            segments = len((await store.transcript(session_id)).segments)
        except TranscriptPurged:
            return _outcome(TranscriptState.PURGED.value)
        if not drained and record.audio is AudioState.HELD and has_time(record, store.settled_now()):
            record = await store.delay_words(session_id)
            return _outcome(FROM_TYPED if record.note in ASKED_FOR else WAITING, segments)
        state, slug = TranscriptState.READY, None if segments else await material.why_no_words(store, session_id)
        if not drained:
            state, slug = TranscriptState.FAILED, TRANSCRIPTION_FAILED
        kind = f"transcript.{state.value}"
        live, data = {"transcript": TranscriptState.LIVE}, {"segments": segments}
        await store.change(session_id, kind, data=data, only_from=live, transcript=state, failure_slug=slug)
        await self.making.came_to(session_id, "transcript", 1)
        return _outcome(state.value, segments)

    async def _erase(self, session_id: str, part: int) -> dict[str, Any]:
        receipt = await self._services.eraser.erase_audio(session_id, part=part)
        await self.making.came_to(session_id, "erase", 1)
        return _outcome(
            "erased" if receipt else "absent", sha256=hashlib.sha256(receipt).hexdigest() if receipt else ""
        )

    async def _draft(self, session_id: str, part: int) -> dict[str, Any]:
        if part > 1:
            self._under_way.stop(session_id)  # an earlier part's draft: this one has its words too
        async with self._drafting.setdefault(session_id, asyncio.Lock()):
            return await self._draft_alone(session_id, part)

    async def _draft_alone(self, session_id: str, part: int) -> dict[str, Any]:
        store = self._services.store
        record = await store.get(session_id)
        if record.transcript is not TranscriptState.LIVE and (part > 1 or record.note is NoteState.DRAFT):
            record = await store.part_written(session_id)
        if record.note in SETTLED_NOTES or record.capture is CaptureState.DISCARDED:
            return _outcome(record.note.value)
        request = await material.gather(store, record)
        if not material.is_there(request):
            words_gone = record.transcript is TranscriptState.READY and record.failure_slug is None
            if words_gone or record.note in ASKED_FOR:
                raise failed("nothing-to-write-from")
            return _outcome(record.note.value)
        attempt = await store.begin_writing(session_id)
        writer = self._services.writer_for(ClinicConfig.model_validate(record.snapshot).note)
        await self.making.came_to(session_id, "draft", 0)
        writing = self._under_way.run(session_id, writer.write(request, self.making.counter(session_id)))
        has_words = part if record.transcript is not TranscriptState.LIVE else part - 1
        try:
            written = await self.making.unless_stalled(session_id, writing, record)
            content = self._services.encode(self._services.check(written, request))
            await store.save_note(session_id, content, part=has_words, attempt=attempt)
        except (Stopped, Superseded):
            return _outcome(PASSED)
        await self.making.came_to(session_id, "draft", 1)
        return _outcome(NoteState.DRAFT.value, sha256=hashlib.sha256(content).hexdigest())

    async def _fail_note(self, session_id: str, slug: str) -> dict[str, Any]:
        """A note that could not be made keeps its transcript and says why; it may be asked for again."""
        return _outcome((await self._services.store.fail_note(session_id, slug)).note.value)

    async def _deliver(self, session_id: str) -> dict[str, Any]:
        store = self._services.store
        record = await store.get(session_id)
        kind = None
        if record.note is NoteState.DRAFT:
            kind = "draft_ready"  # its item came with the draft
        elif record.failure_slug is not None and record.capture is not CaptureState.DISCARDED:
            kind = "failed"
            # each failure is told once, however often this step runs, and so is each further cause of it
            dedupe = f"{kind}:{session_id}:{await store.failed_at(session_id)}:{record.failure_slug}"
            await store.inbox_add(session_id, kind, dedupe=dedupe, reason_slug=record.failure_slug)
        if self._services.deliver is not None:
            await self._services.deliver(session_id)
        await self.making.came_to(session_id, "done", 1)
        return _outcome(kind or "nothing")


def _outcome(state: str, count: int = 0, sha256: str = "") -> dict[str, Any]:
    """What a step leaves in the engine's database."""
    return {"state": state, "count": count, "sha256": sha256}
