"""Whether what a clinic chooses can work with what is installed: its template, its writer, its language.

The schema (:mod:`bot.clinics`) says what a value may look like; this says whether the thing that it names is there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from bot.clinics import ClinicConfig, load_files
from bot.errors import ConfigInvalid, LanguageUnsupported
from bot.notes.factory import KeyNotSet, choose
from bot.notes.templates import Template, load_templates
from bot.store.clinic_store import ClinicStore

CheckLanguage = Callable[[str], None]
"""Raises :class:`LanguageUnsupported` for a language tag that the chosen speech model does not recognise."""


def examine(
    clinics: Iterable[ClinicConfig], templates: Mapping[str, Template], check_language: CheckLanguage
) -> tuple[list[str], list[str]]:
    """A line for each thing that can never work, and one for each that waits for a variable to be set."""
    never, not_yet = [], []
    for clinic in clinics:
        try:
            choose(clinic.note, templates, os.environ)
        except KeyNotSet as error:
            not_yet.append(f"clinic {clinic.id}: {error.detail}")
        except ConfigInvalid as error:
            never.append(f"clinic {clinic.id}: {error.detail}")
        try:
            check_language(clinic.asr.language)
        except LanguageUnsupported as error:
            never.append(f"clinic {clinic.id}: asr.{error.detail.rstrip('.')}")
        absent_s = max(clinic.capture.clinician_absent_s, clinic.capture.client_absent_s)
        if clinic.capture.one_sided_s < absent_s:
            never.append(
                f"clinic {clinic.id}: capture.one_sided_s: is less than the {absent_s} s after which recording pauses"
            )
        if clinic.asr.vocabulary:
            never.append(f"clinic {clinic.id}: asr.vocabulary: is not used yet, so it must be empty")
    return never, not_yet


def check(
    clinics: Iterable[ClinicConfig], templates: Mapping[str, Template], check_language: CheckLanguage
) -> list[str]:
    """What waits for a variable to be set. Raises :class:`ConfigInvalid` for what can never work."""
    never, not_yet = examine(clinics, templates, check_language)
    if never:
        raise ConfigInvalid("; ".join(never), paths=never)
    return not_yet


async def seed(store: ClinicStore, config_dir: Path, check_language: CheckLanguage) -> list[str]:
    """Add the clinics of the files that the database does not know; what of all clinics does not work as it stands.

    Raises :class:`ConfigInvalid`, and adds none, when one of the new ones can never work. A clinic that is known
    already may have lost its template or its model's language since: that is said, and the others are served.
    """
    templates, files = load_templates(config_dir), load_files(config_dir)
    known = [(await store.current(clinic_id))[1] for clinic_id in await store.ids()]
    had = {config.id for config in known}
    not_yet = check([config for config in files.values() if config.id not in had], templates, check_language)
    await store.seed(files)
    lost, waiting = examine(known, templates, check_language)
    return [*lost, *waiting, *not_yet]
