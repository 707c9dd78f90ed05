"""A note for people to read: one HTML page that needs nothing else, with the evidence of each sentence beside it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bot.events import Evidence, NoteDraft, NoteSentence, SentenceStatus

_STYLE = "body{font:16px/1.5 sans-serif;max-width:46em;margin:2em auto;padding:0 1em}small{color:#555}"


def note_page(draft: NoteDraft, title: str, facts: Sequence[tuple[str, str]]) -> str:
    """The note under a title, with facts about it as pairs of name and value."""
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>',
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1><dl>",
        *(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts if value),
        "</dl>",
    ]
    if draft.notice:
        parts.append(f"<p><em>{escape(draft.notice)}</em></p>")
    for section in draft.sections:
        parts.append(f"<h2>{escape(section.title)}</h2>")
        parts += [_sentence(one) for one in section.sentences]
        if not section.sentences:
            parts.append(f"<p><small>{escape(section.placeholder)}</small></p>")
    if draft.held_back:
        parts += ["<h2>Held back: not borne by its evidence</h2>", *map(_sentence, draft.held_back)]
    return "\n".join(parts) + "\n"


def _sentence(sentence: NoteSentence) -> str:
    doubt = "" if sentence.status is SentenceStatus.SUPPORTED else f" [{sentence.status.value}]"
    evidence = "; ".join(map(_evidence, sentence.evidence))
    return f"<p>{escape(sentence.text)}{escape(doubt)}<br><small>{escape(evidence)}</small></p>"


def _evidence(item: Evidence) -> str:
    if item.start_ms is None or item.end_ms is None:
        return item.source.value
    return f"{item.source.value} {_clock(item.start_ms)} to {_clock(item.end_ms)}"


def _clock(ms: int) -> str:
    minutes, seconds = divmod(ms // 1000, 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
