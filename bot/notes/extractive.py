"""The offline writer: a draft of sentences lifted from the session, lightly framed, each with where it stands.

It is no summariser and does not pretend to be one. It picks sentences by a template's rules and by how much they say
(TF-IDF), says who said them, and puts them in quotes. It rewords nothing, concludes nothing, and two runs over the
same session give the same draft.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from bot.events import (
    CLIENT_SIDE,
    Evidence,
    EvidenceSource,
    NoteDraft,
    NoteRequest,
    NoteSection,
    NoteSentence,
    Role,
    SentenceStatus,
    TextInput,
)
from bot.notes.contract import Progress
from bot.notes.cues import Cues, plain
from bot.notes.english import HESITATIONS, HOUSEKEEPING, LANGUAGE, SMALL_TALK, smooth, word_set
from bot.notes.failures import failed
from bot.notes.frames import joined, moment, quoted, short
from bot.notes.gaps import Holes
from bot.notes.hashes import text_sha256
from bot.notes.select import Picks, always_asked, always_match, asked_about, pick, place_text, small_talk
from bot.notes.spans import sentences_of
from bot.notes.speakers import Speakers
from bot.notes.tails import tail, told
from bot.notes.templates import Section, Template
from bot.notes.units import ANSWERED_UNITS, Next, Open, Turn, Unit, answers, evidence_of, opening, read

WRITER = "extractive/4"
REPLY_WORDS = 14
"""Longest reply that goes with a plan."""
STANDS_ALONE_STEMS = 4
"""An answer with fewer words of content is given with its question."""
SAYS_ENOUGH_STEMS = 2
"""A question with fewer words of content is given with the sentence before it."""
OPEN_QUESTIONS = 3
"""Most questions without an answer that a section gets, those of ``always`` rules not counted."""
_PARTICLES = word_set(
    "yes yeah yep yup no nope not nah sometimes maybe probably never always usually about around only sure okay ok "
    "well once twice none nothing everything both it it's they that that's because 'cause since until just kind sort"
)
_LIMITS = Cues(
    [
        *("^but", "^though", "^although", "^not", "^it's just"),
        *("^i wouldn't", "^i would never", "^i don't", "^i haven't"),
    ]
)
_WEAK_REPLY = word_set("ok okay right sure yeah alright great good all so much you thank thanks")

NOTICE = (
    "Put together on this machine from sentences lifted out of the session and quoted, not written by a model: "
    "hesitations and repeated words were left out, first letters and end marks were set, nothing else was changed and "
    "nothing concluded; what was not picked stands only in the transcript."
)
TYPED_NOTICE = (
    "Made from a typed summary and not from a recording: put together on this machine from the sentences that were "
    "typed, unchanged and {sorted}, not written by a model; nothing was added and nothing concluded."
)
TYPED_SORTED = "sorted into sections by rules"
TYPED_UNSORTED = "left unsorted, as its rules know only the language “{known}”"
NOT_TYPED_HERE = "Nothing of the typed summary was put here."
"""Stands in an empty section of such a note: what was discussed nobody heard, and a rule may have sorted it wrongly."""
NO_RULES = " Its rules know only the language “{known}”, so sentences were picked by weight alone and left unsorted."


class ExtractiveWriter:
    """Drafts without any model. Safe to share: it keeps nothing between two drafts."""

    def __init__(self, templates: Mapping[str, Template]) -> None:
        self._templates = dict(templates)

    async def write(self, request: NoteRequest, progress: Progress) -> NoteDraft:
        """Write the draft, off the event loop. Raises NoteGenerationFailed when there is nothing to write from."""
        template = self._templates.get(request.template_id)
        if template is None:
            raise failed("template-unknown")
        total = len(template.sections)
        progress("reading", 0, total)
        draft = await asyncio.to_thread(compose, template, request)
        for done, section in enumerate(template.sections, start=1):
            progress(section.key, done, total)
        return draft


def compose(template: Template, request: NoteRequest) -> NoteDraft:
    """The draft of a session, by one template. Pure."""
    turns = read(request.transcript)
    if not any(turn.units for turn in turns) and not any(item.text.strip() for item in request.inputs):
        raise failed("nothing-to-write-from")
    knows = request.language[:2] == template.language == LANGUAGE
    picks = pick(template, turns, cues=knows)
    holes = Holes(request.transcript)
    composer = _Composer(template, turns, picks, holes, cues=knows)
    typed = _typed(template, request.inputs, sort=knows)
    unheard = not any(turn.units for turn in turns)
    sections = []
    for section in template.sections:
        found = [*composer.section(section), *typed.get(section.key, [])]
        sentences = tuple(replace(s, sentence_id=f"{section.key}.{n}") for n, s in enumerate(found, start=1))
        empty = NOT_TYPED_HERE if unheard else holes.placeholder(section.placeholder)
        sections.append(NoteSection(section.key, section.title, sentences, empty))
    return NoteDraft(
        template_id=template.id,
        template_version=template.version,
        writer=WRITER,
        sections=tuple(sections),
        coverage=1.0,
        notice=_typed_notice(template, knows) if unheard else _notice(template, knows) + holes.notice(),
    )


def _notice(template: Template, knows: bool) -> str:
    return NOTICE + ("" if knows else NO_RULES.format(known=template.language))


def _typed_notice(template: Template, knows: bool) -> str:
    how = TYPED_SORTED if knows else TYPED_UNSORTED.format(known=template.language)
    return TYPED_NOTICE.format(sorted=how)


class _Composer:
    def __init__(self, template: Template, turns: Sequence[Turn], picks: Picks, holes: Holes, *, cues: bool) -> None:
        self._template = template
        self._turns = turns
        self._picks = picks
        self._holes = holes
        self._cues = cues
        self._speakers = Speakers(turns)
        self._written: set[str] = set()
        self._replied: set[int] = set()
        for section in template.sections:
            self._replied |= {t.index for u in picks.by_section.get(section.key, []) if (t := self._reply(u))}

    def section(self, section: Section) -> list[NoteSentence]:
        """The section's sentences, in the order of speech."""
        made = [*self._always(section), *self._picked(section), *self._open(section)]
        return [sentence for _, sentence in sorted(made, key=lambda item: item[0])]

    # -- what rules and weight picked ----------------------------------------------------------------------------------

    def _picked(self, section: Section) -> list[tuple[int, NoteSentence]]:
        by_turn: dict[int, list[Unit]] = {}
        for unit in sorted(self._picks.by_section.get(section.key, []), key=lambda u: u.index):
            by_turn.setdefault(unit.turn, []).append(unit)
        made = []
        for turn_index, units in by_turn.items():
            if turn_index in self._replied and all(u.role in CLIENT_SIDE for u in units):
                continue  # it stands with what it replies to
            sentence = self._sentence(self._turns[turn_index], units)
            if sentence is not None:
                made.append((units[0].index, sentence))
        return made

    def _sentence(self, turn: Turn, units: list[Unit]) -> NoteSentence | None:
        said = joined(units)
        if not plain(said):
            return None
        speaker = self._speakers.name(turn)
        used = list(units)
        if turn.question and _needs_question(turn, units[0]):
            asked = self._question(turn.question[-1])
            text = f"Asked {quoted(short(joined(asked)))}, {speaker.lower()} said: {quoted(said)}"
            used = [*asked, *units]
        else:
            text = f"{speaker} said: {quoted(said)}"
        if plain(text) in self._written:
            return None
        self._written.add(plain(text))
        reply = next((r for u in units if (r := self._reply(u))), None)
        if reply is not None:
            text += f" {self._speakers.name(reply)} answered: {quoted(smooth(' '.join(u.text for u in reply.units)))}"
            used += reply.units
        return NoteSentence("", text, SentenceStatus.SUPPORTED, evidence_of(used))

    def _question(self, unit: Unit) -> list[Unit]:
        """The question, with the sentence before it where it says little by itself ("Did you try it?")."""
        if unit.place == 0 or len(unit.stems) >= SAYS_ENOUGH_STEMS:
            return [unit]
        before = self._turns[unit.turn].units[unit.place - 1]
        return [unit] if before.hollow or small_talk(before) else [before, unit]

    def _reply(self, unit: Unit) -> Turn | None:
        """The short answer to something a rule with ``replies`` picked."""
        rule = self._picks.rules.get(unit.index)
        last = self._turns[unit.turn].units[-1]
        if rule is None or not rule.replies or unit.role is not Role.CLINICIAN or last.place - unit.place > 1:
            return None
        turn = self._turns[unit.turn + 1] if unit.turn + 1 < len(self._turns) else None
        if turn is None or not answers(turn, unit, self._holes):
            return None
        if turn.role not in CLIENT_SIDE or sum(u.words for u in turn.units) > REPLY_WORDS:
            return None
        if any(always_match(self._template, turn, u) for u in turn.units):
            return None
        said = " ".join(SMALL_TALK.without(u.plain) for u in turn.units if not small_talk(u)).split()
        return turn if any(word not in _WEAK_REPLY and word not in HESITATIONS for word in said) else None

    def _open(self, section: Section) -> list[tuple[int, NoteSentence]]:
        """Questions of this section whose answer may lie in a gap: asked, and never shown with another's answer."""
        made = []
        for turn in self._turns if self._cues else ():
            for one in turn.open:
                if asked_about(self._template, one.unit) is not section or HOUSEKEEPING.search(one.unit.plain):
                    continue
                asked = self._question(one.unit)
                text = f"Asked {quoted(short(joined(asked)))}{one.missing}"
                made.append((one.unit.index, NoteSentence("", text, SentenceStatus.SUPPORTED, evidence_of(asked))))
        return made[:OPEN_QUESTIONS]

    # -- what must never be left out ----------------------------------------------------------------------------------

    def _always(self, section: Section) -> list[tuple[int, NoteSentence]]:
        """Statements quoted word for word with their moment, and with the question they answer."""
        asked: dict[int, set[Unit]] = {}
        said: dict[int, set[Unit]] = {}
        for unit in self._picks.always.get(section.key, []):
            turn = self._turns[unit.turn]
            if unit.asks and unit.role is Role.CLINICIAN:
                answer = self._answer(unit)
                if answer is not None:
                    asked.setdefault(answer.index, set()).update(answer.question)
                    said.setdefault(answer.index, set()).update(opening(answer))
                    continue
            elif turn.question and unit.place < ANSWERED_UNITS:
                asked.setdefault(turn.index, set()).update(turn.question)
                said.setdefault(turn.index, set()).update(opening(turn))
            said.setdefault(turn.index, set()).update([unit, *_goes_on(turn, unit)])
        tails = self._tails(asked, said)
        made = []
        for turn_index, units in said.items():
            spoken = sorted(units, key=_place)
            questions = sorted(asked.get(turn_index, set()), key=_place)
            if spoken:
                heard = tails.get(turn_index, ())
                made.append((spoken[0].index, self._exchange(self._turns[turn_index], questions, spoken, heard)))
        return made

    def _answer(self, unit: Unit) -> Turn | None:
        """What was said to a question; a mere sound only where no gap hides what came after it."""
        turns = [turn for turn in self._turns[unit.turn + 1 :] if unit in turn.question]
        spoken = [turn for turn in turns if opening(turn)]
        sounds = [] if unit in self._turns[unit.turn].unanswered else turns
        return next(iter([*spoken, *sounds]), None)

    def _tails(self, asked: Mapping[int, set[Unit]], said: Mapping[int, set[Unit]]) -> dict[int, tuple[Next, ...]]:
        """What was heard next beyond a gap, by the turn it is told with: the last one before it. Taken out of ``said``.

        What stands in the section with a question of its own is told there.
        """
        tails: dict[int, tuple[Next, ...]] = {}
        told_of = set(asked)
        for turn_index in sorted(said, reverse=True):
            turn = self._turns[turn_index]
            if turn_index in asked:
                risky = any(always_asked(self._template, question) for question in turn.question)
                heard = turn.goes_on if risky else ()
            else:
                open_ = _last_open(turn, said[turn_index])
                heard = open_.heard if open_ is not None else ()
            if not heard or heard[0].turn.index in told_of:
                continue
            tails[turn_index] = heard
            for part in heard:
                told_of.add(part.turn.index)
                said.get(part.turn.index, set()).difference_update(part.units)
        return tails

    def _exchange(self, turn: Turn, asked: list[Unit], units: list[Unit], heard: Sequence[Next]) -> NoteSentence:
        speaker, said = self._speakers.name(turn).lower(), quoted(joined(units, verbatim=True))
        at = moment(units[0].segments[0].start_ms)
        if asked:
            text = f"At {at}, asked {quoted(joined(asked, verbatim=True))}, {speaker} said: {said}"
        else:
            text = f"At {at}, {speaker} {'asked' if units[-1].asks else 'said'}: {said}"
        open_ = _last_open(turn, units)
        if heard:
            text += tail(heard, self._speakers)
        elif open_ is not None:
            text += open_.missing
        return NoteSentence("", text, SentenceStatus.SUPPORTED, evidence_of([*asked, *units, *told(heard)]))


def _last_open(turn: Turn, units: Collection[Unit]) -> Open | None:
    return next((one for one in reversed(turn.open) if one.unit in units), None)


def _place(unit: Unit) -> int:
    return unit.index


def _goes_on(turn: Turn, unit: Unit) -> list[Unit]:
    """The next sentence, where it takes back or limits the one before it."""
    after = turn.units[unit.place + 1 : unit.place + 2]
    return [u for u in after if _LIMITS.search(u.plain)]


def _needs_question(turn: Turn, unit: Unit) -> bool:
    """True for the beginning of an answer that means little without its question."""
    if unit not in opening(turn):
        return False
    words = [word for word in unit.plain.split() if word not in HESITATIONS]
    return len(unit.stems) < STANDS_ALONE_STEMS or words[0] in _PARTICLES or words[0][0].isdigit()


def _typed(template: Template, inputs: Sequence[TextInput], *, sort: bool) -> dict[str, list[NoteSentence]]:
    """Every sentence a clinician typed, unchanged, by section."""
    typed: dict[str, list[NoteSentence]] = {}
    for item in inputs:
        evidence = (Evidence(EvidenceSource.INPUT, item.input_id, sha256=text_sha256(item.text)),)
        for text in sentences_of(item.text):
            section = place_text(template, item.kind, plain(text)) if sort else template.section_for_input(item.kind)
            sentence = NoteSentence("", text, SentenceStatus.CLINICIAN_ENTERED, evidence)
            typed.setdefault(section.key, []).append(sentence)
    return typed
