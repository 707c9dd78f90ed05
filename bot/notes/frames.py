"""The few words put around what somebody said: who, in answer to what, and when."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bot.notes.english import smooth
from bot.notes.units import Unit

LEFT_OUT = " … "
QUESTION_WORDS = 30
"""Longest question repeated before an answer; of a longer one its end is."""
QUOTE = re.compile(r"“([^”]*)”")
MOMENT = re.compile(r"^At (?P<moment>(?:\d+:)?\d{1,2}:\d\d), ")


def moment(ms: int) -> str:
    """A position on the call's clock as people read it: ``0:22``, ``1:02:03``."""
    seconds = ms // 1000
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def quoted(text: str) -> str:
    """``text`` between quotation marks; marks inside it become single ones."""
    inside = re.sub(r"[“”\"]", "'", text).strip()
    return f"“{inside}”"


def short(question: str) -> str:
    """The question, or the end of a long one."""
    words = question.split()
    return question if len(words) <= QUESTION_WORDS else "… " + " ".join(words[-QUESTION_WORDS:])


def joined(units: Sequence[Unit], *, verbatim: bool = False) -> str:
    """Units of one turn as one quote: what lies between two that do not follow on each other is marked as left out."""
    text, before = "", None
    for unit in units:
        words = unit.text if verbatim else smooth(unit.text)
        if not words:
            continue
        if before is not None:
            text += " " if unit.place == before.place + 1 else LEFT_OUT
        text += words
        before = unit
    text = text.rstrip(",;- ")
    if not verbatim:
        text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?", "…")) else text + "."
