"""Rail ``prepaid`` for who calls often: a call that is paid from a purse, and what those like it share."""

from uuid import UUID

from gateway.kit.sql import OUTAGES
from gateway.kit.values import dataclass
from gateway.ledger import slips
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

    __slots__ = ("about", "is_open", "price", "purse", "purses", "recorder", "terms")

    event = FROM_BALANCE
    is_steady = True
    keeper: Keeper | None = None
    metering: Metering | None = None

    def __init__(
        self, purses: Purses, recorder: Recorder, terms: Terms, price: Price, purse: Purse, inbound: Inbound,
        caller: Caller, match: Match,
    ) -> None:  # fmt: skip
        self.purses, self.recorder, self.terms, self.price, self.purse = purses, recorder, terms, price, purse
        self.about = inbound, caller, match
        self.is_open = True

    async def post(self, head: Head, measured: Used = NOTHING_MEASURED) -> Receipt:
        price, terms = self.price, self.terms
        call_id, spent = self.about[0].call_id, price.ceiling
        said = terms.said.get(head.status) or self.say(head.status)
        self.is_open = False
        try:
            is_charged = await self.purses.charge(Charge(self.purse, call_id, spent, said, terms.alert_below))
        except OUTAGES as error:
            raise unknown(call_id, error) from None
        if not is_charged:
            raise HoldExpired(call_id)
        return Receipt(call_id, "prepaid", spent, price.asset)

    def say(self, status: int) -> str:
        price, terms = self.price, self.terms
        inbound, _, match = self.about
        publisher_id: UUID = match.route.publisher_id
        said = terms.said[status] = slips.said(
            price.payee_id, price.ceiling, terms.fee, publisher_id, status, inbound.method,
            inbound.path or "/", terms.description,
        )  # fmt: skip
        return said

    async def void(self, outcome: Outcome, status: int | None) -> None:
        if not self.is_open:
            return
        self.is_open = False
        self.purses.put_back(self.purse, self.price.ceiling)
        self.recorder.add(ended(begun(*self.about, "prepaid"), outcome, status))
