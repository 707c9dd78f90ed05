"""Clinics whose choices can never work, and those that wait for a variable."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot import fitness
from bot.asr.models import check_language
from bot.clinics import AsrChoice, CapturePolicy, ClinicConfig, NoteChoice
from bot.clock import ManualClock
from bot.errors import ConfigInvalid, LanguageUnsupported
from bot.notes.templates import load_templates
from bot.settings import default_config_dir
from bot.store.clinic_store import ClinicStore
from bot.store.db import Database

TEMPLATES = load_templates(default_config_dir())
ENDPOINT = {"writer": "openai", "base_url": "https://notes.example/v1", "model": "m"}


def clinic(language: str = "en", **note: str) -> ClinicConfig:
    choices = {"note": NoteChoice.model_validate(note), "asr": AsrChoice(language=language)}
    return ClinicConfig.model_validate({"id": "harbour", "name": "Harbour", **choices})


EXPECTING = ClinicConfig(id="harbour", name="Harbour", asr=AsrChoice(vocabulary=("sertraline",)))

HASTY = ClinicConfig(id="harbour", name="Harbour", capture=CapturePolicy(client_absent_s=60, one_sided_s=59))


def english(language: str) -> None:
    check_language("tiny.en", language)


@pytest.mark.parametrize(
    ("config", "setting"),
    [
        (clinic(template="nope"), "note.template"),
        (clinic(writer="openai"), "note.base_url"),
        (clinic(writer="openai", base_url="https://notes.example/v1"), "note.model"),
        (clinic(**ENDPOINT | {"base_url": "ftp://x"}), "note.base_url"),
        (clinic(language="fr"), "asr.language"),
        (EXPECTING, "asr.vocabulary"),
        (HASTY, "capture.one_sided_s"),
    ],
)
def test_what_can_never_work_is_named(config: ClinicConfig, setting: str) -> None:
    with pytest.raises(ConfigInvalid, match=rf"^clinic harbour: {setting}: ") as refused:
        fitness.check([config], TEMPLATES, english)
    assert "\n" not in refused.value.detail


def test_everything_that_is_wrong_is_named_at_once() -> None:
    never, not_yet = fitness.examine([clinic(language="fr", template="nope")], TEMPLATES, english)
    assert [line.split(": ")[1] for line in never] == ["note.template", "asr.language"]
    assert not not_yet


def test_a_variable_may_be_set_later(monkeypatch: pytest.MonkeyPatch) -> None:
    config = clinic(**ENDPOINT, api_key_env="HARBOUR_KEY")
    [line] = fitness.check([config], TEMPLATES, english)
    assert line == "clinic harbour: note.api_key_env: the environment variable 'HARBOUR_KEY' is not set"
    monkeypatch.setenv("HARBOUR_KEY", "s3cret")
    assert fitness.check([config], TEMPLATES, english) == []


@pytest.mark.parametrize(("model", "known", "unknown"), [("tiny.en", "en-GB", "fr"), ("base", "fr", "xx")])
def test_a_language_is_checked_without_weights(model: str, known: str, unknown: str) -> None:
    check_language(model, known)
    with pytest.raises(LanguageUnsupported):
        check_language(model, unknown)
    check_language("/nowhere/at/all", "fr")


async def test_a_clinic_that_is_known_already_is_told_of_and_the_others_are_served(tmp_path: Path) -> None:
    db = Database(f"sqlite+aiosqlite:///{tmp_path / 'quietnote.db'}")
    await db.open()
    try:
        store = ClinicStore(db, ManualClock())
        await store.seed({"harbour": clinic(template="nope")})
        told = await fitness.seed(store, default_config_dir(), english)
        assert told == ["clinic harbour: note.template: there is no template 'nope'"]
        assert await store.ids() == ["demo", "harbour"]
    finally:
        await db.close()
