"""Sessions with gaps for the tests: written out by hand, and drawn."""

from __future__ import annotations

from hypothesis import strategies as st

from bot.events import (
    Evidence,
    EvidenceSource,
    Gap,
    GapReason,
    NoteDraft,
    NoteRequest,
    NoteSection,
    NoteSentence,
    Role,
    Segment,
    SentenceStatus,
    Transcript,
)
from bot.notes.evidence import check
from bot.notes.extractive import compose
from bot.notes.hashes import text_sha256
from tests.unit.notes.sessions import TEMPLATES

SOAP = TEMPLATES["soap"]
ASKED = "Have you had any thoughts of hurting yourself?"
PEOPLE = {"T": Role.CLINICIAN, "C": Role.CLIENT, "G": Role.GUARDIAN}
Said = tuple[str, int, int, str]


def spoken(*said: Said, holes: tuple[Gap, ...] = ()) -> NoteRequest:
    """A session of `who, from, to (ms), words`."""
    segments = tuple(
        Segment(f"s{n}", 1, True, f"lane_{who}", who, PEOPLE[who], begin, end, words)
        for n, (who, begin, end, words) in enumerate(said)
    )
    return NoteRequest("ses_1", Transcript("ses_1", segments, holes), "soap")


def note(*said: Said, holes: tuple[Gap, ...] = ()) -> NoteDraft:
    """The draft of a session; nothing of it is held back."""
    asked = spoken(*said, holes=holes)
    draft = compose(SOAP, asked)
    assert check(draft, asked) == draft
    return draft


def judged(asked: NoteRequest, text: str, *ids: str) -> str:
    """Why a model's sentence is held back, or ""."""
    by_id = {segment.segment_id: segment for segment in asked.transcript.segments}
    on = tuple(Evidence(EvidenceSource.SEGMENT, i, sha256=text_sha256(by_id[i].text)) for i in ids)
    sentence = NoteSentence("x.1", text, SentenceStatus.INFERRED, on)
    checked = check(NoteDraft("soap", 1, "test", (NoteSection("x", "X", (sentence,)),)), asked)
    return checked.held_back[0].reason if checked.held_back else ""


WORDS = st.sampled_from(
    [
        *("I", "feel", "not", "sad.", "kill", "myself?", "sleep", "No.", "Yes.", "Um.", "and", "because"),
        *("medication?", "hurting", "yourself?", "plan", "to", "the", "work", "Okay."),
        *("hurting yourself?", "Are you suicidal?", "cut myself.", "How is your sleep?"),
    ]
)
SPEECH = st.tuples(
    st.sampled_from(["T", "C", "C", "G"]), st.integers(200, 6000), st.lists(WORDS, min_size=1, max_size=9)
)
HOLE = st.builds(
    lambda reason, whose, length: Gap(0, length, reason, whose),
    st.sampled_from(list(GapReason)),
    st.sampled_from([None, None, "T", "C", "G"]),
    st.integers(1, 60_000) | st.integers(1, 3000),
)


@st.composite
def sessions(draw: st.DrawFn) -> NoteRequest:
    """Speech that overlaps between lanes, and gaps in which those they hold for said nothing that is known."""
    said: list[Said] = []
    holes: list[Gap] = []
    taken = dict.fromkeys(PEOPLE, 0)
    now = 0
    for step_ms, what in draw(st.lists(st.tuples(st.integers(-1500, 3000), SPEECH | HOLE), max_size=16)):
        who = what.participant_id if isinstance(what, Gap) else what[0]
        lanes = [lane for lane in PEOPLE if who in {None, lane}]
        begin = max(0, now + step_ms, *(taken[lane] for lane in lanes))
        if isinstance(what, Gap):
            now = begin + what.end_ms
            holes.append(Gap(begin, now, what.reason, what.participant_id))
        else:
            now = begin + what[1]
            said.append((what[0], begin, now, " ".join(what[2])))
        taken |= dict.fromkeys(lanes, now)
    return spoken(*said, holes=tuple(holes))
