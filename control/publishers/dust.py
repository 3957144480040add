"""Prices that no payment is settled for: the gas would cost more than the payment brings.

What such a call costs can be paid from a balance, which takes no transaction.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import ROUND_CEILING, Decimal
from typing import Any

from pydantic import BaseModel

from config.settings import Network
from control.publishers import prices
from control.publishers.store import Listed
from gateway.kit.money import to_text
from gateway.kit.problem import FieldProblem
from gateway.ledger import accounts

PRICES = (
    "price_per_call", "price_per_get", "price_per_post", "price_per_put", "price_per_patch",
    "price_per_delete",
)  # fmt: skip
# What changes all prices, or where they are paid.
OF_ALL = frozenset({"markup_multiplier", "min_charge", "onchain_enabled"})


def problems(
    networks: Sequence[Network],
    listed: Sequence[Listed],
    body: BaseModel,
    endpoints: Sequence[Mapping[str, Any]],
) -> list[FieldProblem]:
    """Of what a request says; prices that it does not touch stay as they are."""
    least, said = accounts.price_minimums(networks), body.model_fields_set
    found: list[FieldProblem] = []
    for one in listed:
        if one.is_onchain_enabled and least.get(one.asset_id):
            found += [
                FieldProblem(pointer=pointer, detail=detail(one, least[one.asset_id]))
                for pointer, price in asked(one, said, endpoints)
                if 0 < cost(one.prices, price) < least[one.asset_id]
            ]
    # Every asset may have the same to say.
    return list({problem.model_dump_json(): problem for problem in found}.values())


def asked(one: Listed, said: set[str], endpoints: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, int]]:
    is_of_all = not said.isdisjoint(OF_ALL)
    for name in PRICES:
        if (name in said or is_of_all) and one.prices.get(name):
            yield f"body/{name}", one.prices[name]
    for position, endpoint in enumerate(endpoints if "endpoints" in said else ()):
        if endpoint.get("price") is not None:
            # What is no price was refused already.
            yield (
                f"body/endpoints/{position}/price",
                prices.atomic(endpoint["price"], one.decimals, "", []),
            )


def cost(listed: Mapping[str, Any], price: int) -> int:
    markup = Decimal(listed.get("markup_multiplier", 1))
    return max(int((price * markup).to_integral_value(ROUND_CEILING)), int(listed.get("min_charge", 0)))


def detail(one: Listed, least: int) -> str:
    return (
        f"is less than {to_text(least, one.decimals)} {one.symbol}, the least that is settled on chain: "
        "raise it, or first set onchain_enabled to false in this asset's pricing, to sell from balances only"
    )
