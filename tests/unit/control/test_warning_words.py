"""Every warning a session can have is explained to those who read the API, and to those who read a page."""

from __future__ import annotations

import re
from pathlib import Path

from bot.control.botrun import SET_ASIDE
from bot.control.callmedia import NOT_KEPT
from bot.control.faults import FAULTS
from bot.control.keeping import DISK_FULL, STORAGE
from bot.control.leaving import ENDINGS

ROOT = Path(__file__).parents[3]
GIVEN = {SET_ASIDE, NOT_KEPT, DISK_FULL, STORAGE, "audio-lost", "ledger-open", "overloaded"} | FAULTS | ENDINGS


def explained() -> set[str]:
    """The slugs of the table of warnings in docs/signalling.md."""
    text = (ROOT / "docs" / "signalling.md").read_text()
    table = text.split("| warning | what it means |", 1)[1].split("\n\n", 1)[0]
    return {slug for row in table.splitlines() for slug in re.findall(r"`([a-z-]+)`", row.split("|")[1] if row else "")}


def worded() -> set[str]:
    """The slugs that the pages have words for."""
    text = (ROOT / "bot" / "control" / "ui" / "js" / "warningwords.js").read_text()
    table = text.split("const WARNINGS = {", 1)[1].split("};", 1)[0]
    return set(re.findall(r'^  "?([a-z-]+)"?:', table, re.MULTILINE))


def test_every_warning_is_explained_and_has_words() -> None:
    assert explained() == GIVEN
    assert worded() >= GIVEN
