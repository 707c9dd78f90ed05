"""Signing in and out of the pages.

No POST here gives an answer twice under an ``Idempotency-Key``. The answer of a sign-in is a live cookie: to keep it
for a day would put into the database what it otherwise holds as a hash only, and would give it again to whoever repeats
the request, after signing out too. Signing in again makes another sign-in; signing out twice leaves nobody signed in.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from bot.control.api import answers, bodies
from bot.control.api.deps import Called, Served, services_of
from bot.control.api.gives import gives
from bot.control.auth import COOKIE, dev_mode
from bot.control.limits import Limit
from bot.control.services import Services
from bot.errors import ConfigInvalid, NotFound, Overloaded, RateLimited, Unauthorized
from bot.store.users import SignIn, UserRecord

router = APIRouter(prefix="/v1/auth", tags=["signing in"])

PER_PERSON = Limit(tries=10, window_s=300)
"""Tries for one e-mail address."""
PER_ADDRESS = Limit(tries=50, window_s=300)
"""Tries from one network address: a whole practice may share one."""
DEMO_EMAIL = "clinician@demo.invalid"
DEMO_NAME = "Demo Clinician"
SETS_COOKIE = {
    "Set-Cookie": {"description": f"`{COOKIE}`, for this site's pages only.", "schema": {"type": "string"}},
}


@router.post(
    "/login",
    summary="Sign in",
    responses=gives(answers.SignedIn, Unauthorized, RateLimited, Overloaded, headers=SETS_COOKIE),
)
async def login(request: Request, body: bodies.LoginBody, services: Served) -> Response:
    """Sets the cookie, and gives the CSRF token that changes must carry.

    An `Idempotency-Key` means nothing here: an answer that can be had again would be a live cookie that outlasts
    signing out. Each sign-in is a new one.
    """
    address = request.client.host if request.client else "unknown"
    await services.limiter.check("login-from", address, PER_ADDRESS)
    await services.limiter.check("login-as", body.email.strip().lower(), PER_PERSON)
    try:
        user = await services.users.authenticate(body.email, body.password)
    except Unauthorized:
        services.metrics.logins.labels(result="refused").inc()
        raise
    services.metrics.logins.labels(result="ok").inc()
    return _signed_in(services, await services.users.sign_in(user.id))


@router.post(
    "/dev-login",
    summary="Sign in as the demo clinician (development mode only)",
    responses=gives(answers.SignedIn, NotFound, Overloaded, headers=SETS_COOKIE),
)
async def dev_login(services: Served) -> Response:
    """There is no such address unless the service runs in development mode on a loopback address.

    An `Idempotency-Key` means nothing here, as with signing in.
    """
    if not dev_mode(services.settings):
        raise NotFound
    return _signed_in(services, await services.users.sign_in((await demo_user(services)).id))


@router.post("/logout", status_code=204, summary="Sign out", responses=gives(None, status=204))
async def logout(request: Request, caller: Called) -> Response:
    """Forgets the browser.

    An `Idempotency-Key` means nothing here: a second time the cookie is unknown, and nobody is signed in either way.
    """
    cookie = request.cookies.get(COOKIE)
    if cookie is not None and caller.user is not None:
        await services_of(request).users.sign_out(cookie)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response


@router.get("/me", summary="Who is signed in", responses=gives(answers.Me))
async def me(caller: Called, services: Served) -> dict[str, Any]:
    """The signed-in person, their CSRF token, and whether this is development mode."""
    if caller.user is None or caller.csrf is None:
        raise Unauthorized("Nobody is signed in here.")
    return {"csrf": caller.csrf, "user": user_view(caller.user), "dev": dev_mode(services.settings)}


async def demo_user(services: Services) -> UserRecord:
    """The demo clinician, made at first. Raises NotFound where there is no demo clinic."""
    user = await services.users.by_email(DEMO_EMAIL)
    if user is None:
        try:
            # the password is never told to anybody: this person signs in by this door only
            user = await services.users.add(
                services.dev_clinic_id, DEMO_EMAIL, DEMO_NAME, "clinician", secrets.token_urlsafe(32)
            )
        except ConfigInvalid:  # another request was first
            user = await services.users.by_email(DEMO_EMAIL)
    if user is None:
        raise NotFound("There is no demo clinic here.")
    return user


def _signed_in(services: Services, signed_in: SignIn) -> JSONResponse:
    response = JSONResponse({"csrf": signed_in.csrf, "user": user_view(signed_in.user)})
    response.set_cookie(
        COOKIE,
        signed_in.cookie,
        max_age=_seconds(services, signed_in.expires_at),
        path="/",
        httponly=True,
        samesite="strict",
        secure=services.settings.cookie_secure,
    )
    return response


def _seconds(services: Services, until: datetime) -> int:
    return max(0, int((until - services.clock.now()).total_seconds()))


def user_view(user: UserRecord) -> dict[str, Any]:
    """A person as the pages show them."""
    return {
        "id": user.id,
        "clinic_id": user.clinic_id,
        "email": user.email,
        "display_name": user.display_name,
        "role": user.role,
    }
