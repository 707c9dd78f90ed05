"""The consent form: the same in every language, and never anything that the clinic's settings make false."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from bot.clinics import AiFeatures, CapturePolicy, ClinicConfig, ConsentPolicy, NoteChoice, Retention
from bot.control.consentform import HOLDS, FormTemplate, choose, load_forms
from bot.errors import ConfigInvalid
from bot.settings import default_config_dir

FORMS = load_forms(default_config_dir())
WRITERS = ("offline", "openai")
JOINERS = ("pause_all", "withhold_lane")
SAID = {
    "captions": ("on their screen", "auf ihrem Bildschirm", "en su pantalla"),
    "writer_here": ("not sent to any other", "an keinen anderen Dienst", "no se envían"),
    "writer_elsewhere": ("sent to another computer service", "an einen anderen Computerdienst", "a otro servicio"),
    "on_file": ("kept on file", "in der Akte bleiben", "quedar archivada"),
    "asked_each_time": ("asked again on your screen", "noch einmal gefragt, bevor", "otra vez en la pantalla"),
    "verbal": ("agree aloud", "mündlich zustimmen", "aceptar de palabra"),
    "pause_all": ("until everybody", "bevor alle", "hasta que todas"),
    "withhold_lane": ("who has not agreed is left out", "weggelassen", "se deja fuera"),
}  # fmt: skip
"""Words of each language that stand there just when the setting is so, in the order of LANGUAGES."""
CONDITIONS = {
    "captions", "writer_here", "writer_elsewhere", "on_file", "asked_each_time", "verbal", "pause_all",
    "withhold_lane", "switched_off", "contact", "no_contact",
}  # fmt: skip
OFF = ("switched transcription off", "Mitschrift in dieser Praxis abgeschaltet", "la transcripción está desactivada")
LANGUAGES = ("en", "de", "es")


def clinic(**parts: Any) -> ClinicConfig:
    return ClinicConfig(**({"id": "harbour", "name": "Harbour {Practice}", "support_contact": "the office"} | parts))


def words(form: dict[str, Any]) -> str:
    parts = [one for section in form["sections"] for one in section["paragraphs"]]
    return "\n".join([form["intro"], *(f"{one['lead']} {one['text']}" for one in parts), *form["lines"]])


def test_every_language_has_the_same_parts() -> None:
    assert set(FORMS) == set(LANGUAGES)
    shapes = {
        tuple(tuple((one.when, bool(one.lead)) for one in section.paragraphs) for section in form.sections)
        for form in FORMS.values()
    }
    assert len(shapes) == 1
    assert len({(len(form.signature.lines), len(form.signature.on_file)) for form in FORMS.values()}) == 1
    used = {one.when for form in FORMS.values() for section in form.sections for one in section.paragraphs}
    assert used - {None} == CONDITIONS == set(HOLDS), "a condition that nobody uses, or that no test looks at"


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_says_what_the_settings_are_whatever_they_are(language: str) -> None:
    versions: set[str] = set()
    yes = (True, False)
    for captions, on_file, aloud, writer, joiner in itertools.product(yes, yes, yes, WRITERS, JOINERS):
        chosen = clinic(
            capture=CapturePolicy(client_captions=captions),
            note=NoteChoice.model_validate({"writer": writer}),
            consent=ConsentPolicy.model_validate(
                {"on_file": on_file, "verbal_attested": aloud, "late_joiner": joiner}
            ),
        )
        form = FORMS[language].fill(chosen, 3)
        said, versions = words(form), versions | {form["version"]}
        true = {
            "captions": captions,
            "writer_here": writer == "offline",
            "writer_elsewhere": writer == "openai",
            "on_file": on_file,
            "asked_each_time": not on_file,
            "verbal": aloud,
            "pause_all": joiner == "pause_all",
            "withhold_lane": joiner == "withhold_lane",
        }
        for when, by_language in SAID.items():
            assert (by_language[LANGUAGES.index(language)] in said) is true[when], (when, said)
        assert OFF[LANGUAGES.index(language)] not in said
        assert len(form["lines"]) == 3 + 2 * on_file
        assert "{" not in said.replace("Harbour {Practice}", "")
        assert "Harbour {Practice}" in said
    assert len(versions) == 32, "another text, another version"


@pytest.mark.parametrize(
    ("language", "sound", "kept"),
    [("en", "one hour", "3 days"), ("de", "1 Stunde nach", "3 Tage nach"), ("es", "1 hora después", "3 días después")],
)
def test_times_are_the_clinics_own(language: str, sound: str, kept: str) -> None:
    chosen = clinic(retention=Retention(transcript_days=3, erase_audio_within_h=1))
    said = words(FORMS[language].fill(chosen, 3))
    assert sound in said
    assert kept in said


@pytest.mark.parametrize("language", LANGUAGES)
def test_whom_to_turn_to_and_that_it_is_switched_off(language: str) -> None:
    form = FORMS[language].fill(clinic(), 7)
    assert "the office" in words(form)
    assert form["version"] in form["foot"]
    assert "7" in form["foot"]
    nobody = words(FORMS[language].fill(clinic(support_contact=""), 7))
    assert ": ." not in nobody
    assert "the office" not in nobody
    off = FORMS[language].fill(clinic(ai_features=AiFeatures(enabled=False)), 7)
    assert OFF[LANGUAGES.index(language)] in words(off)


def test_a_version_fits_where_an_attestation_is_stored_and_holds_the_texts_hash() -> None:
    for form in FORMS.values():
        made = form.fill(clinic(), 1)
        assert len(made["version"]) <= 32
        assert made["version"].endswith(made["sha256"][:8])
        assert form.fill(clinic(), 2)["version"] == made["version"], "the same words, whatever the settings' number"


def test_the_closest_language_is_chosen() -> None:
    assert choose(FORMS, "de-AT", clinic()) is FORMS["de"]
    assert choose(FORMS, "fr", clinic()) is FORMS["en"]
    spanish = clinic().model_copy(update={"asr": clinic().asr.model_copy(update={"language": "es"})})
    assert choose(FORMS, "", spanish) is FORMS["es"]
    assert choose({}, "de", clinic()) is None


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("{clinic} would", "{practice} would", "practice"),
        ("{sound} after", "{sound after", "braces"),
        ('when = "captions"', 'when = "sometimes"', "sections.1.paragraphs"),
        ('version = "2"', "", "version"),
        ('language = "en"', 'language = "fr"', "language"),
        ("[units]", "[units", "consent/en.toml"),
    ],
)
def test_a_file_that_is_wrong_is_refused_and_the_place_named(tmp_path: Path, old: str, new: str, path: str) -> None:
    folder = tmp_path / "consent"
    folder.mkdir()
    text = (default_config_dir() / "consent" / "en.toml").read_text("utf-8")
    assert old in text
    (folder / "en.toml").write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(ConfigInvalid, match=re.escape(path)):
        load_forms(tmp_path)
    assert load_forms(tmp_path / "nowhere") == {}


def test_english_is_plain() -> None:
    """Flesch and Kincaid's grade: at most 9, for a form that also speaks of keys and signatures."""
    assert isinstance(FORMS["en"], FormTemplate)
    text = words(FORMS["en"].fill(clinic(name="Harbour"), 1))
    said = re.findall(r"[a-z0-9]+", text.lower())
    sentences = len(re.findall(r"[.:]", text))
    syllables = sum(max(1, len(re.findall(r"[aeiouy]+", re.sub(r"e[ds]?$", "", word)))) for word in said)
    assert 0.39 * len(said) / sentences + 11.8 * syllables / len(said) - 15.59 <= 9
