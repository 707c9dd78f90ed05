"""The words of a validation problem never repeat what was sent."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter, ValidationError, field_validator

from bot.control.problems import answer, body_of, internal_body, validation_problem
from bot.errors import Overloaded, RateLimited, Unauthorized, problem_classes

SECRET = "Robin"


class _A(BaseModel):
    kind: Literal["a"]


class _B(BaseModel):
    kind: Literal["b"]


class _Body(BaseModel, extra="forbid"):
    number: int = 0
    word: Literal["yes", "no"] = "no"
    at: AwareDatetime | None = None
    part: Annotated[_A | _B, Field(discriminator="kind")] | None = None
    checked: str = ""

    @field_validator("checked")
    @classmethod
    def _check(cls, value: str) -> str:
        if value:
            raise ValueError(f"{value} is wrong")
        return value


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"number": SECRET}, "body.number: is not valid"),
        ({"word": SECRET}, "body.word: Input should be 'yes' or 'no'"),
        ({"at": f"{SECRET}-01-01"}, "body.at: is not valid"),
        ({"part": {"kind": SECRET}}, "body.part: is not one of the known kinds"),
        ({"checked": SECRET}, "body.checked: is not valid"),
        ({f"{SECRET} said it": 1}, "body.?: Extra inputs are not permitted"),
    ],
)
def test_paths_without_values(body: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError) as wrong:
        TypeAdapter(dict[str, _Body]).validate_python({"body": body})
    problem = validation_problem([dict(error) for error in wrong.value.errors()])
    assert problem.detail in {expected, expected.removeprefix("body.")}
    assert SECRET not in str(body_of(problem))


def test_every_problem_has_the_same_members() -> None:
    for kind in problem_classes():
        if kind.__init__ is not Overloaded.__init__:
            continue
        body = body_of(kind())
        assert {"type", "slug", "title", "status", "detail"} <= set(body)
        assert body["type"] == f"urn:quietnote:problem:{body['slug']}"
        assert answer(kind()).status_code == body["status"]
    assert set(internal_body("x")) == {"type", "slug", "title", "status", "detail", "reference"}


def test_headers_that_go_with_a_problem() -> None:
    assert answer(Unauthorized()).headers["www-authenticate"] == "Bearer"
    assert answer(RateLimited("later", retry_after_s=60)).headers["retry-after"] == "60"
    assert answer(Overloaded()).headers["retry-after"] == "5"


def test_further_members_never_replace_the_five() -> None:
    assert body_of(Overloaded("x", slug="y", status=1))["slug"] == "overloaded"
