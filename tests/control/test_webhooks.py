import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, get_args
from uuid import UUID, uuid4

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pytest_aiohttp.plugin import AiohttpClient
from standardwebhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from control import app
from control.api.ports import Ports
from control.webhooks import jobs, rules, store
from control.webhooks.jobs import Deliverer
from control.webhooks.routes import WEBHOOKS_MAX
from gateway.kit import crypto, ids
from gateway.kit.crypto import Keyring
from gateway.kit.post import posting
from gateway.kit.sql import Pool
from gateway.kit.ssrf import Guard
from gateway.ledger import events
from gateway.ledger.event_types import CATALOGUE, EventType
from tests.control.conftest import NETWORKS, Client, Member, bearer, join, newer, ports_with, refused_fields
from tests.rules.test_sql import FILES
from tests.waiting import until

AT = "/organizations/default/webhooks"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Receiver:
    """Somebody's server, which answers as a test tells it to."""

    url: str = ""
    status: int = 204
    seconds: float = 0
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.got.append((dict(request.headers), await request.read()))
        await asyncio.sleep(self.seconds)
        return web.Response(status=self.status, headers={"Location": self.url})

    @property
    def ids(self) -> list[str]:
        return [
            {name.lower(): value for name, value in headers.items()}["webhook-id"] for headers, _ in self.got
        ]


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    application = web.Application()
    application.router.add_route("*", "/hook", receiver.answer)
    async with TestServer(application) as server:
        receiver.url = str(server.make_url("/hook"))
        yield receiver


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@asynccontextmanager
async def deliverer(pool: Pool, ports: Ports, **more: Any) -> AsyncIterator[Deliverer]:
    async with posting(Guard(is_private_allowed=True), more.pop("timeout", 2)) as post:
        yield Deliverer(pool, ports.keyring, post, **more)


@asynccontextmanager
async def working(pool: Pool, ports: Ports, **more: Any) -> AsyncIterator[None]:
    """A worker that delivers."""
    async with deliverer(pool, ports, **more) as one, asyncio.TaskGroup() as group:
        running = group.create_task(one.run())
        try:
            yield
        finally:
            running.cancel()


async def turn(pool: Pool, ports: Ports, **more: Any) -> int:
    """One round of attempts, of everything that is due; returns how many webhooks had a turn."""
    async with deliverer(pool, ports, **more) as one:
        leased = await one.take(100)
        for lease_id, webhook in leased:
            await one.turn(lease_id, webhook)
        return len(leased)


async def register(client: Client, url: str, *types: str, name: str = "mine") -> tuple[str, str]:
    """The webhook's id and its secret."""
    response = await client.post(AT, json={"name": name, "url": url, "events": list(types) or ["*"]})
    assert response.status == 201, await response.text()
    made = (await response.json())["data"]
    return made["webhook"]["id"], made["secret"]


async def emit(pool: Pool, member: Member, number: int = 0, type: EventType = "key.revoked") -> None:
    await events.emit(pool, member.id.organization_id, type, {"key_id": str(number)})


async def get(client: Client, path: str) -> Any:
    response = await client.get(path)
    assert response.status == 200, await response.text()
    return await response.json()


async def make_due(pool: Pool) -> None:
    await pool.execute("UPDATE webhook_deliveries SET due_at = now() WHERE state = 'waiting'")


async def test_a_webhook_is_made_shown_changed_and_deleted(client: Client, receiver: Receiver) -> None:
    body = {
        "name": "billing",
        "url": receiver.url,
        "events": ["key.created", "key.created", "wallet.deposited"],
    }
    created = await client.post(AT, json=body)
    assert created.status == 201
    made = (await created.json())["data"]
    assert made["secret"].startswith("whsec_")
    webhook = made["webhook"]
    assert (webhook["enabled"], webhook["events"]) == (True, ["key.created", "wallet.deposited"])
    at = f"{AT}/{webhook['id']}"
    assert (await get(client, at))["data"] == webhook
    assert (await get(client, AT))["data"] == [webhook]
    changed = await client.patch(at, json={"name": "ops", "enabled": False})
    assert changed.status == 200
    after = (await changed.json())["data"]
    assert (after["name"], after["url"], after["enabled"], after["disabled_reason"]) == (
        "ops", receiver.url, False, "asked",
    )  # fmt: skip
    enabled = (await (await client.patch(at, json={"enabled": True})).json())["data"]
    assert (enabled["enabled"], enabled["disabled_reason"], enabled["disabled_at"]) == (True, None, None)
    deleted = await client.delete(at)
    assert (deleted.status, await deleted.read()) == (204, b"")
    assert (await get(client, AT))["data"] == []
    for method, path in (
        ("GET", at),
        ("DELETE", at),
        ("GET", f"{at}/deliveries"),
        ("POST", f"{at}/rotate-secret"),
    ):
        assert (await client.request(method, path)).status == 404
    assert (await client.patch(at, json={"enabled": True})).status == 404


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"events": []}, ["body/events"]),
        ({"events": ["no.such"]}, ["body/events/0/literal['key.cap_near','key.cap_reached','key.created',"]),
        ({"url": "ftp://example.com"}, ["body/url"]),
        ({"url": "http://169.254.169.254/"}, ["body/url"]),
        ({"url": "http://127.0.0.1:9/"}, ["body/url"]),
        ({"name": ""}, ["body/name"]),
        ({"project_id": str(uuid4())}, ["body/project_id"]),
    ],
)
async def test_what_cannot_be_a_webhook_is_400(
    pool: Pool, member: Member, aiohttp_client: AiohttpClient, change: dict[str, Any], fields: list[str]
) -> None:
    ports = ports_with(NETWORKS)
    strict = Ports(Guard(is_private_allowed=False), ports.keyring, ports.modes, ports.settings)
    client = await aiohttp_client(app.create(pool, strict), headers=member.headers)
    body = {"name": "a", "url": "http://93.184.216.34/", "events": ["*"], **change}
    found = await refused_fields(await client.post(AT, json=body))
    assert len(found) >= len(fields)
    assert all(one.startswith(fields[0].partition("/literal")[0]) for one in found)


async def test_a_foreign_webhook_is_as_absent_as_an_unknown_one(
    pool: Pool, ports: Ports, client: Client, member: Member, receiver: Receiver
) -> None:
    webhook_id, _ = await register(client, receiver.url)
    await emit(pool, member)
    [delivery] = await get(client, f"{AT}/{webhook_id}/deliveries")
    other = (await join(pool)).headers
    own, _ = await register(client, receiver.url)
    for at in (f"{AT}/{webhook_id}", f"{AT}/{uuid4()}"):
        for method, path, body in (
            ("GET", "", None),
            ("PATCH", "", {"name": "b"}),
            ("DELETE", "", None),
            ("POST", "/rotate-secret", None),
            ("GET", "/deliveries", None),
            ("GET", f"/deliveries/{delivery['id']}", None),
            ("POST", f"/deliveries/{delivery['id']}/replay", None),
            ("POST", "/deliveries/replay", {"since": NOW.isoformat()}),
        ):
            response = await client.request(method, at + path, json=body, headers=other)
            assert (response.status, (await response.json())["code"]) == (404, "not-found"), (method, path)
    # Nor is another webhook's delivery found at one's own.
    assert (await client.get(f"{AT}/{own}/deliveries/{delivery['id']}")).status == 404
    assert (await client.post(f"{AT}/{own}/deliveries/{delivery['id']}/replay")).status == 404


async def test_whoever_may_only_read_cannot_change(
    pool: Pool, client: Client, member: Member, receiver: Receiver
) -> None:
    webhook_id, _ = await register(client, receiver.url)
    reader = await bearer(pool, member.id, ["webhooks.read"])
    assert (await client.get(f"{AT}/{webhook_id}", headers=reader)).status == 200
    assert (await client.delete(f"{AT}/{webhook_id}", headers=reader)).status == 403
    assert (await client.post(f"{AT}/{webhook_id}/rotate-secret", headers=reader)).status == 403


async def test_an_organization_has_a_bounded_number_however_many_ask_at_once(client: Client) -> None:
    body = {"name": "a", "url": "http://127.0.0.1:9/", "events": ["*"]}
    statuses = [
        response.status
        for response in await asyncio.gather(*(client.post(AT, json=body) for _ in range(WEBHOOKS_MAX + 5)))
    ]
    assert (statuses.count(201), statuses.count(409)) == (WEBHOOKS_MAX, 5)


async def test_event_types_are_listed_and_described(client: Client) -> None:
    assert await get(client, "/webhooks/event-types") == sorted(CATALOGUE)
    one = (await get(client, "/webhooks/event-types/key.cap_near"))["data"]
    assert one["description"]
    assert one["example"]["cap"] == "per_day"
    assert (await client.get("/webhooks/event-types/no.such")).status == 404


def test_the_catalogue_is_whole() -> None:
    assert sorted(CATALOGUE) == sorted(get_args(EventType))
    written = "\n".join(path.read_text() for path in FILES if path.parent.name == "ledger")
    root = FILES[0].parents[2]
    modules = [*root.rglob("control/**/*.py"), *root.glob("gateway/ledger/*.py")]
    sources = "\n".join(path.read_text() for path in modules if path.name != "event_types.py")
    # Whatever is listed is emitted by somebody.
    assert [name for name in CATALOGUE if f"'{name}'" not in written and f'"{name}"' not in sources] == []


@pytest.mark.parametrize("type", CATALOGUE)
def test_a_message_is_small(type: EventType) -> None:
    event = rules.Event(uuid4(), type, uuid4(), NOW, CATALOGUE[type].example)
    assert len(rules.body_of(event)) < 20_000


async def test_a_payload_that_is_too_large_to_send_cannot_be_written(pool: Pool, member: Member) -> None:
    with pytest.raises(Exception, match="events_payload_check"):
        await events.emit(pool, member.id.organization_id, "key.revoked", {"key_id": "x" * 17_000})


async def test_an_event_that_is_taken_back_is_told_to_nobody(
    pool: Pool, client: Client, member: Member, receiver: Receiver
) -> None:
    webhook_id, _ = await register(client, receiver.url)
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await events.emit(connection, member.id.organization_id, "key.revoked", {})
        await transaction.rollback()
    assert await get(client, f"{AT}/{webhook_id}/deliveries") == []


async def test_rooms_tell_what_they_did_to_whoever_listens(
    pool: Pool, ports: Ports, client: Client, receiver: Receiver
) -> None:
    webhook_id, secret = await register(client, receiver.url, "key.created")
    await register(client, receiver.url, "publisher.created", name="other")
    made = (await (await client.post("/organizations/default/api-keys", json={"name": "k"})).json())["data"]
    await client.delete(f"/organizations/default/api-keys/{made['id']}")
    assert await turn(pool, ports) == 1
    [(headers, body)] = receiver.got
    message = Verifier(secret).verify(body, headers)
    assert message["type"] == "key.created"
    assert message["data"] == {
        "key_id": made["id"], "name": "k", "key_prefix": made["key_prefix"], "mode": made["mode"],
    }  # fmt: skip
    assert made["api_key"] not in body.decode()
    [delivery] = await get(client, f"{AT}/{webhook_id}/deliveries")
    assert delivery["payload"] == json.loads(body)
    assert (delivery["state"], delivery["attempt_number"], delivery["response_status"]) == (
        "delivered",
        1,
        204,
    )
    assert (delivery["next_retry_at"], delivery["event_id"]) == (None, message["id"])
    full = (await get(client, f"{AT}/{webhook_id}/deliveries/{delivery['id']}"))["data"]
    assert [one["response_status"] for one in full["attempts"]] == [204]
    with pytest.raises(WebhookVerificationError):
        Verifier(secret).verify(body + b" ", headers)


async def test_a_delivery_fails_eight_times_and_is_given_up(
    pool: Pool, ports: Ports, client: Client, member: Member, receiver: Receiver
) -> None:
    webhook_id, secret = await register(client, receiver.url)
    await emit(pool, member)
    receiver.status = 307  # Not followed either.
    waits = []
    for _ in range(8):
        await make_due(pool)
        assert await turn(pool, ports) == 1
        waits.append(
            await pool.fetchval(
                "SELECT extract(epoch FROM due_at - now())::float8 FROM webhook_deliveries "
                "WHERE state = 'waiting'"
            )
        )
    assert waits.pop() is None
    for wait, planned in zip(waits, rules.DELAYS, strict=True):
        assert 0.85 * planned.total_seconds() - 1 < wait < 1.11 * planned.total_seconds()
    await make_due(pool)
    assert await turn(pool, ports) == 0
    assert len(set(receiver.ids)) == 1
    assert len({body for _, body in receiver.got}) == 1
    for headers, body in receiver.got:
        Verifier(secret).verify(body, headers)
    [delivery] = await get(client, f"{AT}/{webhook_id}/deliveries?state=failed")
    full = (await get(client, f"{AT}/{webhook_id}/deliveries/{delivery['id']}"))["data"]
    assert [one["number"] for one in full["attempts"]] == list(range(1, 9))
    webhook = (await get(client, f"{AT}/{webhook_id}"))["data"]
    assert webhook["enabled"]
    assert webhook["failing_since"] is not None


@pytest.mark.parametrize(
    ("retry_after", "least", "most"),
    [
        (None, 4.5, 5.5),
        ("120", 120, 120),
        ("1", 4.5, 5.5),                                     # sooner than planned is not sooner
        ("999999", 36_000, 36_000),                          # nor is it put off for long
        ("Thu, 01 Jan 2026 00:10:00 GMT", 600, 600),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 4.5, 5.5),
        ("soon", 4.5, 5.5),
        ("²", 4.5, 5.5),
        ("9" * 5000, 4.5, 5.5),
    ],
)  # fmt: skip
def test_a_receiver_may_ask_for_more_time(retry_after: str | None, least: float, most: float) -> None:
    delay = rules.delay_after(1, retry_after, NOW)
    assert delay is not None
    assert least <= delay.total_seconds() <= most


def test_the_schedule_is_eight_attempts_over_27_hours() -> None:
    assert rules.ATTEMPTS_MAX == 8
    assert sum(rules.DELAYS, timedelta()) == timedelta(hours=27, minutes=35, seconds=5)
    assert rules.delay_after(8, "60", NOW) is None


async def test_410_disables_and_the_others_are_told(
    pool: Pool, ports: Ports, client: Client, member: Member, receiver: Receiver
) -> None:
    webhook_id, _ = await register(client, receiver.url, "key.revoked")
    async with receiving() as watching:
        await register(client, watching.url, "webhook.disabled")
        await emit(pool, member, 1)
        receiver.status = 410
        await turn(pool, ports)
        await emit(pool, member, 2)
        assert await turn(pool, ports) == 1
        told = json.loads(watching.got[0][1])["data"]
    assert len(receiver.got) == 1
    assert (told["webhook_id"], told["reason"], told["url"]) == (webhook_id, "gone", receiver.url)
    webhook = (await get(client, f"{AT}/{webhook_id}"))["data"]
    assert (webhook["enabled"], webhook["disabled_reason"]) == (False, "gone")
    assert (
        await client.post(f"{AT}/{webhook_id}/deliveries/replay", json={"since": NOW.isoformat()})
    ).status == 409
    # Enabled again, it has what it missed.
    receiver.status = 200
    await client.patch(f"{AT}/{webhook_id}", json={"enabled": True})
    replayed = await client.post(
        f"{AT}/{webhook_id}/deliveries/replay", json={"since": NOW.isoformat(), "only_failed": True}
    )
    assert (await replayed.json())["data"]["queued"] == 2
    await turn(pool, ports)
    assert len(receiver.got) == 3


@pytest.mark.parametrize(("days", "is_enabled"), [(4, True), (6, False)])
async def test_a_webhook_that_fails_for_days_is_disabled(
    pool: Pool, ports: Ports, client: Client, member: Member, receiver: Receiver, days: int, is_enabled: bool
) -> None:
    webhook_id, _ = await register(client, receiver.url)
    await emit(pool, member, 1)
    await emit(pool, member, 2)
    receiver.status = 500
    await turn(pool, ports)
    await pool.execute("UPDATE webhooks SET failing_since = now() - $1::interval", timedelta(days=days))
    await pool.execute(
        "UPDATE webhook_deliveries SET attempt_count = 7, due_at = now() "
        "WHERE id = (SELECT min(id::text)::uuid FROM webhook_deliveries)"
    )
    await turn(pool, ports)
    webhook = (await get(client, f"{AT}/{webhook_id}"))["data"]
    assert webhook["enabled"] == is_enabled
    states = [one["state"] for one in await get(client, f"{AT}/{webhook_id}/deliveries")]
    assert sorted(states) == (["failed", "waiting"] if is_enabled else ["failed", "failed"])


async def test_one_success_ends_failing(
    pool: Pool, ports: Ports, client: Client, member: Member, receiver: Receiver
) -> None:
    webhook_id, _ = await register(client, receiver.url)
    await emit(pool, member)
    receiver.status = 500
    await turn(pool, ports)
    assert (await get(client, f"{AT}/{webhook_id}"))["data"]["failing_since"] is not None
    receiver.status = 200
    await make_due(pool)
    await turn(pool, ports)
    assert (await get(client, f"{AT}/{webhook_id}"))["data"]["failing_since"] is None


async def test_for_a_day_both_secrets_verify(
    pool: Pool, ports: Ports, client: Client, member: Member, receiver: Receiver
) -> None:
    webhook_id, first = await register(client, receiver.url)
    rotated = await client.post(f"{AT}/{webhook_id}/rotate-secret")
    assert rotated.status == 200
    second = (await rotated.json())["data"]["secret"]
    await emit(pool, member, 1)
    await turn(pool, ports)
    for secret in (first, second):
        Verifier(secret).verify(receiver.got[0][1], receiver.got[0][0])
    until_when = await pool.fetchval("SELECT previous_until - now() FROM webhooks")
    assert timedelta(hours=23, minutes=59) < until_when <= timedelta(hours=24)
    await pool.execute("UPDATE webhooks SET previous_until = now()")
    await emit(pool, member, 2)
    await turn(pool, ports)
    Verifier(second).verify(receiver.got[1][1], receiver.got[1][0])
    with pytest.raises(WebhookVerificationError):
        Verifier(first).verify(receiver.got[1][1], receiver.got[1][0])


async def test_secrets_are_sealed_and_outlive_their_key(
    pool: Pool, ports: Ports, client: Client, member: Member, receiver: Receiver
) -> None:
    webhook_id, _ = await register(client, receiver.url)
    secret = (await (await client.post(f"{AT}/{webhook_id}/rotate-secret")).json())["data"]["secret"]
    stored = await pool.fetchrow("SELECT * FROM webhooks")
    assert stored is not None
    assert secret.encode() not in stored["secret_sealed"]
    both, only = newer(ports.keyring)
    assert (await jobs.reseal(pool, both), await jobs.reseal(pool, both)) == (1, 0)
    await emit(pool, member)
    await turn(pool, replace(ports, keyring=only))
    Verifier(secret).verify(receiver.got[0][1], receiver.got[0][0])


async def test_a_secret_that_cannot_be_read_is_a_failed_attempt_that_says_so(
    pool: Pool, client: Client, member: Member, ports: Ports, receiver: Receiver
) -> None:
    webhook_id, _ = await register(client, receiver.url)
    await emit(pool, member)
    lost = Ports(ports.guard, Keyring.parse([crypto.new_key("other")]), ports.modes, ports.settings)
    await turn(pool, lost)
    [delivery] = await get(client, f"{AT}/{webhook_id}/deliveries")
    assert "make a new one" in delivery["error_message"]
    assert delivery["next_retry_at"] is not None
    assert receiver.got == []


async def test_a_delivery_is_replayed_under_its_id(
    pool: Pool, ports: Ports, client: Client, member: Member, receiver: Receiver
) -> None:
    webhook_id, _ = await register(client, receiver.url)
    await emit(pool, member)
    await turn(pool, ports)
    [delivery] = await get(client, f"{AT}/{webhook_id}/deliveries")
    response = await client.post(f"{AT}/{webhook_id}/deliveries/{delivery['id']}/replay")
    assert response.status == 201
    again = (await response.json())["data"]
    assert (again["state"], again["attempt_number"], again["event_id"]) == (
        "waiting",
        0,
        delivery["event_id"],
    )
    assert again["id"] != delivery["id"]
    await turn(pool, ports)
    assert receiver.ids == [delivery["event_id"]] * 2
    assert receiver.got[0][1] == receiver.got[1][1]
    assert (await client.post(f"{AT}/{webhook_id}/deliveries/{uuid4()}/replay")).status == 404


async def test_replaying_what_waits_makes_it_due_now(
    pool: Pool, ports: Ports, client: Client, member: Member, receiver: Receiver
) -> None:
    webhook_id, _ = await register(client, receiver.url)
    receiver.status = 500
    await emit(pool, member)
    await turn(pool, ports)
    receiver.status = 204
    [delivery] = await get(client, f"{AT}/{webhook_id}/deliveries")
    await turn(pool, ports)
    assert (delivery["state"], len(receiver.got)) == ("waiting", 1)
    at = f"{AT}/{webhook_id}/deliveries/{delivery['id']}/replay"
    replayed = await asyncio.gather(*(client.post(at) for _ in range(5)))
    assert [response.status for response in replayed] == [201] * 5
    assert {(await response.json())["data"]["id"] for response in replayed} == {delivery["id"]}
    await turn(pool, ports)
    assert receiver.ids == [delivery["event_id"]] * 2
    [after] = await get(client, f"{AT}/{webhook_id}/deliveries")
    assert (after["state"], after["attempt_number"]) == ("delivered", 2)
    # It is over, so from now on there is a new one, the same for all who ask at once.
    again = await asyncio.gather(*(client.post(at) for _ in range(5)))
    assert len({delivery["id"], *[(await one.json())["data"]["id"] for one in again]}) == 2


async def test_everything_since_a_time_is_replayed_in_order(
    pool: Pool,
    ports: Ports,
    client: Client,
    member: Member,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(3):
        await emit(pool, member, number)  # Before there is a webhook.
    await emit(pool, member, type="key.created")
    since = await pool.fetchval(
        "SELECT min(created_at) FROM (SELECT created_at FROM events OFFSET 1) AS later"
    )
    webhook_id, _ = await register(client, receiver.url, "key.revoked")
    at = f"{AT}/{webhook_id}/deliveries/replay"
    replayed = await client.post(at, json={"since": since.isoformat()})
    assert (await replayed.json())["data"]["queued"] == 2
    # What is on its way goes once.
    again = (await (await client.post(at, json={"since": since.isoformat()})).json())["data"]
    assert again == {"queued": 0, "has_more": False, "until": None}
    await turn(pool, ports)
    assert {json.loads(body)["data"]["key_id"] for _, body in receiver.got} == {"1", "2"}
    failed_only = {"since": since.isoformat(), "only_failed": True}
    assert (await (await client.post(at, json=failed_only)).json())["data"]["queued"] == 0
    monkeypatch.setattr("control.webhooks.routes.REPLAY_MAX", 1)
    first = (await (await client.post(at, json={"since": NOW.isoformat()})).json())["data"]
    assert (first["queued"], first["has_more"]) == (1, True)
    second = (await (await client.post(at, json={"since": first["until"]})).json())["data"]
    assert (second["queued"], second["has_more"]) == (1, True)
    assert await refused_fields(await client.post(at, json={"since": "2026-01-01T00:00:00"})) == [
        "body/since"
    ]


async def test_disabling_ends_what_waits(
    pool: Pool, ports: Ports, client: Client, member: Member, receiver: Receiver
) -> None:
    webhook_id, _ = await register(client, receiver.url)
    await emit(pool, member)
    await client.patch(f"{AT}/{webhook_id}", json={"enabled": False})
    await emit(pool, member)
    await client.patch(f"{AT}/{webhook_id}", json={"enabled": True})
    assert await turn(pool, ports) == 0
    [delivery] = await get(client, f"{AT}/{webhook_id}/deliveries")
    assert (delivery["state"], delivery["error_message"]) == ("failed", "the webhook was disabled")


async def test_several_workers_deliver_once_each(
    pool: Pool, ports: Ports, client: Client, member: Member, receiver: Receiver
) -> None:
    for _ in range(3):
        await register(client, receiver.url)
    for number in range(60):
        await emit(pool, member, number)
    async with working(pool, ports), working(pool, ports), working(pool, ports):
        async with asyncio.timeout(30):
            # Told in the database, behind the receiver.
            told = "SELECT count(*) FROM webhook_deliveries WHERE state = 'delivered'"
            while await pool.fetchval(told) < 180:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
    assert len(receiver.got) == 180
    assert sorted(receiver.ids) == sorted([one for one in set(receiver.ids) for _ in range(3)])
    assert await pool.fetchval("SELECT count(*) FROM webhook_deliveries WHERE state <> 'delivered'") == 0
    assert await pool.fetchval("SELECT count(*) FROM webhook_attempts") == 180


async def test_slow_receivers_do_not_hold_up_the_others(
    pool: Pool, ports: Ports, client: Client, member: Member, receiver: Receiver
) -> None:
    async with receiving() as slow:
        slow.seconds = 8
        for _ in range(3):
            await register(client, slow.url, "key.revoked")
        for number in range(50):
            await emit(pool, member, number)
        await register(client, receiver.url, "key.created")
        await emit(pool, member, type="key.created")
        async with working(pool, ports, webhooks_at_once=8):
            # Sooner than the first of the slow ones answers.
            await until(lambda: receiver.got, 7)


async def test_more_slow_receivers_than_places_still_let_everybody_have_a_turn(
    pool: Pool, ports: Ports, client: Client, member: Member, receiver: Receiver
) -> None:
    async with receiving() as slow:
        slow.seconds = 1
        for _ in range(4):
            await register(client, slow.url, "key.revoked")
        for number in range(40):
            await emit(pool, member, number)
        async with working(pool, ports, webhooks_at_once=4):
            await until(lambda: slow.got)
            await register(client, receiver.url, "key.created")
            await emit(pool, member, type="key.created")
            # Two turns of the slow ones at most, not the twenty that they have waiting.
            await until(lambda: receiver.got, 8)


async def test_one_organizations_slow_receivers_leave_room_for_others(
    pool: Pool, ports: Ports, client: Client, member: Member, receiver: Receiver
) -> None:
    def has(count: int) -> bool:
        return len(receiver.got) == count

    other = await join(pool)
    async with receiving() as slow:
        slow.seconds = 25
        for number in range(12):
            await register(client, slow.url, name=str(number))
        hook = await client.post(
            AT, json={"name": "b", "url": receiver.url, "events": ["*"]}, headers=other.headers
        )
        assert hook.status == 201
        await emit(pool, member)
        async with working(pool, ports, timeout=40, webhooks_at_once=4):
            await until(lambda: len(slow.got) == 2)
            # There are ten more, due before anything of the other organization's.
            for number in range(3):
                await emit(pool, other, number)
                await until(partial(has, number + 1), 8)
            assert len(slow.got) == 2


async def test_what_a_dead_worker_had_in_hand_is_delivered_by_another(
    pool: Pool, ports: Ports, client: Client, member: Member, receiver: Receiver
) -> None:
    await register(client, receiver.url)
    await emit(pool, member)
    # It took a webhook and was never heard of again, before or after the receiver had the message.
    assert len(await store.lease(pool, 10, ids.new(), timedelta(seconds=1), 10)) == 1
    assert await turn(pool, ports) == 0
    async with working(pool, ports):
        await until(lambda: receiver.got)
    assert len(receiver.got) == 1


async def test_a_worker_that_comes_back_late_counts_nothing(
    pool: Pool, ports: Ports, client: Client, member: Member, receiver: Receiver
) -> None:
    webhook_id, _ = await register(client, receiver.url)
    await emit(pool, member)
    receiver.seconds = 0.5
    # Both believe that the webhook is theirs: the second takes over while the first waits for its answer.
    async with deliverer(pool, ports, lease=timedelta()) as late, deliverer(pool, ports) as next_one:
        [(first_id, first)] = await late.take(1)
        async with asyncio.TaskGroup() as group:
            group.create_task(late.turn(first_id, first))
            await asyncio.sleep(0.1)
            [(second_id, second)] = await next_one.take(1)
            group.create_task(next_one.turn(second_id, second))
    assert len(receiver.got) == 2
    assert len(set(receiver.ids)) == 1
    [delivery] = await get(client, f"{AT}/{webhook_id}/deliveries")
    full = (await get(client, f"{AT}/{webhook_id}/deliveries/{delivery['id']}"))["data"]
    assert (full["state"], full["attempt_number"], len(full["attempts"])) == ("delivered", 1, 1)
    assert await pool.fetchval("SELECT lease_id FROM webhooks") is None


async def test_a_worker_that_is_stopped_gives_back_what_it_had(
    pool: Pool,
    ports: Ports,
    client: Client,
    member: Member,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "DRAIN_SECONDS", 0.1)
    await register(client, receiver.url)
    await emit(pool, member)
    receiver.seconds = 30
    async with working(pool, ports, timeout=60):
        await until(lambda: receiver.got)
    receiver.seconds = 0
    assert await turn(pool, ports) == 1
    assert len(receiver.got) == 2


async def test_a_timeout_is_an_attempt_that_failed(
    pool: Pool, ports: Ports, client: Client, member: Member, receiver: Receiver
) -> None:
    webhook_id, _ = await register(client, receiver.url)
    await emit(pool, member)
    receiver.seconds = 5
    await turn(pool, ports, timeout=0.2)
    [delivery] = await get(client, f"{AT}/{webhook_id}/deliveries")
    assert (delivery["state"], delivery["attempt_number"]) == ("waiting", 1)
    assert delivery["error_message"] == "there was no answer within 0.2 seconds"


async def test_a_webhook_that_is_deleted_under_way_does_no_harm(
    pool: Pool, ports: Ports, client: Client, member: Member, receiver: Receiver
) -> None:
    webhook_id, _ = await register(client, receiver.url)

    async def emit_many() -> None:
        for number in range(50):
            await emit(pool, member, number)

    async with working(pool, ports), asyncio.TaskGroup() as group:
        group.create_task(emit_many())
        await asyncio.sleep(0.05)
        assert (await client.delete(f"{AT}/{webhook_id}")).status == 204
    assert await pool.fetchval("SELECT count(*) FROM events") == 50
    await store.prune(pool)
    assert await pool.fetchval("SELECT count(*) FROM webhook_deliveries WHERE state = 'waiting'") == 0
    await pool.execute("UPDATE webhooks SET deleted_at = now() - interval '2 days'")
    await store.prune(pool)
    assert await pool.fetchval("SELECT count(*) FROM webhook_deliveries") == 0


async def test_old_events_go_with_their_deliveries_unless_they_are_on_their_way(
    pool: Pool, ports: Ports, client: Client, member: Member, receiver: Receiver
) -> None:
    await register(client, receiver.url)
    await emit(pool, member, 1)
    await turn(pool, ports)
    await emit(pool, member, 2)
    await pool.execute("UPDATE events SET created_at = now() - interval '40 days'")
    await events.prune(pool, timedelta(days=30))
    assert await pool.fetchval("SELECT payload->>'key_id' FROM events") == "2"
    assert await pool.fetchval("SELECT count(*) FROM webhook_attempts") == 0


async def test_organizations_hear_of_themselves_only(
    pool: Pool, ports: Ports, client: Client, member: Member, receiver: Receiver
) -> None:
    await register(client, receiver.url)
    other = await join(pool)
    await emit(pool, other)
    assert await turn(pool, ports) == 0
    assert other.id.organization_id != UUID(member.organization_id)
