"""A facilitator for others: verify and settle payments that are not to this gateway.

Source: x402 specification v2, section 7. A verdict is an answer, not an error. What it costs is gas, so only
assets of the settings are taken, and an organization's settlements stay within a budget.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from config.settings import Facilitation, Network
from gateway.kit import ids, tasks
from gateway.kit.problem import Refusal, invalid
from gateway.kit.sql import Db, Pool, Statements
from gateway.ledger import accounts
from gateway.ledger.accounts import PLATFORM
from gateway.types import Asset, Mode
from gateway.x402 import exact, intake, payments, shapes, undeployed, wire
from gateway.x402.facilitator import Authorization, FacilitatorUnavailable, PaymentInvalid, Settlement
from gateway.x402.intake import PaymentsUnavailable
from gateway.x402.payments import Claim, Payment
from gateway.x402.settlement import Checked, Settlements
from gateway.x402.wire import Presented, Requirement

SQL = Statements(__file__)


class GasBudgetSpent(Refusal):
    status, slug, title = 429, "gas-budget-spent", "The gas budget of today is spent"
    headers: Mapping[str, str] = {"Retry-After": "3600"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A payment that somebody wants to know of, as far as it could be read."""

    presented: Presented
    requirement: Requirement
    authorization: Authorization


@dataclass(frozen=True, slots=True)
class Verdict:
    network: str
    payer: str | None
    failure: str | None = None
    detail: str | None = None
    transaction: str = ""
    amount: int = 0


class OfferV2(msgspec.Struct, frozen=True):
    scheme: str
    network: str
    amount: str
    asset: str
    pay_to: str = msgspec.field(name="payTo")


class OfferV1(msgspec.Struct, frozen=True):
    scheme: str
    network: str
    amount: str = msgspec.field(name="maxAmountRequired")
    asset: str
    pay_to: str = msgspec.field(name="payTo")


class FacilitatorForOthers:
    """Not one network's but all of them, for the management API."""

    def __init__(
        self, pool: Pool, settlements: Settlements, networks: tuple[Network, ...], limits: Facilitation
    ) -> None:
        self.pool, self.settlements, self.limits = pool, settlements, limits
        self.networks = {network.id: network for network in networks}
        self.assets = tuple(accounts.of_networks(networks).values())
        self.minimums = accounts.price_minimums(networks)

    async def verify(self, mode: Mode, version: wire.Version, payload: Any, terms: Any) -> Verdict:
        """Whether the payment would settle now; commits nothing."""
        network = network_of(terms)
        try:
            asked = self.read(mode, version, payload, terms)
            await self.check(asked.authorization)
        except PaymentInvalid as error:
            return Verdict(network, payer_of(payload), error.code, error.message)
        return Verdict(network, asked.authorization.payer)

    async def settle(
        self, organization_id: UUID, mode: Mode, version: wire.Version, payload: Any, terms: Any
    ) -> Verdict:
        """Settle it once, however often it is asked for, and say how it stands."""
        network = network_of(terms)
        try:
            asked = self.read(mode, version, payload, terms)
            settlement = await self.settled(organization_id, asked)
        except PaymentInvalid as error:
            return Verdict(network, payer_of(payload), error.code, error.message)
        one = asked.authorization
        failure = "settlement_pending" if settlement.outcome == "pending" else settlement.failure
        return Verdict(network, one.payer, failure, None, settlement.transaction, one.amount)

    def read(self, mode: Mode, version: wire.Version, payload: Any, terms: Any) -> Asked:
        """``Refusal`` for what is no request at all, ``PaymentInvalid`` for what is no good payment."""
        try:
            presented = wire.read(version, msgspec.json.encode(payload))
            offer = read_terms(version, terms)
        except wire.Malformed as error:
            raise invalid("body/paymentPayload", str(error)) from None
        except msgspec.ValidationError as error:
            raise invalid("body/paymentRequirements", str(error)) from None
        requirement = self.requirement(offer, mode)
        if offer.scheme != "exact":
            raise PaymentInvalid("unsupported_scheme", "this facilitator settles the scheme exact")
        matched = wire.match(presented, [requirement])
        authorization = wire.authorization(presented, matched.asset)
        exact.check_terms(authorization, matched, intake.now())
        # A gas budget is counted in transfers.
        undeployed.refuse(authorization)
        return Asked(presented, matched, authorization)

    def requirement(self, offer: OfferV2 | OfferV1, mode: Mode) -> Requirement:
        # A test key spends no gas that costs anything.
        known = (one for one in self.assets if one.mode == mode)
        asset = next((one for one in known if self.is_of(one, offer)), None)
        if asset is None:
            raise PaymentInvalid("invalid_network", "no asset like this is settled here for this key")
        name = self.networks[asset.network].v1_name
        pay_to = shapes.address(offer.pay_to, "payTo")
        amount = shapes.number(offer.amount, "amount")
        if amount < self.minimums.get(asset.id, 0):
            raise PaymentInvalid("invalid_payment_requirements", "so small a payment is not settled here")
        return Requirement(asset, amount, pay_to, wire.TIMEOUT_SECONDS, name)

    def is_of(self, asset: Asset, offer: OfferV2 | OfferV1) -> bool:
        names = (asset.network, self.networks[asset.network].v1_name)
        return offer.network in names and offer.asset.lower() == asset.address

    async def check(self, authorization: Authorization) -> Checked:
        try:
            return await self.settlements.check(authorization)
        except FacilitatorUnavailable as error:
            raise PaymentsUnavailable(str(error)) from None

    async def settled(self, organization_id: UUID, asked: Asked) -> Settlement:
        one = asked.authorization
        digest = hashlib.sha256(f"facilitated {one.pay_to} {one.amount}".encode()).digest()
        if known := await payments.find(self.pool, one):
            return await self.stands(known, digest, one)
        checked = await self.check(one)
        network = self.networks[one.asset.network]
        if network.pay_to is not None and one.pay_to == network.pay_to.lower():
            # It would arrive in the platform's wallet and be owed to nobody.
            raise PaymentInvalid(
                "invalid_payment_requirements", "payments to this gateway are settled by calling it"
            )
        account_id = await accounts.ensure(self.pool, PLATFORM, one.asset.id, "chain")
        claim = Claim(ids.new(), "facilitated", one, digest, account_id, is_owed=False, fee=0)
        async with self.pool.acquire() as connection, connection.transaction():
            if not await payments.claim(connection, claim):
                return Settlement("pending", "")
            # In the claim's transaction: a payment costs its gas once, and a spent budget claims nothing.
            await self.spend(connection, organization_id, network.gas_limit)
        return await tasks.finish(self.settlements.settle(claim.id, one, {}, checked))

    async def stands(self, known: Payment, digest: bytes, one: Authorization) -> Settlement:
        """How a payment stands that was brought before."""
        is_same = known.purpose == "facilitated" and known.request_digest == digest
        if not is_same or known.signature != one.signature:
            raise PaymentInvalid("duplicate_settlement", "this authorization is used for something else")
        transaction = "0x" + known.transaction_hash.hex() if known.transaction_hash else ""
        if known.state == "settled":
            return Settlement("settled", transaction)
        if known.state in ("void", "failed"):
            return Settlement("failed", transaction, known.failure or "unexpected_settle_error")
        if known.state == "submitted":
            return await self.settlements.outcome(known.id, one.asset.network)
        return Settlement("pending", transaction)

    async def spend(self, db: Db, organization_id: UUID, gas: int) -> None:
        limits = self.limits
        if await db.fetchval(SQL.spend, organization_id, gas, limits.gas_per_organization_per_day) is None:
            raise GasBudgetSpent("your organization's settlements have used the gas of today")
        # Last, because everybody waits for this row.
        if await db.fetchval(SQL.spend, PLATFORM, gas, limits.gas_per_day) is None:
            raise GasBudgetSpent("this facilitator's settlements have used the gas of today")


def read_terms(version: wire.Version, terms: Any) -> OfferV2 | OfferV1:
    return msgspec.convert(terms, OfferV2) if version == 2 else msgspec.convert(terms, OfferV1)


def network_of(terms: Any) -> str:
    network = terms.get("network") if isinstance(terms, dict) else None
    return network if isinstance(network, str) else ""


def payer_of(payload: Any) -> str | None:
    """Whoever it says it is of; the answer repeats it, and nothing rests on it."""
    try:
        payer: str = payload["payload"]["authorization"]["from"]
        shapes.address(payer, "from")
    except (KeyError, TypeError, PaymentInvalid):
        return None
    return payer
