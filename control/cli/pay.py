"""``farebox pay``: an agent's client for the command line."""

from pathlib import Path
from typing import Annotated

import typer

from control.cli.errors import Sorry

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
    typer.Option(
        metavar="AMOUNT",
        help="Pay at most this, in whole tokens: 0.05. For the fee and the upstream together.",
        show_default="no limit",
    ),
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


Method = Annotated[
    str | None,
    typer.Option(
        "--method", "-X", help="The HTTP method.", show_default="GET, or POST with --data or --query"
    ),
]
Query = Annotated[
    str | None,
    typer.Option("--query", "-q", metavar="SQL", help="Ask a database that is sold, instead of --data."),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--param", metavar="VALUE",
        help="The value of $1 in the query, and so on: JSON, or text that is none. May be given repeatedly.",
    ),
]  # fmt: skip


def pay(
    url: Annotated[str, typer.Argument(metavar="URL", help="What to call.")],
    method: Method = None,
    data: Annotated[str | None, typer.Option("--data", "-d", metavar="JSON", help="A request body.")] = None,
    query: Query = None,
    param: Parameters = None,
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
    from control.cli import paying

    if query is not None:
        data = paying.query_body(query, param or [], data)
    elif param:
        raise Sorry("--param is a value for a --query")
    method = method or ("GET" if data is None else "POST")
    asked = paying.Asked(url, method, data, header or [], max_price, decimals, api_key, key, output)
    paying.pay(asked, is_dry_run=is_dry_run)
