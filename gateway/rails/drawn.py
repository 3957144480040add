"""Rail ``prepaid`` for who calls often: a call that is paid from a purse, and what those like it share."""

import time
from typing import Protocol

from gateway.kit import tasks
from gateway.kit.sql import OUTAGES
from gateway.kit.values import dataclass
from gateway.ledger import slips
from gateway.ledger.batches import Opening, Posting
from gateway.ledger.holds import Holds
from gateway.ledger.purses import Purses
from gateway.ledger.slips import Charge
from gateway.ledger.spenders import Purse
from gateway.metering.usage import Recorder, begun, ended
from gateway.rails.unpaid import HoldExpired, unknown
from gateway.tariffs import NOTHING_MEASURED, Used
from gateway.types import Caller, Head, Inbound, Keeper, Match, Metering, Outcome, Price, Rail, Receipt


@dataclass(frozen=True, slots=True)
class Paying:
    """What is known of such a call's payment before it has ended."""

    rail: Rail
    payer: str | None


FROM_BALANCE = Paying("prepaid", None)


class Books(Protocol):
    """What such calls are paid from, and where they are written down."""

    @property
    def purses(self) -> Purses: ...
    @property
    def holds(self) -> Holds: ...
    @property
    def recorder(self) -> Recorder: ...


class Terms:
    """What calls with one head, of callers in live or in test money, are paid on."""

    __slots__ = ("alert_below", "description", "fee", "price", "said")

    def __init__(self, price: Price | None, fee: int, alert_below: int, description: str) -> None:
        self.price, self.fee, self.alert_below, self.description = price, fee, alert_below, description
        """Without a price, none of them can be paid from a purse."""
        self.said: dict[int, str] = {}
        """What a slip says of those whose answer has a status, found out for the first of them."""


class Drawn:
    """Its price is out of the balance already, so that nothing is opened and its charge is a line."""

    __slots__ = ("about", "books", "is_open", "price", "purse", "terms")

    event = FROM_BALANCE
    is_steady = True
    keeper: Keeper | None = None
    metering: Metering | None = None

    def __init__(
        self, books: Books, terms: Terms, price: Price, purse: Purse, inbound: Inbound, caller: Caller,
        match: Match,
    ) -> None:  # fmt: skip
        self.books, self.terms, self.price, self.purse = books, terms, price, purse
        self.about = inbound, caller, match
        self.is_open = True

    async def post(self, head: Head, measured: Used = NOTHING_MEASURED) -> Receipt:
        price, terms = self.price, self.terms
        call_id, spent = self.about[0].call_id, price.ceiling
        said = terms.said.get(head.status) or self.say(head.status)
        self.is_open = False
        try:
            charge = Charge(self.purse, call_id, spent, said, terms.alert_below)
            if not await self.books.purses.charge(charge):
                await self.charge_late(head.status)
        except OUTAGES as error:
            raise unknown(call_id, error) from None
        return Receipt(call_id, "prepaid", spent, price.asset)

    def say(self, status: int) -> str:
        one = self.posting(status)
        said = self.terms.said[status] = slips.said(
            self.price.payee_id, one.spent, one.fee, one.publisher_id, status, one.method, one.path,
            one.description,
        )  # fmt: skip
        return said

    def posting(self, status: int) -> Posting:
        inbound, caller, match = self.about
        return Posting(
            inbound.call_id, self.price.ceiling, self.terms.fee, self.terms.description,
            match.route.publisher_id, inbound.method, inbound.path or "/", status,
            alert_below=self.terms.alert_below, owner_id=caller.organization_id,
        )  # fmt: skip

    async def charge_late(self, status: int) -> None:
        """The purse is gone, or a commit that nobody heard of has left it short. The call was served."""
        inbound, caller, _ = self.about
        assert caller.organization_id is not None, "only an organization has a balance"
        price = self.price
        opening = Opening(
            inbound.call_id, caller.organization_id, price.payee_id, price.asset.id, price.ceiling
        )
        charging = charge_late(self.books.holds, self.books.purses, opening, self.posting(status))
        if not await tasks.finish(charging):
            raise HoldExpired(inbound.call_id)

    async def void(self, outcome: Outcome, status: int | None) -> None:
        if not self.is_open:
            return
        self.is_open = False
        self.books.purses.put_back(self.purse, self.price.ceiling)
        self.books.recorder.add(ended(begun(*self.about, "prepaid"), outcome, status))


async def charge_late(holds: Holds, purses: Purses, opening: Opening, posting: Posting) -> bool:
    asked_seconds = time.monotonic()
    if await holds.charge_late(opening, posting):
        return True
    # What the balance lacks may be in the next purse, or on its way to or from one.
    is_back = await purses.give_up(opening.owner_id, opening.asset_id, asked_seconds)
    return is_back and await holds.charge_late(opening, posting)
