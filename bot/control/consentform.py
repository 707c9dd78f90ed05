"""The consent form that a clinic gives out: words by language in ``config/consent/``, facts from the clinic's settings.

A paragraph may name the setting that it is true for; where the setting is another, it is left out. So the form says of
times and services what the service really does, and has another version when a setting or a word changes.
"""

from __future__ import annotations

import json
import string
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bot.clinics import ClinicConfig, LanguageTag
from bot.control.wording import BUILT_IN_LANGUAGE, HOURS_A_DAY, ConsentText, at_most, closest, versioned
from bot.errors import ConfigInvalid

When = Literal[
    "pause_all", "withhold_lane", "switched_off", "captions", "writer_here", "writer_elsewhere",
    "asked_each_time", "on_file", "verbal", "contact", "no_contact",
]  # fmt: skip

HOLDS: Mapping[str, Callable[[ClinicConfig], bool]] = {
    "pause_all": lambda clinic: clinic.consent.late_joiner == "pause_all",
    "withhold_lane": lambda clinic: clinic.consent.late_joiner == "withhold_lane",
    "switched_off": lambda clinic: not clinic.ai_features.enabled,
    "captions": lambda clinic: clinic.capture.client_captions,
    "writer_here": lambda clinic: clinic.note.writer == "offline",
    "writer_elsewhere": lambda clinic: clinic.note.writer != "offline",
    "asked_each_time": lambda clinic: not clinic.consent.on_file,
    "on_file": lambda clinic: clinic.consent.on_file,
    "verbal": lambda clinic: clinic.consent.verbal_attested,
    "contact": lambda clinic: bool(clinic.support_contact),
    "no_contact": lambda clinic: not clinic.support_contact,
}
"""When a paragraph is true."""
FACTS = frozenset({"clinic", "contact", "sound", "words"})
"""What may stand in braces."""
IN_FOOT = frozenset({"version", "settings"})


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Paragraph(_Part):
    """One paragraph."""

    lead: str = Field("", description="Its first words, in bold.")
    text: str = Field(min_length=1)
    when: When | None = Field(None, description="The setting that it is true for; none: always.")


class Section(_Part):
    """Paragraphs under one heading."""

    title: str = Field(min_length=1)
    paragraphs: tuple[Paragraph, ...] = Field(min_length=1)


class Units(_Part):
    """How a time is said: of one, and of several, as it stands after "at the latest"."""

    minute: tuple[str, str]
    hour: tuple[str, str]
    day: tuple[str, str]

    def say(self, hours: float) -> str:
        """At most so long, in words."""
        number, unit = at_most(hours)
        one, several = getattr(self, unit)
        return str(one if number == 1 else several.replace("{n}", str(number)))


class Signature(_Part):
    """Where it is signed."""

    statement: str = Field(min_length=1)
    lines: tuple[str, ...] = Field(min_length=1)
    on_file: tuple[str, ...] = Field((), description="Lines for a form that is kept on file.")
    foot: str = Field(min_length=1)


class FormTemplate(_Part):
    """The form in one language."""

    version: str = Field(pattern=r"^[A-Za-z0-9.]{1,8}$", description="Raised with every change of the words.")
    language: LanguageTag
    name: str = Field(min_length=1, description="What the language calls itself.")
    title: str = Field(min_length=1)
    intro: str = Field(min_length=1)
    units: Units
    sections: tuple[Section, ...] = Field(min_length=1)
    signature: Signature

    @model_validator(mode="after")
    def _only_known_facts(self) -> Self:
        texts = [self.intro, *(part.text for section in self.sections for part in section.paragraphs)]
        for text, known in (*((text, FACTS) for text in texts), (self.signature.foot, IN_FOOT)):
            try:
                named = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
            except ValueError:
                raise ValueError(f"braces do not fit: {text[:40]}") from None
            if not named <= known:
                raise ValueError(f"{', '.join(sorted(named - known))} stands in braces and is not known")
        return self

    def fill(self, clinic: ClinicConfig, settings_version: int) -> dict[str, Any]:
        """The form as this clinic gives it out, with its version and the hash of its words."""
        facts = {
            "clinic": clinic.name,
            "contact": clinic.support_contact,
            "sound": self.units.say(clinic.retention.erase_audio_within_h),
            "words": self.units.say(clinic.retention.transcript_days * HOURS_A_DAY),
        }
        body = {
            "language": self.language,
            "title": self.title,
            "intro": self.intro.format(**facts),
            "sections": [section for one in self.sections if (section := _filled(one, clinic, facts))["paragraphs"]],
            "statement": self.signature.statement,
            "lines": [*self.signature.lines, *(self.signature.on_file if clinic.consent.on_file else ())],
        }
        text = json.dumps(body, ensure_ascii=False, sort_keys=True)
        version = versioned(f"form-{self.language}-{self.version}", text)
        sha256 = ConsentText(version, text).sha256
        foot = self.signature.foot.format(version=version, settings=settings_version)
        return body | {"clinic": clinic.name, "version": version, "sha256": sha256, "foot": foot}


def _filled(section: Section, clinic: ClinicConfig, facts: Mapping[str, str]) -> dict[str, Any]:
    true = [one for one in section.paragraphs if one.when is None or HOLDS[one.when](clinic)]
    return {
        "title": section.title,
        "paragraphs": [{"lead": one.lead, "text": one.text.format(**facts)} for one in true],
    }


def choose(forms: Mapping[str, FormTemplate], language: str, clinic: ClinicConfig) -> FormTemplate | None:
    """The form in the language, else in the clinic's own, else in English, else any; None where there is none."""
    for wanted in (language, clinic.asr.language, BUILT_IN_LANGUAGE):
        tag = closest(wanted, forms)
        if tag is not None:
            return forms[tag]
    return next(iter(forms.values()), None)


def load_forms(config_dir: Path) -> dict[str, FormTemplate]:
    """Read ``consent/*.toml`` by language. Raises :class:`ConfigInvalid` for a file that is wrong."""
    forms: dict[str, FormTemplate] = {}
    for path in sorted((config_dir / "consent").glob("*.toml")):
        where = f"consent/{path.name}"
        try:
            form = FormTemplate.model_validate(tomllib.loads(path.read_text("utf-8")))
        except OSError:
            raise ConfigInvalid(f"{where}: the file cannot be read") from None
        except ValidationError as error:
            wrong = [f"{'.'.join(map(str, e['loc'])) or 'form'}: {e['msg']}" for e in error.errors(include_input=False)]
            raise ConfigInvalid(f"{where}: {'; '.join(wrong)}", paths=wrong) from None
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigInvalid(f"{where}: {error}") from None
        if form.language != path.stem:
            raise ConfigInvalid(f"{where}: language: must be {path.stem!r}, the file's name", paths=["language"])
        forms[form.language] = form
    return forms
