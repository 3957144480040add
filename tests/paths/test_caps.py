"""What a caller may spend: caps of its API key, and the most it wants to pay for one call."""

import asyncio
from typing import Any

import pytest

from tests.paths.conftest import DOLLAR, Account, Farebox, serving
from tests.waiting import until

QUARTER = DOLLAR // 4


async def capped(farebox: Farebox, account: Account, **limits: str) -> Account:
    """A key of the same organization, with caps."""
    url = f"{farebox.origin}/organizations/default/api-keys"
    body = {"name": "capped", "spend_caps": limits}
    reply = await farebox.agent.ask("POST", url, headers=account.headers, body=body)
    assert reply.status == 201, reply.text
    return Account(account.organization_id, reply.json["data"]["api_key"])


async def caps_of(farebox: Farebox, account: Account) -> dict[str, Any]:
    url = f"{farebox.origin}/organizations/default/api-keys"
    keys = (await farebox.agent.ask("GET", url, headers=account.headers)).json["data"]
    found: dict[str, Any] = next(one["spend_caps"] for one in keys if one["spend_caps"])
    return found


@pytest.fixture
async def account(farebox: Farebox) -> Account:
    account = await farebox.sign_up()
    await farebox.fund(account, 100 * DOLLAR)
    return account


async def test_sixty_calls_on_a_cap_for_ten_give_ten_on_two_replicas(
    farebox: Farebox, account: Account
) -> None:
    url = await farebox.publish() + "/x"
    key = await capped(farebox, account, per_day="2.5")
    async with serving(farebox.settings) as second:
        urls = [url, url.replace(farebox.origin, second)]
        replies = await asyncio.gather(
            *(farebox.agent.ask("GET", urls[n % 2], headers=key.headers) for n in range(60))
        )
    statuses = [one.status for one in replies]
    assert (statuses.count(200), statuses.count(403)) == (10, 50)
    refusal = next(one.json for one in replies if one.status == 403)
    assert refusal["code"] == "spend-cap-reached"
    assert (refusal["cap"], refusal["limit"], refusal["remaining"]) == ("per_day", "2.5", "0")
    assert refusal["resets_at"].endswith("T00:00:00Z")
    assert len(farebox.upstream.seen) == 10
    # Its organization's other keys spend on.
    assert (await farebox.agent.ask("GET", url, headers=account.headers)).status == 200
    found = await caps_of(farebox, account)
    assert (found["spent_today"], found["spent_total"]) == ("2.5", "2.5")
    told = await farebox.pool.fetch("SELECT type FROM events WHERE type LIKE 'key.cap%' ORDER BY created_at")
    assert [row["type"] for row in told] == ["key.cap_near", "key.cap_reached"]
    assert await farebox.is_sound()


async def test_calls_that_cost_nothing_give_back_what_was_counted(farebox: Farebox, account: Account) -> None:
    url = await farebox.publish(api_url="http://127.0.0.1:9") + "/x"
    key = await capped(farebox, account, total="0.25")
    for _ in range(3):
        assert (await farebox.agent.ask("GET", url, headers=key.headers)).status == 502
    assert (await caps_of(farebox, account))["spent_total"] == "0"


async def test_a_cap_on_one_call(farebox: Farebox, account: Account) -> None:
    url = await farebox.publish() + "/x"
    key = await capped(farebox, account, per_call="0.249999")
    reply = await farebox.agent.ask("GET", url, headers=key.headers)
    assert (reply.status, reply.json["cap"], reply.json.get("resets_at")) == (403, "per_call", None)
    # Not a 402, which a client might answer with money from elsewhere.
    assert "PAYMENT-REQUIRED" not in reply.headers
    assert farebox.upstream.seen == []


async def test_caps_on_a_key_in_use_hold_soon(farebox: Farebox, account: Account) -> None:
    url = await farebox.publish() + "/x"
    assert (await farebox.agent.ask("GET", url, headers=account.headers)).status == 200
    keys = f"{farebox.origin}/organizations/default/api-keys"
    key_id = (await farebox.agent.ask("GET", keys, headers=account.headers)).json["data"][0]["id"]
    change = f"{keys}/{key_id}/spend-caps"
    reply = await farebox.agent.ask("PATCH", change, headers=account.headers, body={"per_call": "0.1"})
    assert reply.status == 200

    async def is_refused() -> bool:
        return (await farebox.agent.ask("GET", url, headers=account.headers)).status == 403

    await until(is_refused)


@pytest.mark.parametrize(
    ("most", "status"),
    [("0.25", 200), ("0.2500000", 200), ("USD 0.25", 200), ("1", 200), ("0.249999", 402), ("0", 402),
     ("XYZ 5", 402), ("-1", 400), ("0,25", 400), ("1e3", 400), ("", 400)],
)  # fmt: skip
async def test_a_dearer_call_than_the_caller_wants_is_refused_before_anything_moves(
    farebox: Farebox, account: Account, most: str, status: int
) -> None:
    url = await farebox.publish() + "/x"
    payment = {"PAYMENT-SIGNATURE": farebox.agent.sign(await farebox.agent.ask("GET", url))}
    for headers in (account.headers, payment):
        reply = await farebox.agent.ask("GET", url, headers={**headers, "X-Max-Price": most})
        assert reply.status == status
        if status == 402:
            assert (reply.json["code"], reply.json["prices"][0]["price"]) == ("price-above-max", "0.25")
            # No offers, so no client pays them.
            assert "PAYMENT-REQUIRED" not in reply.headers
    seen = farebox.upstream.seen
    assert len(seen) == (2 if status == 200 else 0)
    assert all("X-Max-Price" not in one.headers for one in seen)
    if status != 200:
        assert await farebox.pool.fetchval("SELECT count(*) FROM payments WHERE purpose = 'call'") == 0
        assert await farebox.pool.fetchval("SELECT count(*) FROM holds") == 0


async def test_the_asset_may_be_named_and_free_calls_have_no_price(
    farebox: Farebox, account: Account
) -> None:
    url = await farebox.publish() + "/x"
    named = {**account.headers, "X-Max-Price": f"{farebox.asset.symbol} 0.25"}
    assert (await farebox.agent.ask("GET", url, headers=named)).status == 200
    free = await farebox.publish("free", price_per_call="0") + "/x"
    assert (await farebox.agent.ask("GET", free, headers={"X-Max-Price": "0"})).status == 200


async def test_an_organization_is_told_of_a_low_balance_once(farebox: Farebox) -> None:
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR + QUARTER)
    shop = await farebox.publish(low_balance_threshold="0.5")
    general = await farebox.publish("general")

    async def told() -> list[str]:
        rows = await farebox.pool.fetch(
            "SELECT payload FROM events WHERE type = 'wallet.balance_low' ORDER BY created_at"
        )
        return [row["payload"]["balance_atomic"] for row in rows]

    for url, balances in [
        (general, []),                          # 1.25 -> 1.00, which is not below the setting's 1
        (general, [DOLLAR * 3 // 4]),           # 0.75
        (shop, [DOLLAR * 3 // 4]),              # 0.50, which is not below the publisher's 0.5
        (shop, [DOLLAR * 3 // 4, QUARTER]),     # 0.25
        (general, [DOLLAR * 3 // 4, QUARTER]),  # 0.00: it was told before
    ]:  # fmt: skip
        assert (await farebox.agent.ask("GET", f"{url}/x", headers=account.headers)).status == 200
        assert await told() == [str(one) for one in balances]
