"""The table of who may do what: whole, shown in the document, and what the one gatekeeper decides by."""

from __future__ import annotations

import re

import pytest

from bot.control.capture import PARTICIPANT_MAY, PLATFORM_MAY, Action
from bot.events import Role
from tests.access import (
    ACTIONS,
    ALOUD,
    BY_NAME,
    COPY,
    DESTROY,
    DOORS,
    ON_FILE,
    OTHERS,
    OWN,
    PLATFORM,
    READ_OWN,
    SHARE,
    TABLE,
    TOKEN,
    WRITE,
    YES,
    document,
)
from tests.conftest import ROOT

ASKED: dict[Action, tuple[str, ...]] = {
    Action.CAPTURE: ACTIONS,
    Action.ADMIT: ("admit from the waiting room",),
    Action.DECLARE_SHARED: (SHARE,),
    Action.GRANT: ("grant one's own consent",),
    Action.DECLINE: ("decline one's own consent",),
    Action.REVOKE: ("revoke one's own consent",),
    Action.DESTROY: (DESTROY,),
    Action.GET_COPY: (COPY,),
    Action.ATTEST_ON_FILE: (ON_FILE,),
    Action.ATTEST_ALOUD: (ALOUD,),
    Action.READ_CONSENT: (READ_OWN,),
    Action.READ_STATE: ("read the session", "follow its events"),
    Action.READ_TRANSCRIPT: ("read the transcript", "read the receipts"),
    Action.READ_NOTE: ("read the note",),
    Action.ADD_INPUT: ("add text for the note",),
    Action.READ_INPUTS: ("read that text again",),
    Action.WRITE_NOTE: (WRITE,),
    Action.SIGN: ("sign the note",),
}
"""What each permission is about, of the table's rows. Captions are part of the events."""


def test_every_cell_has_its_word() -> None:
    for row in TABLE:
        for door in DOORS:
            assert set(row.at(door)) == set(Role), (row.name, door)
    assert len(BY_NAME) == len(TABLE)
    assert set(OWN) | set(OTHERS) <= set(BY_NAME)


def test_the_document_shows_the_table() -> None:
    text = (ROOT / "docs" / "security.md").read_text("utf-8").split("\n## Who may do what\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in text.splitlines() if line.startswith("|") and not set(line) <= set("|- :")]
    assert [[cell.strip() for cell in re.split(r"\|", line)[1:-1]] for line in lines] == document()


@pytest.mark.parametrize("action", [action for action in Action if action is not Action.READ_CAPTIONS])
def test_the_gatekeeper_decides_by_it(action: Action) -> None:
    for name in ASKED[action]:
        row = BY_NAME[name]
        assert {role for role, verdict in row.at(TOKEN).items() if not _refused(verdict)} == PARTICIPANT_MAY[action]
        assert (row.at(PLATFORM)[Role.CLINICIAN] == YES) == (action in PLATFORM_MAY), name


def _refused(verdict: str) -> bool:
    return verdict == "forbidden"
