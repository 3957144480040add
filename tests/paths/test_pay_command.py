"""``farebox pay``, typed as anybody would."""

import asyncio
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web
from typer.testing import CliRunner, Result

from control.agent import calls
from control.agent.client import encode
from control.cli.app import app
from control.cli.errors import Sorry
from tests.paths.conftest import DOLLAR, Farebox


@dataclass(frozen=True, slots=True)
class Typed:
    result: Result

    @property
    def out(self) -> str:
        return self.result.stdout

    @property
    def err(self) -> str:
        return self.result.stderr

    @property
    def sorry(self) -> str:
        """What the command ends with in the place of success."""
        assert isinstance(self.result.exception, Sorry), (self.result.exception, self.err)
        return str(self.result.exception)


async def typed(*arguments: str, **variables: str) -> Typed:
    # In a thread: the command has an event loop of its own, and the gateway runs in this one.
    run = CliRunner().invoke
    environment: dict[str, str | None] = {"FAREBOX_PAY_KEY": None, "FAREBOX_API_KEY": None, **variables}
    return Typed(await asyncio.to_thread(run, app, ["pay", *arguments], env=environment))


def key_of(farebox: Farebox) -> str:
    return "0x" + farebox.agent.private_key.hex()


async def test_a_wallet_pays_and_gets_a_receipt(farebox: Farebox) -> None:
    url = await farebox.publish() + "/weather?city=oslo"
    done = await typed(url, "--max-price", "0.25", FAREBOX_PAY_KEY=key_of(farebox))
    assert done.result.exit_code == 0, done.err
    # The gateway's own log shares the test's standard output.
    assert json.loads(done.out.splitlines()[-1])["path"] == "/weather?city=oslo"
    assert f"price: 0.25 TUSD on {farebox.chain.network}" in done.err
    assert "from: wallet 0x" in done.err
    assert re.search(r"^paid: 0.25 TUSD, from wallet 0x", done.err, re.MULTILINE)
    assert re.search(rf"^transaction: 0x[0-9a-f]{{64}} on {farebox.chain.network}$", done.err, re.MULTILINE)
    assert re.search(r"^call: [0-9a-f-]{36}$", done.err, re.MULTILINE)
    assert await farebox.chain.balance(farebox.token, farebox.platform_wallet) == DOLLAR // 4
    assert key_of(farebox)[2:] not in done.err


async def test_a_key_pays_from_the_balance(farebox: Farebox) -> None:
    url = await farebox.publish() + "/x"
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    done = await typed(url, "--max-price", "0.25", FAREBOX_API_KEY=account.key)
    assert done.result.exit_code == 0, done.err
    assert "from: balance, 1 TUSD available" in done.err
    assert "paid: 0.25 TUSD, from balance" in done.err
    assert "transaction:" not in done.err
    assert await farebox.balance(account) == DOLLAR * 3 // 4


async def test_a_wallet_pays_what_the_balance_does_not_cover(farebox: Farebox) -> None:
    url = await farebox.publish() + "/x"
    account = await farebox.sign_up()
    done = await typed(url, FAREBOX_API_KEY=account.key, FAREBOX_PAY_KEY=key_of(farebox))
    assert done.result.exit_code == 0, done.err
    assert "the balance does not pay: this call may cost 0.25 TUSD" in done.err
    assert "paid: 0.25 TUSD, from wallet" in done.err


@pytest.mark.parametrize("source", ["FAREBOX_API_KEY", "FAREBOX_PAY_KEY"])
async def test_what_is_too_dear_or_only_asked_for_is_not_paid(farebox: Farebox, source: str) -> None:
    url = await farebox.publish() + "/x"
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    secret = account.key if source == "FAREBOX_API_KEY" else key_of(farebox)
    dear = await typed(url, "--max-price", "0.2499", **{source: secret})
    assert "the price is 0.25 TUSD, more than --max-price allows; nothing was paid" in dear.sorry
    dry = await typed(url, "--dry-run", **{source: secret})
    assert (dry.result.exit_code, dry.out) == (0, "")
    assert "price: 0.25 TUSD" in dry.err
    assert farebox.upstream.seen == []
    assert await farebox.balance(account) == DOLLAR
    assert await farebox.chain.balance(farebox.token, farebox.platform_wallet) == 0


async def test_what_is_free_is_not_paid_for_and_headers_and_bodies_are_sent(farebox: Farebox) -> None:
    url = await farebox.publish(price_per_call="0") + "/x"
    done = await typed(url, "-d", '{"n": 1}', "-H", "X-Colour: blue")
    assert done.result.exit_code == 0, done.err
    assert "paid: nothing" in done.err
    request = farebox.upstream.seen[-1]
    assert (request.headers["X-Colour"], request.headers["Content-Type"]) == ("blue", "application/json")
    assert farebox.upstream.bodies == [b'{"n": 1}']


async def test_what_is_told_to_known_callers_only_is_not_bought_by_asking(farebox: Farebox) -> None:
    url = (
        await farebox.publish(ownership_tracking_enabled=True, resource_id_url_pattern="/things/:resourceId")
        + "/things"
    )
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    dry = await typed(url, "--dry-run", FAREBOX_API_KEY=account.key)
    assert (dry.result.exit_code, dry.out) == (0, ""), dry.err
    assert "price: 0.25 TUSD" in dry.err
    dear = await typed(url, "--max-price", "0.1", FAREBOX_API_KEY=account.key)
    assert "the price is 0.25 TUSD, more than --max-price allows; nothing was paid" in dear.sorry
    assert (farebox.upstream.seen, await farebox.balance(account)) == ([], DOLLAR)


async def test_what_the_answer_decides_is_not_called_nothing(farebox: Farebox) -> None:
    url = await farebox.publish(
        price_per_call=None, billing_model="pay_per_use", upstream_cost_response_path="usage.cost",
        reserve_max_charge="0.50", unresolved_fallback_charge="0.05",
    ) + "/x"  # fmt: skip
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    done = await typed(url, FAREBOX_API_KEY=account.key)
    assert done.result.exit_code == 0, done.err
    assert "paid: what the answer came to, from balance; /wallet/transactions has it" in done.err


async def test_money_that_a_failed_call_left_in_a_balance_is_told(farebox: Farebox) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=500)

    url = await farebox.publish(payment_flow="upfront") + "/order"
    farebox.upstream.handler = refuse
    done = await typed(url, "-X", "POST", FAREBOX_PAY_KEY=key_of(farebox))
    assert done.result.exit_code == 1
    assert "not spent: 0.25 TUSD left the wallet and is in the balance of its organization now" in done.err
    assert re.search(r"^key of that organization, shown once: fb_test_\w+$", done.err, re.MULTILINE)


async def test_the_answer_goes_to_a_file_byte_for_byte(farebox: Farebox, tmp_path: Path) -> None:
    url = await farebox.publish(price_per_call="0") + "/x"
    octets = bytes(range(256)) * 10

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=octets)

    farebox.upstream.handler = answer
    done = await typed(url, "--output", str(tmp_path / "answer"))
    assert (done.result.exit_code, done.out) == (0, "")
    assert (tmp_path / "answer").read_bytes() == octets


async def test_nothing_is_bought_that_cannot_be_kept(farebox: Farebox, tmp_path: Path) -> None:
    url = await farebox.publish() + "/x"
    nowhere = str(tmp_path / "no" / "answer")
    done = await typed(url, "--output", nowhere, FAREBOX_PAY_KEY=key_of(farebox))
    assert "nothing was paid" in done.sorry
    assert farebox.upstream.seen == []


async def test_a_deposit_is_told_in_its_token(farebox: Farebox) -> None:
    account = await farebox.sign_up()
    done = await typed(
        f"{farebox.origin}/wallet/deposit/crypto", "-X", "POST", "-d", '{"amount": "2"}', "-H",
        f"Authorization: Bearer {account.key}", FAREBOX_PAY_KEY=key_of(farebox),
    )  # fmt: skip
    assert done.result.exit_code == 0, done.err
    assert re.search(r"^paid: 2 TUSD, from wallet 0x", done.err, re.MULTILINE)
    assert await farebox.balance(account) == 2 * DOLLAR


async def test_a_payment_is_named_where_that_is_wanted(farebox: Farebox) -> None:
    url = await farebox.publish(requires_payment_identifier=True) + "/x"
    done = await typed(url, FAREBOX_PAY_KEY=key_of(farebox))
    assert done.result.exit_code == 0, done.err
    assert "paid: 0.25 TUSD, from wallet" in done.err


async def test_what_the_gateway_refuses_is_said_in_its_words(farebox: Farebox) -> None:
    url = await farebox.publish() + "/x"
    unknown = await typed(f"{farebox.origin}/publishers/nobody/x")
    assert unknown.sorry.endswith("/publishers/nobody/x answered 404: no publisher nobody"), unknown.sorry
    poor = await typed(url, FAREBOX_API_KEY=(await farebox.sign_up()).key)
    assert "answered 402: this call may cost 0.25 TUSD" in poor.sorry
    await farebox.move(farebox.chain.accounts[2], farebox.chain.accounts[7].address, 10 * DOLLAR)
    empty = await typed(url, FAREBOX_PAY_KEY=key_of(farebox))
    assert re.search(r"answered 402: the payer has less of the asset", empty.sorry)
    assert "{" not in unknown.err + poor.err + empty.err


async def test_an_upstream_that_fails_costs_nothing_and_is_no_answer(farebox: Farebox) -> None:
    url = await farebox.publish() + "/x"

    async def fail(request: web.Request) -> web.Response:
        return web.Response(status=500, text="out of order")

    farebox.upstream.handler = fail
    done = await typed(url, FAREBOX_PAY_KEY=key_of(farebox))
    assert "answered 500" in done.sorry
    assert done.out == ""
    assert "paid: nothing" in done.err
    assert "out of order" in done.err


@pytest.mark.parametrize(
    ("arguments", "variables", "complaint"),
    [
        ([], {}, "set FAREBOX_API_KEY to pay from a balance, or FAREBOX_PAY_KEY"),
        (["--max-price", "cheap"], {}, "--max-price is not a decimal number"),
        (["--data", "{"], {}, "--data is not JSON"),
        (["--data", "{}", "-q", "SELECT 1"], {}, "--query is a body of its own"),
        (["--param", "1"], {}, "--param is a value for a --query"),
        (["--header", "nonsense"], {}, "is not of the form 'Name: value'"),
        (["--header", "X: a\r\nY: b"], {}, "is not of the form 'Name: value'"),
        ([], {"FAREBOX_PAY_KEY": "0xhunter2"}, "FAREBOX_PAY_KEY is not a private key"),
    ],
)
async def test_what_is_wrong_is_a_sentence(
    farebox: Farebox, arguments: list[str], variables: dict[str, str], complaint: str
) -> None:
    url = await farebox.publish() + "/x"
    done = await typed(url, *arguments, **variables)
    assert complaint in done.sorry
    assert "hunter2" not in done.sorry + done.err


async def test_a_broken_connection_is_answered_with_the_same_payment(
    farebox: Farebox, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await farebox.publish() + "/x"
    sent: list[str] = []
    whole = calls.send

    async def lossy(session, order, credentials):  # type: ignore[no-untyped-def]
        answer = await whole(session, order, credentials)
        if "PAYMENT-SIGNATURE" in credentials:
            sent.append(credentials["PAYMENT-SIGNATURE"])
            if len(sent) == 1:
                raise TimeoutError
        return answer

    monkeypatch.setattr(calls, "send", lossy)
    done = await typed(url, FAREBOX_PAY_KEY=key_of(farebox))
    assert len(set(sent)) == 1
    assert len(sent) == 2
    # The gateway tells how the first one stands; it is never paid twice.
    assert re.search(r"^transaction: 0x", done.err, re.MULTILINE)
    assert await farebox.chain.balance(farebox.token, farebox.platform_wallet) == DOLLAR // 4
    assert len(farebox.upstream.seen) == 1


OFFER = {
    "scheme": "exact", "network": "eip155:1", "asset": "0x" + "a" * 40, "payTo": "0x" + "b" * 40,
    "amount": "5", "maxTimeoutSeconds": 60, "extra": {"name": "T", "version": "1"},
}  # fmt: skip


@pytest.mark.parametrize(
    "required",
    [
        "%%%",
        "bnVsbA==",
        encode({"accepts": None}),
        encode({"accepts": [None]}),
        encode({"accepts": [{**OFFER, "amount": "-5"}]}),
        encode({"accepts": [{**OFFER, "scheme": "upto"}]}),
        encode({"accepts": [{**OFFER, "extra": 7}]}),
        encode({"accepts": [{**OFFER, "payTo": "me"}]}),
        encode({"accepts": [{**OFFER, "network": "eip155:x"}]}),
        encode({"accepts": [{**OFFER, "maxTimeoutSeconds": "soon"}]}),
    ],
)
async def test_a_402_that_makes_no_sense_is_a_sentence_and_not_paid(farebox: Farebox, required: str) -> None:
    async def ask(request: web.Request) -> web.Response:
        return web.Response(status=402, headers={"PAYMENT-REQUIRED": required})

    farebox.upstream.handler = ask
    done = await typed(f"{farebox.upstream.url}/x", FAREBOX_PAY_KEY=key_of(farebox))
    assert done.sorry
    assert all("PAYMENT-SIGNATURE" not in request.headers for request in farebox.upstream.seen)
