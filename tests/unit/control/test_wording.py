"""The fixed words."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from bot.clinics import AsrChoice, CapturePolicy, ClinicConfig, ConsentPolicy, NoteChoice, Retention
from bot.control.wording import NAMES, Read, closest, consent_text, start_text, status_words, words_for_all
from bot.events import CLIENT_SIDE, CaptureState, NoteState, Role, TranscriptState

C, T, N = CaptureState, TranscriptState, NoteState
TWO = (Role.CLINICIAN, Role.CLIENT)
ELSEWHERE = NoteChoice(writer="openai")
WORDS = {
    "Not recording", "Waiting for consent", "Recording", "Paused", "Processing", "Draft ready", "Could not generate",
}  # fmt: skip


def clinic(wording: dict[str, str] | None = None, days: float = 7, **parts: Any) -> ClinicConfig:
    consent = ConsentPolicy(wording=wording or {}, wording_version="3")
    retention = Retention(transcript_days=days, erase_audio_within_h=parts.pop("hours", 24))
    return ClinicConfig(id="harbour", name="Harbour", consent=consent, retention=retention, **parts)


def built_in(reader: Role = Role.CLIENT, invited: Sequence[Role] = TWO, **parts: Any) -> str:
    return consent_text(clinic(**parts), "en", reader, invited).text


def test_the_clinics_own_text_by_language() -> None:
    own = clinic({"de": "Darf mitgeschrieben werden?", "en": "May we write this down?"})
    versions = set()
    for language, text in (("de-CH", "Darf"), ("de", "Darf"), ("en-GB", "May"), ("fr", "May")):
        found = consent_text(own, language, Role.CLIENT, TWO)
        versions.add(found.version)
        assert found.version.startswith("3-")
        assert found.text.startswith(text)
    assert len(versions) == 2, "each text has a version of its own"


@pytest.mark.parametrize(
    ("language", "found"),
    [
        ("de-CH", "de"), ("DE-at", "de-AT"), ("de-AT-1996", "de-AT"), ("zh-Hans-CN", "zh-Hans"), ("zh", None),
        ("de-x-praxis", "de"), ("fr", None), ("", None),
    ],
)  # fmt: skip
def test_the_closest_language_is_found_as_in_rfc_4647(language: str, found: str | None) -> None:
    assert closest(language, ["de", "de-AT", "zh-Hans"]) == found


@pytest.mark.parametrize(
    ("reads", "spoken", "having", "shown"),
    [
        ("es", "en", ["es", "de", "en"], "es"),
        ("fr", "de", ["es", "de", "en"], "de"),
        ("fr", "es-MX", ["es", "en"], "es"),
        ("fr", "de", ["es", "en"], "en"),
        ("fr", "de", ["es"], "en"),
    ],
)
def test_who_reads_something_else_gets_the_clinics_own_language_and_then_english(
    reads: str, spoken: str, having: list[str], shown: str
) -> None:
    """The last one has no English of the clinic's: it is the built-in text."""
    own = clinic({tag: f"Text {tag}" for tag in having}, asr=AsrChoice(language=spoken))
    found = consent_text(own, reads, Role.CLIENT, TWO)
    assert found.language == shown
    assert found.text.startswith(f"Text {shown}" if shown in having else "Your clinician would like")
    assert found.read == Read(found.version, hashlib.sha256(found.text.encode()).hexdigest(), shown)


def test_what_stands_beside_start_has_a_version_of_its_own() -> None:
    beside = start_text()
    assert beside.version == f"start-{beside.sha256[:8]}"
    assert "your own yes" in beside.text


@pytest.mark.parametrize("tag", ["german", "de_DE", "", "d", "de-toolongsubtag"])
def test_a_language_that_is_no_tag_is_refused(tag: str) -> None:
    with pytest.raises(ValidationError):
        ConsentPolicy(wording={tag: "Text"})


def test_a_version_is_one_texts_and_fits_where_it_is_stored() -> None:
    long = ConsentPolicy(wording={"en": "May we?"}, wording_version="the wording of spring, with the new paragraph")
    found = consent_text(clinic().model_copy(update={"consent": long}), "en", Role.CLIENT, TWO)
    assert len(found.version) <= 32
    assert found.version.endswith(found.sha256[:8])
    again = consent_text(clinic({"en": "May we, please?"}), "en", Role.CLIENT, TWO)
    assert again.version != consent_text(clinic({"en": "May we?"}), "en", Role.CLIENT, TWO).version


@pytest.mark.parametrize(
    ("days", "spoken"),
    [
        (7, "7 days"),
        (1, "one day"),
        (0.5, "12 hours"),
        (1.5, "36 hours"),
        (0.52, "13 hours"),
        (1 / 24, "one hour"),
        (0.05, "72 minutes"),
        (0.0001, "one minute"),
        (6.99, "7 days"),
    ],
)
def test_the_built_in_text_states_how_long_at_most(days: float, spoken: str) -> None:
    found = consent_text(clinic(days=days), "en", Role.CLIENT, TWO)
    assert found.version.startswith("built-in-"), "never taken for a clinic's own version"
    assert f"or {spoken} after the session at the latest" in found.text
    assert "{" not in found.text
    assert "turned into words, 2 hours after the session at the latest" in built_in(hours=2)


@pytest.mark.parametrize(
    ("reader", "invited", "people"),
    [
        (Role.CLIENT, TWO, "you and your clinician."),
        (Role.CLINICIAN, TWO, "you and the client."),
        (Role.CLIENT, [*TWO, Role.INTERPRETER], "you, your clinician and the interpreter."),
        (Role.INTERPRETER, [*TWO, Role.INTERPRETER], "you, the clinician and the client."),
        (Role.CLIENT, [*TWO, Role.GUARDIAN], "you, your clinician and your parent or guardian."),
        (Role.GUARDIAN, [*TWO, Role.GUARDIAN], "you, your clinician and the client."),
        (Role.GUARDIAN, [*TWO, Role.GUARDIAN, Role.GUARDIAN], "the client and the other parent or guardian."),
        (Role.CLIENT, [*TWO, Role.GUARDIAN, Role.GUARDIAN], "your clinician and your parents or guardians."),
        (Role.CLIENT, [*TWO, Role.CLIENT], "you, your clinician and the other client."),
        (Role.CLIENT, [*TWO, Role.CLINICIAN, Role.CLIENT, Role.CLIENT], "your clinicians and the other clients."),
        (Role.GUEST, [*TWO, Role.GUEST, Role.GUEST], "you, the clinician, the client and the other guest."),
        (Role.CLINICIAN, [Role.CLINICIAN], "you."),
    ],
)
def test_everybody_who_is_heard_is_named_to_each_reader(reader: Role, invited: list[Role], people: str) -> None:
    text = built_in(reader, invited)
    [heard] = [one for one in text.split("\n\n") if one.startswith("It hears everybody in this call: ")]
    assert heard.split(". ")[0].removesuffix(".").endswith(people.removesuffix("."))
    assert text.startswith("Your clinician" if reader in CLIENT_SIDE else "The clinician")


def test_no_role_is_left_out_when_it_is_invited() -> None:
    for reader in Role:
        for role in Role:
            assert NAMES[role] in built_in(reader, [*TWO, reader, role]), (reader, role)


def test_everybody_who_reads_the_words_is_named() -> None:
    platform, screen, writer = "computer systems that the clinic uses", "on their screen", "another computer service"
    for shown in (True, False):
        for kind in ("offline", "openai"):
            capture = CapturePolicy(client_captions=shown)
            text = built_in(capture=capture, note=NoteChoice.model_validate({"writer": kind}))
            assert "Your clinician can read the words" in text
            assert platform in text
            assert (screen in text) is shown
            assert (writer in text) is (kind == "openai")
            assert "The notes are kept. They may repeat" in text


def test_the_version_changes_with_each_choice_that_changes_the_text() -> None:
    choices: list[dict[str, Any]] = [
        {},
        {"days": 3},
        {"hours": 2},
        {"capture": CapturePolicy(client_captions=False)},
        {"note": NoteChoice(writer="openai")},
    ]
    found = {consent_text(clinic(**choice), "en", Role.CLIENT, TWO).version for choice in choices}
    found.add(consent_text(clinic(), "en", Role.CLIENT, [*TWO, Role.INTERPRETER]).version)
    found.add(consent_text(clinic(), "en", Role.INTERPRETER, [*TWO, Role.INTERPRETER]).version)
    assert len(found) == len(choices) + 2


def test_a_twelve_year_old_can_read_it() -> None:
    """Flesch and Kincaid's grade, with groups of vowels for syllables: grade 7 is age 12."""
    for shown in (True, False):
        text = built_in(Role.CLIENT, list(Role), capture=CapturePolicy(client_captions=shown), note=ELSEWHERE)
        words = re.findall(r"[a-z0-9]+", text.lower())
        sentences = len(re.findall(r"[.]", text))
        syllables = sum(max(1, len(re.findall(r"[aeiouy]+", re.sub(r"e[ds]?$", "", word)))) for word in words)
        grade = 0.39 * len(words) / sentences + 11.8 * syllables / len(words) - 15.59
        assert grade <= 7, grade
        assert len(words) <= 180


def test_others_than_clinicians_are_told_of_the_recording_only() -> None:
    said = {words_for_all(status_words(c, t, n)) for c in C for t in T for n in N}
    assert said == {"Not recording", "Waiting for consent", "Recording", "Paused"}
    assert words_for_all("Starting") == "Starting"


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
