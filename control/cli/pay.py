"""``farebox pay``: an agent's client for the command line."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from aiohttp import ClientError, ClientSession, ClientTimeout, InvalidURL
from eth_account import Account

from control.agent.client import decode
from control.agent.purchase import Answer, NotBought, Order, buy
from control.cli.errors import Sorry
from gateway.kit.money import to_atomic, to_text

TIMEOUT_SECONDS = 120
HEADER_BYTES_MAX = 1 << 16

Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="FAREBOX_PAY_KEY",
        metavar="0x…",
        help="The wallet's private key, to pay on chain. Better in the variable than on the command line.",
        show_default=False,
    ),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        envvar="FAREBOX_API_KEY",
        metavar="KEY",
        help="An API key, to pay from its balance. Before the wallet, if both are given.",
        show_default=False,
    ),
]
MaxPrice = Annotated[
    str | None,
    typer.Option(metavar="AMOUNT", help="Pay at most this, in whole tokens: 0.05.", show_default="no limit"),
]
Decimals = Annotated[int, typer.Option(min=0, max=36, help="The token's decimals. USDC has 6.")]
Headers = Annotated[
    list[str] | None,
    typer.Option("--header", "-H", metavar="'NAME: VALUE'", help="Send this too. May be given repeatedly."),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Write the answer there.", show_default="standard output"
    ),
]


def pay(
    url: Annotated[str, typer.Argument(metavar="URL", help="What to call.")],
    method: Annotated[str, typer.Option("--method", "-X", help="The HTTP method.")] = "GET",
    data: Annotated[str | None, typer.Option("--data", "-d", metavar="JSON", help="A request body.")] = None,
    header: Headers = None,
    max_price: MaxPrice = None,
    decimals: Decimals = 6,
    api_key: ApiKey = None,
    key: Key = None,
    output: Output = None,
    is_dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the price and what would pay it, and pay nothing.")
    ] = False,
) -> None:
    """Call a URL and, when it asks for payment, pay for the call from a balance or a wallet.

    Asks without a key first, to know the price; a call that is free is made by that. Prints the answer's body
    on standard output, and the price and the receipt on standard error. Exits with 1 when the call was not
    answered with success, was too dear, or could not be paid.
    """
    order = Order(
        method.upper(),
        url,
        read_headers(header or [], data),
        None if data is None else checked(data).encode(),
        decimals,
        None if max_price is None else amount(max_price, decimals),
        api_key or None,
        private_key(key),
    )
    if output is not None and not is_dry_run:
        make_sure_of(output)
    try:
        answer = asyncio.run(call(order, is_dry_run=is_dry_run))
    except NotBought as error:
        raise Sorry(f"{url}: {error}") from None
    except (ClientError, TimeoutError, InvalidURL, ValueError) as error:
        raise Sorry(f"{url} cannot be called: {str(error) or 'no answer in time'}") from None
    if answer is not None:
        show(answer, order, output)


async def call(order: Order, *, is_dry_run: bool) -> Answer | None:
    async with ClientSession(
        timeout=ClientTimeout(TIMEOUT_SECONDS), max_field_size=HEADER_BYTES_MAX
    ) as session:
        return await buy(session, order, tell, is_dry_run=is_dry_run)


def show(answer: Answer, order: Order, output: Path | None) -> None:
    for line in receipt(answer, order):
        tell(line)
    if not answer.is_good:
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


def receipt(answer: Answer, order: Order) -> Sequence[str]:
    """What was paid, by what the gateway says of it."""
    lines = []
    payment = settlement(answer.headers)
    charged = answer.headers.get("X-Farebox-Charged")
    paid_atomic = str(payment.get("amount"))
    if charged is None and payment.get("success") is True and paid_atomic.isdecimal():
        charged = to_text(int(paid_atomic), order.decimals)
    if charged is not None:
        lines.append(f"paid: {charged}, from {answer.paid_from}")
    elif payment.get("success") is True:
        lines.append(f"paid: from {answer.paid_from}")
    else:
        lines.append(f"paid: nothing{because(payment)}")
    if payment.get("transaction"):
        lines.append(f"transaction: {payment['transaction']} on {payment.get('network')}")
    if call_id := answer.headers.get("X-Farebox-Call-Id"):
        lines.append(f"call: {call_id}")
    return lines


def settlement(headers: Mapping[str, str]) -> Mapping[str, object]:
    try:
        return decode(headers["PAYMENT-RESPONSE"])
    except (KeyError, ValueError):
        return {}


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
