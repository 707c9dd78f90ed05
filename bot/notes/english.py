"""What the notes know of English: words that carry no content, word stems, numbers, negation.

Nothing here touches a transcript. It decides what a *note* repeats, and how a note is held against its evidence.
"""

from __future__ import annotations

import re

from bot.notes.cues import Cues, plain

LANGUAGE = "en"


def listed(text: str) -> list[str]:
    """The words of ``text``."""
    return text.split()


def word_set(text: str) -> frozenset[str]:
    """The words of ``text``, as a set."""
    return frozenset(text.split())


HESITATIONS = word_set("um umm uh uhm erm er ah eh hmm hm mm mmm mhm uh-huh mm-hmm ohh")
"""Sounds left out of quotes, except where a risk is quoted."""
MAY_REPEAT = word_set("no not never very really so much had that yes yeah long far many")
"""Words whose repetition may be meant; any other word said twice running is quoted once."""
LONGEST_STUTTER = 3
"""Words that may be said twice running as one."""
BACKCHANNEL = HESITATIONS | word_set(
    "yeah yes yep yup okay ok right sure no nope oh alright all good great fine cool perfect lovely wow really true "
    "exactly absolutely definitely well so and but i see know thanks thank you sorry please pardon huh bye hello hi "
    "there that's it just is of course very much"
)
"""A sentence of these alone says nothing by itself; as the answer to a question it may say everything."""

SMALL_TALK = Cues(
    [
        *("^hello*", "^hi", "^hey", "good morning", "good afternoon", "good evening", "^bye*", "goodbye"),
        *("take care", "thank you", "thanks", "see you", "nice to meet", "you're welcome", "no problem"),
        *("have a good", "have a nice", "can you hear", "hear me", "can you see me", "you're on mute", "on mute"),
        *("how can i help", "what can i do for you", "that's great", "that's good", "sounds good"),
        "look forward to",
    ]
)
HOUSEKEEPING = Cues(
    [
        *("the recording", "pause the", "start recording", "stop recording", "turn on the transcription"),
        *("transcribing", "my name is", "your name", "my name's", "date of birth", "born on", "my address"),
        *("your address", "first line of", "confirm your", "private place", "postcode", "zip code", "phone number"),
        *("insurance card", "camera", "microphone"),
    ]
)
"""Talk about the call itself, and identifiers that a note has no need of."""

STOP_WORDS = word_set(
    "a about above after again all also am an and any are aren't as at be because been before being below between "
    "both but by can can't cannot could couldn't did didn't do does doesn't doing don't down during each else even "
    "ever every few for from further get gets getting got gonna had hadn't has hasn't have haven't having he he'd "
    "he'll he's her here here's hers herself him himself his how i i'd i'll i'm i've if in into is isn't it it'd "
    "it'll it's its itself just kind know let's like lot make may maybe me mean might more most much my myself no nor "
    "not now of off oh ok okay on once one only or other our ours out over own perhaps please probably quite rather "
    "really right said say same she she'd she'll she's should shouldn't so some something sometimes sort still stuff "
    "such than that that's the their theirs them themselves then there there's these they they'd they'll they're "
    "they've thing things think this those through to too up us very wanna was wasn't way we we'd we'll we're we've "
    "well were weren't what what's when where which while who who's whom why will with won't would wouldn't yeah yes "
    "you you'd you'll you're you've your yours yourself 'cause cause"
)

NEGATIONS = Cues(
    [
        *("no", "not", "never", "none", "nothing", "nobody", "nowhere", "neither", "nor", "without", "cannot"),
        *("nope", "don't", "doesn't", "didn't", "isn't", "aren't", "wasn't", "weren't", "haven't", "hasn't"),
        *("hadn't", "won't", "wouldn't", "can't", "couldn't", "shouldn't", "ain't", "den*", "no longer"),
        *("absence of", "free of", "nil"),
    ]
)
_FALSE_NEGATIONS = Cues(
    [
        *("dental*", "dentist*", "dense*", "density", "den", "dent*", "not only", "no doubt", "no wonder"),
    ]
)

UNSEEN = Cues(
    [
        *("eye contact", "facial expression*", "body language", "posture", "grooming", "groomed", "well dressed"),
        *("casually dressed", "appropriately dressed", "disheveled", "dishevelled", "appearance", "hygiene"),
        *("gait", "affect", "fidget*", "tearful", "smil*", "nodded", "nodding", "motor activity", "psychomotor"),
        *("oriented", "well kempt", "unkempt", "pale"),
    ]
)
"""What sound cannot show. A note may have it only where somebody said or typed it."""

TO_THE_SCRIBE = Cues(
    [
        *("ignore ... instruction*", "ignore ... prompt*", "disregard ... instruction*", "forget ... instruction*"),
        *("system prompt", "your instructions", "previous instructions", "as an ai", "you are an ai"),
        *("language model", "write in ... note*", "put in ... note that", "write ... in the note"),
        *("the note should say", "note must say", "add to the note", "in your summary", "your output"),
        *("respond with", "reply with", "output the"),
    ]
)
"""Words addressed to whatever writes the note. They are part of what was said, and evidence for nothing else."""

_UNITS = listed(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = {word: n * 10 for n, word in enumerate(listed("twenty thirty forty fifty sixty seventy eighty ninety"), 2)}
_NUMBER_WORDS = {word: i for i, word in enumerate(_UNITS)} | _TENS | {"dozen": 12}
_ORDINALS = {
    word: n
    for n, word in enumerate(
        listed("first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"), 1
    )
}
_TIMES = {"once": 1, "twice": 2, "thrice": 3, "half": 0, "couple": 2}
_DIGITS = re.compile(r"\d+(?:[.,]\d+)*")


_ENDINGS = (("ies", "y"), ("ied", "y"), ("ing", ""), ("edly", ""), ("ed", ""), ("es", ""), ("ly", ""), ("s", ""))


def stem(word: str) -> str:
    """A word without its commonest English endings; only ever compared with other stems."""
    word = word.removesuffix("'s").replace("'", "")
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: len(word) - len(ending)] + instead
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiouls":
        word = word[:-1]
    return word.removesuffix("e") if len(word) > 3 else word


def content_stems(text: str) -> list[str]:
    """The stems of the words of ``text`` that carry content, in order."""
    return [stem(w) for w in plain(text).split() if w not in STOP_WORDS and w not in HESITATIONS and len(w) > 1]


def without_numbers(text: str) -> str:
    """``text`` as plain words without its numbers."""
    return " ".join(w for w in plain(text).split() if w not in _NUMBER_WORDS and w not in _TIMES and not w[0].isdigit())


def negated(text: str) -> bool:
    """True when ``text`` holds a word of negation."""
    return NEGATIONS.search(_FALSE_NEGATIONS.without(plain(text)))


def numbers(text: str) -> frozenset[str]:
    """Every number of ``text`` in digits, from digits and words. The word "one" is left out: it is a pronoun too."""
    found = {_as_number(match) for match in _DIGITS.findall(text)}
    words = plain(text).split()
    i = 0
    while i < len(words):
        word = words[i]
        value = _NUMBER_WORDS.get(word, _ORDINALS.get(word, _TIMES.get(word)))
        if word in _TENS and i + 1 < len(words):
            following = _NUMBER_WORDS.get(words[i + 1], _ORDINALS.get(words[i + 1], 99))
            if 0 < following < 10:
                value, i = _TENS[word] + following, i + 1
        if value is not None and word not in {"one", "first", "half", "second", "once"}:
            found.add(str(value))
        i += 1
    return frozenset(found)


def _as_number(text: str) -> str:
    text = re.sub(r",(?=\d{3}(?!\d))", "", text).replace(",", ".")
    whole, _, rest = text.partition(".")
    rest = rest.rstrip("0")
    return (whole.lstrip("0") or "0") + (f".{rest}" if rest else "")


def smooth(text: str) -> str:
    """``text`` without hesitation sounds and stuttered words; everything that says something stays as it was said."""
    kept: list[str] = []
    for token in text.split():
        bare = _bare(token)
        if not bare or bare in HESITATIONS:
            if kept and token[-1:] in ".!?" and kept[-1][-1:] not in ".!?":
                kept[-1] = kept[-1].rstrip(",;") + token[-1]
            continue
        kept.append(token)
        for length in range(1, LONGEST_STUTTER + 1):
            if _stutters(kept, length):
                first = kept[-2 * length][:1]
                del kept[-2 * length : -length]
                kept[-length] = first + kept[-length][1:]
                break
    return re.sub(r"[,\s]+([,.!?])(?=\s|$)", r"\1", " ".join(kept)).strip(" ,;-–—")


def _bare(token: str) -> str:
    return token.lower().strip(".,;:!?…-–—\"“”'’")


def _stutters(tokens: list[str], length: int) -> bool:
    """True when the last ``length`` words were said twice running, in one sentence, and hardly on purpose."""
    again, before = tokens[-length:], tokens[-2 * length : -length]
    if len(before) < length or any(token[-1] in ".!?" for token in before):
        return False
    words = [_bare(token) for token in again]
    meant = all(word in MAY_REPEAT for word in words) or any(_DIGITS.search(word) for word in words)
    return words == [_bare(token) for token in before] and not meant
