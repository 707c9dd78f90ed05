"""``quietnote transcribe --json`` gives a transcript as the API does."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import pytest

from bot.asr import command
from bot.control.api import answers
from bot.media.decode import decode
from bot.settings import Settings
from tests.integration.test_cli import SOUND


def short(folder: Path) -> Path:
    """The first seconds of what a participant of the demo says."""
    path, blocks = folder / "short.wav", decode(SOUND)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        for _ in range(12):
            file.writeframes(next(blocks).tobytes())
    return path


def test_a_recordings_transcript_is_the_apis(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.transcribe(short(tmp_path), Settings(data_dir=tmp_path / "data"), as_json=True, language="en")
    told = json.loads(capsys.readouterr().out)
    assert told.pop("model") == "tiny.en"
    assert told["segments"], "nothing was recognised"
    for segment in told["segments"]:
        assert " ".join(word["text"].strip() for word in segment.pop("words")) == segment["text"]
        assert segment["confidence"] == round(segment["confidence"], 4)
    assert answers.Transcript.model_validate(told).gaps == []
