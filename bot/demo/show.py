"""The demo on a terminal: captions that firm up in place, states, the ledger, and what is left when it is over."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from bot.demo.call import DemoEvent, DemoResult, Scene

COLOURS = {"clinician": "cyan", "client": "magenta"}
OTHER = "green"
STATE_STYLES = {
    "Recording": "bold white on red",
    "Paused": "bold black on yellow",
    "Waiting for consent": "bold black on yellow",
    "Processing": "bold white on blue",
    "Draft ready": "bold white on green",
    "Could not generate": "bold white on red",
}
METER_FLOOR_DBFS = -60.0
METER_WIDTH = 12
LEDGER_PARTS = ("captured", "paused", "withheld", "absent", "lost")
REFRESH_HZ = 12
WIDEST_TITLE = 92
"""Columns of the opening words, which then break near their middle."""


def clock(ms: float) -> str:
    """Milliseconds on the call's clock as minutes and seconds."""
    return f"{int(ms) // 60_000:02d}:{int(ms) // 1000 % 60:02d}"


class Show:
    """Prints a demo's events as they come. A context manager; :meth:`event` is what ``run_demo`` calls."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._members: dict[str, Mapping[str, Any]] = {}
        self._bot: Mapping[str, Any] | None = None
        self._state: Mapping[str, Any] = {}
        self._state_at_s = 0.0
        self._levels: Mapping[str, Mapping[str, float]] = {}
        self._ledger: Mapping[str, Mapping[str, int]] = {}
        self._partials: dict[str, Mapping[str, Any]] = {}
        self._finals: set[str] = set()
        self._progress: Mapping[str, Any] | None = None
        self._texts: dict[str, Mapping[str, Any]] = {}
        self._live = Live(
            console=self._console, refresh_per_second=REFRESH_HZ, transient=True, get_renderable=self.board
        )

    def __enter__(self) -> Self:
        self._console.print(
            Panel(
                Text(
                    "One call, from the first word to the draft note: two synthetic voices over real WebRTC, "
                    "and nothing leaves this machine."
                ),
                width=min(WIDEST_TITLE, self._console.width),
                title="[bold]Quietnote[/bold]",
                border_style="blue",
                expand=False,
            )
        )
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    # -- events ------------------------------------------------------------------------------------------------------

    def event(self, event: DemoEvent) -> None:
        """Show one event."""
        data = event.data
        match event.scene:
            case Scene.NARRATION:
                self._line(Text(f"  {data['text']}", style="italic bright_black"))
            case Scene.ROSTER:
                self._roster(data)
            case Scene.STATE:
                self._new_state(data)
            case Scene.CAPTION:
                self._caption(data)
            case Scene.LEVELS:
                self._levels = data["levels"]
            case Scene.LEDGER:
                self._ledger = data["lanes"]
            case Scene.WARNING:
                self._line(Text(f"  warning: {data['slug']}", style="yellow"))
            case Scene.PROGRESS:
                self._progress = data
            case Scene.TRANSCRIPT:
                self._texts = {segment["id"]: segment for segment in data["segments"]}
            case Scene.NOTE:
                self._line(self._note(data))
            case Scene.INBOX:
                self._inbox(data["items"])
            case Scene.RECEIPT:
                self._receipts(data)
            case _:
                pass

    def _line(self, what: RenderableType) -> None:
        self._console.print(what)

    def _roster(self, data: Mapping[str, Any]) -> None:
        self._members = {member["participant_id"]: member for member in data["members"]}
        before, self._bot = self._bot, data["bot"]
        if before is None and self._bot is not None:
            self._line(
                Text.assemble("  + ", (self._bot["display_name"], "bold blue"), " is in the room; both can see it")
            )
        elif before is not None and self._bot is None:
            self._line(Text.assemble("  - ", (before["display_name"], "bold blue"), " left the room"))

    def _new_state(self, data: Mapping[str, Any]) -> None:
        old, self._state, self._state_at_s = self._state, data, time.monotonic()
        words = data["words"]
        if words == old.get("words"):
            return
        at = clock(data["now_ms"])
        if words == "Paused":
            self._line(Rule(Text(f"{at}  paused: nothing is heard, kept or written", style="yellow"), style="yellow"))
        elif old.get("words") == "Paused" and words == "Recording":
            self._line(Rule(Text(f"{at}  recording again", style="red"), style="red"))
        else:
            self._line(Text.assemble("  ", (f" {words} ", STATE_STYLES.get(words, "reverse"))))

    def _caption(self, data: Mapping[str, Any]) -> None:
        segment_id = data["segment_id"]
        if data["final"]:
            self._partials.pop(segment_id, None)
            if data["text"] and segment_id not in self._finals:
                self._finals.add(segment_id)
                self._line(self._said(data))
        elif segment_id not in self._finals:
            self._partials[segment_id] = data

    # -- people ------------------------------------------------------------------------------------------------------

    def _name(self, participant_id: str) -> tuple[str, str]:
        member = self._members.get(participant_id, {})
        return member.get("display_name", participant_id), COLOURS.get(member.get("role", ""), OTHER)

    def _said(self, caption: Mapping[str, Any]) -> Table:
        name, colour = self._name(caption["participant_id"])
        row = Table.grid(padding=(0, 1))
        row.add_column(width=6)
        row.add_column(width=11)
        row.add_column(ratio=1)
        firm = caption["final"]
        text = Text(caption["text"], style="default" if firm else "dim italic")
        if not firm:
            text.append(" …", style="dim")
        style = f"bold {colour}" if firm else f"dim {colour}"
        row.add_row(Text(clock(caption["start_ms"]), style="bright_black"), Text(name, style=style), text)
        return row

    # -- the board below the captions -------------------------------------------------------------------------------

    def board(self) -> RenderableType:
        """What stands below the captions right now: partials, the state, meters and ledgers."""
        parts: list[RenderableType] = [self._said(partial) for partial in list(self._partials.values())]
        capturing = self._state.get("capture") in {"capturing", "paused"}
        if capturing:
            parts += [Text(""), self._status(), self._lanes()]
        elif self._state.get("words") == "Processing":
            progress = self._progress
            done = f" {progress['step']} {progress['done']}/{progress['total']}" if progress else ""
            parts.append(Spinner("dots", text=f"Generating...{done}"))
        return Group(*parts)

    def _status(self) -> Text:
        words = self._state.get("words", "")
        now_ms = self._state.get("now_ms", 0) + (time.monotonic() - self._state_at_s) * 1000
        bot = self._bot or {}
        return Text.assemble(
            "  ",
            (f" {words} ", STATE_STYLES.get(words, "reverse")),
            f"  {clock(now_ms)}   ",
            (str(bot.get("display_name", "")), "blue"),
        )

    def _lanes(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for participant_id, ledger in list(self._ledger.items()):
            name, colour = self._name(participant_id)
            level = self._levels.get(participant_id, {}).get("rms_dbfs", METER_FLOOR_DBFS)
            lit = round(METER_WIDTH * min(1.0, max(0.0, 1 - level / METER_FLOOR_DBFS)))
            if self._state.get("capture") == "paused":
                lit = 0
            meter = Text("█" * lit, style=colour) + Text("░" * (METER_WIDTH - lit), style="bright_black")
            parts = "  ".join(
                f"{part} {ledger[f'{part}_ms'] / 1000:.1f} s"
                for part in LEDGER_PARTS
                if part in {"captured", "lost"} or ledger[f"{part}_ms"]
            )
            table.add_row(Text(f"  {name}", style=colour), meter, Text(parts, style="bright_black"))
        return table

    # -- what is left ------------------------------------------------------------------------------------------------

    def _note(self, note: Mapping[str, Any]) -> Panel:
        body: list[RenderableType] = []
        for section in note["sections"]:
            body.append(Text(section["title"], style="bold"))
            if not section["sentences"]:
                body.append(Padding(Text(section["placeholder"], style="dim italic"), (0, 0, 0, 2)))
            for sentence in section["sentences"]:
                line = Text(sentence["text"])
                for evidence in sentence["evidence"]:
                    line.append_text(self._cite(evidence))
                body.append(Padding(line, (0, 0, 0, 2)))
            body.append(Text(""))
        if note.get("notice"):
            body.append(Text(note["notice"], style="dim italic"))
        title = f"[bold]Draft note[/bold]  {note.get('template', '')}  by {note.get('writer', '')}"
        return Panel(Group(*body), title=title, border_style="green", padding=(1, 2))

    def _cite(self, evidence: Mapping[str, Any]) -> Text:
        if evidence.get("start_ms") is None:
            return Text(f"  [{evidence['source']}]", style="bright_black")
        segment = self._texts.get(evidence["source_id"], {})
        name, colour = self._name(segment.get("participant_id", ""))
        at = (clock(evidence["start_ms"]), colour)
        return Text.assemble(("  [", "bright_black"), at, (f" {name}".rstrip() + "]", "bright_black"))

    def _inbox(self, items: Sequence[Mapping[str, Any]]) -> None:
        for item in items:
            kind = str(item["kind"]).replace("_", " ")
            self._line(
                Text.assemble("  Notes inbox  ", (f" {kind} ", "bold white on green"), f"  {item['created_at']}")
            )

    def _receipts(self, data: Mapping[str, Any]) -> None:
        verdict = ("signature valid", "green") if data["valid"] else ("SIGNATURE NOT VALID", "bold red")
        for item in data["items"]:
            self._line(
                Text.assemble("  Erasure receipt  ", (f"{item['kind']}  ", "bold"), f"{item['created_at']}  ", verdict)
            )

    def result(self, result: DemoResult) -> None:
        """The figures at the end."""
        table = Table(title="What came of it", title_justify="left", show_header=False, box=None, padding=(0, 2))
        for label, text, good in rows(result):
            table.add_row(
                Text("✓" if good else "✗", style="green" if good else "bold red"), label, Text(text, style="bold")
            )
        self._line(Padding(table, (1, 0, 1, 0)))


def rows(result: DemoResult) -> list[tuple[str, str, bool]]:
    """What is claimed, the figure, and whether it holds."""
    return [
        ("final captions", str(result.captions_final), result.captions_final > 0),
        ("word errors against the script", f"{result.wer:.1%}", result.wer <= 0.1),
        ("the word said in the pause", "found" if result.codeword_leaked else "nowhere", not result.codeword_leaked),
        ("every sample accounted for", "yes" if result.ledger_closed else "no", result.ledger_closed),
        ("segments in the transcript", str(result.transcript_segments), result.transcript_segments > 0),
        ("sentences in the draft", str(result.note_sentences), result.note_sentences > 0),
        ("sentences without their evidence", str(result.evidence_missing), result.evidence_missing == 0),
        ("items in the inbox", str(result.inbox_items), result.inbox_items == 1),
        ("the audio", result.audio_state, result.audio_state == "erased"),
        ("erasure receipt", "valid" if result.receipt_valid else "not valid", result.receipt_valid),
        ("from Finish to the transcript", f"{result.seconds_end_to_transcript:.1f} s", True),
        ("from Finish to the draft", f"{result.seconds_end_to_draft:.1f} s", True),
    ]
