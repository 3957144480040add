"""What ``farebox pay`` does."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from aiohttp import ClientError, ClientSession, ClientTimeout, InvalidURL
from eth_account import Account

from control.agent.client import decode
from control.agent.purchase import Answer, NotBought, Order, buy
from control.cli.errors import Sorry
from gateway.kit.money import to_atomic, to_text

TIMEOUT_SECONDS = 120
HEADER_BYTES_MAX = 1 << 16


@dataclass(frozen=True, slots=True)
class Asked:
    """The command line, as it was typed."""

    url: str
    method: str
    data: str | None
    header: Sequence[str]
    max_price: str | None
    decimals: int
    api_key: str | None
    key: str | None
    output: Path | None


def pay(asked: Asked, *, is_dry_run: bool) -> None:
    order = Order(
        asked.method.upper(),
        asked.url,
        read_headers(asked.header, asked.data),
        None if asked.data is None else checked(asked.data).encode(),
        asked.decimals,
        None if asked.max_price is None else amount(asked.max_price, asked.decimals),
        asked.api_key or None,
        private_key(asked.key),
    )
    if asked.output is not None and not is_dry_run:
        make_sure_of(asked.output)
    try:
        answer = asyncio.run(call(order, is_dry_run=is_dry_run))
    except NotBought as error:
        raise Sorry(f"{asked.url}: {error}") from None
    except (ClientError, TimeoutError, InvalidURL, ValueError) as error:
        raise Sorry(f"{asked.url} cannot be called: {str(error) or 'no answer in time'}") from None
    if answer is not None:
        show(answer, order, asked.output)


async def call(order: Order, *, is_dry_run: bool) -> Answer | None:
    async with ClientSession(
        timeout=ClientTimeout(TIMEOUT_SECONDS), max_field_size=HEADER_BYTES_MAX
    ) as session:
        return await buy(session, order, tell, is_dry_run=is_dry_run)


def show(answer: Answer, order: Order, output: Path | None) -> None:
    for line in receipt(answer, order):
        tell(line)
    if not answer.is_good:
        if answer.detail is not None and is_problem(answer):
            raise Sorry(f"{order.url} answered {answer.status}: {answer.detail}")
        # Not to standard output: whoever reads that wants what was bought.
        typer.echo(answer.body.decode(errors="replace"), err=True)
        raise Sorry(f"{order.url} answered {answer.status}")
    if output is None:
        typer.echo(answer.body, nl=not answer.body.endswith(b"\n"))
        return
    try:
        output.write_bytes(answer.body)
    except OSError as error:
        # It is paid for, so it must not be lost.
        typer.echo(answer.body)
        raise Sorry(f"{output} cannot be written ({error.strerror}); the answer is above") from None


def is_problem(answer: Answer) -> bool:
    """Whether it is the gateway that refuses (RFC 9457), and not what it passes on of an API."""
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
    return kind == "application/problem+json" and str(answer.member("type")).startswith("/problems/")


def receipt(answer: Answer, order: Order) -> Sequence[str]:
    """What was paid, by what the gateway says of it."""
    payment = settlement(answer.headers)
    lines = [f"paid: {paid(answer, order, payment)}"]
    if credited := credited_to_balance(payment):
        left = amount_of(credited, answer.token, order)
        lines.append(f"not spent: {left} left the wallet and is in the balance of its organization now")
    if key := answer.headers.get("X-Farebox-Api-Key"):
        lines.append(f"key of that organization, shown once: {key}")
    if payment.get("transaction"):
        lines.append(f"transaction: {payment['transaction']} on {payment.get('network')}")
    lines += upstream_receipt(answer, order)
    if call_id := answer.headers.get("X-Farebox-Call-Id"):
        lines.append(f"call: {call_id}")
    return lines


def upstream_receipt(answer: Answer, order: Order) -> Sequence[str]:
    """What the publisher's own upstream was paid, by what it says of it."""
    payment = settlement(answer.headers, "PAYMENT-RESPONSE-UPSTREAM")
    if payment.get("success") is not True:
        return ()
    sent = str(payment.get("amount"))
    what = amount_of(sent, answer.token_upstream, order) if sent.isdecimal() else "its price"
    where = f", in transaction {payment['transaction']}" if payment.get("transaction") else ""
    return (f"paid to its upstream: {what}{where}",)


def amount_of(atomic: str, token: str, order: Order) -> str:
    return f"{to_text(int(atomic), order.decimals)} {token}".rstrip()


def paid(answer: Answer, order: Order, payment: Mapping[str, object]) -> str:
    if answer.token_upstream and not answer.paid_from:
        return "nothing to the gateway"
    charged = answer.headers.get("X-Farebox-Charged")
    amount_atomic = str(payment.get("amount"))
    if charged is None and payment.get("success") is True and amount_atomic.isdecimal():
        charged = amount_of(amount_atomic, answer.token, order)
    if charged is not None:
        return f"{charged}, from {answer.paid_from}"
    if payment.get("success") is True:
        return f"from {answer.paid_from}"
    if answer.is_good and answer.paid_from:
        return f"what the answer came to, from {answer.paid_from}; /wallet/transactions has it"
    return f"nothing{because(payment)}"


def settlement(headers: Mapping[str, str], name: str = "PAYMENT-RESPONSE") -> Mapping[str, object]:
    try:
        return decode(headers[name])
    except (KeyError, ValueError):
        return {}


def credited_to_balance(payment: Mapping[str, object]) -> str | None:
    """What a payment ahead of a call came to when the call failed, in the atomic unit."""
    extra = payment.get("extra")
    credited = extra.get("creditedToBalance") if isinstance(extra, dict) else None
    return credited if isinstance(credited, str) and credited.isdecimal() else None


def because(payment: Mapping[str, object]) -> str:
    return f" ({payment['errorReason']})" if payment.get("errorReason") else ""


def tell(line: str) -> None:
    typer.echo(line, err=True)


def amount(text: str, decimals: int) -> int:
    try:
        return to_atomic(text, decimals)
    except ValueError as error:
        raise Sorry(f"--max-price {error}") from None


def checked(data: str) -> str:
    try:
        json.loads(data)
    except ValueError:
        raise Sorry("--data is not JSON") from None
    return data


def query_body(query: str, parameters: Sequence[str], data: str | None) -> str:
    if data is not None:
        raise Sorry("--query is a body of its own: leave out --data")
    return json.dumps({"query": query, "params": [value_of(one) for one in parameters]})


def value_of(text: str) -> object:
    """What is no JSON is text, so that most words need no quotes."""
    try:
        return json.loads(text, parse_float=lambda _: text)
    except ValueError:
        return text


def private_key(text: str | None) -> bytes | None:
    if not text:
        return None
    try:
        key = bytes.fromhex(text.removeprefix("0x"))
        Account.from_key(key)
    except Exception:
        # Whatever the library says of it might repeat it.
        raise Sorry("FAREBOX_PAY_KEY is not a private key: 32 bytes in hexadecimal") from None
    return key


def read_headers(lines: Sequence[str], data: str | None) -> Mapping[str, str]:
    headers = {} if data is None else {"Content-Type": "application/json"}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or not line.isprintable():
            raise Sorry(f"--header {name!r} is not of the form 'Name: value'")
        headers[name.strip().title()] = value.strip()
    return headers


def make_sure_of(output: Path) -> None:
    """Before anything is paid: an answer that cannot be kept is money lost."""
    try:
        with output.open("ab"):
            pass
    except OSError as error:
        raise Sorry(f"{output} cannot be written: {error.strerror}; nothing was paid") from None
