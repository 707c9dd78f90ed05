from __future__ import annotations

import subprocess
import sys

import pytest

from bot.clinics import NoteChoice
from bot.errors import ConfigInvalid, NoteGenerationFailed
from bot.notes.extractive import ExtractiveWriter
from bot.notes.factory import choose
from bot.notes.failures import LASTING, REASONS, failed
from bot.notes.inbox import FAILURES, reason_of
from bot.notes.writer import OpenAiWriter
from tests.unit.notes.sessions import TEMPLATES

GOOD = {"writer": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "small"}


def test_without_an_endpoint_nothing_leaves_the_machine() -> None:
    assert isinstance(choose(NoteChoice(), TEMPLATES, {}), ExtractiveWriter)
    assert isinstance(choose(NoteChoice(base_url="https://x.example/v1"), TEMPLATES, {}), ExtractiveWriter)


def test_an_endpoint_is_used_when_it_is_named() -> None:
    writer = choose(NoteChoice(**GOOD), TEMPLATES, {})
    assert isinstance(writer, OpenAiWriter)
    assert writer.name == "openai/small prompt/5"


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"template": "gone"}, "note.template"),
        ({"base_url": ""}, "note.base_url"),
        ({"base_url": "file:///etc"}, "note.base_url"),
        ({"base_url": "https://u:p@x.example"}, "note.base_url"),
        ({"model": ""}, "note.model"),
        ({"api_key_env": "NO_SUCH_KEY"}, "note.api_key_env"),
    ],
)
def test_what_is_missing_is_named(change: dict[str, str], path: str) -> None:
    with pytest.raises(ConfigInvalid) as raised:
        choose(NoteChoice.model_validate(GOOD | change), TEMPLATES, {})
    assert raised.value.detail.startswith(path)


def test_a_key_does_not_show() -> None:
    writer = choose(NoteChoice.model_validate(GOOD | {"api_key_env": "K"}), TEMPLATES, {"K": "s3cret"})
    assert isinstance(writer, OpenAiWriter)
    assert "s3cret" not in repr(vars(writer))


def test_the_client_library_is_imported_only_to_write() -> None:
    code = "import sys, bot.notes.factory; sys.exit('openai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_cause_has_a_plain_reason() -> None:
    assert set(REASONS) >= LASTING
    for cause, reason in REASONS.items():
        error = failed(cause)
        assert isinstance(error, NoteGenerationFailed)
        assert error.slug == "note-generation-failed"
        assert error.detail == reason
        assert error.retryable is (cause not in LASTING)
        assert reason.endswith(".")


def test_the_inbox_says_why() -> None:
    assert reason_of("draft_ready", None) == "The draft note is ready for review."
    assert "transcript" in reason_of("transcript_expiring", None)
    assert reason_of("failed", "answer-cut-off").startswith("The note model's answer was cut off")
    assert (
        reason_of("failed", "never-heard-of")
        == reason_of("failed", None)
        == reason_of("failed", "note-generation-failed")
    )
    assert {"capture-no-audio", "audio-too-short", "transcription-failed"} <= set(FAILURES)
    with pytest.raises(ValueError, match="rumour"):
        reason_of("rumour", None)
