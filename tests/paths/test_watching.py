"""What an operator sees of calls: one line each, whatever their end, and their place in the metrics."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientSession, web
from prometheus_client import REGISTRY

from gateway.metering.tallies import FLUSH_SECONDS
from tests.paths.conftest import DOLLAR, Farebox, Upstream, serving, settings_of
from tests.waiting import until

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
Captured = Callable[[], Awaitable[list[dict[str, Any]]]]


@pytest.fixture
def lines(capfd: pytest.CaptureFixture[str]) -> Captured:
    """The lines of the calls so far; each call's is written a moment after its end."""
    seen: list[dict[str, Any]] = []

    async def read() -> list[dict[str, Any]]:
        await asyncio.sleep(0.25)
        for line in capfd.readouterr().err.splitlines():
            if '"event":"call.' in line:
                seen.append(json.loads(line))
        return seen

    return read


async def line_of(lines: Captured, call_id: str) -> dict[str, Any]:
    (found,) = [line for line in await lines() if line["call_id"] == call_id]
    return found


async def test_every_end_of_a_call_is_one_line(farebox: Farebox, lines: Captured) -> None:
    shop = await farebox.publish(endpoints=[{"method": "GET", "path": "/free/{city}", "price": "0"}])
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    ask = farebox.agent.ask

    async def fail(request: web.Request) -> web.Response:
        return web.Response(status=500)

    refused = await ask("GET", f"{shop}/weather?token=private")
    ends = {
        "payment_required": refused,
        "charged": await farebox.agent.pay("GET", f"{shop}/weather?token=private", refused),
        "free": await ask("GET", f"{shop}/free/oslo"),
        "refused": await ask("GET", f"{shop}/weather", headers={"Authorization": "Bearer fb_test_wrong"}),
    }
    prepaid = await ask("GET", f"{shop}/weather", headers=account.headers)
    unknown = await ask("GET", f"{farebox.origin}/publishers/nobody/x")
    farebox.upstream.handler = fail
    ends["upstream_refused"] = await ask("GET", f"{shop}/weather", headers=account.headers)
    by_id = {line["call_id"]: line for line in await lines()}
    for outcome, reply in ends.items():
        line = by_id[reply.headers["X-Farebox-Call-Id"]]
        assert (line["outcome"], line["status"], line["publisher"]) == (outcome, reply.status, "shop")
        assert line["method"] == "GET"
        assert line["path"].startswith("/publishers/shop/")
    on_chain = by_id[ends["charged"].headers["X-Farebox-Call-Id"]]
    assert (on_chain["event"], on_chain["rail"], on_chain["payer"]) == (
        "call.answered",
        "x402",
        farebox.payer,
    )
    assert (on_chain["charged"], on_chain["charged_atomic"]) == ("0.25 TUSD", str(DOLLAR // 4))
    assert list(on_chain["stages_ms"]) == [
        "admit", "match", "identify", "limit", "price", "protect", "pay", "forward", "settle", "relay",
    ]  # fmt: skip
    assert sum(on_chain["stages_ms"].values()) == pytest.approx(on_chain["ms"], abs=0.01)
    from_balance = by_id[prepaid.headers["X-Farebox-Call-Id"]]
    assert (from_balance["rail"], from_balance["outcome"]) == ("prepaid", "charged")
    assert from_balance["organization_id"] == str(account.organization_id)
    assert by_id[ends["free"].headers["X-Farebox-Call-Id"]]["endpoint"] == "/free/{city}"
    asked = by_id[refused.headers["X-Farebox-Call-Id"]]
    assert (asked["event"], asked["problem"], asked["stage"]) == ("call.refused", "payment-required", "pay")
    nobody = by_id[unknown.headers["X-Farebox-Call-Id"]]
    assert (nobody["problem"], nobody["stage"], "publisher" in nobody) == ("not-found", "match", False)
    text = json.dumps(list(by_id.values()))
    for secret in (account.key, "fb_test_wrong", "private", "0x" + bytes(farebox.agent.private_key).hex()):
        assert secret not in text


async def test_a_payment_that_fails_after_the_answer_is_told_from_one_that_was_asked_for(
    farebox: Farebox, lines: Captured
) -> None:
    url = await farebox.publish() + "/x"
    payer = farebox.chain.accounts[2]

    async def drain_then_answer(request: web.Request) -> web.Response:
        amount = await farebox.chain.balance(farebox.token, payer.address)
        await farebox.move(payer, farebox.chain.accounts[9].address, amount)
        return web.Response(text="the secret")

    farebox.upstream.handler = drain_then_answer
    reply = await farebox.pay("GET", url)
    assert reply.status == 402
    line = await line_of(lines, reply.headers["X-Farebox-Call-Id"])
    assert (line["outcome"], line["error"], line["stage"]) == (
        "settlement_failed", "insufficient_funds", "settle",
    )  # fmt: skip
    assert "charged" not in line


@pytest.mark.parametrize(("who", "event"), [("upstream", "call.cut_short"), ("caller", "call.hung_up")])
async def test_an_answer_that_breaks_off_says_whose_doing_it_was(
    farebox: Farebox, lines: Captured, who: str, event: str
) -> None:
    shop = await farebox.publish()
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)

    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100000000"})
        await response.prepare(request)
        for _ in range(100):
            await response.write(b"x" * 65536)
            if who == "upstream":
                assert request.transport is not None
                request.transport.abort()
                break
            await asyncio.sleep(0.02)
        return response

    farebox.upstream.handler = trickle
    async with ClientSession() as session:
        response = await session.get(f"{shop}/x", headers=account.headers)
        call_id = response.headers["X-Farebox-Call-Id"]
        if who == "caller":
            response.close()
        else:
            with pytest.raises(Exception, match="payload"):
                await response.read()

    async def is_told() -> bool:
        return any(line["call_id"] == call_id for line in await lines())

    await until(is_told)
    line = await line_of(lines, call_id)
    # Charged for the head, either way.
    assert (line["event"], line["outcome"], line["status"]) == (event, "charged", 200)


async def test_a_bug_is_a_line_with_its_traceback(
    farebox: Farebox, lines: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await farebox.publish()

    def explode(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("gateway.call.price", explode)
    reply = await farebox.agent.ask("GET", f"{shop}/x")
    assert reply.status == 500
    line = await line_of(lines, reply.headers["X-Farebox-Call-Id"])
    assert (line["level"], line["event"], line["stage"], line["outcome"]) == (
        "error", "call.failed", "price", "failed",
    )  # fmt: skip
    assert "ZeroDivisionError: a bug" in line["exception"]


async def test_a_trace_goes_through_with_a_span_of_ours(farebox: Farebox, lines: Captured) -> None:
    shop = await farebox.publish(price_per_call="0")
    sent = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=1"}
    reply = await farebox.agent.ask("GET", f"{shop}/x", headers=sent)
    line = await line_of(lines, reply.headers["X-Farebox-Call-Id"])
    assert (line["trace_id"], line["parent_id"]) == (TRACE, SPAN)
    seen = farebox.upstream.seen[-1].headers
    assert seen["traceparent"] == f"00-{TRACE}-{line['span_id']}-01"
    assert seen["tracestate"] == "vendor=1"
    # What is not valid goes no further, and what belongs to it neither.
    await farebox.agent.ask("GET", f"{shop}/x", headers={**sent, "traceparent": "00-nonsense"})
    assert not {"traceparent", "tracestate"} & {name.lower() for name in farebox.upstream.seen[-1].headers}


@pytest.fixture
async def quiet(
    database_url: str, pool: Any, valkey: str, chain: Any, paid_token: str, upstream: Upstream
) -> AsyncIterator[str]:
    settings = settings_of(database_url, valkey, chain, paid_token, log_calls=False)
    async with serving(settings) as origin:
        yield origin


async def test_the_lines_can_be_turned_off(quiet: str, lines: Captured) -> None:
    async with ClientSession() as session, session.get(f"{quiet}/publishers/nobody/x") as response:
        assert response.status == 404
    assert await lines() == []


async def test_calls_stages_and_money_are_counted(farebox: Farebox) -> None:
    shop = await farebox.publish("counted")
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    labels = {"publisher": "counted", "rail": "prepaid", "outcome": "charged", "status": "2xx"}
    money = {"asset": "TUSD", "network": farebox.chain.network, "rail": "prepaid"}
    before = REGISTRY.get_sample_value("farebox_charged_atomic_total", money) or 0
    stage_before = REGISTRY.get_sample_value("farebox_stage_seconds_count", {"stage": "settle"}) or 0
    for _ in range(3):
        assert (await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)).status == 200

    async def are_calls_counted() -> bool:
        return REGISTRY.get_sample_value("farebox_calls_total", labels) == 3

    # The last is counted a moment after its last byte.
    await until(are_calls_counted)
    after = REGISTRY.get_sample_value("farebox_charged_atomic_total", money)
    assert after == before + 3 * DOLLAR // 4

    async def are_stages_told() -> bool:
        told = REGISTRY.get_sample_value("farebox_stage_seconds_count", {"stage": "settle"})
        return told == stage_before + 3

    await until(are_stages_told)
    infinite = REGISTRY.get_sample_value("farebox_stage_seconds_bucket", {"stage": "settle", "le": "+Inf"})
    assert infinite == stage_before + 3
    assert REGISTRY.get_sample_value("farebox_calls_in_flight") == 0


async def test_what_an_answer_is_found_to_have_cost_is_in_its_line(farebox: Farebox, lines: Captured) -> None:
    shop = await farebox.publish(
        "metered",
        price_per_call=None,
        billing_model="pay_per_use",
        upstream_cost_response_path="cost",
        reserve_max_charge="0.5",
        unresolved_fallback_charge="0.1",
    )
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"cost": "0.03"})

    farebox.upstream.handler = answer
    reply = await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)
    assert reply.status == 200, reply.text
    line = await line_of(lines, reply.headers["X-Farebox-Call-Id"])
    assert (line["outcome"], line["charged"]) == ("charged", "0.03 TUSD")
    assert await farebox.balance(account) == DOLLAR * 97 // 100


async def test_a_conversation_is_one_line_and_has_a_trace_and_no_latency(
    farebox: Farebox, lines: Captured
) -> None:
    shop = await farebox.publish("talk", price_per_call="0.25")
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)

    async def echo(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    farebox.upstream.handler = echo
    # What was counted before is told by then.
    await asyncio.sleep(2 * FLUSH_SECONDS)
    before = REGISTRY.get_sample_value("farebox_call_seconds_count")
    sent = {**account.headers, "traceparent": f"00-{TRACE}-{SPAN}-01"}
    async with farebox.session.ws_connect(f"{shop}/x", headers=sent) as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello"

    async def is_told() -> bool:
        return any(line.get("publisher") == "talk" and line["status"] == 101 for line in await lines())

    await until(is_told)
    (line,) = [line for line in await lines() if line.get("publisher") == "talk"]
    assert (line["event"], line["outcome"], line["charged"]) == ("call.answered", "charged", "0.25 TUSD")
    assert farebox.upstream.seen[-1].headers["traceparent"] == f"00-{TRACE}-{line['span_id']}-01"
    await asyncio.sleep(2 * FLUSH_SECONDS)
    assert REGISTRY.get_sample_value("farebox_call_seconds_count") == before
