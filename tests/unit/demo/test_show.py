"""What the demo prints."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from bot.demo.call import DemoEvent, DemoResult, Scene
from bot.demo.show import Show, clock

ROSTER = {
    "members": [
        {"participant_id": "c1", "role": "clinician", "display_name": "Dr. Ellis", "admitted": True, "present": True},
        {"participant_id": "p1", "role": "client", "display_name": "Robin", "admitted": True, "present": True},
    ],
    "bot": None,
}
BOT = {"participant_id": "bot", "display_name": "Quietnote (transcription)", "state": "capturing"}


def state(words: str, capture: str, now_ms: int) -> dict[str, Any]:
    return {"words": words, "capture": capture, "now_ms": now_ms}


def caption(text: str, *, final: bool, rev: int = 1, who: str = "p1") -> dict[str, Any]:
    return {"segment_id": "s1", "rev": rev, "final": final, "participant_id": who, "start_ms": 61_000, "text": text}


def shown(*events: tuple[Scene, Mapping[str, Any]], result: DemoResult | None = None) -> str:
    out = io.StringIO()
    show = Show(Console(file=out, width=100, force_terminal=False, highlight=False))
    with show:
        for scene, data in events:
            show.event(DemoEvent(scene, 0.0, data))
        if result is not None:
            show.result(result)
    return out.getvalue()


def test_clock() -> None:
    assert clock(0) == "00:00"
    assert clock(61_900) == "01:01"


def test_a_final_is_printed_once_with_its_speaker_and_time() -> None:
    final = caption("I slept well.", final=True, rev=2)
    text = shown(
        (Scene.ROSTER, ROSTER),
        (Scene.CAPTION, caption("I slept", final=False)),
        (Scene.CAPTION, final),
        (Scene.CAPTION, final),
    )
    assert text.count("I slept well.") == 1
    assert "01:01" in text
    assert "Robin" in text


def test_an_empty_final_takes_its_partial_away_and_prints_nothing() -> None:
    text = shown((Scene.CAPTION, caption("Thanks", final=False)), (Scene.CAPTION, caption("", final=True)))
    assert "Thanks" not in text


def test_the_bot_and_the_pause_are_seen() -> None:
    text = shown(
        (Scene.ROSTER, ROSTER),
        (Scene.ROSTER, ROSTER | {"bot": BOT}),
        (Scene.STATE, state("Recording", "capturing", 100)),
        (Scene.STATE, state("Paused", "paused", 30_000)),
        (Scene.STATE, state("Recording", "capturing", 40_000)),
        (Scene.ROSTER, ROSTER),
    )
    for line in ("is in the room", "00:30  paused", "00:40  recording again", "left the room"):
        assert line in text


def test_the_board_shows_partials_meters_and_ledger() -> None:
    ledger = {f"{part}_ms": 0 for part in ("captured", "paused", "withheld", "absent", "lost")}
    lanes = {"c1": ledger | {"captured_ms": 2500}}
    show = Show(Console(file=io.StringIO(), width=100))
    for scene, data in (
        (Scene.ROSTER, ROSTER | {"bot": BOT}),
        (Scene.STATE, state("Recording", "capturing", 1000)),
        (Scene.LEVELS, {"levels": {"c1": {"rms_dbfs": -30.0, "peak_dbfs": -20.0}}}),
        (Scene.LEDGER, {"lanes": lanes}),
        (Scene.CAPTION, caption("I slept", final=False)),
    ):
        show.event(DemoEvent(scene, 0.0, data))
    out = Console(file=io.StringIO(), width=100)
    with out.capture() as capture:
        out.print(show.board())
    text = capture.get()
    assert "I slept …" in text
    assert "██████░░░░░░" in text
    assert "captured 2.5 s  lost 0.0 s" in text


def test_the_note_is_shown_with_the_times_of_its_evidence() -> None:
    evidence = {"source": "segment", "source_id": "s1", "start_ms": 61_000, "end_ms": 62_000, "sha256": "x"}
    note = {
        "template": "soap",
        "writer": "extractive/1",
        "notice": "Lifted from the transcript.",
        "sections": [
            {
                "title": "Subjective",
                "placeholder": "",
                "sentences": [{"text": "Client slept well.", "evidence": [evidence]}],
            },
            {"title": "Objective", "placeholder": "Not discussed.", "sentences": []},
        ],
    }
    segments = [{"id": "s1", "participant_id": "p1", "text": "I slept well."}]
    text = shown((Scene.ROSTER, ROSTER), (Scene.TRANSCRIPT, {"segments": segments}), (Scene.NOTE, note))
    assert "Client slept well.  [01:01 Robin]" in text
    assert "Not discussed." in text
    assert "Lifted from the transcript." in text


def test_the_figures_and_the_json_object() -> None:
    result = DemoResult(20, 0.012, False, True, 20, 9, 0, 1, "erased", True, 0.8, 1.94, session_id="ses_1")
    text = shown(
        (Scene.INBOX, {"items": [{"kind": "draft_ready", "created_at": "2026-01-05T09:00:00Z"}]}),
        (Scene.RECEIPT, {"items": [{"kind": "audio", "created_at": "2026-01-05T09:00:00Z"}], "valid": True}),
        result=result,
    )
    for line in ("draft ready", "signature valid", "1.2%", "nowhere", "erased"):
        assert line in text
    assert "✗" not in text
    assert list(result.to_json()) == [
        "captions_final", "wer", "codeword_leaked", "ledger_closed", "transcript_segments", "note_sentences",
        "evidence_missing", "inbox_items", "audio_state", "receipt_valid", "seconds_end_to_transcript",
        "seconds_end_to_draft",
    ]  # fmt: skip
