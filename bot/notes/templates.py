"""Note formats as data: ``config/templates/*.toml``, read into frozen templates and checked path by path."""

from __future__ import annotations

import tomllib
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from bot.errors import ConfigInvalid
from bot.events import Role
from bot.notes.cues import Cues, phrase_error

InputKind = Literal["clinician_summary", "observation", "dictation"]
NOT_DISCUSSED = "Not discussed."


def _phrase(text: str) -> str:
    wrong = phrase_error(text)
    if wrong:
        raise ValueError(wrong)
    return text


Phrase = Annotated[str, AfterValidator(_phrase)]
Phrases = tuple[Phrase, ...]
Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rule(_Part):
    """What makes a sentence belong to a section."""

    key: Key = Field(description="Name of the rule within its section.")
    roles: tuple[Role, ...] = Field((), description="Whose sentences it takes; empty: those of the section.")
    cues: Phrases = Field((), description="The sentence holds one of these.")
    asked: Phrases = Field((), description="Or it answers a question that holds one of these.")
    unless: Phrases = Field((), description="But none of these.")
    weight: float = Field(1.0, gt=0, le=5, description="How much the rule counts beside the others.")
    always: bool = Field(False, description="Every match goes into the note, word for word and with its moment.")
    replies: bool = Field(False, description="The client's short reply goes with it.")
    late: float = Field(0.0, ge=0, le=1, description="How much more a match counts late in a session.")

    @cached_property
    def said(self) -> Cues:
        """``cues``, compiled."""
        return Cues(self.cues)

    @cached_property
    def question(self) -> Cues:
        """``asked``, compiled."""
        return Cues(self.asked)

    @cached_property
    def veto(self) -> Cues:
        """``unless``, compiled."""
        return Cues(self.unless)

    @model_validator(mode="after")
    def _has_cues(self) -> Self:
        if not self.cues and not self.asked:
            raise ValueError("a rule needs cues or asked")
        return self


class Section(_Part):
    """One section of a format."""

    key: Key = Field(description="Name of the section within its template.")
    title: str = Field(min_length=1, max_length=80, description="The heading people read.")
    purpose: str = Field(min_length=1, max_length=600, description="What belongs here; part of a model's instructions.")
    roles: tuple[Role, ...] = Field(min_length=1, description="Whose words feed it.")
    max_sentences: int = Field(6, ge=1, le=40, description="Longest it may get; rules with always do not count.")
    placeholder: str = Field(NOT_DISCUSSED, min_length=1, max_length=120, description="Shown when it stays empty.")
    must_never_state: tuple[str, ...] = Field((), description="What it must not say; part of a model's instructions.")
    never: Phrases = Field((), description="Phrases it may hold only inside a quote.")
    inputs: tuple[InputKind, ...] = Field((), description="Kinds of typed text that go here unless a rule says else.")
    takes_rest: bool = Field(False, description="Telling sentences of its roles that no rule names may fill it.")
    rules: tuple[Rule, ...] = ()

    @cached_property
    def forbidden(self) -> Cues:
        """``never``, compiled."""
        return Cues(self.never)

    @model_validator(mode="after")
    def _rule_keys(self) -> Self:
        _no_twice("rules", [rule.key for rule in self.rules])
        return self


class Template(_Part):
    """One format."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="Its id: the file's name without .toml.")
    version: int = Field(ge=1, description="Raised with every change; stands on each note.")
    title: str = Field(min_length=1, max_length=120, description="The name people choose it by.")
    language: str = Field("en", pattern=r"^[a-z]{2}$", description="The language its cues are written in.")
    max_words: int = Field(300, ge=20, le=5000, description="Longest an offline draft may get, but for always.")
    sections: tuple[Section, ...] = Field(min_length=1, max_length=50)

    @model_validator(mode="after")
    def _sections_fit(self) -> Self:
        _no_twice("sections", [section.key for section in self.sections])
        _no_twice("inputs of sections", [kind for section in self.sections for kind in section.inputs])
        if sum(section.takes_rest for section in self.sections) > 1:
            raise ValueError("only one section may have takes_rest")
        return self

    def section_for_input(self, kind: str) -> Section:
        """Where a clinician's text of ``kind`` goes when no rule places it."""
        for section in self.sections:
            if kind in section.inputs:
                return section
        return next((section for section in self.sections if section.takes_rest), self.sections[0])


def _no_twice(what: str, keys: list[str]) -> None:
    twice = sorted(key for key, count in Counter(keys).items() if count > 1)
    if twice:
        raise ValueError(f"{what}: {', '.join(twice)} stands there twice")


def parse(data: dict[str, Any], *, where: str) -> Template:
    """Validate a template; raise :class:`ConfigInvalid` naming each wrong path."""
    try:
        return Template.model_validate(data)
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, e['loc'])) or 'template'}: {e['msg']}" for e in error.errors(include_input=False)]
        raise ConfigInvalid(f"{where}: {'; '.join(wrong)}", paths=wrong) from None


def load_templates(config_dir: Path) -> dict[str, Template]:
    """Read ``templates/*.toml`` by id. Raises :class:`ConfigInvalid` for a file that is wrong, or for none."""
    templates = {}
    for path in sorted((config_dir / "templates").glob("*.toml")):
        try:
            data = tomllib.loads(path.read_text("utf-8"))
        except OSError:
            raise ConfigInvalid(f"templates/{path.name}: the file cannot be read") from None
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigInvalid(f"templates/{path.name}: {error}") from None
        template = parse({"id": path.stem} | data, where=f"templates/{path.name}")
        if template.id != path.stem:
            raise ConfigInvalid(f"templates/{path.name}: id: must be {path.stem!r}, the file's name", paths=["id"])
        templates[template.id] = template
    if not templates:
        raise ConfigInvalid("templates/: there is no note template")
    return templates
