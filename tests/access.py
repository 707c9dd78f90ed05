"""Who may do what: every role at every door, as one table.

It is tried cell by cell through the real doors (``tests/integration/test_access.py``), and ``docs/security.md`` shows
it word for word. A role at the platform's door is the person whom the key names or asks about: the key itself has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bot.events import CaptureAction, Role

PLATFORM, TOKEN, CHANNEL, SOCKET = "platform key", "session token", "data channel", "WebSocket"
DOORS = (PLATFORM, TOKEN, CHANNEL, SOCKET)
YES, PART = "yes", "a part"
FORBIDDEN, INVALID, NO_SUCH = "forbidden", "config-invalid", "not-found"
IMPOSSIBLE = "invalid-transition"

Cell = Mapping[Role, str]
"""By role: it may (``yes``), it may read a part of it, or the slug of the refusal."""


def all_(verdict: str) -> Cell:
    return dict.fromkeys(Role, verdict)


def clinician(others: str, *, own: str = YES) -> Cell:
    return {role: own if role is Role.CLINICIAN else others for role in Role}


@dataclass(frozen=True)
class Row:
    """One thing that is asked, and what comes of it at each door."""

    name: str
    platform: Cell
    token: Cell
    channel: Cell
    socket: Cell

    def at(self, door: str) -> Cell:
        return dict(zip(DOORS, (self.platform, self.token, self.channel, self.socket), strict=True))[door]


def _conducts(name: str) -> Row:
    channel = clinician(FORBIDDEN, own=IMPOSSIBLE if name == "start" else YES)
    return Row(name, clinician(INVALID), clinician(FORBIDDEN), channel, clinician(FORBIDDEN))


def _reads(name: str, token: Cell) -> Row:
    return Row(name, all_(YES), token, all_(INVALID), all_(INVALID))


DECISIONS = {"grant": "granted", "decline": "declined", "revoke": "revoked"}
OWN = {f"{verb} one's own consent": decision for verb, decision in DECISIONS.items()}
OTHERS = {f"{verb} somebody else's consent": decision for verb, decision in DECISIONS.items()}
ACTIONS = tuple(action.value for action in CaptureAction)
ON_FILE, ALOUD = "pass on consent on file", "attest that somebody else agreed aloud"
ATTESTS = (ON_FILE, ALOUD)
"""Where the clinic allows it; where it does not, each is refused to everybody."""
DESTROY = "withdraw, and have what was recorded destroyed"
COPY = "get a link to one's own copy"
SHARE = "say that somebody shares a microphone"
WRITE = "have the note written"
"""Of a session that waits for it: there is something to write from, and no note."""
READ_OWN, READ_OTHERS = "read one's own answers", "read somebody else's answers"

TABLE = (
    *(_conducts(action) for action in ACTIONS),
    Row("admit from the waiting room", all_(YES), clinician(FORBIDDEN), all_(INVALID), clinician(FORBIDDEN)),
    Row(SHARE, all_(YES), clinician(FORBIDDEN), all_(INVALID), all_(INVALID)),
    *(Row(name, all_(FORBIDDEN), all_(YES), all_(YES), all_(YES)) for name in OWN),
    *(Row(name, *[all_(FORBIDDEN)] * 4) for name in OTHERS),
    Row(DESTROY, all_(FORBIDDEN), all_(YES), all_(YES), all_(YES)),
    Row(COPY, all_(FORBIDDEN), all_(YES), all_(INVALID), all_(INVALID)),
    Row(ON_FILE, clinician(INVALID), all_(FORBIDDEN), all_(INVALID), all_(INVALID)),
    Row(ALOUD, all_(FORBIDDEN), clinician(FORBIDDEN), all_(FORBIDDEN), all_(FORBIDDEN)),
    _reads(READ_OWN, all_(YES)),
    _reads(READ_OTHERS, clinician(FORBIDDEN)),
    Row("ask for the status", all_(NO_SUCH), all_(NO_SUCH), clinician(PART), clinician(PART)),
    _reads("read the session", clinician(PART)),
    _reads("follow its events", clinician(PART)),
    _reads("read the transcript", clinician(FORBIDDEN)),
    _reads("add text for the note", clinician(FORBIDDEN)),
    _reads("read that text again", clinician(FORBIDDEN)),
    _reads(WRITE, clinician(FORBIDDEN)),
    _reads("read the note", clinician(FORBIDDEN)),
    Row("sign the note", all_(FORBIDDEN), clinician(FORBIDDEN), all_(INVALID), all_(INVALID)),
    _reads("read the receipts", clinician(FORBIDDEN)),
    _reads("read the inbox", all_(FORBIDDEN)),
    _reads("see to the clinic's webhooks", all_(FORBIDDEN)),
)
BY_NAME = {row.name: row for row in TABLE}


def _words(verdict: str) -> str:
    return verdict if verdict in {YES, PART} else f"`{verdict}`"


def words(cell: Cell) -> str:
    """A cell as the document says it."""
    own = cell[Role.CLINICIAN]
    [others] = {verdict for role, verdict in cell.items() if role is not Role.CLINICIAN}
    if own == others:
        return _words(own)
    return f"clinician {_words(own)}, others {_words(others)}"


def document() -> list[list[str]]:
    """The rows of the table as the document shows them, its head first."""
    return [["", *DOORS], *([row.name, *(words(row.at(door)) for door in DOORS)] for row in TABLE)]
