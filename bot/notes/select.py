"""What the offline writer picks: which sentences of a session go into which section, by the template's rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bot.events import CLIENT_SIDE, Role
from bot.notes.cues import Cues
from bot.notes.english import HOUSEKEEPING, SMALL_TALK, numbers, word_set
from bot.notes.salience import Matrix, salience, tfidf
from bot.notes.templates import Rule, Section, Template
from bot.notes.units import ANSWERED_UNITS, Turn, Unit

ASKED_SHARE = 0.7
"""What a match in the question counts beside one in the sentence itself."""
REST_WEIGHT = 0.3
LEAST_VALUE = 0.6
"""Sentences worth less stay in the transcript only."""
SAID_BEFORE = 0.75
"""Cosine from which a sentence says what a picked one has said."""
FADES = 0.72
"""What each further sentence of the same rule counts beside the one before it, so that every subject gets its turn."""
SMALL_TALK_REST = 6
"""Words beside a greeting from which a sentence is more than one."""
_BREAKS_OFF = word_set("i and but so the a i'm 'cause of")
LONG_WORDS = 18


@dataclass(slots=True)
class Picks:
    """Units by section; risk apart, because it is quoted whole."""

    by_section: dict[str, list[Unit]] = field(default_factory=dict)
    rules: dict[int, Rule] = field(default_factory=dict)
    """The rule that placed a unit, by the unit's index; none for ``takes_rest``."""
    always: dict[str, list[Unit]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Candidate:
    unit: Unit
    section: Section
    rule: Rule | None
    value: float


def pick(template: Template, turns: Sequence[Turn], *, cues: bool = True) -> Picks:
    """Choose sentences for every section. ``cues`` off: the rules are in another language, so only salience counts."""
    units = [unit for turn in turns for unit in turn.units]
    if not units:
        return Picks()
    matrix = tfidf([unit.stems for unit in units])
    weight = salience(matrix)
    picks = Picks()
    candidates: list[_Candidate] = []
    for unit in units:
        turn = turns[unit.turn]
        found = always_match(template, turn, unit) if cues else None
        if found is not None:
            picks.always.setdefault(found.key, []).append(unit)
            continue
        if unit in turn.unanswered:
            continue  # whether anybody agreed to it is not known
        where = unit.index / max(1, len(units) - 1)
        best = _best(template, turn, unit, float(weight[unit.index]), where, cues=cues)
        if best is not None:
            candidates.append(best)
    _choose(template, turns, candidates, matrix, picks)
    return picks


def always_match(template: Template, turn: Turn, unit: Unit) -> Section | None:
    """The section whose ``always`` rule this unit falls under, or None."""
    for section in template.sections:
        for rule in section.rules:
            open_ = rule.always and unit in turn.unanswered and _asked(rule, unit)
            if open_ or (rule.always and _matches(rule, section, turn, unit) > 0):
                return section
    return None


def always_asked(template: Template, unit: Unit) -> bool:
    """True when a question is one whose answer an ``always`` rule takes."""
    return any(rule.always and _asked(rule, unit) for section in template.sections for rule in section.rules)


def asked_about(template: Template, unit: Unit) -> Section | None:
    """The section a question asks for, or None; none for what an ``always`` rule takes."""
    best, weight = None, 0.0
    for section in template.sections:
        for rule in section.rules:
            if not _held(rule, unit.plain, rule.question):
                continue
            if rule.always:
                return None
            if rule.weight > weight:
                best, weight = section, rule.weight
    return best


def place_text(template: Template, kind: str, words: str) -> Section:
    """The section for a sentence a clinician typed: where a rule says so, else where its kind goes."""
    default = template.section_for_input(kind)
    best, value = default, 0.0
    for section in template.sections:
        for rule in section.rules:
            if not _held(rule, words, rule.said):
                continue
            worth = rule.weight if rule.always or Role.CLINICIAN in (rule.roles or section.roles) else 0.0
            if worth > value and (kind != "observation" or rule.always):
                best, value = section, worth
    return best


def _matches(rule: Rule, section: Section, turn: Turn, unit: Unit) -> float:
    if unit.role not in (rule.roles or section.roles) or (rule.veto.search(unit.plain) and not rule.always):
        return 0.0
    worth = 0.0
    hits = _held(rule, unit.plain, rule.said)
    if hits:
        worth = 1.0 + 0.2 * min(hits - 1, 2)
    questions = turn.question + (turn.after if rule.always else ())
    if unit.place < ANSWERED_UNITS and any(_asked(rule, q) for q in questions):
        worth = max(worth + 0.2, ASKED_SHARE) if worth else ASKED_SHARE
    if not worth and rule.always and unit.asks and unit.role is Role.CLINICIAN and _asked(rule, unit):
        worth = 1.0
    return worth * rule.weight


def _held(rule: Rule, words: str, cues: Cues) -> int:
    """How many cues the words hold. What an ``always`` rule excepts is passed over, the rest of the sentence is not."""
    if rule.always:
        return sum(cues.count(part) for part in rule.veto.parts(words))
    return 0 if rule.veto.search(words) else cues.count(words)


def _asked(rule: Rule, question: Unit) -> bool:
    return (_held(rule, question.plain, rule.question) if rule.always else rule.question.count(question.plain)) > 0


def _best(template: Template, turn: Turn, unit: Unit, weight: float, where: float, *, cues: bool) -> _Candidate | None:
    if _says_nothing(turn, unit):
        return None
    extra = 0.6 * weight + _telling(unit)
    best: _Candidate | None = None
    for section in template.sections:
        for rule in section.rules if cues else ():
            worth = _matches(rule, section, turn, unit)
            if rule.always or not worth or (unit.asks and not (rule.replies and unit.role is Role.CLINICIAN)):
                continue
            worth = worth * (1.0 - rule.late + 2 * rule.late * where) + extra
            if best is None or worth > best.value:
                best = _Candidate(unit, section, rule, worth)
        told = unit.role in section.roles and unit.role is not Role.CLINICIAN and not unit.asks
        if best is None and section.takes_rest and told:
            opening = 0.3 * (1.0 - where) if unit.role in CLIENT_SIDE else 0.0
            best = _Candidate(unit, section, None, REST_WEIGHT + opening + extra)
    return best


def _says_nothing(turn: Turn, unit: Unit) -> bool:
    """Fragments, listeners' sounds, greetings, talk about the call itself."""
    answers = bool(turn.question) and unit.place < ANSWERED_UNITS
    if answers and (any(HOUSEKEEPING.search(q.plain) for q in turn.question) or all(map(small_talk, turn.question))):
        return True
    if HOUSEKEEPING.search(unit.plain):
        return True
    if small_talk(unit):
        return True
    if answers:
        return False
    return unit.hollow or len(unit.stems) < 2 or unit.words < 4


def small_talk(unit: Unit) -> bool:
    """Greetings and thanks, with little or nothing else in the sentence."""
    return SMALL_TALK.search(unit.plain) and len(SMALL_TALK.without(unit.plain).split()) < SMALL_TALK_REST


def _telling(unit: Unit) -> float:
    words = unit.plain.split()
    value = 0.25 if numbers(unit.text) else 0.0
    if unit.role in CLIENT_SIDE and any(word in {"i", "i'm", "i've", "my", "me", "i'd", "i'll"} for word in words):
        value += 0.2
    if len(unit.stems) >= 4:
        value += 0.15
    value -= 0.02 * max(0, unit.words - LONG_WORDS)
    if unit.text.rstrip().endswith(("...", "…", ",", "-")) or words[-1] in _BREAKS_OFF:
        value -= 0.5
    return value


def _choose(
    template: Template, turns: Sequence[Turn], candidates: list[_Candidate], matrix: Matrix, picks: Picks
) -> None:
    """Take the best sentence left, again and again: each pick makes its like, and its own rule, worth less."""
    left_words = template.max_words
    sentences = sum(section.max_sentences for section in template.sections)
    share = {section.key: left_words * section.max_sentences // sentences for section in template.sections}
    used: dict[tuple[str, str], int] = {}
    turns_of: dict[str, set[int]] = {section.key: set() for section in template.sections}
    nearest = np.zeros(len(matrix), dtype=np.float32)
    places: set[tuple[int, int]] = set()
    for rest in (False, True):  # first each section's share of the words, then what is left to whom it serves most
        left = [c for c in candidates if (c.unit.turn, c.unit.place) not in places]
        while left:
            worths = (_worth(c, used, places, float(nearest[c.unit.index])) for c in left)
            value, _, i = max((worth, -left[i].unit.index, i) for i, worth in enumerate(worths))
            if value < LEAST_VALUE:
                break
            candidate = left.pop(i)
            unit, section = candidate.unit, candidate.section
            in_turns = turns_of[section.key]
            cost = unit.words + (_asked_words(turns[unit.turn]) if unit.place == 0 else 0)
            full = unit.turn not in in_turns and len(in_turns) >= section.max_sentences
            if full or cost > (left_words if rest else share[section.key]) or float(nearest[unit.index]) >= SAID_BEFORE:
                continue
            left_words -= cost
            share[section.key] -= cost
            in_turns.add(unit.turn)
            places.add((unit.turn, unit.place))
            if candidate.rule is not None:
                used[section.key, candidate.rule.key] = used.get((section.key, candidate.rule.key), 0) + 1
                picks.rules[unit.index] = candidate.rule
            picks.by_section.setdefault(section.key, []).append(unit)
            np.maximum(nearest, matrix @ matrix[unit.index], out=nearest)


def _asked_words(turn: Turn) -> int:
    return turn.question[-1].words if turn.question else 0


def _worth(candidate: _Candidate, used: dict[tuple[str, str], int], places: set[tuple[int, int]], near: float) -> float:
    unit = candidate.unit
    before = used.get((candidate.section.key, candidate.rule.key if candidate.rule else ""), 0)
    value = candidate.value * FADES**before - 0.8 * near
    if (unit.turn, unit.place - 1) in places or (unit.turn, unit.place + 1) in places:
        value += 0.3
    return value
