"""Consent on file, as it is told when a session is made: an attestation, with a clinician's name to it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from bot.clinics import ConsentPolicy
from bot.control.api import bodies
from bot.control.attesting import ON_FILE
from bot.control.capture import Action, Actor, permit
from bot.errors import ConfigInvalid, Forbidden
from bot.events import Role
from bot.store.records import Attestation

AHEAD = timedelta(hours=14)
"""How far ahead of UTC a place on earth can be: until then a day has begun somewhere."""


def attestation(
    given: bodies.OnFile, role: Role, actor: Actor, clinicians: Collection[str], policy: ConsentPolicy, now: datetime
) -> Attestation:
    """What is recorded of it. Raises Forbidden where the clinic does not take it, ConfigInvalid for what cannot be."""
    permit(actor, Action.ATTEST_ON_FILE)
    if not policy.on_file:
        raise Forbidden(
            "This clinic does not take consent on file for calls: people are asked in the call.",
            policy="consent.on_file",
        )
    if role is Role.CLINICIAN:
        raise ConfigInvalid("participants.consent: a clinician agrees by Start.")
    by = given.attested_by or actor.user_id
    if by is None or by not in clinicians:
        raise ConfigInvalid("participants.consent.attested_by: must name a clinician of this session.")
    if actor.user_id not in {None, by}:
        raise Forbidden("You attest for yourself only.")
    if given.date > (now + AHEAD).date():
        raise ConfigInvalid("participants.consent.date: is in the future.")
    if given.until is not None and given.until <= now:
        raise ConfigInvalid("participants.consent.until: has come already; ask anew.")
    return Attestation(ON_FILE, by, given.text_version, given.date, given.document_id, given.until)
