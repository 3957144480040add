"""What a call can be paid with, and the 402 that says so in both versions at once.

Version 2 clients read the ``PAYMENT-REQUIRED`` header, version 1 clients the body, people the body's
``detail``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import msgspec
import structlog

from config.settings import Network
from gateway.kit.money import to_text
from gateway.kit.problem import Problem, Refusal
from gateway.kit.problem import problem as make_problem
from gateway.ledger import accounts
from gateway.types import Asset, Price, Route
from gateway.x402 import wire
from gateway.x402.wire import Requirement, Resource

# Clients and proxies refuse longer header fields: aiohttp 8190 bytes, nginx 8 KiB for all of them.
HEADER_BYTES_MAX = 7500
# Of so many prices it is known what to offer for them.
PRICES_MAX = 1024

log = structlog.get_logger(__name__)


class PaymentRequired(Refusal):
    status, slug, title = 402, "payment-required", "Payment required"

    def __init__(
        self,
        detail: str,
        resource: Resource,
        requirements: Sequence[Requirement],
        *,
        error: str = "payment_required",
        headers: Mapping[str, str] | None = None,
        extensions: Mapping[str, Any] | None = None,
        **members: Any,
    ) -> None:
        """``error`` is machine-readable; ``members`` go into the body beside the offers."""
        super().__init__(detail)
        self.resource, self.requirements, self.error, self.members = resource, requirements, error, members
        header, self.is_whole = within_limits(resource, requirements, error, extensions)
        self.headers = {
            wire.REQUIRED: header,
            "Cache-Control": "no-store",
            "Access-Control-Expose-Headers": f"{wire.REQUIRED}, {wire.RESPONSES[2]}, {wire.RESPONSES[1]}",
            **(headers or {}),
        }

    def kept(self) -> Self:
        """Itself, to be said ``again``."""
        self.shared = {}
        return self

    def again(self) -> Self:
        """The same for another call: an exception is raised once."""
        other = type(self).__new__(type(self), *self.args)
        vars(other).update(vars(self))
        return other

    def problem(self) -> Problem:
        return make_problem(self.status, self.slug, self.title, str(self), **self.offered())

    def offered(self) -> dict[str, Any]:
        """What is in the body beside what every problem says."""
        return {
            "x402Version": 1,
            "error": self.error,
            "accepts": [wire.offer_v1(self.resource, one) for one in self.requirements],
            **self.members,
        }

    def written(self) -> bytes:
        """The problem as it would be written, without making one: strangers ask for ever new URLs."""
        detail = str(self)
        said = {
            "type": self.type_uri(), "title": self.title, "status": self.status, "detail": detail,
            "code": self.slug, "message": detail, **self.offered(),
        }  # fmt: skip
        return msgspec.json.encode({name: value for name, value in said.items() if value is not None})


def within_limits(
    resource: Resource,
    requirements: Sequence[Requirement],
    error: str,
    extensions: Mapping[str, Any] | None,
) -> tuple[str, bool]:
    """The v2 header, and whether that is all of it: where clients could not read one so long, it is without
    what they can do without.

    Never without an offer: the payer may have money in the last asset only.
    """
    header = ""
    bare = replace(resource, description="")
    shorter = (resource, extensions), (bare, extensions), (bare, None), (bare.without_query, None)
    for described, extended in shorter:
        header = wire.challenge_v2(described, requirements, error, extended)
        if len(header) <= HEADER_BYTES_MAX:
            return header, described is resource and extended is extensions
    log.warning("offers.header_too_long", bytes=len(header), offers=len(requirements))
    return header, False


@dataclass(frozen=True, slots=True)
class Offering:
    """One network as a payer sees it."""

    name: str
    pay_to: str | None
    """The platform's wallet; None sends money straight to the publisher's."""


class Offers:
    def __init__(self, networks: Sequence[Network]) -> None:
        self.networks = {
            network.id: Offering(
                network.v1_name,
                network.pay_to.lower() if network.pay_to else None,
            )
            for network in networks
        }
        self.payer_failures_max = {network.id: network.payer_failures_max for network in networks}
        self.assets = accounts.of_networks(networks)
        self.minimums = accounts.price_minimums(networks)
        self.of_route: dict[tuple[int, bool], tuple[Sequence[Price], Route, Sequence[Requirement]]] = {}

    def of_call(self, route: Route, prices: Sequence[Price], *, is_upfront: bool) -> Sequence[Requirement]:
        """``requirements`` of a publisher's price, which are the same for as long as both are.

        What a call is priced at is kept with its route, and is the same object each time.
        """
        known = self.of_route.get((id(prices), is_upfront))
        if known is not None and known[0] is prices and known[1] is route:
            return known[2]
        found = self.requirements(prices, route.wallet_address, route.wallet_network, is_upfront=is_upfront)
        if len(self.of_route) >= PRICES_MAX:
            self.of_route.clear()
        self.of_route[id(prices), is_upfront] = prices, route, found
        return found

    def requirements(
        self,
        prices: Sequence[Price],
        wallet: str | None,
        wallet_network: str | None,
        *,
        is_upfront: bool = False,
    ) -> list[Requirement]:
        """The ways to pay these prices. A network without a wallet to pay to offers none.

        What is paid upfront goes to the platform only: a publisher who has the money cannot be made to return
        what a failed call did not earn.
        """
        found = []
        for price in prices:
            offering = self.networks.get(price.asset.network)
            if offering is None or not price.is_onchain_enabled or self.is_dust(price.asset, price.ceiling):
                continue
            own = wallet if wallet_network == price.asset.network and not is_upfront else None
            if pay_to := offering.pay_to or own:
                found.append(
                    Requirement(
                        price.asset, price.ceiling, pay_to, wire.TIMEOUT_SECONDS, offering.name, is_upfront
                    )
                )
        return found

    def failures_max(self, network: str) -> int:
        return self.payer_failures_max[network]

    def is_dust(self, asset: Asset, amount: int) -> bool:
        """Whether the gas of settling it would cost more than it brings."""
        return amount < self.minimums.get(asset.id, 0)

    def least(self, asset: Asset) -> str:
        return f"{to_text(self.minimums.get(asset.id, 0), asset.decimals)} {asset.symbol}"

    def too_small(self, prices: Sequence[Price]) -> str:
        """What is to be said to somebody who wants to pay these on chain."""
        found = [
            self.least(one.asset)
            for one in prices
            if one.is_onchain_enabled and self.is_dust(one.asset, one.ceiling)
        ]
        if not found:
            return ""
        return f"payments on chain are taken from {' or '.join(found)} on: pay smaller prices from a balance"

    def is_owed(self, network: str) -> bool:
        """Whether the platform receives this network's payments, and so owes the publisher its share."""
        return self.networks[network].pay_to is not None
