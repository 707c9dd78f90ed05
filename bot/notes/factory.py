"""Which writer a clinic's settings ask for."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from bot.clinics import NoteChoice
from bot.errors import ConfigInvalid
from bot.notes.contract import NoteWriter
from bot.notes.extractive import ExtractiveWriter
from bot.notes.templates import Template
from bot.notes.writer import Endpoint, OpenAiWriter


class KeyNotSet(ConfigInvalid):
    """The variable that holds the endpoint's key is not set here, which somebody may still do."""

    def __init__(self, name: str) -> None:
        what = f"note.api_key_env: the environment variable {name!r} is not set"
        super().__init__(what, paths=[what])


def choose(choice: NoteChoice, templates: Mapping[str, Template], environ: Mapping[str, str]) -> NoteWriter:
    """The writer of ``choice``. Clinical text leaves the machine only when it names an endpoint.

    Raises ConfigInvalid naming the setting that is missing or wrong; last of all KeyNotSet.
    """
    if choice.template not in templates:
        raise _wrong("note.template", f"there is no template {choice.template!r}")
    if choice.writer == "offline":
        return ExtractiveWriter(templates)
    address = urlsplit(choice.base_url)
    if address.scheme not in {"http", "https"} or not address.hostname:
        raise _wrong("note.base_url", "must be the http or https address of an endpoint")
    if address.username or address.password:
        raise _wrong("note.base_url", "may not hold a name or password; use note.api_key_env")
    if not choice.model:
        raise _wrong("note.model", "must name the model")
    key = environ.get(choice.api_key_env, "") if choice.api_key_env else ""
    if choice.api_key_env and not key:
        raise KeyNotSet(choice.api_key_env)
    endpoint = Endpoint(choice.base_url, choice.model, key, choice.timeout_s, choice.context_tokens)
    return OpenAiWriter(endpoint, templates)


def _wrong(path: str, what: str) -> ConfigInvalid:
    return ConfigInvalid(f"{path}: {what}", paths=[f"{path}: {what}"])
