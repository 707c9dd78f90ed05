"""The note written by a model behind an OpenAI-compatible endpoint. The only module that imports openai, and lazily.

Section by section, each call's answer bound to a strict JSON schema. What comes back is a claim: evidence ids are
looked up here, and :mod:`bot.notes.evidence` holds each sentence against what it names. A long record is sent in parts,
each with the whole instructions; no part is dropped. Nothing is tried twice here: the caller's workflow retries.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import structlog

from bot.errors import NoteGenerationFailed
from bot.events import (
    Evidence,
    EvidenceSource,
    NoteDraft,
    NoteRequest,
    NoteSection,
    NoteSentence,
    SentenceStatus,
)
from bot.notes import evidence as checks
from bot.notes.contract import Progress
from bot.notes.cues import plain
from bot.notes.failures import failed
from bot.notes.frames import QUOTE
from bot.notes.gaps import Holes
from bot.notes.prompts import SCHEMA, VERSION, Line, answer_tokens, lines_of, messages, only_typed, split
from bot.notes.templates import Section, Template

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletion

log = structlog.get_logger()

MOST_SENTENCES = 60
"""Sentences taken from one answer; an answer with more is no note."""
MOST_LETTERS = 1200
ANSWER_FORMAT = {"type": "json_schema", "json_schema": {"name": "note_section", "strict": True, "schema": SCHEMA}}
NEVER_HERE = "It says something that this section must not state."
NOTICE = (
    "Written by the language model {model} from the session's record; "
    "each sentence was held against the lines it names."
)
TYPED_NOTICE = (
    "Made from a typed summary and not from a recording: written by the language model {model} from what the clinician "
    "typed; each sentence was held against it."
)
EMPTY = "The model wrote nothing here that could be kept."
"""Stands in an empty section: that something was not discussed is more than a model's silence says."""
IN_PARTS = " {what} was longer than the model can take in at once, so it was read in {parts} parts."


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the model is."""

    base_url: str
    model: str
    api_key: str = field(repr=False, default="")
    timeout_s: float = 120.0
    """Longest wait for one answer, from the request to its last byte."""
    context_tokens: int = 8192


class OpenAiWriter:
    """Drafts through an endpoint. Safe to share: a draft opens its own connections and closes them."""

    def __init__(self, endpoint: Endpoint, templates: Mapping[str, Template]) -> None:
        self._endpoint = endpoint
        self._templates = dict(templates)

    @property
    def name(self) -> str:
        """The writer as it stands on a note: model and version of the instructions."""
        return f"openai/{self._endpoint.model} prompt/{VERSION}"

    async def write(self, request: NoteRequest, progress: Progress) -> NoteDraft:
        """Write the draft. Raises NoteGenerationFailed with a cause of :mod:`bot.notes.failures`."""
        template = self._templates.get(request.template_id)
        if template is None:
            raise failed("template-unknown")
        lines = lines_of(request)
        if not lines:
            raise failed("nothing-to-write-from")
        parts = split(lines, template.sections, request.language, self._endpoint.context_tokens)
        if parts is None:
            raise failed("session-too-long")
        known = {line.alias: line.evidence for line in lines}
        typed, inputs = only_typed(lines), {item.input_id: plain(item.text) for item in request.inputs}
        sections: dict[str, list[NoteSentence]] = {section.key: [] for section in template.sections}
        held: list[NoteSentence] = []
        total, done = len(parts) * len(template.sections), 0
        progress("writing", 0, total)
        async with self._client() as client:
            for part in parts:
                for section in template.sections:
                    answer = await self._ask(client, part, section, request.language, len(parts), typed=typed)
                    taken = sections[section.key]
                    for text, ids in answer:
                        sentence = _sentence(text, ids, known, f"{section.key}.{len(taken) + len(held) + 1}", section)
                        sentence = _own_words(sentence, inputs)
                        (held if sentence.reason else taken).append(sentence)
                    done += 1
                    progress(section.key, done, total)
        holes = Holes(request.transcript)
        what = "What was typed" if typed else "The session"
        in_parts = IN_PARTS.format(what=what, parts=len(parts)) if len(parts) > 1 else ""
        return NoteDraft(
            template_id=template.id,
            template_version=template.version,
            writer=self.name,
            sections=tuple(
                NoteSection(s.key, s.title, tuple(_once(sections[s.key])), EMPTY)
                for s in template.sections
            ),
            held_back=tuple(held),
            coverage=1.0,
            notice=(TYPED_NOTICE if typed else NOTICE).format(model=self._endpoint.model)
            + in_parts
            + ("" if typed else holes.notice()),
        )

    def _client(self) -> AsyncOpenAI:
        import openai  # two thirds of a second, and only here

        return openai.AsyncOpenAI(
            base_url=self._endpoint.base_url,
            api_key=self._endpoint.api_key or "none",
            max_retries=0,
            timeout=self._endpoint.timeout_s,
            # a redirect would carry clinical text to an address nobody chose
            http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False, timeout=self._endpoint.timeout_s),
        )

    async def _ask(
        self,
        client: AsyncOpenAI,
        lines: Sequence[Line],
        section: Section,
        language: str,
        parts: int,
        *,
        typed: bool,
    ) -> list[tuple[str, list[str]]]:
        sentences = -(-section.max_sentences // parts)
        call = client.chat.completions.create(
            model=self._endpoint.model,
            messages=cast("Any", messages(lines, section, language, sentences, typed=typed)),
            response_format=cast("Any", ANSWER_FORMAT),
            temperature=0,
            max_tokens=answer_tokens(sentences),
        )
        try:
            async with asyncio.timeout(self._endpoint.timeout_s):
                completion = await call
        except TimeoutError:
            raise self._failed("endpoint-timeout") from None
        except Exception as error:  # noqa: BLE001  whatever the library raises, its text may hold what was sent
            raise self._failed(_cause(error)) from None
        return self._sentences(completion)

    def _sentences(self, completion: ChatCompletion) -> list[tuple[str, list[str]]]:
        try:  # the library does not check what came: any part of it may be of any kind
            choice = completion.choices[0]
            end = choice.finish_reason
            refusal, content = (None, None) if end != "stop" else (choice.message.refusal, choice.message.content)
        except (AttributeError, IndexError, KeyError, TypeError):
            raise self._failed("answer-not-json") from None
        if not isinstance(end, str):
            raise self._failed("answer-not-json")
        if end == "length":
            raise self._failed("answer-cut-off")
        if end != "stop" or refusal:
            raise self._failed("answer-withheld")
        found = _read(content)
        if found is None:
            raise self._failed("answer-not-json")
        return found

    def _failed(self, cause: str) -> NoteGenerationFailed:
        log.warning("note_model_failed", cause=cause)
        return failed(cause)


def _cause(error: Exception) -> str:
    import openai

    if isinstance(error, openai.APITimeoutError):
        return "endpoint-timeout"
    if isinstance(error, openai.APIStatusError):
        status = error.status_code
        if status == 429 or status == 503:
            return "endpoint-busy"
        return "endpoint-refused" if 300 <= status < 500 else "endpoint-failed"
    if isinstance(error, openai.APIResponseValidationError):
        return "answer-not-json"
    if isinstance(error, openai.APIConnectionError):
        return "endpoint-unreachable"
    return "answer-not-json" if isinstance(error, ValueError) else "endpoint-failed"


def _read(content: object) -> list[tuple[str, list[str]]] | None:
    """The sentences of an answer, or None when it is not exactly in the form that was asked for."""
    try:
        data = json.loads(content) if isinstance(content, str) else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or set(data) != {"sentences"} or not isinstance(data["sentences"], list):
        return None
    found = []
    for item in data["sentences"]:
        if not isinstance(item, dict) or set(item) != {"text", "evidence"}:
            return None
        text, ids = item["text"], item["evidence"]
        if not isinstance(text, str) or not isinstance(ids, list) or not all(isinstance(i, str) for i in ids):
            return None
        text = " ".join(text.split())
        if len(text) > MOST_LETTERS:
            return None
        if text:
            found.append((text, ids))
    return found if len(found) <= MOST_SENTENCES else None


def _sentence(
    text: str, ids: Sequence[str], known: Mapping[str, Evidence], sentence_id: str, section: Section
) -> NoteSentence:
    evidence = tuple(dict.fromkeys(known[alias] for alias in ids if alias in known))
    reason = ""
    if any(alias not in known for alias in ids):
        reason = checks.UNKNOWN_EVIDENCE
    elif not ids:
        reason = checks.NO_EVIDENCE
    elif section.forbidden.search(plain(QUOTE.sub(" ", text))):
        reason = NEVER_HERE
    status = SentenceStatus.UNSUPPORTED if reason else SentenceStatus.INFERRED
    return NoteSentence(sentence_id, text, status, evidence, reason)


def _own_words(sentence: NoteSentence, inputs: Mapping[str, str]) -> NoteSentence:
    """A sentence that stands so in what the clinician typed, and rests on nothing else, is the clinician's."""
    sources = [one.source_id for one in sentence.evidence if one.source is EvidenceSource.INPUT]
    typed = len(sources) == len(sentence.evidence) and any(plain(sentence.text) in inputs[one] for one in sources)
    return replace(sentence, status=SentenceStatus.CLINICIAN_ENTERED) if typed and not sentence.reason else sentence


def _once(sentences: Sequence[NoteSentence]) -> list[NoteSentence]:
    """No sentence twice in a section; the first stays."""
    return list({plain(sentence.text): sentence for sentence in reversed(sentences)}.values())[::-1]
