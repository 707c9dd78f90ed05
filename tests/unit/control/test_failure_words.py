"""The pages have words for every cause that a note can fail for."""

from __future__ import annotations

import re

import pytest

from bot.errors import ConfigInvalid, StorageUnavailable
from bot.notes.failures import AGAIN_AFTER_S, PASSING, REASONS
from bot.notes.inbox import FAILURES
from tests.conftest import ROOT

WORDS = (ROOT / "bot" / "control" / "ui" / "js" / "words.js").read_text("utf-8")
ENTRY = re.compile(r'^  "?([\w-]+)"?: \[\s*"(.+?)",\s*"(.+?)",?\s*\]', re.MULTILINE)
ENTRIES = WORDS.split("\nconst FAILURES = {")[1].split("\n};")[0]
TABLE = {key: (title, words) for key, title, words in ENTRY.findall(ENTRIES)}
CAUSES = {*REASONS, *FAILURES, *StorageUnavailable.CAUSES, ConfigInvalid.slug, "timeout"}


@pytest.mark.parametrize("cause", sorted(CAUSES))
def test_every_cause_has_a_title_and_words(cause: str) -> None:
    title, words = TABLE[cause]
    assert not title.endswith(".")
    assert words.endswith(".")


def test_what_the_service_says_of_a_cause_the_pages_say_too() -> None:
    assert {cause: TABLE[cause][1] for cause in REASONS} == dict(REASONS)


def test_the_pages_say_what_is_tried_again() -> None:
    named = WORDS.split("\nconst PASSING = new Set([")[1].split("]")[0]
    assert set(re.findall(r'"([\w-]+)"', named)) == PASSING
    assert round(sum(AGAIN_AFTER_S) / 3600) == 3
