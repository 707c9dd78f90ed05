"""The bundled conversation: two lanes on one clock, and what is said in them when."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

ASSETS = Path(__file__).resolve().parent / "assets"


@dataclass(frozen=True, slots=True)
class Turn:
    """One thing said. Off the record means: while recording is paused."""

    lane: str
    text: str
    start_ms: int
    end_ms: int
    off_record: bool


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Made by tools/make_dialogue.py."""

    folder: Path
    title: str
    duration_ms: int
    pause_at_ms: int
    resume_at_ms: int
    code_word: str
    """Said only while recording is paused: it must be found nowhere."""
    lanes: dict[str, str]
    """File name of each lane."""
    turns: tuple[Turn, ...]
    licence: str

    def path(self, lane: str) -> Path:
        """The lane's sound."""
        return self.folder / self.lanes[lane]

    def on_record(self, lane: str) -> str:
        """All that a lane says while it is recorded."""
        return " ".join(turn.text for turn in self.turns if turn.lane == lane and not turn.off_record)


def load(folder: Path = ASSETS) -> Dialogue:
    """Read ``dialogue.json``."""
    about = json.loads((folder / "dialogue.json").read_text("utf-8"))
    turns = tuple(Turn(**turn) for turn in about.pop("turns"))
    return Dialogue(folder=folder, turns=turns, **about)
