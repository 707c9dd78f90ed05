"""The service itself, who is signed in, and what a clinic chose."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bot.clinics import ClinicConfig
from bot.control.api.answers.base import Reply, Sha256


class Liveness(Reply):
    """The process serves."""

    status: Literal["ok"]
    dev: bool = Field(description="True in development mode: the demo sign-in exists.")


class Readiness(Reply):
    """Whether the main job can be done."""

    ready: bool
    missing: dict[str, str] = Field(description="What is missing, by its name: one plain sentence each.")
    checked: list[str] = Field(description="Names of all that was checked.")


class SignedInUser(Reply):
    """The signed-in person."""

    id: str
    clinic_id: str
    email: str
    display_name: str
    role: Literal["clinician", "admin"]


class SignedIn(Reply):
    """Signed in; the cookie is set."""

    csrf: str = Field(description="What changes by cookie carry in `X-CSRF-Token`.")
    user: SignedInUser


class Me(SignedIn):
    """Who is signed in."""

    dev: bool = Field(description="True in development mode.")


class ClinicConfiguration(Reply):
    """A clinic's configuration as it stands."""

    clinic_id: str
    version: int = Field(description="Counts up with each change; the `ETag`.")
    config: ClinicConfig


class FormParagraph(Reply):
    """A paragraph of a form."""

    lead: str = Field(description="Its first words, to be set in bold; may be empty.")
    text: str


class FormSection(Reply):
    """Paragraphs under one heading."""

    title: str
    paragraphs: list[FormParagraph]


class FormLanguage(Reply):
    """A language that the form is there in."""

    language: str = Field(description="A BCP 47 tag.")
    name: str = Field(description="What the language calls itself.")


class ConsentForm(Reply):
    """The clinic's consent form in one language."""

    version: str = Field(description="Another for every other text: it ends with the beginning of the text's hash.")
    sha256: Sha256
    language: str = Field(description="A BCP 47 tag.")
    languages: list[FormLanguage]
    clinic: str
    title: str
    intro: str
    sections: list[FormSection]
    statement: str
    lines: list[str] = Field(description="What is filled in by hand, a line each.")
    foot: str


class ReceiptKey(Reply):
    """A public key as a JSON Web Key (RFC 8037)."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str = Field(description="The key's 32 bytes in base64url without padding.")
    kid: str = Field(description="The key's name: its RFC 7638 thumbprint, a receipt's `key_id`.")
    alg: Literal["EdDSA"]
    use: Literal["sig"]


class ReceiptKeys(Reply):
    """The JSON Web Key Set that checks receipts."""

    keys: list[ReceiptKey]
