"""The fixed words."""

from __future__ import annotations

import pytest

from bot.clinics import ClinicConfig, ConsentPolicy, Retention
from bot.control.wording import consent_text, status_words
from bot.events import CaptureState, NoteState, TranscriptState

C, T, N = CaptureState, TranscriptState, NoteState
WORDS = {
    "Not recording", "Waiting for consent", "Recording", "Paused", "Processing", "Draft ready", "Could not generate",
}  # fmt: skip


def clinic(wording: dict[str, str] | None = None, days: float = 7) -> ClinicConfig:
    consent = ConsentPolicy(wording=wording or {}, wording_version="3")
    return ClinicConfig(id="harbour", name="Harbour", consent=consent, retention=Retention(transcript_days=days))


def test_the_clinics_own_text_by_language() -> None:
    own = clinic({"de": "Darf mitgeschrieben werden?", "en": "May we write this down?"})
    for language, text in (("de-CH", "Darf"), ("de", "Darf"), ("en-GB", "May"), ("fr", "May")):
        found = consent_text(own, language)
        assert found.version == "3"
        assert found.text.startswith(text)


@pytest.mark.parametrize(("days", "spoken"), [(7, "7 days"), (1, "one day"), (0.5, "0.5 days")])
def test_the_built_in_text_states_this_clinics_days(days: float, spoken: str) -> None:
    found = consent_text(clinic(days=days), "en")
    assert found.version.startswith("built-in-"), "never taken for a clinic's own version"
    assert f"after {spoken} at the latest" in found.text
    assert "{" not in found.text


def test_every_combination_has_words() -> None:
    said = {status_words(c, t, n) for c in C for t in T for n in N}
    assert said == WORDS


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ((C.OFF, T.ABSENT, N.ABSENT), "Not recording"),
        ((C.CONSENT_PENDING, T.ABSENT, N.ABSENT), "Waiting for consent"),
        ((C.CAPTURING, T.LIVE, N.ABSENT), "Recording"),
        ((C.PAUSED, T.LIVE, N.ABSENT), "Paused"),
        ((C.FINISHED, T.LIVE, N.ABSENT), "Processing"),
        ((C.FINISHED, T.READY, N.QUEUED), "Processing"),
        ((C.FINISHED, T.READY, N.GENERATING), "Processing"),
        ((C.FINISHED, T.READY, N.DRAFT), "Draft ready"),
        ((C.FINISHED, T.PURGED, N.SIGNED), "Draft ready"),
        ((C.FINISHED, T.READY, N.FAILED), "Could not generate"),
        ((C.FINISHED, T.FAILED, N.ABSENT), "Could not generate"),
        ((C.FINISHED, T.ABSENT, N.ABSENT), "Not recording"),
        ((C.DISCARDED, T.PURGED, N.DISCARDED), "Not recording"),
    ],
)
def test_words_of_a_sessions_way(states: tuple[CaptureState, TranscriptState, NoteState], words: str) -> None:
    assert status_words(*states) == words
