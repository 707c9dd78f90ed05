from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bot.bench.forensics import bytes_in, said_in
from bot.clock import ManualClock
from bot.errors import NotFound, SessionLocked, StorageUnavailable, TranscriptPurged
from bot.events import (
    CaptureState,
    Gap,
    GapReason,
    Ledger,
    NoteState,
    PauseReason,
    Role,
    Segment,
    TranscriptState,
    Word,
)
from bot.store import codec
from bot.store.db import Database
from bot.store.models import SegmentRow
from bot.store.sessions import LaneRecord, SessionRecord, SessionStore, TranscriptPurge
from bot.store.vault import FileVault
from bot.store.words import MIN_GAP_MS

from .conftest import MASTER, final

SAID = "The lighthouse keeper frightens me"
texts = st.text(max_size=30)


@pytest.fixture
async def lane(store: SessionStore, session: SessionRecord) -> LaneRecord:
    return await store.ensure_lane(session.id, "cl", Role.CLIENT)


@given(
    text=texts,
    words=st.lists(st.builds(Word, texts, st.integers(0, 10**9), st.integers(0, 10**9), st.floats(0, 1)), max_size=4),
    confidence=st.floats(0, 1),
    at=st.integers(0, 10**12),
)
@hypothesis_settings(max_examples=60, deadline=None)
def test_a_segment_survives_its_json(text: str, words: list[Word], confidence: float, at: int) -> None:
    segment = Segment("win_1", 3, True, "lan_1", "cl", Role.GUARDIAN, 5, 9, text, tuple(words), confidence, "de", at)
    assert codec.segment_from_json(codec.segment_to_json(segment)) == segment


def test_an_unknown_form_is_refused() -> None:
    for raw in (b'{"v":2}', b"[]", b"null"):
        with pytest.raises(ValueError, match="form"):
            codec.segment_from_json(raw)
    ledger = Ledger(elapsed=5, captured=5, speech=2, silence=3)
    assert codec.ledger_from_json(codec.ledger_to_json(ledger)) == ledger
    assert codec.ledger_from_json({"elapsed": 1, "of_a_later_release": 2}) == Ledger(elapsed=1)


async def test_a_participant_has_one_lane_for_good(store: SessionStore, session: SessionRecord) -> None:
    lanes = await asyncio.gather(*(store.ensure_lane(session.id, "cl", Role.CLIENT) for _ in range(5)))
    assert len({lane.id for lane in lanes}) == 1
    assert (await store.ensure_lane(session.id, "dr", Role.CLINICIAN)).id != lanes[0].id
    with pytest.raises(NotFound):
        await store.ensure_lane("ses_unknown", "cl", Role.CLIENT)


async def test_ledgers_are_kept(store: SessionStore, session: SessionRecord, lane: LaneRecord) -> None:
    ledger = Ledger(elapsed=48_000, captured=32_000, paused=16_000, speech=20_000, silence=12_000)
    await store.save_ledger(session.id, lane.id, ledger, {"count": 2, "peaks": ["aa"]})
    (kept,) = await store.lanes(session.id)
    assert (kept.ledger, kept.hash_tree) == (ledger, {"count": 2, "peaks": ["aa"]})
    with pytest.raises(NotFound):
        await store.save_ledgers(session.id, {lane.id: (Ledger(), {}), "lan_unknown": (Ledger(), {})})
    assert (await store.lanes(session.id))[0].ledger == ledger


async def test_finals_come_back_in_the_order_they_were_spoken(
    store: SessionStore, session: SessionRecord, lane: LaneRecord
) -> None:
    dr = await store.ensure_lane(session.id, "dr", Role.CLINICIAN)
    said = [
        final(lane.id, "Fine.", n=2),
        final(dr.id, "How are you?", n=1, participant_id="dr"),
        final(lane.id, "Hello.", n=0),
    ]
    for segment in said:
        await store.commit_final(session.id, segment)
    gap = Gap(3000, 9000, GapReason.PAUSED, None, (PauseReason.CLINICIAN, PauseReason.CONSENT))
    lost = Gap(100, 200, GapReason.LOST, "cl")
    too_short = Gap(18_000, 18_000 + MIN_GAP_MS - 1, GapReason.PAUSED, None, (PauseReason.CLINICIAN,))
    for one in (gap, lost, gap, too_short):
        await store.add_gap(session.id, one)
    transcript = await store.transcript(session.id)
    assert transcript.segments == tuple(sorted(said, key=lambda s: s.start_ms))
    assert transcript.gaps == (lost, gap)
    assert transcript.language == "en"
    assert (await store.get(session.id)).transcript is TranscriptState.LIVE
    assert {x.id: x.committed_through_sample for x in await store.lanes(session.id)} == {
        lane.id: 48_000,
        dr.id: 32_000,
    }


async def test_a_final_is_kept_once_and_never_changes(
    store: SessionStore, session: SessionRecord, lane: LaneRecord
) -> None:
    first = final(lane.id, "Yes.", n=1)
    await store.commit_final(session.id, first)
    await store.commit_final(session.id, dataclasses.replace(first, text="No.", committed_through_sample=5))
    assert [s.text for s in (await store.transcript(session.id)).segments] == ["Yes."]
    assert (await store.lanes(session.id))[0].committed_through_sample == first.committed_through_sample
    with pytest.raises(ValueError, match="finals"):
        await store.commit_final(session.id, dataclasses.replace(first, final=False))


async def test_silence_moves_the_position_and_leaves_no_row(
    store: SessionStore, session: SessionRecord, lane: LaneRecord
) -> None:
    await store.commit_final(session.id, final(lane.id, "", n=4))
    assert (await store.transcript(session.id)).segments == ()
    assert (await store.lanes(session.id))[0].committed_through_sample == 80_000
    assert (await store.get(session.id)).transcript is TranscriptState.ABSENT


async def test_a_final_of_an_unknown_lane_is_refused(store: SessionStore, session: SessionRecord) -> None:
    with pytest.raises(NotFound):
        await store.commit_final(session.id, final("lan_unknown", "Whose words?"))
    assert (await store.transcript(session.id)).segments == ()


async def test_an_erasure_fences_off_writers_that_began_before(
    store: SessionStore, session: SessionRecord, lane: LaneRecord
) -> None:
    await store.commit_final(session.id, final(lane.id, "Before.", n=0))
    epoch = await store.raise_epoch(session.id)
    with pytest.raises(SessionLocked):
        await store.commit_final(session.id, final(lane.id, "After.", n=1))
    assert (await store.lanes(session.id))[0].committed_through_sample == 16_000
    await store.commit_final(session.id, final(lane.id, "A continuation.", n=2), epoch=epoch)
    assert [s.text for s in (await store.transcript(session.id)).segments] == ["Before.", "A continuation."]


async def test_a_committed_transcript_takes_no_more_words(
    store: SessionStore, session: SessionRecord, lane: LaneRecord
) -> None:
    await store.commit_final(session.id, final(lane.id, "All.", n=0))
    await store.change(session.id, "transcript.ready", transcript=TranscriptState.READY)
    with pytest.raises(SessionLocked):
        await store.commit_final(session.id, final(lane.id, "More.", n=1))


# -- the end ----------------------------------------------------------------------------------------------------------


async def test_a_purge_leaves_nothing_of_the_words_anywhere(
    store: SessionStore, session: SessionRecord, lane: LaneRecord, db: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    for n in range(30):
        await store.commit_final(session.id, final(lane.id, f"{SAID} {n}", n=n))
    await store.add_gap(session.id, Gap(1000, 2000, GapReason.LOST))
    async with db.read() as reading:
        row = await reading.get_one(SegmentRow, final(lane.id, "", n=7).segment_id)
        sealed = row.sealed
    words = (SAID, "lighthouse", "Winterbottom", "Mina Hale")
    assert said_in(folder, *words) == []  # only sealed, from the first moment
    assert bytes_in(folder, sealed[:40])  # the sealed bytes are there, in the log or the file

    await store.purge_transcript(session.id, "retention")

    assert said_in(folder, *words) == []
    assert bytes_in(folder, sealed[:40], sealed[-40:]) == []
    assert (folder / "quietnote.db-wal").stat().st_size == 0
    with pytest.raises(TranscriptPurged):
        await store.transcript(session.id)
    with pytest.raises(TranscriptPurged):
        await store.commit_final(session.id, final(lane.id, "A writer under way.", n=99))
    await store.add_gap(session.id, Gap(5000, 6000, GapReason.LOST))
    async with db.read() as reading:
        assert await reading.get(SegmentRow, row.id) is None
    assert (await store.get(session.id)).transcript is TranscriptState.PURGED
    told = (await store.events(session.id, 0))[-1]
    assert (told.kind, dict(told.data)) == (
        "transcript.purged",
        {"reason": "retention", "key_destroyed": True, "segments": 30, "gaps": 1},
    )
    assert (await store.participants(session.id))[0].display_name == "Peter Winterbottom"


async def test_a_purge_has_one_receipt_however_often_it_is_tried(
    store: SessionStore, session: SessionRecord, lane: LaneRecord, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed: list[TranscriptPurge] = []

    def sign(purge: TranscriptPurge) -> bytes:
        signed.append(purge)
        return b"receipt"

    store.purge_receipt = sign
    await store.commit_final(session.id, final(lane.id, "Words.", n=0))
    await store.change(session.id, "transcript.ready", transcript=TranscriptState.READY)

    async def locked() -> None:
        raise StorageUnavailable("database", "locked")

    with monkeypatch.context() as patch:
        patch.setattr(db, "checkpoint", locked)
        with pytest.raises(StorageUnavailable):
            await store.purge_transcript(session.id, "withdrawn")
    assert signed == []
    assert await store.due_purges() == [session.id]  # the log is not emptied yet, so there is no receipt yet
    await store.purge_transcript(session.id, "retention")
    await store.purge_transcript(session.id, "retention")
    assert await store.due_purges() == []
    (facts,) = signed
    assert (facts.reason, facts.segments, facts.words_key_destroyed) == ("withdrawn", 1, True)
    (receipt,) = await store.receipts(session.id)
    assert (receipt.kind, receipt.body) == ("transcript", b"receipt")
    kinds = [e.kind for e in await store.events(session.id, 0)]
    assert kinds.count("transcript.purged") == kinds.count("receipt.issued") == 1


async def test_a_crash_after_the_key_went_reads_as_purged(
    store: SessionStore, session: SessionRecord, lane: LaneRecord, vault: FileVault
) -> None:
    await store.commit_final(session.id, final(lane.id, "Words.", n=0))
    vault.destroy(f"words:{session.id}")
    with pytest.raises(TranscriptPurged):
        await store.transcript(session.id)
    with pytest.raises(TranscriptPurged):
        await store.commit_final(session.id, final(lane.id, "More.", n=1))
    await store.purge_transcript(session.id, "retention")
    assert (await store.get(session.id)).transcript is TranscriptState.PURGED


async def test_after_its_day_a_transcript_is_not_given_out(
    store: SessionStore, session: SessionRecord, lane: LaneRecord, clock: ManualClock
) -> None:
    await store.commit_final(session.id, final(lane.id, "Words.", n=0))
    await store.change(session.id, "x", purge_at=clock.now() + timedelta(days=7))
    clock.advance(7 * 24 * 3600 - 1)
    assert (await store.transcript(session.id)).segments
    clock.advance(1)
    with pytest.raises(TranscriptPurged):  # also when the sweep has not come by yet
        await store.transcript(session.id)


async def test_a_session_without_words_has_no_transcript_to_purge(store: SessionStore, session: SessionRecord) -> None:
    store.purge_receipt = lambda _: b"receipt"
    await store.purge_transcript(session.id, "discarded")
    assert (await store.get(session.id)).transcript is TranscriptState.ABSENT
    assert await store.receipts(session.id) == []
    with pytest.raises(NotFound):
        await store.purge_transcript("ses_unknown", "discarded")


async def test_a_gap_stated_again_is_one_with_the_later_end(store: SessionStore, session: SessionRecord) -> None:
    for end_ms in (1500, 2000, 1800):
        await store.add_gap(session.id, Gap(1000, end_ms, GapReason.PAUSED))
    await store.add_gap(session.id, Gap(1000, 1500, GapReason.INTERRUPTED))
    await store.add_gap(session.id, Gap(1000, 1500, GapReason.PAUSED, "cl"))
    gaps = (await store.transcript(session.id)).gaps
    assert sorted((gap.reason, gap.participant_id or "", gap.end_ms) for gap in gaps) == [
        ("interrupted", "", 1500),
        ("paused", "", 2000),
        ("paused", "cl", 1500),
    ]


async def test_an_interruption_that_two_starts_state_is_one(store: SessionStore, session: SessionRecord) -> None:
    for start_ms, end_ms in ((5210, 8423), (5160, 11039), (20_000, 21_000)):
        await store.add_gap(session.id, Gap(start_ms, end_ms, GapReason.INTERRUPTED))
    gaps = (await store.transcript(session.id)).gaps
    assert sorted((gap.start_ms, gap.end_ms) for gap in gaps) == [(5160, 11039), (20_000, 21_000)]


async def test_what_is_stated_otherwise_gives_way(store: SessionStore, session: SessionRecord) -> None:
    absent, lost = GapReason.ABSENT, GapReason.LOST
    for start_ms, end_ms, reason, who in (
        (1000, 9000, absent, "cl"),
        (1000, 9000, absent, "dr"),
        (3000, 5000, lost, "cl"),
        (8950, 9500, lost, "cl"),
        (3000, 4000, absent, "cl"),
        (5000, 6000, GapReason.WITHHELD, "cl"),
    ):
        await store.add_gap(session.id, Gap(start_ms, end_ms, reason, who))
    gaps = (await store.transcript(session.id)).gaps
    assert sorted((gap.start_ms, gap.end_ms, gap.reason.value) for gap in gaps if gap.participant_id == "cl") == [
        (1000, 3000, "absent"),
        (3000, 4000, "absent"),
        (4000, 5000, "lost"),
        (5000, 6000, "withheld"),
        (5000, 8950, "absent"),
        (8950, 9500, "lost"),
    ]
    assert [(gap.start_ms, gap.end_ms) for gap in gaps if gap.participant_id == "dr"] == [(1000, 9000)]


async def test_a_restart_keeps_everything(
    store: SessionStore, session: SessionRecord, lane: LaneRecord, db: Database, db_url: str, tmp_path: Path
) -> None:
    await store.commit_final(session.id, final(lane.id, "Still known.", n=0))
    await store.add_gap(session.id, Gap(1000, 2000, GapReason.ABSENT, "cl"))
    await store.add_input(session.id, "observation", "Held her coat.", "usr_1")
    await store.change(session.id, "x", capture=CaptureState.CAPTURING)
    await store.change(session.id, "x", capture=CaptureState.FINISHED, note=NoteState.QUEUED)
    await store.change(session.id, "x", note=NoteState.GENERATING)
    await store.save_note(session.id, b'{"a":1}')
    parts = (
        store.get(session.id),
        store.participants(session.id),
        store.lanes(session.id),
        store.transcript(session.id),
        store.inputs(session.id),
        store.note_of(session.id),
        store.inbox("harbour"),
        store.events(session.id, 0),
    )
    before = [await part for part in parts]
    await db.close()
    reopened = Database(db_url)
    await reopened.open()
    again = SessionStore(reopened, FileVault(tmp_path / "data" / "vault", MASTER), ManualClock())
    after = [
        await again.get(session.id),
        await again.participants(session.id),
        await again.lanes(session.id),
        await again.transcript(session.id),
        await again.inputs(session.id),
        await again.note_of(session.id),
        await again.inbox("harbour"),
        await again.events(session.id, 0),
    ]
    await reopened.close()
    assert after == before
