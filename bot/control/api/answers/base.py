"""What all answers share."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Time = Annotated[AwareDatetime, Field(description="RFC 3339 in UTC, to the millisecond.")]
Ms = Annotated[int, Field(description="Milliseconds on the call's clock, which begins at the first Start.")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 in lower-case hexadecimal.")]
NextCursor = Annotated[
    str | None, Field(description="Where this page ends: send it as `cursor`. Null: nothing follows.")
]


class Reply(BaseModel):
    """The base of them all."""

    model_config = ConfigDict(frozen=True)
