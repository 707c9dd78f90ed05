"""What must be so at the end of a call whose service was killed."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from typing import Any

from bot.bench.forensics import said_in
from bot.media.stream import EARLY
from bot.store.receipts import load_public_keys, verify_receipt
from tests.integration.call_world import LANES
from tests.integration.kill_story import Kill, Story

Told = dict[str, Any]
SEALED_MS = 1000
"""What a crash may cost of what was captured: the chunk that was being filled."""
ON_ITS_WAY_MS = 600
"""Sound that was spoken and not yet captured when the service was killed: a packet of 60 ms, what waits for its order
(80 ms), and the queue of a machine whose processors are all busy."""
WORDS_IN_A_ROW = 5
LISTENING_MS = 3000
"""From where capture is taken up again to where the service listens."""
RECALL = 0.85
SETTLING_MS = 1500
"""How long after coming back a word counts as spoken into the connection, not into its making."""


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())


async def check(story: Story, *, in_memory: bool = False) -> Told:
    """Every promise; the figures of the call. ``in_memory``: words that were due at a kill may be missing."""
    session = await story.room.session()
    transcript = await story.room.transcript()
    segments, gaps = transcript["segments"], transcript["gaps"]
    everything_committed_is_there_once(story, segments)
    nothing_overlaps(segments)
    nothing_is_said_twice(story, segments)
    lost = every_kill_is_stated(story, gaps, segments)
    pauses_hold(story, gaps, segments)
    captured = the_books_close(story, session)
    await receipts_verify(story)
    await nothing_remains(story, transcript, session)
    recall = what_was_said_is_written(story, segments)
    assert in_memory or recall >= RECALL, (recall, segments, gaps)
    return {
        "kills": len(story.kills), "kinds": Counter(kill.kind for kill in story.kills), "segments": len(segments),
        "lost_ms": lost, "captured_short_ms": captured, "recall": recall,
    }  # fmt: skip


def everything_committed_is_there_once(story: Story, segments: list[dict[str, Any]]) -> None:
    ids = [segment["id"] for segment in segments]
    assert len(ids) == len(set(ids))
    kept = story.final
    for kill in story.kills:
        assert kill.committed.items() <= kept.items(), f"{kill.kind}: a word that was committed is gone or changed"
    text = {segment["id"]: segment["text"] for segment in segments}
    for page in story.room.pages:
        for caption in page.captions():
            if caption["final"] and caption["text"]:
                assert text.get(caption["segment_id"]) == caption["text"], caption


def nothing_overlaps(segments: list[dict[str, Any]]) -> None:
    for who in LANES:
        mine = sorted((s["start_ms"], s["end_ms"]) for s in segments if s["participant_id"] == who)
        for (_, end), (start, _) in itertools.pairwise(mine):
            assert start >= end, mine


def nothing_is_said_twice(story: Story, segments: list[dict[str, Any]]) -> None:
    for who, lane in LANES.items():
        said = words(story.room.place.dialogue.on_record(lane))
        written = [w for s in sorted(segments, key=lambda s: s["start_ms"]) if s["participant_id"] == who
                   for w in words(s["text"])]  # fmt: skip
        known = Counter(runs(said))
        for run, count in Counter(runs(written)).items():
            assert count <= max(1, known[run]), f"written {count} times: {' '.join(run)}"


def runs(said: list[str]) -> list[tuple[str, ...]]:
    return [tuple(said[i : i + WORDS_IN_A_ROW]) for i in range(len(said) - WORDS_IN_A_ROW + 1)]


def every_kill_is_stated(story: Story, gaps: list[dict[str, Any]], segments: list[dict[str, Any]]) -> list[int]:
    """Each time the service was away is one entry, or within a pause; how much before each kill is not there, in ms."""
    everybody = [gap for gap in gaps if gap["participant_id"] is None]
    assert all(gap["reason"] for gap in gaps)
    lost, stated = [], set()
    for away in aways(story):
        died = story.room.call_ms(away[0].at_s)
        back = story.room.call_ms(away[-1].up_s)
        if away[0].kind == "asking":
            assert not [gap for gap in gaps if gap["start_ms"] < died], "nothing was captured that could be missing"
            continue
        over = "finished" in away[0].states
        if away[0].kind == "after":
            continue
        if over:  # nothing was captured when it was killed; what was last may not have been sealed
            ended = story.finish["effective_at_ms"]
            cut = [gap for gap in everybody if gap["reason"] == "interrupted" and gap["end_ms"] > ended - 50]
            stated |= {(gap["start_ms"], "interrupted") for gap in cut}
            lost += [round(ended - gap["start_ms"]) for gap in cut]
            assert len(cut) <= 1, (cut, ended)
            assert max(lost) <= SEALED_MS + ON_ITS_WAY_MS, (cut, ended)
            continue
        entries = [gap for gap in everybody if gap["start_ms"] <= died + 50 and gap["end_ms"] >= died]
        assert len(entries) == 1, (away[0].kind, died, gaps)
        entry = entries[0]
        stated.add((entry["start_ms"], entry["reason"]))
        covered = max(gap["end_ms"] for gap in everybody if gap["start_ms"] <= back and gap["end_ms"] >= died)
        assert covered >= back - LISTENING_MS, (away[0].kind, died, back, gaps)
        if entry["reason"] == "interrupted":
            lost.append(round(died - entry["start_ms"]))
            assert lost[-1] <= SEALED_MS + ON_ITS_WAY_MS, (away[0].kind, died, entry)
        else:
            assert entry["reason"] == "paused", entry
            assert "clinician" in entry["pause_reasons"], entry
    interrupted = {(gap["start_ms"], gap["reason"]) for gap in everybody if gap["reason"] == "interrupted"}
    assert interrupted <= stated, (interrupted - stated, "an interruption that was none")
    for gap in gaps:
        for segment in segments:
            if gap["participant_id"] in {None, segment["participant_id"]}:
                inside = min(segment["end_ms"], gap["end_ms"]) - max(segment["start_ms"], gap["start_ms"])
                assert inside <= 100, (gap, segment)
    return lost


def aways(story: Story) -> list[list[Kill]]:
    """Kills, each with those that followed before the service listened again."""
    found: list[list[Kill]] = []
    for kill in story.kills:
        if kill.kind == "starting":
            found[-1].append(kill)
        else:
            found.append([kill])
    return found


def pauses_hold(story: Story, gaps: list[dict[str, Any]], segments: list[dict[str, Any]]) -> None:
    for start, end in story.pauses:
        [entry] = [
            g for g in gaps if g["reason"] == "paused" and g["start_ms"] <= start + 60 and g["end_ms"] >= end - 60
        ]
        assert "clinician" in entry["pause_reasons"], entry
        for segment in segments:
            assert not (segment["start_ms"] < end - 1 and segment["end_ms"] > start + 100), (entry, segment)


def the_books_close(story: Story, session: dict[str, Any]) -> int:
    """Every sample under one heading, the same length for all; how much less was captured than was heard, in ms.

    A packet may run ahead of the clock, and so may what is found of it in the spool after a crash.
    """
    assert all(lane["ledger_closes"] for lane in session["lanes"])
    lengths = [lane["ledger"]["elapsed"] for lane in session["lanes"]]
    assert max(lengths) - min(lengths) <= 2 * EARLY, session["lanes"]
    assert all(lane["ledger"]["lost"] == 0 for lane in session["lanes"]), session["lanes"]
    captured: int = min(lane["ledger"]["captured"] for lane in session["lanes"])
    missing = round(story.heard_ms - captured / 16)
    cuts = len(story.pauses) + sum(kill.kind not in {"asking", "starting", "after"} for kill in story.kills)
    assert missing <= cuts * (SEALED_MS + ON_ITS_WAY_MS), (missing, cuts)
    return missing


async def receipts_verify(story: Story) -> None:
    http, session_id = story.room.place.http, story.room.session_id
    receipts = (await story.room.place.get(f"/v1/sessions/{session_id}/receipts"))["items"]
    assert [receipt["kind"] for receipt in receipts] == ["audio"]
    keys = load_public_keys((await http.get("/.well-known/quietnote-receipt-keys.json")).content)
    body = (await http.get(receipts[0]["href"])).content
    assert verify_receipt(body, keys).valid
    assert not verify_receipt(body.replace(b'"audio"', b'"video"'), keys).valid


async def nothing_remains(story: Story, transcript: dict[str, Any], session: dict[str, Any]) -> None:
    data_dir, code_word = story.room.place.data_dir, story.room.place.dialogue.code_word
    files = [path for path in data_dir.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [
        path for path in files if path.suffix in {".chunk", ".tmp"} or path.parent.name == story.room.session_id
    ]
    note = await story.room.place.get(f"/v1/notes/{session['note_id']}")
    captions = [page.captions() for page in story.room.pages]
    assert code_word not in str([transcript, note, captions, session]).lower()
    assert said_in(data_dir, code_word) == []
    assert code_word not in "".join(story.room.service.log).lower()
    assert "Traceback" not in "".join(story.room.service.log), "".join(story.room.service.log)
    for fault in ("session_not_recovered", "media_call_failed", "session_task_failed", "ledger_does_not_close"):
        assert fault not in "".join(story.room.service.log), "".join(story.room.service.log)


def what_was_said_is_written(story: Story, segments: list[dict[str, Any]]) -> float:
    """Of the words of turns that no kill and no pause cut, the share that is written."""
    cuts = [(kill.said_ms - SEALED_MS - ON_ITS_WAY_MS, kill.said_ms + SETTLING_MS) for kill in story.kills]
    cuts += [(said - 500, said + SETTLING_MS) for said in story.breaks]
    written = {
        who: Counter(w for s in segments if s["participant_id"] == who for w in words(s["text"])) for who in LANES
    }
    missed: list[str] = []
    count = 0
    for turn in story.room.place.dialogue.turns:
        start, end = story.talk_ms(turn.start_ms), story.talk_ms(turn.end_ms)
        if start is None or end is None or any(start < high and end > low for low, high in cuts):
            continue
        who = next(who for who, lane in LANES.items() if lane == turn.lane)
        for word in words(turn.text):
            count += 1
            if written[who][word] == 0:
                missed.append(word)
            written[who][word] -= 1
    return round(1 - len(missed) / max(1, count), 3)
