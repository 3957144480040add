from contextlib import suppress
from typing import Annotated
from uuid import UUID

from control.api import access, credentials
from control.api.access import Forbidden
from control.api.answers import Headed
from control.api.fields import Address
from control.api.operation import Call, Header, Room
from control.api.paging import Data
from control.identity import keys, people
from control.wallet import rules, store
from control.wallet.models import (
    AgentBalance,
    Balance,
    OnchainDepositRequest,
    OnchainDepositResponse,
)
from gateway.kit.money import to_atomic, to_text
from gateway.kit.problem import Invalid, NotFound, Unauthorized, invalid
from gateway.kit.sql import Db
from gateway.ledger import accounts
from gateway.types import Asset, Credentials, Mode
from gateway.x402.deposits import Deposits, DepositsNotOffered, link
from gateway.x402.intake import (
    PaymentElsewhere,
    PaymentInProgress,
    PaymentsUnavailable,
    PaymentUsed,
    SettlementPending,
    TwoPayments,
)
from gateway.x402.offers import PaymentRequired

room = Room("wallet", "/wallet")


@room.get("/balance", access="wallet.read", id="get_wallet_balance")
async def balance(call: Call) -> Data[Balance]:
    """Show what your organization can spend, in the money of your key: live or test.

    Balances are what is available: what a running call may still cost is held, and not counted. `assets` has
    the exact amounts; the totals over all assets are in millionths of a dollar.
    """
    organization_id, mode = call.actor.organization_id, call.actor.mode
    found = rules.balance(
        await store.address(call.db, organization_id),
        await store.balances(call.db, organization_id, mode),
        await store.given(call.db, organization_id, mode),
        await store.purchases(call.db, organization_id, mode),
        has_recovery=await store.is_recoverable(call.db, organization_id),
    )
    return Data(data=found)


@room.get("/lookup/{agent_wallet}", access="wallet.read", fails=[NotFound, Forbidden], id="get_agent_balance")
async def lookup(call: Call, agent_wallet: Address) -> AgentBalance:
    """Look up what a caller could spend, by its wallet's address.

    For publishers, before they accept work; an organization may look up its own wallets.
    """
    owner = await store.owner_of(call.db, agent_wallet.lower())
    # Whoever sells nothing must not learn which wallets are known here.
    if owner != call.actor.organization_id and not await store.is_seller(call.db, call.actor.organization_id):
        raise Forbidden("only publishers look up the wallets of others")
    if owner is None:
        raise NotFound(f"no wallet {agent_wallet}")
    available = rules.balance("", await store.balances(call.db, owner, call.actor.mode), {}).balance_atomic
    return AgentBalance(serenbucks_atomic=available, total_available_atomic=available)


PAYMENT_FAILS = (
    PaymentRequired,
    TwoPayments,
    PaymentElsewhere,
    PaymentInProgress,
    PaymentUsed,
    PaymentsUnavailable,
    SettlementPending,
    DepositsNotOffered,
)


@room.post(
    "/deposit/crypto",
    access=None,
    fails=[*PAYMENT_FAILS, Invalid, Unauthorized, Forbidden, NotFound],
    is_transaction=False,
    id="onchain_deposit",
)
async def deposit(
    call: Call,
    *,
    authorization: Annotated[str | None, Header("Authorization")] = None,
    payment_signature: Annotated[str | None, Header("PAYMENT-SIGNATURE")] = None,
    x_payment: Annotated[str | None, Header("X-PAYMENT")] = None,
    body: OnchainDepositRequest,
) -> Headed[OnchainDepositResponse]:
    """Deposit on chain.

    Without a payment the answer is 402 with the x402 offers; sign one of them and send the same request
    again. With an API key the deposit is credited to its organization, otherwise to the one the payer's
    address belongs to, which is made when nobody knows the address yet. The same payment sent again is
    credited once.
    """
    asset = await asset_of(call, body)
    amount = atomic(body.amount, asset)
    organization_id: UUID | None = None
    if authorization is not None:
        asking = call.ports.asking("POST", {"Authorization": authorization})
        credential = await credentials.present(call.db, asking)
        actor = await access.admit(call.db, credential, "wallet.deposit")
        organization_id = actor.organization_id
    deposits: Deposits = call.ports.cashier
    payment = Credentials(None, x_payment, payment_signature)

    issued: list[str] = []

    async def adopt(payer: str) -> None:
        with suppress(AddressTaken):
            async with call.transaction() as db:
                issued.append(await newcomer(db, payer, asset.mode))

    made = await deposits.deposit(payment, asset, amount, organization_id, adopt)
    balance = await accounts.available(call.db, made.organization_id, asset.id)
    answer = OnchainDepositResponse(
        message=f"{to_text(made.amount, asset.decimals)} {asset.symbol} deposited",
        deposited_amount=to_text(made.amount, asset.decimals),
        balance_amount=to_text(balance, asset.decimals),
        asset_symbol=asset.symbol,
        publisher_id=body.publisher_id,
        agent_wallet=made.payer,
        tx_hash=made.transaction,
        api_key=issued[0] if issued else None,
    )
    return Headed(answer, made.receipt)


class AddressTaken(Exception):
    """Another request has just made this address an organization."""


async def newcomer(db: Db, payer: str, mode: Mode) -> str:
    """Make an organization for an address, and return its key."""
    made = await people.create(db, "agent", f"wallet {payer[:10]}", None)
    if not await link(db, payer, made.organization_id):
        raise AddressTaken(payer)
    new = keys.NewKey(made.organization_id, made.user_id, "wallet", "agent", mode)
    _, key = await keys.issue(db, new)
    return key


async def asset_of(call: Call, body: OnchainDepositRequest) -> Asset:
    """The asset that was named, else the publisher's primary one, else the first that is configured."""
    known = accounts.of_networks(call.ports.settings.networks)
    if body.asset_id is not None and body.asset_id not in known:
        raise invalid("body/asset_id", "is not an asset of this gateway")
    chosen = body.asset_id
    if chosen is None and body.publisher_id is not None:
        chosen = await store.primary_asset(call.db, body.publisher_id)
        if chosen is None:
            raise NotFound(f"no publisher {body.publisher_id}")
    if chosen is None and not known:
        raise DepositsNotOffered("this gateway has no network to deposit on")
    asset = known.get(chosen) if chosen else next(iter(known.values()))
    if asset is None:
        raise DepositsNotOffered("the publisher's asset is on a network that this gateway does not serve now")
    return asset


def atomic(text: str, asset: Asset) -> int:
    try:
        amount = to_atomic(text, asset.decimals)
    except ValueError as error:
        raise invalid("body/amount", str(error)) from None
    if amount == 0:
        raise invalid("body/amount", "is nothing")
    return amount
