"""Rail ``prepaid``: the ceiling is held on the organization's balance and the actual is posted."""

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeAlias
from uuid import UUID

from gateway import cost
from gateway.kit.money import to_text
from gateway.kit.problem import Refusal
from gateway.kit.sql import Pool
from gateway.ledger import accounts, call_counts, standing
from gateway.ledger.holds import Holds, Opening, Posting
from gateway.ledger.usage import Usage
from gateway.metering.usage import Recorder, begun
from gateway.tariffs import NOTHING_MEASURED, Tariff, Used
from gateway.types import Caller, Head, Inbound, Match, Metering, Outcome, Price, Quote, Receipt


class Short(Exception):
    """The balance does not cover the call. ``members`` say by how much, in the words of the 402 body."""

    def __init__(self, detail: str, members: dict[str, object]) -> None:
        super().__init__(detail)
        self.members = members


class HoldExpired(Refusal):
    status, slug, title = 504, "hold-expired", "The call outlived its reservation"


Members: TypeAlias = dict[str, object]


@dataclass(slots=True)
class PrepaidHold:
    rail: "PrepaidRail"
    price: Price
    event: Usage
    description: str
    metering: Metering | None = None
    is_open: bool = True

    async def post(self, head: Head, measured: Used = NOTHING_MEASURED) -> Receipt:
        price, event = self.price, self.event
        spent = price.ceiling if price.tariff is None else await self.actual(price.tariff, measured)
        fee = spent * self.rail.fee_basis_points // 10_000
        self.is_open = False
        posted = await self.rail.holds.post(
            Posting(
                event.call_id, spent, fee, self.description, event.publisher_id,
                event.method, event.path, head.status,
            )
        )  # fmt: skip
        if not posted:
            raise HoldExpired(f"call {event.call_id} took too long and was not charged")
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
        self.rail.recorder.add(replace(self.event, outcome=outcome, status=status))


@dataclass(frozen=True, slots=True)
class PrepaidRail:
    pool: Pool
    holds: Holds
    recorder: Recorder
    fee_basis_points: int
    origin: str

    async def hold(self, inbound: Inbound, caller: Caller, match: Match, quote: Quote) -> PrepaidHold:
        """Hold the first price that the balance covers; ``Short`` when it covers none."""
        assert caller.organization_id is not None, "pay asks this rail for callers that have a wallet"
        prices = [one for one in quote.prices if one.is_prepaid_enabled and one.asset.mode == caller.mode]
        event = begun(inbound, caller, match, "prepaid")
        too_low: Price | None = None
        for price in prices:
            if price.minimum_balance and not await self.is_kept(event, price):
                too_low = too_low or price
                continue
            opening = Opening(
                inbound.call_id, caller.organization_id, price.payee_id, price.asset.id, price.ceiling
            )
            if await self.open(opening):
                metering = self.metering(price, inbound.call_id)
                return PrepaidHold(self, price, event, quote.description, metering)
        if not prices:
            raise Short(f"{match.route.slug} takes no prepaid balance in {caller.mode} money", {})
        detail, members = await self.shortage(caller.organization_id, too_low or prices[0])
        raise Short(detail, members)

    async def open(self, opening: Opening) -> bool:
        try:
            return await self.holds.open(opening)
        except Exception:
            # It may have been opened all the same; nobody would close it before it expires.
            with suppress(Exception):
                await self.holds.void(opening.call_id)
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
