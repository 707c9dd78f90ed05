"""The doors to webhooks: who may, what is refused, what is shown once, and what the log says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from bot.events import Role
from bot.notes.webhooks import WebhookSender
from tests.integration import api_world
from tests.integration.api_world import DEV, World, bearer, problem_of, token_of
from tests.integration.webhook_world import Receiver, local, served

world = api_world.world
PATH = "/v1/clinics/demo/webhooks"
URL = "https://hooks.example/quietnote"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with served() as made:
        yield made


async def added(world: World, url: str = URL) -> dict[str, Any]:
    answer = await world.client.post(PATH, json={"url": url}, headers=DEV)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


@pytest.fixture
def inward(world: World, monkeypatch: pytest.MonkeyPatch) -> WebhookSender:
    """The world's sender, with its operator's leave to reach this machine; closed by the test that uses it."""
    sender = world.services.webhooks
    monkeypatch.setattr(sender, "_allow_private", True)
    return sender


async def test_webhooks_are_an_administrators(world: World) -> None:
    hook = (await added(world))["id"]
    made = await world.session()
    other = await world.other_clinic()
    keys = {scope: await world.key("demo", scope) for scope in ("sessions", "notes", "admin")}
    calls: tuple[tuple[str, str, Any], ...] = (
        ("GET", PATH, None),
        ("POST", PATH, {"url": URL}),
        ("POST", f"{PATH}/{hook}/test", None),
        ("POST", f"{PATH}/{hook}/rotate", None),
        ("POST", f"{PATH}/{hook}/enable", None),
        ("GET", f"{PATH}/{hook}/deliveries", None),
        ("POST", f"{PATH}/{hook}/deliveries/msg_0/replay", None),
        ("DELETE", f"{PATH}/{hook}", None),
    )
    refused: list[dict[str, str]] = [keys["sessions"], keys["notes"]]
    refused += [bearer(token_of(made, role)) for role in (Role.CLINICIAN, Role.CLIENT)]
    stranger = await world.key(other, "admin")

    async def call(method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
        return await world.client.request(method, path, json=body, headers=headers)

    for method, path, body in calls:
        for headers in refused:
            problem_of(await call(method, path, body, headers), 403, "forbidden")
        problem_of(await call(method, path, body, {}), 401, "unauthorized")
        problem_of(await call(method, path, body, stranger), 404, "not-found")
        others = path.replace("/demo/", f"/{other}/")
        if hook in path:
            problem_of(await call(method, others, body, stranger), 404, "not-found")
    csrf = {"X-CSRF-Token": await world.sign_in()}
    for method, path, body in calls:
        problem_of(await call(method, path, body, csrf), 403, "forbidden")
    world.client.cookies.clear()
    csrf = {"X-CSRF-Token": await world.sign_in("boss@example.org", role="admin")}
    problem_of(await call("POST", PATH, {"url": URL}, {}), 403, "forbidden")  # a change by cookie needs the token
    for headers in (csrf, keys["admin"]):
        assert (await call("POST", PATH, {"url": URL}, headers)).status_code == 201
        assert len((await call("GET", PATH, None, headers)).json()["items"]) >= 2
    assert (await call("DELETE", f"{PATH}/{hook}", None, csrf)).status_code == 204


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://hooks.example/", "https"),
        ("http://127.0.0.1:9000/", "https"),
        ("https://127.0.0.1/", "public internet"),
        ("https://[::ffff:169.254.169.254]/", "public internet"),
        ("https://2130706433/", "address of an endpoint"),
        ("https://user:word@hooks.example/", "without a name, password"),
        ("https://hooks.example:25/", "port"),
        ("https://bücher.example/", "ASCII"),
        ("file:///etc/passwd", "https"),
        ("", "https"),
        ("https://hooks.example/" + "x" * 2100, "2048"),
    ],
)
async def test_an_address_that_cannot_be_called_is_refused_and_named(world: World, url: str, says: str) -> None:
    answer = await world.client.post(PATH, json={"url": url}, headers=DEV)
    problem = problem_of(answer, 422, "config-invalid")
    assert problem["detail"].startswith("url: ")
    assert says in problem["detail"]
    assert problem["paths"][0].startswith("url")
    assert "word" not in answer.text.replace("password", "")
    assert (await world.client.get(PATH, headers=DEV)).json()["items"] == []


async def test_a_secret_is_shown_once(world: World) -> None:
    made = await added(world)
    assert made["secret"].startswith("whsec_")
    assert (made["disabled_at"], made["old_secret_until"], made["url"]) == (None, None, URL)
    listed = await world.client.get(PATH, headers=DEV)
    assert made["secret"] not in listed.text
    [item] = listed.json()["items"]
    assert item == {name: value for name, value in made.items() if name != "secret"}
    rotated = (await world.client.post(f"{PATH}/{made['id']}/rotate", json={"overlap_hours": 2}, headers=DEV)).json()
    assert rotated["secret"] != made["secret"]
    listed = await world.client.get(PATH, headers=DEV)
    assert rotated["secret"] not in listed.text
    assert listed.json()["items"][0]["old_secret_until"] == rotated["old_secret_until"] != None  # noqa: E711
    world.clock.advance(7200)
    assert (await world.client.get(PATH, headers=DEV)).json()["items"][0]["old_secret_until"] is None
    for hours in (-1, 169, "soon"):
        wrong = await world.client.post(f"{PATH}/{made['id']}/rotate", json={"overlap_hours": hours}, headers=DEV)
        assert "overlap_hours" in problem_of(wrong, 422, "config-invalid")["detail"]


async def test_asked_again_under_its_key_nothing_is_made_twice(world: World) -> None:
    key = DEV | {"Idempotency-Key": "k1"}
    first, second = [(await world.client.post(PATH, json={"url": URL}, headers=key)).json() for _ in range(2)]
    assert first == second
    assert len((await world.client.get(PATH, headers=DEV)).json()["items"]) == 1
    problem_of(await world.client.post(PATH, json={"url": URL + "2"}, headers=key), 409, "idempotency-conflict")
    path = f"{PATH}/{first['id']}/rotate"
    turned = [(await world.client.post(path, headers=DEV | {"Idempotency-Key": "k2"})).json() for _ in range(2)]
    assert turned[0] == turned[1]
    database = world.services.settings.data_dir
    stored = b"".join(path.read_bytes() for path in database.glob("quietnote.db*"))
    assert first["secret"][6:].encode() not in stored, "an answer that is given again lies sealed"


async def test_a_clinic_has_ten_at_most(world: World) -> None:
    for _ in range(10):
        await added(world)
    problem_of(await world.client.post(PATH, json={"url": URL}, headers=DEV), 409, "invalid-transition")


async def test_a_test_message_is_sent_signed_and_logged(
    world: World, receiver: Receiver, inward: WebhookSender
) -> None:
    made = await added(world, local(receiver))
    path = f"{PATH}/{made['id']}"
    sent = (await world.client.post(f"{path}/test", headers=DEV)).json()
    assert (sent["type"], sent["state"], sent["session_id"]) == ("webhook.test", "waiting", None)
    assert await inward.deliver_due() == 1
    await inward.close()
    [(headers, body)] = receiver.got
    assert headers["webhook-id"] == sent["id"]
    assert int(headers["webhook-timestamp"]) == int(world.clock.now().timestamp())
    signed = Webhook(made["secret"]).sign(sent["id"], world.clock.now(), body.decode())
    assert headers["webhook-signature"] == signed
    [line] = (await world.client.get(f"{path}/deliveries", headers=DEV)).json()["items"]
    assert (line["state"], line["status"], line["attempts"], line["next_at"]) == ("delivered", 200, 1, None)


async def test_while_a_secret_is_replaced_both_verify(
    world: World, receiver: Receiver, inward: WebhookSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await added(world, local(receiver))
    path = f"{PATH}/{made['id']}"
    new = (await world.client.post(f"{path}/rotate", headers=DEV)).json()
    await world.client.post(f"{path}/test", headers=DEV)
    assert await inward.deliver_due() == 1
    world.clock.advance(24 * 3600)
    await world.client.post(f"{path}/test", headers=DEV)
    assert await inward.deliver_due() == 1
    await inward.close()
    monkeypatch.setattr(Webhook, "_Webhook__verify_timestamp", lambda self, text: at(float(text)))
    during, after = receiver.got
    assert len(during[0]["webhook-signature"].split(" ")) == 2
    for secret in (made["secret"], new["secret"]):
        assert Webhook(secret).verify(during[1], during[0])["type"] == "webhook.test"
    assert Webhook(new["secret"]).verify(after[1], after[0])["type"] == "webhook.test"
    with pytest.raises(WebhookVerificationError):
        Webhook(made["secret"]).verify(after[1], after[0])


def at(seconds: float) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC)


async def test_what_was_given_up_is_replayed_and_one_that_is_gone_is_switched_on_again(
    world: World, receiver: Receiver, inward: WebhookSender
) -> None:
    made = await added(world, local(receiver))
    path = f"{PATH}/{made['id']}"
    world.clock.advance(1)
    for _ in range(3):
        await world.session()
    receiver.statuses = [200, 410]
    await inward.store.catch_up()
    await inward.deliver_due()
    [hook] = (await world.client.get(PATH, headers=DEV)).json()["items"]
    assert hook["disabled_reason"] == "gone"
    assert hook["disabled_at"] is not None
    lines = (await world.client.get(f"{path}/deliveries", headers=DEV)).json()["items"]
    states = {line["id"]: line["state"] for line in lines}
    assert sorted(states.values()) == ["delivered", "given_up", "given_up"]
    lost = [one for one, state in states.items() if state == "given_up"]
    problem_of(await world.client.post(f"{path}/deliveries/{lost[0]}/replay", headers=DEV), 409, "invalid-transition")
    problem_of(await world.client.post(f"{path}/test", headers=DEV), 409, "invalid-transition")
    on = (await world.client.post(f"{path}/enable", headers=DEV)).json()
    assert (on["disabled_at"], on["disabled_reason"]) == (None, None)
    for one in lost:
        assert (await world.client.post(f"{path}/deliveries/{one}/replay", headers=DEV)).status_code == 202
    before = len(receiver.got)
    assert await inward.deliver_due() == 2
    await inward.close()
    assert {headers["webhook-id"] for headers, _ in receiver.got[before:]} == set(lost), "the same id again"
    lines = (await world.client.get(f"{path}/deliveries", headers=DEV)).json()["items"]
    assert {line["state"] for line in lines} == {"delivered"}
    problem_of(await world.client.post(f"{path}/deliveries/msg_no/replay", headers=DEV), 404, "not-found")


async def test_the_log_is_read_in_pages(world: World) -> None:
    made = await added(world)
    path = f"{PATH}/{made['id']}/deliveries"
    world.clock.advance(1)
    for _ in range(5):
        await world.session()
        world.clock.advance(1)
    await world.services.webhooks.store.catch_up()
    seen, cursor = [], ""
    while True:
        got = (await world.client.get(f"{path}?limit=2{cursor}", headers=DEV)).json()
        seen += got["items"]
        if got["next_cursor"] is None:
            break
        cursor = f"&cursor={got['next_cursor']}"
    assert [one["type"] for one in seen] == ["session.created"] * 5
    times = [one["at"] for one in seen]
    assert times == sorted(times, reverse=True)
    problem_of(await world.client.get(f"{path}?cursor=bm90aGluZw", headers=DEV), 422, "config-invalid")


async def test_what_is_deleted_is_gone(world: World) -> None:
    made = await added(world)
    path = f"{PATH}/{made['id']}"
    await world.client.post(f"{path}/test", headers=DEV)
    assert (await world.client.delete(path, headers=DEV)).status_code == 204
    problem_of(await world.client.delete(path, headers=DEV), 404, "not-found")
    problem_of(await world.client.get(f"{path}/deliveries", headers=DEV), 404, "not-found")
    assert (await world.client.get(PATH, headers=DEV)).json()["items"] == []


async def test_what_is_done_to_webhooks_is_on_record(world: World) -> None:
    made = await added(world)
    path = f"{PATH}/{made['id']}"
    await world.client.post(f"{path}/rotate", headers=DEV)
    await world.client.post(f"{path}/test", headers=DEV)
    await world.client.delete(path, headers=DEV)
    done = [entry async for entry in world.services.audit.every()]
    ours = [(entry.action, entry.actor) for entry in done if entry.action.startswith("webhook.")]
    assert ours == [
        ("webhook.added", "dev"), ("webhook.secret_replaced", "dev"),
        ("webhook.test_sent", "dev"), ("webhook.removed", "dev"),
    ]  # fmt: skip
