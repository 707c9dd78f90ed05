"""Everything that can go wrong, as a tree.

    QuietnoteError
    +-- ProblemError                 has a slug of the public contract and an HTTP status
    |   +-- Unauthorized             unauthorized 401
    |   +-- Forbidden                forbidden 403
    |   +-- AiFeaturesDisabled       ai-features-disabled 403
    |   +-- NotFound                 not-found 404
    |   +-- InvalidTransition        invalid-transition 409
    |   +-- ConsentMissing           consent-missing 409
    |   +-- ConsentRevoked           consent-revoked 409
    |   +-- ClientNotPresent         client-not-present 409
    |   +-- AppointmentMissing       appointment-missing 409
    |   +-- SessionLocked            session-locked 409
    |   +-- IdempotencyConflict      idempotency-conflict 409
    |   +-- TranscriptPurged         transcript-purged 410
    |   +-- PreconditionFailed       precondition-failed 412
    |   +-- PayloadTooLarge          payload-too-large 413
    |   +-- AudioFormatUnsupported   audio-format-unsupported 415
    |   +-- AudioTooShort            audio-too-short 422
    |   +-- CaptureNoAudio           capture-no-audio 422
    |   +-- ConfigInvalid            config-invalid 422
    |   |   +-- LanguageUnsupported  config-invalid 422: the loaded model does not recognise it
    |   +-- RateLimited              rate-limited 429
    |   +-- NoteGenerationFailed     note-generation-failed 502
    |   +-- Overloaded               overloaded 503
    |   |   +-- StorageUnavailable   overloaded 503: disk full, locked, read-only, damaged
    |   +-- WorkerUnreachable        worker-unreachable 503
    +-- SetupError                   this machine lacks something; one line, no slug
        +-- ModelMissing             no weights where the resolver looked
        +-- ModelHashMismatch        weights that are not the pinned ones
        +-- ModelUnusable            weights that this machine cannot run as it was asked to
        +-- PortBusy                 the address is taken
        +-- NotOurAddress            the address is not one of this machine
        +-- PortForbidden            the system lets nobody of our rights listen there

No message may hold what a person said, wrote or is called: messages are shown, logged and sent on. Each class builds
its own message; ``retryable`` tells whether the same call may succeed later without anybody changing anything.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import ClassVar

PROBLEM_TYPE = "urn:quietnote:problem:"
"""What stands before a slug in a problem's ``type``."""


class QuietnoteError(Exception):
    """The root. Never raised by itself."""

    retryable: ClassVar[bool] = False


class ProblemError(QuietnoteError):
    """An error a caller is told about, as ``application/problem+json``."""

    slug: ClassVar[str] = "invalid-transition"
    status: ClassVar[int] = 400
    title: ClassVar[str] = "The request could not be carried out."

    def __init__(self, detail: str = "", **extra: str | int | bool | list[str]) -> None:
        self.detail = detail or self.title
        self.extra = extra
        super().__init__(self.detail)

    def members(self) -> dict[str, str | int]:
        """Its RFC 9457 members, as they stand in an answer or inside a message."""
        return {
            "type": PROBLEM_TYPE + self.slug,
            "slug": self.slug,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }


class Unauthorized(ProblemError):
    """No credentials, or ones that are unknown, expired or revoked."""

    slug, status, title = "unauthorized", 401, "Sign in, or send a valid key or token."


class Forbidden(ProblemError):
    """Known, but not allowed to do this."""

    slug, status, title = "forbidden", 403, "You may not do this."


class AiFeaturesDisabled(ProblemError):
    """Transcription is switched off for this clinic or clinician."""

    slug, status, title = "ai-features-disabled", 403, "Transcription is switched off for this clinic."


class NotFound(ProblemError):
    """No such thing, or not the caller's: the answer is the same."""

    slug, status, title = "not-found", 404, "There is nothing here."


class InvalidTransition(ProblemError):
    """The thing is not in a state in which this can be done."""

    slug, status, title = "invalid-transition", 409, "That cannot be done in this state."


class ConsentMissing(ProblemError):
    """Somebody who must agree has not."""

    slug, status, title = "consent-missing", 409, "Not everybody who must agree has agreed."


class ConsentRevoked(ProblemError):
    """Somebody took their agreement back."""

    slug, status, title = "consent-revoked", 409, "Consent was withdrawn."


class ClientNotPresent(ProblemError):
    """Start was asked for while no client is in the room."""

    slug, status, title = "client-not-present", 409, "No client is in the room yet."


class AppointmentMissing(ProblemError):
    """The clinic works by appointment and this session has none."""

    slug, status, title = "appointment-missing", 409, "This session has no appointment."


class SessionLocked(ProblemError):
    """The session or its note is closed to changes, or is served elsewhere right now."""

    slug, status, title = "session-locked", 409, "This is closed to changes."


class IdempotencyConflict(ProblemError):
    """The same Idempotency-Key came with another body, or the same ``message_id`` with another action."""

    slug, status, title = "idempotency-conflict", 409, "That key or message id was used for something else."


class TranscriptPurged(ProblemError):
    """The transcript was destroyed and cannot be restored."""

    slug, status, title = "transcript-purged", 410, "The transcript was permanently deleted."


class PreconditionFailed(ProblemError):
    """The thing changed since the caller read it."""

    slug, status, title = "precondition-failed", 412, "This changed since you read it."


class PayloadTooLarge(ProblemError):
    """More bytes than this door takes."""

    slug, status, title = "payload-too-large", 413, "That is larger than is taken here."


class AudioFormatUnsupported(ProblemError):
    """Sound in a form that cannot be used; the detail says what was found."""

    slug, status, title = "audio-format-unsupported", 415, "This audio cannot be used."


class AudioTooShort(ProblemError):
    """Not enough sound to make anything of."""

    slug, status, title = "audio-too-short", 422, "There is too little audio."


class CaptureNoAudio(ProblemError):
    """Capture is on and no sound arrives."""

    slug, status, title = "capture-no-audio", 422, "No audio was captured."


class ConfigInvalid(ProblemError):
    """Configuration or a request body that does not validate; the detail names the path."""

    slug, status, title = "config-invalid", 422, "Something in this is not valid."


class LanguageUnsupported(ConfigInvalid):
    """A language that the loaded speech model does not recognise: its words would be written down as another's."""

    NAMED: ClassVar[int] = 12
    """Languages that are listed; of more, only how many there are is said."""

    def __init__(self, model: str, languages: Sequence[str]) -> None:
        self.model, self.languages = model, tuple(languages)
        few = len(languages) <= self.NAMED
        known = ", ".join(languages) if few else f"{len(languages)} languages, this is none of them"
        super().__init__(f"language: the speech model {model} recognises {known}.", paths=["language"])


class RateLimited(ProblemError):
    """Too many calls."""

    slug, status, title = "rate-limited", 429, "Too many requests; try again shortly."
    retryable = True


class NoteGenerationFailed(ProblemError):
    """The writer could not make a note; the transcript is kept."""

    slug, status, title = "note-generation-failed", 502, "The note could not be generated."
    retryable = True


class Overloaded(ProblemError):
    """No capacity for another session right now."""

    slug, status, title = "overloaded", 503, "No capacity right now."
    retryable = True


class StorageUnavailable(Overloaded):
    """The database or the key store cannot be read or written; nothing was changed.

    ``cause`` is one of ``full locked read_only damaged io unreachable``.
    """

    title = "The store cannot be used right now."
    CAUSES: ClassVar[dict[str, str]] = {
        "full": "the disk is full",
        "locked": "it is locked by another process",
        "read_only": "it is read-only",
        "damaged": "it is damaged or not ours",
        "io": "the disk does not answer",
        "unreachable": "the database server does not answer",
    }

    def __init__(self, what: str, cause: str) -> None:
        self.what, self.cause = what, cause
        super().__init__(f"The {what} cannot be used: {self.CAUSES[cause]}.", cause=cause)

    @classmethod
    def of(cls, what: str, error: OSError) -> StorageUnavailable:
        """The error to raise for an operating-system error, without its message."""
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            return cls(what, "full")
        if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
            return cls(what, "read_only")
        return cls(what, "locked" if error.errno == errno.EAGAIN else "io")


class WorkerUnreachable(ProblemError):
    """The process that serves this session does not answer."""

    slug, status, title = "worker-unreachable", 503, "The service for this session does not answer."
    retryable = True


class SetupError(QuietnoteError):
    """This machine lacks something; the message is one line for a terminal."""


class ModelMissing(SetupError):
    """No weights where the resolver looked."""

    def __init__(self, name: str, looked_in: list[str]) -> None:
        self.name, self.looked_in = name, looked_in
        super().__init__(f"speech model {name!r} was not found; looked in: {', '.join(looked_in) or 'nowhere'}")


class ModelHashMismatch(SetupError):
    """Weights whose SHA-256 is not the pinned one."""

    def __init__(self, name: str, path: str, expected: str, found: str) -> None:
        self.name, self.path, self.expected, self.found = name, path, expected, found
        super().__init__(
            f"speech model {name!r} at {path} has SHA-256 {found[:12]}..., not {expected[:12]}...; it is not loaded"
        )


class ModelUnusable(SetupError):
    """Weights that cannot be run on the device, or with the number type, that the settings ask for."""

    def __init__(self, name: str, device: str, compute_type: str, why: str) -> None:
        self.name, self.device, self.compute_type = name, device, compute_type
        super().__init__(
            f"speech model {name!r} cannot run on {device} with {compute_type}: {why}; "
            "see QUIETNOTE_ASR_DEVICE and QUIETNOTE_ASR_COMPUTE_TYPE"
        )


class PortBusy(SetupError):
    """The address is taken."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        super().__init__(f"{host}:{port} is already in use; choose another with --port")


class NotOurAddress(SetupError):
    """An address that this machine does not have."""

    def __init__(self, host: str) -> None:
        self.host = host
        super().__init__(f"{host} is no address of this machine; choose another with --host")


class PortForbidden(SetupError):
    """A port that the system keeps for processes with more rights."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        super().__init__(f"{host}:{port} needs more rights to listen on; choose a port from 1024 with --port")


def problem_classes() -> list[type[ProblemError]]:
    """Every concrete problem, in the order of the tree."""
    return list(ProblemError.__subclasses__())
