"""Rail ``prepaid``: the ceiling is held on the organization's balance and the actual is posted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias
from uuid import UUID

from gateway.answers import again
from gateway.kit.money import to_text
from gateway.kit.problem import Refusal
from gateway.kit.sql import Pool
from gateway.ledger import accounts
from gateway.ledger.holds import Holds, Opening, Posting, Verdict
from gateway.ledger.usage import Usage
from gateway.metering.usage import Recorder, begun
from gateway.rails.repeats import give_again
from gateway.rails.spend_cap import SpendCapReached
from gateway.types import Asset, Caller, Head, Inbound, Keeper, Match, Outcome, Price, Quote, Receipt


class Short(Exception):
    """The balance does not cover the call. ``members`` say by how much, in the words of the 402 body."""

    def __init__(self, detail: str, members: dict[str, object]) -> None:
        super().__init__(detail)
        self.members = members


class HoldExpired(Refusal):
    status, slug, title = 504, "hold-expired", "The call outlived its reservation"


Members: TypeAlias = dict[str, object]


@dataclass(frozen=True, slots=True)
class LowBalance:
    """Below which balance an organization is told that it is low."""

    defaults: Mapping[UUID, int]
    """By asset, for publishers that say nothing of their own; 0 never tells."""

    def of(self, match: Match, asset: Asset) -> int:
        own = next((one.prices for one in match.route.pricing if one.asset.id == asset.id), {})
        return own.get("low_balance_threshold") or self.defaults.get(asset.id, 0)


@dataclass(slots=True)
class PrepaidHold:
    rail: "PrepaidRail"
    price: Price
    event: Usage
    description: str
    alert_below: int = 0
    keeper: Keeper | None = None
    is_open: bool = True

    async def post(self, head: Head) -> Receipt:
        price, event = self.price, self.event
        fee = price.ceiling * self.rail.fee_basis_points // 10_000
        self.is_open = False
        posted = await self.rail.holds.post(
            Posting(
                event.call_id, price.ceiling, fee, self.description, event.publisher_id,
                event.method, event.path, head.status, alert_below=self.alert_below,
            )
        )  # fmt: skip
        if not posted:
            raise HoldExpired(f"call {event.call_id} took too long and was not charged")
        return Receipt(event.call_id, "prepaid", price.ceiling, price.asset)

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
    low_balance: LowBalance

    async def hold(self, inbound: Inbound, caller: Caller, match: Match, quote: Quote) -> PrepaidHold:
        """Hold the first price that the balance covers; ``Short`` when it covers none."""
        assert caller.organization_id is not None, "pay asks this rail for callers that have a wallet"
        prices = [one for one in quote.prices if one.is_prepaid_enabled and one.asset.mode == caller.mode]
        if not prices:
            raise Short(f"{match.route.slug} takes no prepaid balance in {caller.mode} money", {})
        if inbound.idempotency_key is None:
            price, verdict = await self.open(inbound, caller, prices, None)
        else:
            price, verdict = await self.open_keyed(inbound, caller, prices, match, inbound.idempotency_key)
        if verdict.obstacle == "short":
            detail, members = await self.shortage(caller.organization_id, prices[0])
            raise Short(detail, members)
        if not verdict.is_open:
            raise SpendCapReached(verdict, price)
        event = begun(inbound, caller, match, "prepaid")
        keeper = None if inbound.idempotency_key is None else Keeper(inbound.call_id, None)
        return PrepaidHold(
            self, price, event, quote.description, self.low_balance.of(match, price.asset), keeper
        )

    async def open_keyed(
        self, inbound: Inbound, caller: Caller, prices: Sequence[Price], match: Match, name: str
    ) -> tuple[Price, Verdict]:
        """Open a hold that takes the key too, or tell a call that comes again what became of the first."""
        assert caller.organization_id is not None, "as for every call of this rail"
        digest = await again.fingerprint(inbound, match)
        while True:
            price, verdict = await self.open(inbound, caller, prices, digest)
            if verdict.is_open:
                return price, verdict
            # Also when the money is gone: it may be the same call that took it.
            await give_again(self.pool, caller.organization_id, name, digest)
            if verdict.obstacle != "repeated":
                return price, verdict
            # The call that had the key cost nothing, and gave the key back meanwhile.

    async def open(
        self, inbound: Inbound, caller: Caller, prices: Sequence[Price], digest: bytes | None
    ) -> tuple[Price, Verdict]:
        """Try one price after the other; of the refusals, the first that is more than a lack of money."""
        assert caller.organization_id is not None, "as for every call of this rail"
        refused: tuple[Price, Verdict] | None = None
        for price in prices:
            opening = Opening(
                inbound.call_id, caller.organization_id, price.payee_id, price.asset.id, price.ceiling,
                caller.key_id if caller.is_capped else None,
                None if digest is None else inbound.idempotency_key, digest,
            )  # fmt: skip
            verdict = await self.holds.open(opening)
            if verdict.obstacle in (None, "repeated"):
                return price, verdict
            if refused is None or refused[1].obstacle == "short":
                refused = price, verdict
        assert refused is not None, "there is at least one price"
        return refused

    async def shortage(self, organization_id: UUID, price: Price) -> tuple[str, Members]:
        """Say how much is missing and where to deposit it; only a refused call pays for this query."""
        asset = price.asset
        has = await accounts.available(self.pool, organization_id, asset.id)
        missing = max(price.ceiling - has, 0)
        where = f"{self.origin}/wallet/deposit/crypto"
        members: Members = {
            "balance": {
                "asset_id": str(asset.id),
                "asset_symbol": asset.symbol,
                "network": asset.network,
                "required_atomic": str(price.ceiling),
                "available_atomic": str(has),
                "missing_atomic": str(missing),
                "required": to_text(price.ceiling, asset.decimals),
                "available": to_text(has, asset.decimals),
                "missing": to_text(missing, asset.decimals),
            },
            "deposit_url": where,
        }
        detail = (
            f"this call may cost {to_text(price.ceiling, asset.decimals)} {asset.symbol} and the balance has "
            f"{to_text(has, asset.decimals)}; {to_text(missing, asset.decimals)} is missing. "
            f"Deposit with POST {where}, or pay this call with x402"
        )
        return detail, members
