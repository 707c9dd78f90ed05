"""Sessions for the tests, invented here: one line a segment, `role: words`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bot.events import NoteDraft, NoteRequest, NoteSection, NoteSentence, Role, Segment, TextInput, Transcript
from bot.notes.templates import Template, load_templates

CONFIG = Path(__file__).resolve().parents[3] / "config"
TEMPLATES: dict[str, Template] = load_templates(CONFIG)

THERAPY = """
clinician: Hello, good to see you. Can you hear me all right?
client: Hi. Yes, I can hear you.
clinician: Okay. The recording is on. How have you been since our last session?
client: Um, it's been, it's been a hard two weeks. My mother moved in with us and I feel tense all the time.
clinician: Mm-hmm.
client: I argue with my husband about it nearly every evening.
clinician: How is your sleep?
client: Bad. I wake up at four most nights and I can't get back to sleep.
clinician: And your appetite?
client: That's fine, no change there.
clinician: Are you still taking the sertraline?
client: Yes, 50 milligrams every morning. I haven't missed any.
clinician: Last time we talked about the worry diary. Did you try it?
client: I tried it three times. It helped a bit, I was calmer afterwards.
clinician: I notice you look more tired than last time.
client: Yeah.
clinician: When things get this hard, people may think of hurting themselves. Have you had thoughts of ending your life?
client: No. I had a moment on Tuesday when I thought they would be better off without me. But I would never do anything.
clinician: Thank you for telling me. Do you feel safe at home?
client: Yes, I do.
clinician: It sounds like you carry everybody in that house and nobody carries you.
client: That's exactly it. Nobody asks how I am.
clinician: What would you like to work on?
client: I want to be able to say no to my mother without feeling guilty.
clinician: Let's practise one sentence for that this week. Would you try it once before Friday?
client: Okay, I can try that.
clinician: Please keep writing the diary in the evening. If the thoughts come back, call us or the crisis line.
client: I will.
clinician: We'll meet again next Thursday at ten.
client: Thank you. See you next week. Bye.
clinician: Take care, bye.
"""


def talk(text: str, *, session_id: str = "ses_1") -> Transcript:
    """A transcript of lines ``role[number]: words``, ten seconds apart."""
    segments = []
    for n, line in enumerate(filter(None, map(str.strip, text.splitlines()))):
        who, _, words = line.partition(":")
        role = Role(who.rstrip("0123456789"))
        start_ms = n * 10_000
        segments.append(
            Segment(f"seg_{n}", 1, True, f"lane_{who}", f"p_{who}", role, start_ms, start_ms + 8_000, words.strip())
        )
    return Transcript(session_id, tuple(segments))


def request(
    text: str, *, template: str = "soap", inputs: Sequence[TextInput] = (), language: str = "en"
) -> NoteRequest:
    """What a writer is given for a session."""
    transcript = talk(text)
    return NoteRequest(transcript.session_id, transcript, template, tuple(inputs), language)


def section(draft: NoteDraft, key: str) -> NoteSection:
    """One section of a draft."""
    return next(s for s in draft.sections if s.key == key)


def sentences(draft: NoteDraft) -> list[NoteSentence]:
    """All sentences of a draft."""
    return [sentence for s in draft.sections for sentence in s.sentences]


def texts(draft: NoteDraft, key: str) -> list[str]:
    """The sentences of a section as text."""
    return [sentence.text for sentence in section(draft, key).sentences]
