"""What a clinic may choose: one typed schema, loaded from TOML, versioned in the database, snapshotted into sessions.

Files under ``config/clinics/`` seed the database when it has no such clinic yet; from then on the database is the
truth. Each session stores the whole snapshot and its version, so that a later change never reaches back.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.errors import ConfigInvalid

Language = Annotated[str, Field(pattern=r"^[a-z]{2}(-[A-Z]{2})?$")]
"""A language that is spoken, as the speech models name it."""
LanguageTag = Annotated[str, Field(max_length=35, pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,5}$")]
"""A language that is read: a BCP 47 tag."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AiFeatures(_Part):
    """Whether transcription may be used at all."""

    enabled: bool = Field(True, description="Off: Start, upload and generation answer ai-features-disabled.")


class ConsentPolicy(_Part):
    """How people are asked."""

    wording: dict[LanguageTag, str] = Field(
        default_factory=dict,
        description="The text shown before recording, by language (BCP 47); empty: the built-in text.",
    )
    wording_version: str = Field(
        "1", description="Version of the wording, stored with each answer beside the hash of the text."
    )
    late_joiner: Literal["pause_all", "withhold_lane"] = Field(
        "pause_all",
        description="When somebody who has not answered joins a captured session: pause everybody, or only them.",
    )
    on_file: bool = Field(
        False, description="A clinician may attest, when a session is made, that a live call's consent is on file."
    )
    verbal_attested: bool = Field(
        False, description="A clinician may attest, in the call, that a participant's consent was given aloud."
    )


class CapturePolicy(_Part):
    """How a call is captured."""

    max_duration_min: int = Field(
        180, ge=1, le=720, description="Minutes from the first captured sample until recording is finished."
    )
    clinician_absent_s: int = Field(10, ge=1, le=600, description="Seconds without a clinician until capture pauses.")
    client_absent_s: int = Field(10, ge=1, le=600, description="Seconds without a client until capture pauses.")
    alone_s: int = Field(120, ge=5, le=3600, description="Seconds alone in the room until the call counts as ended.")
    one_sided_s: int = Field(
        600,
        ge=5,
        le=7200,
        description="Seconds without any clinician, or without anybody on the client's side, until recording is "
        "finished; never sooner than alone_s.",
    )
    silence_min: int = Field(
        30, ge=1, le=720, description="Minutes in which nobody speaks while recording runs, until it is finished."
    )
    no_words_s: int = Field(
        20, ge=3, le=600, description="Seconds of somebody's speech without a word until clinicians are warned."
    )
    silent_microphone_s: int = Field(
        15,
        ge=3,
        le=600,
        description="Seconds without any sound from a microphone that is not muted, until its owner and clinicians are "
        "warned; four times as many where it gave sound before.",
    )
    client_captions: bool = Field(True, description="Whether clients see the live captions.")
    long_pause_s: int = Field(
        5, ge=1, le=600, description="Seconds of pause after which the tracks are no longer received."
    )


class AudioPolicy(_Part):
    """How audio is held until its words are safe."""

    spool: Literal["disk", "memory"] = Field(
        "disk",
        description="disk: sealed chunks outlive a crash. memory: no sound is ever on a disk, and a crash or a restart "
        "loses what has no words yet; the transcript then says from when to when.",
    )


class AsrChoice(_Part):
    """Recognition."""

    language: Language = Field("en", description="Language spoken, unless a session says otherwise.")
    vocabulary: tuple[str, ...] = Field((), description="Words to expect. Not used yet: must be empty.")


class NoteChoice(_Part):
    """How notes are made."""

    template: str = Field("soap", description="Template used unless a session says otherwise.")
    writer: Literal["offline", "openai"] = Field(
        "offline",
        description="offline: sentences lifted from the transcript, nothing leaves the machine. openai: an endpoint.",
    )
    base_url: str = Field("", description="The OpenAI-compatible endpoint clinical text may be sent to.")
    model: str = Field("", description="Model name at that endpoint.")
    api_key_env: str = Field("", description="Name of the environment variable that holds the endpoint's key.")
    timeout_s: float = Field(120.0, gt=0, le=1800, description="Longest wait for one answer, in seconds.")
    context_tokens: int = Field(8192, ge=1024, description="Context length of the model, in tokens.")


class Retention(_Part):
    """How long words are kept."""

    transcript_days: float = Field(
        7.0, gt=0, le=7, description="Days after the session until the transcript is destroyed."
    )
    erase_audio_within_h: float = Field(
        24.0, gt=0, le=72, description="Hours after which audio is destroyed whatever happened."
    )
    notes_days: Annotated[int, Field(ge=365, le=36_525)] | Literal["keep"] = Field(
        "keep",
        description="Days from signing until a session's record (note, typed text, names, answers on consent) is "
        "destroyed; keep: never by itself.",
    )
    drafts_days: Annotated[int, Field(ge=30, le=3_650)] | Literal["keep"] = Field(
        "keep",
        description="Days from the session's end until a draft that nobody signed is destroyed, with what was typed "
        "for it; keep: never by itself.",
    )


class ClinicConfig(_Part):
    """All that one clinic chose."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{1,62}$", description="The clinic's id.")
    name: str = Field(min_length=1, max_length=200, description="The clinic's name, shown to clients.")
    mode: Literal["integrated", "manual"] = Field("manual", description="integrated: a session names its appointment.")
    support_contact: str = Field("", description="Whom to reach when something failed, shown with failures.")
    ai_features: AiFeatures = AiFeatures()
    consent: ConsentPolicy = ConsentPolicy()
    capture: CapturePolicy = CapturePolicy()
    audio: AudioPolicy = AudioPolicy()
    asr: AsrChoice = AsrChoice()
    note: NoteChoice = NoteChoice()
    retention: Retention = Retention()


def parse(data: dict[str, Any], *, where: str) -> ClinicConfig:
    """Validate a clinic's settings; raise :class:`ConfigInvalid` naming each wrong path."""
    try:
        return ClinicConfig.model_validate(data)
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False)]
        raise ConfigInvalid(f"{where}: {'; '.join(wrong)}", paths=wrong) from None


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def load_files(config_dir: Path) -> dict[str, ClinicConfig]:
    """Read ``clinics/*.toml`` over ``default.toml``, by clinic id. Raises :class:`ConfigInvalid`."""

    def read(path: Path) -> dict[str, Any]:
        try:
            return tomllib.loads(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigInvalid(f"{path.name}: {error}") from None

    defaults = read(config_dir / "default.toml").get("clinic", {})
    clinics = {}
    for path in sorted((config_dir / "clinics").glob("*.toml")):
        config = parse(_merged(defaults, {"id": path.stem} | read(path)), where=f"clinics/{path.name}")
        clinics[config.id] = config
    return clinics
