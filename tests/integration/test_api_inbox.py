"""The Notes inbox over HTTP: each reader's own read state, and a stream that resumes, over several processes too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from bot.control.api.answers.stream import INBOX_EVENTS
from bot.control.api.app import create_app
from bot.control.services import Limits
from bot.events import Role
from bot.store.bus import Bus
from bot.store.db import Database
from bot.store.records import NewParticipant, NewSession
from bot.store.sessions import SessionStore
from bot.store.valkey import EmbeddedValkey
from tests.integration import api_world
from tests.integration.api_world import DEV, PASSWORD, WAIT_S, World, open_world, problem_of, served
from tests.integration.test_api_events import Reader

world = api_world.world


class Inbox(Reader):
    """An inbox's stream, each event held against the document."""

    async def next(self, kind: str) -> tuple[dict[str, Any], str | None]:
        while True:
            fields = await self.block()
            if "event" not in fields:
                continue
            INBOX_EVENTS[fields["event"]].model_validate_json(fields["data"], strict=True, extra="forbid")
            if fields["event"] == kind:
                return json.loads(fields["data"]), fields.get("id")


@asynccontextmanager
async def follow(address: str, headers: dict[str, str], after: str | None = None) -> AsyncIterator[Inbox]:
    sent = headers | ({"Last-Event-ID": after} if after else {})
    url = f"http://{address}/v1/inbox/events"
    async with httpx.AsyncClient(timeout=WAIT_S) as client, client.stream("GET", url, headers=sent) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Inbox(answer)


async def cookie(world: World, email: str) -> tuple[str, dict[str, str]]:
    """Somebody's id, and the header that their signed-in browser sends."""
    user = await world.services.users.by_email(email) or await world.services.users.add(
        "demo", email, "Dr. Somebody", "clinician", PASSWORD
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=world.app), base_url=api_world.BASE) as browser:
        answer = await browser.post("/v1/auth/login", json={"email": email, "password": PASSWORD})
        token = browser.cookies["qn_session"]
        return user.id, {"Cookie": f"qn_session={token}", "X-CSRF-Token": answer.json()["csrf"]}


async def item(world: World, clinician: str | None, kind: str = "failed", reason: str = "endpoint-busy") -> str:
    """A session of somebody's with an item in the inbox; the item's id."""
    record = await world.store.create(NewSession("demo", clinician_user_id=clinician))
    made = await world.store.inbox_add(record.id, kind, dedupe=f"{kind}:{record.id}", reason_slug=reason)
    assert made is not None
    return made.id


async def unread(world: World, headers: dict[str, str]) -> tuple[int, dict[str, bool]]:
    answer = await world.client.get("/v1/inbox", headers=headers)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return body["unread"], {one["id"]: one["read"] for one in body["items"]}


async def test_what_one_has_read_is_unread_for_another(world: World) -> None:
    _, ada = await cookie(world, "ada@example.org")
    _, ben = await cookie(world, "ben@example.org")
    key = await world.key()
    inb = await item(world, None)  # nobody's: everybody's
    for who in (ada, ben, key):
        assert await unread(world, who) == (1, {inb: False})
    for _ in range(2):
        answer = await world.client.post(f"/v1/inbox/{inb}/read", headers=ada)
        assert answer.json()["read"] is True
    assert await unread(world, ada) == (0, {inb: True})
    assert (await world.client.get("/v1/inbox?unread=true", headers=ada)).json()["items"] == []
    for who in (ben, key):
        assert await unread(world, who) == (1, {inb: False})
    await world.client.post(f"/v1/inbox/{inb}/read", headers=key)
    assert await unread(world, await world.key()) == (0, {inb: True}), "a platform's keys are one reader"
    assert await unread(world, ben) == (1, {inb: False})


async def test_a_failure_says_whom_to_ask_and_what_to_tell_them(world: World) -> None:
    _, ada = await cookie(world, "ada@example.org")
    await item(world, None)
    await item(world, None, "draft_ready", "made-again")
    items = (await world.client.get("/v1/inbox", headers=ada)).json()["items"]
    by_kind = {one["kind"]: one for one in items}
    contact = (await world.services.clinics.current("demo"))[1].support_contact
    assert contact
    assert by_kind["failed"]["support"] == {"reference": by_kind["failed"]["session_id"], "contact": contact}
    assert by_kind["draft_ready"]["support"] is None


async def test_the_badge_and_the_items_come_as_they_are_committed(world: World) -> None:
    me, ada = await cookie(world, "ada@example.org")
    async with served(world) as address, follow(address, ada) as stream:
        first, _ = await stream.next("inbox")
        assert (first["unread"], first["items"]) == (0, [])
        inb = await item(world, me)
        moved, _ = await stream.next("moved")
        news, _ = await stream.next("inbox")
        assert (news["unread"], [one["id"] for one in news["items"]]) == (1, [inb])
        assert moved["session_id"] == news["items"][0]["session_id"]
        answer = await world.client.post(f"/v1/inbox/{inb}/read", headers=ada)  # on another page of hers
        assert answer.status_code == 200
        news, _ = await stream.next("inbox")
        assert (news["unread"], news["items"][0]["read"]) == (0, True)
        await world.drafted((await world.session(DEV, participants=[
            {"id": me, "role": "clinician", "display_name": "Dr. Ada Stone"},
            {"id": "cl-1", "role": "client", "display_name": "Robin Fields"},
        ]))["session"]["id"])  # fmt: skip
        news, _ = await stream.next("inbox")
        assert (news["unread"], news["items"][0]["kind"]) == (1, "draft_ready")


async def test_a_stream_resumes_after_the_last_id_and_skips_nothing(world: World) -> None:
    me, ada = await cookie(world, "ada@example.org")
    async with served(world) as address:
        async with follow(address, ada) as stream:
            await item(world, me)
            while not (read := await stream.next("inbox"))[0]["unread"]:
                pass
        missed = [await item(world, me), await item(world, me)]
        await world.client.post(f"/v1/inbox/{missed[0]}/read", headers=ada)
        async with follow(address, ada, after=read[1]) as stream:
            news, seq = await stream.next("inbox")
        assert [one["id"] for one in news["items"]] == missed, "what came meanwhile, each once, and nothing before"
        assert [one["read"] for one in news["items"]] == [True, False]
        assert news["unread"] == 2
        async with follow(address, ada, after=seq) as stream:
            news, _ = await stream.next("inbox")
        assert (news["items"], news["unread"]) == ([], 2)


async def test_nobody_hears_of_anothers_inbox(world: World) -> None:
    me, ada = await cookie(world, "ada@example.org")
    other, ben = await cookie(world, "ben@example.org")
    async with served(world) as address, follow(address, ada) as hers, follow(address, ben) as his:
        await hers.next("inbox")
        await his.next("inbox")
        await item(world, other)
        await his.next("moved")
        await his.next("inbox")
        mine = await item(world, me)
        moved, _ = await hers.next("moved")
        news, _ = await hers.next("inbox")
    assert [one["id"] for one in news["items"]] == [mine], "the first she hears of is her own"
    assert moved["session_id"] == news["items"][0]["session_id"]


async def test_who_may_follow_it(world: World) -> None:
    made = await world.session()
    token = {"Authorization": f"Bearer {made['join'][0]['token']}"}
    problem_of(await world.client.get("/v1/inbox/events", headers=token), 403, "forbidden")
    problem_of(await world.client.get("/v1/inbox/events"), 401, "unauthorized")
    narrow = await world.key("demo", "sessions")
    problem_of(await world.client.get("/v1/inbox/events", headers=narrow), 403, "forbidden")
    bad = {**DEV, "Last-Event-ID": "yesterday"}
    problem_of(await world.client.get("/v1/inbox/events", headers=bad), 422, "config-invalid")


async def test_there_is_an_end_to_how_many(tmp_path: Path) -> None:
    async with open_world(tmp_path, limits=Limits(streams=0)) as full:
        problem_of(await full.client.get("/v1/inbox/events", headers=DEV), 503, "overloaded")


@pytest.mark.parametrize("bus", [True, False])
async def test_what_another_process_commits_comes_too(tmp_path: Path, *, bus: bool) -> None:
    valkey = EmbeddedValkey(tmp_path)
    limits = Limits(heartbeat_s=WAIT_S if bus else 0.05)  # without a bus it is seen at the next sign of life
    async with AsyncExitStack() as stack:
        url = await valkey.start() if bus else ""
        stack.push_async_callback(valkey.close)
        world = await stack.enter_async_context(open_world(tmp_path, bus_url=url, limits=limits))
        db = Database(world.services.settings.sqlalchemy_url)
        await db.open()
        beside = Bus(url or f"unix://{tmp_path}/nobody.sock")
        await beside.open()
        store = SessionStore(db, world.services.vault, world.clock)
        shared = {"database_url": "postgresql+asyncpg://nobody/none", "redis_url": url or "redis://nobody"}
        settings = world.services.settings.model_copy(update=shared)  # one of several, as far as it knows
        stopping = asyncio.Event()
        services = replace(world.services, settings=settings, db=db, store=store, bus=beside, stopping=stopping)
        app = await asyncio.to_thread(create_app, services)
        async with served(world) as address, follow(address, DEV) as stream:
            await stream.next("inbox")
            people = (NewParticipant("d", Role.CLINICIAN, "Dr"),)
            record = await store.create(NewSession("demo", clinician_user_id="u1", participants=people))
            made = await store.inbox_add(record.id, "failed", dedupe="one", reason_slug="endpoint-busy")
            assert made is not None
            news, _ = await stream.next("inbox")
            assert [one["id"] for one in news["items"]] == [made.id]
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=api_world.BASE) as other:
                assert (await other.post(f"/v1/inbox/{made.id}/read", headers=DEV)).status_code == 200
            news, _ = await stream.next("inbox")
            assert (news["unread"], news["items"][0]["read"]) == (0, True)
        await app.state.inbox.end()
        await beside.close()
        await db.close()


async def test_items_of_one_thing_come_once_and_their_numbers_grow(world: World) -> None:
    record = await world.store.create(NewSession("demo"))

    async def put(number: int) -> Any:
        return await world.store.inbox_add(record.id, "failed", dedupe=f"one:{number % 3}", reason_slug="timeout")

    made = [one for one in await asyncio.gather(*(put(number) for number in range(12))) if one is not None]
    assert len(made) == 3
    seqs = []
    after = 0
    for _ in range(3):
        news = await world.store.inbox_since("demo", after)
        seqs.append(news.seq)
        after = news.seq
    assert seqs == [3, 3, 3]
    assert len((await world.store.inbox_since("demo", 0)).items) == 3
    assert len((await world.store.inbox_since("demo", 2)).items) == 1
