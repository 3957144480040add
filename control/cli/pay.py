"""``farebox pay``: an agent's client for the command line."""

import asyncio
import json
from typing import Annotated, Any

import typer
from aiohttp import ClientError, ClientSession, ClientTimeout

from control.cli.errors import Sorry
from control.demo.agent import Agent, Reply
from gateway.kit.money import to_atomic, to_text

TIMEOUT_SECONDS = 120

Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="FAREBOX_PAY_KEY",
        metavar="0x…",
        help="The private key that signs the payment. Better in the variable than on the command line.",
        show_default=False,
    ),
]
MaxPrice = Annotated[
    str | None,
    typer.Option(metavar="AMOUNT", help="Pay at most this, in whole tokens: 0.05.", show_default="no limit"),
]
Decimals = Annotated[int, typer.Option(min=0, max=36, help="The token's decimals. USDC has 6.")]


def pay(
    url: Annotated[str, typer.Argument(metavar="URL", help="What to call.")],
    method: Annotated[str, typer.Option(help="The HTTP method.")] = "GET",
    data: Annotated[str | None, typer.Option(metavar="JSON", help="A request body.")] = None,
    max_price: MaxPrice = None,
    decimals: Decimals = 6,
    key: Key = None,
    is_dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the price, and pay nothing.")] = False,
) -> None:
    """Call a URL and, when it answers 402, pay for the call with x402.

    Prints the answer's body on standard output and what was paid on standard error. Exits with 1 when the
    call was not answered with success, was too dear, or could not be paid.
    """
    limit = None if max_price is None else amount(max_price, decimals)
    try:
        reply = asyncio.run(call(url, method, parsed(data), limit, decimals, key, is_dry_run))
    except (ClientError, TimeoutError) as error:
        raise Sorry(f"{url} cannot be called: {str(error) or 'no answer in time'}") from None
    if reply is None:
        return
    typer.echo(reply.text)
    if not 200 <= reply.status < 300:
        raise Sorry(f"{url} answered {reply.status}")


async def call(
    url: str, method: str, body: Any, limit: int | None, decimals: int, key: str | None, is_dry_run: bool
) -> Reply | None:
    """None for a dry run that met a price."""
    async with ClientSession(timeout=ClientTimeout(TIMEOUT_SECONDS), max_field_size=65536) as session:
        agent = Agent(session, bytes.fromhex((key or "").removeprefix("0x")))
        reply = await agent.ask(method, url, body=body)
        if reply.status != 402 or "PAYMENT-REQUIRED" not in reply.headers:
            return reply
        if not reply.offers:
            raise Sorry(f"{url} asks for payment and offers no way to pay with x402: {reply.text}")
        offer = reply.offers[0]
        price = to_text(int(offer["amount"]), decimals)
        typer.echo(f"price: {price} {offer['extra'].get('name', '')} on {offer['network']}", err=True)
        if is_dry_run:
            return None
        if limit is not None and int(offer["amount"]) > limit:
            raise Sorry(f"the price is {price}, more than --max-price allows; nothing was paid")
        if not key:
            raise Sorry("set FAREBOX_PAY_KEY to the private key that pays")
        paid = await agent.pay(method, url, reply, body=body)
        if paid.status == 200 and "PAYMENT-RESPONSE" in paid.headers:
            typer.echo(f"paid: {price} in transaction {paid.payment['transaction']}", err=True)
        return paid


def amount(text: str, decimals: int) -> int:
    try:
        return to_atomic(text, decimals)
    except ValueError as error:
        raise Sorry(f"--max-price {error}") from None


def parsed(data: str | None) -> Any:
    try:
        return None if data is None else json.loads(data)
    except ValueError:
        raise Sorry("--data is not JSON") from None
