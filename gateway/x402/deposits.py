"""A balance topped up on chain: an x402 payment to the platform, credited to an organization's funded
account.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from gateway.kit import ids, tasks
from gateway.kit.problem import Refusal, invalid
from gateway.kit.sql import Db, Pool, Statements
from gateway.ledger import accounts
from gateway.types import Asset, Credentials, Price
from gateway.x402 import intake, payments
from gateway.x402.facilitator import FacilitatorUnavailable, PaymentInvalid
from gateway.x402.intake import Challenge, Intake, PaymentsUnavailable
from gateway.x402.offers import Offers
from gateway.x402.payments import Claim, Payment
from gateway.x402.settlement import Checked, Settlements
from gateway.x402.wire import Resource

SQL = Statements(__file__)


class DepositsNotOffered(Refusal):
    status, slug, title = 409, "deposits-not-offered", "Deposits are not offered"


@dataclass(frozen=True, slots=True)
class Deposit:
    payment_id: UUID
    organization_id: UUID
    payer: str
    asset: Asset
    amount: int
    transaction: str
    receipt: dict[str, str]


@dataclass(frozen=True, slots=True)
class Deposits:
    pool: Pool
    offers: Offers
    settlements: Settlements
    url: str
    """Where deposits are made: the resource of their challenge."""

    async def deposit(
        self,
        credentials: Credentials,
        asset: Asset,
        amount: int,
        organization_id: UUID | None,
        adopt: Callable[[str], Awaitable[None]],
    ) -> Deposit:
        """Credit ``amount`` to the organization, or without one to the payer's own.

        ``adopt`` makes an organization for a payer that nobody knows, and links the two; somebody else may be
        first. The same payment sent again gets the same answer and is credited once. A ``PaymentRequired``
        says what to pay when there is no payment yet.
        """
        challenge = self.challenge(asset, amount)
        if not credentials.has_payment:
            raise challenge.refuse("payment_required", "sign a payment of this amount to make the deposit")
        taken = intake.read(credentials, challenge)
        paid = taken.authorization
        digest = hashlib.sha256(f"deposit {asset.id} {amount} {organization_id}".encode()).digest()
        if known := await payments.find(self.pool, paid):
            intake.recognise(known, taken, challenge)
            if known.state == "settled" and known.request_digest == digest:
                return await self.made(known, taken)
            raise intake.stands(known, digest, taken, challenge)
        intake.check(taken, challenge)
        try:
            checked = await self.settlements.check(paid)
        except PaymentInvalid as error:
            raise challenge.refuse(error.code, error.message) from None
        except FacilitatorUnavailable as error:
            raise PaymentsUnavailable(f"{error}; nothing was charged") from None
        owner_id = await whose(self.pool, paid.payer, organization_id, adopt)
        credit_id = await accounts.ensure(self.pool, owner_id, asset.id, "funded")
        failures_max = self.offers.failures_max(asset.network)
        claim = Claim(
            ids.new(), "deposit", paid, digest, credit_id, is_owed=True, fee=0, failures_max=failures_max
        )
        if not await payments.claim(self.pool, claim):
            raise await intake.unclaimed(self.pool, claim)
        return await tasks.finish(self.settle(claim, taken, challenge, checked))

    def challenge(self, asset: Asset, amount: int) -> Challenge:
        # A deposit has no publisher, so it can only go to the platform's own wallet.
        price = Price(asset, amount, UUID(int=0), is_prepaid_enabled=False, is_onchain_enabled=True)
        if self.offers.is_dust(asset, amount):
            raise invalid("body/amount", f"deposits on chain are taken from {self.offers.least(asset)} on")
        requirements = self.offers.requirements([price], None, None)
        if not requirements:
            raise DepositsNotOffered(f"this gateway has no wallet of its own on {asset.network}")
        return Challenge(Resource(self.url, f"Deposit {asset.symbol}"), requirements)

    async def settle(self, claim: Claim, taken: Intake, challenge: Challenge, checked: Checked) -> Deposit:
        paid = taken.authorization
        event = {"description": f"Deposit of {paid.asset.symbol} from {paid.payer}"}
        settlement = await self.settlements.settle(claim.id, paid, event, checked)
        if settlement.outcome != "settled":
            raise intake.unsettled(settlement, claim.id, taken, challenge)
        known = await payments.get(self.pool, claim.id)
        assert known is not None, "it was claimed above"
        return await self.made(known, taken)

    async def made(self, known: Payment, taken: Intake) -> Deposit:
        transaction = "0x" + (known.transaction_hash or b"").hex()
        organization_id = await accounts.owner(self.pool, known.credit_id)
        return Deposit(
            known.id, organization_id, known.payer, taken.authorization.asset, known.amount,
            transaction, dict(taken.receipt(transaction)),
        )  # fmt: skip


async def whose(
    pool: Pool, payer: str, organization_id: UUID | None, adopt: Callable[[str], Awaitable[None]]
) -> UUID:
    """Who is credited. The payment's signature proves whose address the payer's is."""
    if organization_id is not None:
        await link(pool, payer, organization_id)
        return organization_id
    if await owner(pool, payer) is None:
        await adopt(payer)
    owner_id = await owner(pool, payer)
    assert owner_id is not None, "an address that was linked stays so"
    return owner_id


async def link(db: Db, address: str, organization_id: UUID) -> bool:
    """False when the address is an organization's already."""
    return await db.fetchval(SQL.link, address, organization_id) is not None


async def owner(db: Db, address: str) -> UUID | None:
    """The organization that has proved this address to be its own."""
    found: UUID | None = await db.fetchval(SQL.find, address)
    return found
