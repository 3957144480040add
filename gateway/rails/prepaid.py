"""Rail ``prepaid``: the ceiling is held on the organization's balance and the actual is posted."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias
from uuid import UUID

from config.settings import Network
from gateway import cost
from gateway.answers import again
from gateway.answers.keep import Keeping
from gateway.answers.store import Answers
from gateway.kit.money import to_atomic_down, to_text
from gateway.kit.sql import OUTAGES, Pool
from gateway.ledger import accounts, call_counts, standing
from gateway.ledger.batches import SHORT, Opening, Posting, Verdict
from gateway.ledger.holds import Holds
from gateway.ledger.purses import Purses
from gateway.ledger.usage import Usage
from gateway.metering.usage import Recorder, begun, ended
from gateway.rails.drawn import Drawn, Terms
from gateway.rails.repeats import give_again
from gateway.rails.spend_cap import SpendCapReached
from gateway.rails.unpaid import HoldExpired, unknown
from gateway.tariffs import NOTHING_MEASURED, Tariff, Used
from gateway.types import (
    Asset,
    Caller,
    Head,
    Inbound,
    Keeper,
    Match,
    Metering,
    Outcome,
    Price,
    Quote,
    Receipt,
)


class Short(Exception):
    """The balance does not cover the call. ``members`` say by how much, in the words of the 402 body."""

    def __init__(self, detail: str, members: dict[str, object]) -> None:
        super().__init__(detail)
        self.members = members


Members: TypeAlias = dict[str, object]


@dataclass(frozen=True, slots=True)
class LowBalance:
    """Below which balance an organization is told that it is low."""

    defaults: Mapping[UUID, int]
    """By asset, for publishers that say nothing of their own; 0 never tells."""

    @classmethod
    def parse(cls, text: str, networks: Sequence[Network]) -> "LowBalance":
        """The same number of units of every asset."""
        assets = accounts.of_networks(networks).values()
        return cls({asset.id: to_atomic_down(text, asset.decimals) for asset in assets})

    def of(self, match: Match, asset: Asset) -> int:
        for one in match.route.pricing:
            if one.asset is asset and (own := one.prices.get("low_balance_threshold")):
                return own
        return self.defaults.get(asset.id, 0)


@dataclass(slots=True)
class PrepaidHold:
    rail: "PrepaidRail"
    price: Price
    event: Usage
    description: str
    metering: Metering | None = None
    keeper: Keeper | None = None
    alert_below: int = 0
    is_capped: bool = False
    is_open: bool = True

    @property
    def is_steady(self) -> bool:
        """Counting a call for its tier comes before the posting, which waits for nothing else."""
        return self.price.tariff is None

    async def post(self, head: Head, measured: Used = NOTHING_MEASURED) -> Receipt:
        price, event = self.price, self.event
        spent = price.ceiling if price.tariff is None else await self.actual(price.tariff, measured)
        fee = spent * self.rail.fee_basis_points // 10_000
        self.is_open = False
        posting = Posting(
            event.call_id, spent, fee, self.description, event.publisher_id,
            event.method, event.path, head.status,
            is_partial=self.is_capped and spent < price.ceiling, alert_below=self.alert_below,
            owner_id=event.organization_id,
        )  # fmt: skip
        try:
            posted = await self.rail.holds.post(posting)
        except OUTAGES as error:
            raise unknown(event.call_id, error) from None
        if not posted:
            raise HoldExpired(event.call_id)
        return Receipt(event.call_id, "prepaid", spent, price.asset)

    async def actual(self, tariff: Tariff, measured: Used) -> int:
        event = self.event
        if tariff.tiers:
            assert event.organization_id is not None, "only an organization has a balance"
            place = await call_counts.count(self.rail.pool, event.publisher_id, event.organization_id)
            measured = replace(measured, place=place)
        return cost.actual(self.price, measured)

    async def void(self, outcome: Outcome, status: int | None) -> None:
        if not self.is_open:
            return
        self.is_open = False
        await self.rail.holds.void(self.event.call_id)
        self.rail.recorder.add(ended(self.event, outcome, status))


@dataclass(frozen=True, slots=True)
class PrepaidRail:
    pool: Pool
    holds: Holds
    purses: Purses
    recorder: Recorder
    fee_basis_points: int
    origin: str
    answers: Answers
    low_balance: LowBalance

    def draw(self, inbound: Inbound, caller: Caller, match: Match, quote: Quote) -> Drawn | None:
        """Pay the call from a purse, for which nothing is asked. None where it takes a hold."""
        terms: Terms | None = quote.terms.get(caller.mode)
        if terms is None:
            terms = quote.terms[caller.mode] = self.terms(caller, match, quote)
        price = terms.price
        if price is None or inbound.idempotency_key is not None or caller.is_capped:
            return None
        assert caller.organization_id is not None, "pay asks this rail for callers that have a wallet"
        purse = self.purses.draw(caller.organization_id, price.asset.id, price.ceiling)
        if purse is None:
            return None
        return Drawn(self, terms, price, purse, inbound, caller, match)

    def terms(self, caller: Caller, match: Match, quote: Quote) -> Terms:
        """Only where the cost is known: what is left of a hold has nowhere to go in a purse."""
        price = next(iter(payable(quote, caller)), None)
        if price is None or price.tariff is not None or price.minimum_balance:
            return Terms(None, 0, 0, quote.description)
        fee = price.ceiling * self.fee_basis_points // 10_000
        return Terms(price, fee, self.low_balance.of(match, price.asset), quote.description)

    async def hold(self, inbound: Inbound, caller: Caller, match: Match, quote: Quote) -> PrepaidHold:
        """Hold the first price that the balance covers; ``Short`` when it covers none."""
        assert caller.organization_id is not None, "as for every call of this rail"
        prices = payable(quote, caller)
        if not prices:
            raise Short(f"{match.route.slug} takes no prepaid balance in {caller.mode} money", {})
        event = begun(inbound, caller, match, "prepaid")
        is_keyed = inbound.idempotency_key is not None
        if not is_keyed:
            price, verdict = await self.open_any(inbound, caller, event, prices, None)
        else:
            digest = await again.fingerprint(inbound, match)
            price, verdict = await self.open_keyed(inbound, caller, event, prices, digest)
        if verdict.obstacle == "short":
            detail, members = await self.shortage(caller.organization_id, price)
            raise Short(detail, members)
        if not verdict.is_open:
            raise SpendCapReached(verdict, price)
        return PrepaidHold(
            self, price, event, quote.description, self.metering(price, inbound.call_id),
            Keeping(self.answers, inbound.call_id).copied if is_keyed else None,
            self.low_balance.of(match, price.asset), caller.is_capped,
        )  # fmt: skip

    async def open_keyed(
        self, inbound: Inbound, caller: Caller, event: Usage, prices: Sequence[Price], digest: bytes
    ) -> tuple[Price, Verdict]:
        """Open a hold that takes the key too, or tell a call that comes again what became of the first."""
        assert caller.organization_id is not None, "as for every call of this rail"
        assert inbound.idempotency_key is not None, "asked only for calls that have one"
        while True:
            price, verdict = await self.open_any(inbound, caller, event, prices, digest)
            if verdict.is_open:
                return price, verdict
            # Also when the money is gone: it may be the same call that took it.
            await give_again(self.pool, caller.organization_id, inbound.idempotency_key, digest)
            if verdict.obstacle != "repeated":
                return price, verdict
            # The call that had the key cost nothing, and gave the key back meanwhile.

    async def open_any(
        self, inbound: Inbound, caller: Caller, event: Usage, prices: Sequence[Price], digest: bytes | None
    ) -> tuple[Price, Verdict]:
        """Try one price after the other; of what is refused, return what says most to the caller."""
        assert caller.organization_id is not None, "as for every call of this rail"
        too_low: list[tuple[Price, Verdict]] = []
        refused: list[tuple[Price, Verdict]] = []
        for price in prices:
            if price.minimum_balance and not await self.is_kept(event, price):
                too_low.append((price, SHORT))
                continue
            opening = Opening(
                inbound.call_id, caller.organization_id, price.payee_id, price.asset.id, price.ceiling,
                caller.key_id if caller.is_capped else None,
                None if digest is None else inbound.idempotency_key, digest,
            )  # fmt: skip
            verdict = await self.open_with_purses(opening)
            if verdict.obstacle in (None, "repeated"):
                return price, verdict
            refused.append((price, verdict))
        return next((one for one in refused if one[1].obstacle != "short"), [*too_low, *refused][0])

    async def open_with_purses(self, opening: Opening) -> Verdict:
        """What the balance lacks may be set aside for the owner's other calls."""
        asked_seconds = time.monotonic()
        verdict = await self.open(opening)
        is_back = verdict.obstacle == "short" and await self.purses.give_up(
            opening.owner_id, opening.asset_id, asked_seconds
        )
        return await self.open(opening) if is_back else verdict

    async def open(self, opening: Opening) -> Verdict:
        try:
            return await self.holds.open(opening)
        except BaseException:
            # Whoever is cancelled is so once it is decided, and in trouble it may have been opened all the
            # same: nobody else would close it before it expires.
            self.holds.give_up(opening.call_id)
            raise

    async def is_kept(self, event: Usage, price: Price) -> bool:
        """Whether the balance is as large as the publisher asks; only its callers pay for this query."""
        assert event.organization_id is not None, "only an organization has a balance"
        return await standing.is_good(
            self.pool, event.publisher_id, event.organization_id, price.asset.id,
            price.minimum_balance, price.grace_minutes,
        )  # fmt: skip

    def metering(self, price: Price, call_id: UUID) -> Metering | None:
        if price.tariff is None or price.tariff.is_known_at_head:
            return None
        seconds_max = self.holds.lifetime.total_seconds() * 0.9
        receipt = Receipt(call_id, "prepaid", None, price.asset)
        return Metering(price, price.tariff, time.monotonic_ns(), seconds_max, receipt)

    async def shortage(self, organization_id: UUID, price: Price) -> tuple[str, Members]:
        """Say how much is missing and where to deposit it; only a refused call pays for this query."""
        asset = price.asset
        has = await accounts.available(self.pool, organization_id, asset.id)
        required = max(price.ceiling, price.minimum_balance)
        missing = max(required - has, 0)
        where = f"{self.origin}/wallet/deposit/crypto"
        members: Members = {
            "balance": {
                "asset_id": str(asset.id),
                "asset_symbol": asset.symbol,
                "network": asset.network,
                "required_atomic": str(required),
                "available_atomic": str(has),
                "missing_atomic": str(missing),
                "required": to_text(required, asset.decimals),
                "available": to_text(has, asset.decimals),
                "missing": to_text(missing, asset.decimals),
            },
            "deposit_url": where,
        }
        if price.minimum_balance:
            members["minimum_balance"] = to_text(price.minimum_balance, asset.decimals)
        asked = "the publisher asks for a balance of" if price.minimum_balance else "this call may cost"
        detail = (
            f"{asked} {to_text(required, asset.decimals)} {asset.symbol} and the balance has "
            f"{to_text(has, asset.decimals)}; {to_text(missing, asset.decimals)} is missing. "
            f"Deposit with POST {where}, or pay this call with x402"
        )
        return detail, members


def payable(quote: Quote, caller: Caller) -> Sequence[Price]:
    """Those of its prices that a balance can pay."""
    return [one for one in quote.prices if one.is_prepaid_enabled and one.asset.mode == caller.mode]
