"""All money of a small world as integers in dictionaries, for a reader to check by eye."""

from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from gateway.ledger.caps import Caps

Parts = dict[UUID, int]
"""What is drawn of which grant."""


@dataclass
class Grant:
    """Something given, and what became of it."""

    id: UUID
    who: int
    amount: int
    rank: tuple[int, int]
    """Which expires when: by the hours it was given for, and of these in the order they were given."""
    held: int = 0
    spent: int = 0
    expired: int = 0
    is_over: bool = False

    @property
    def left(self) -> int:
        return self.amount - self.held - self.spent - self.expired

    @property
    def order(self) -> tuple[bool, tuple[int, int]]:
        return not self.is_over, self.rank


@dataclass
class Hold:
    who: int
    amount: int
    parts: Parts
    is_capped: bool
    name: str | None

    @property
    def own(self) -> int:
        return self.amount - sum(self.parts.values())


@dataclass
class Charge:
    """What stands of it: of the amount, of the fee, and of what paid for it."""

    who: int
    amount: int
    fee: int
    own: int
    parts: Parts
    slashed: int = 0

    @property
    def stands(self) -> int:
        return self.own + sum(self.parts.values())


BUSY = 20_000


@dataclass
class Payout:
    amount: int
    state: Literal["requested", "sent", "failed", "returned"] = "requested"


@dataclass
class Invoice:
    cents: int
    state: Literal["issued", "paid", "void"] = "issued"


@dataclass
class Model:
    funded: list[int] = field(default_factory=lambda: [0, 0])
    busy: int = BUSY
    """What a third owner has, whose calls are paid from purses."""
    earned: int = 0
    leaving: int = 0
    fees: int = 0
    revenue: int = 0
    budget: int = 0
    price: int = 0
    """Of the plan of the months to come, in cents."""
    grants: dict[UUID, Grant] = field(default_factory=dict)
    holds: dict[UUID, Hold] = field(default_factory=dict)
    costs: dict[UUID, int] = field(default_factory=dict)
    """Of calls that were posted."""
    names: dict[tuple[int, str], UUID] = field(default_factory=dict)
    """Of calls that are open or were charged."""
    charges: dict[str, Charge] = field(default_factory=dict)
    payouts: dict[str, Payout] = field(default_factory=dict)
    invoices: dict[str, Invoice] = field(default_factory=dict)
    caps: Caps = field(default_factory=Caps)
    capped_spent: int = 0
    """By the key that has caps."""

    def held(self, who: int) -> int:
        """Of the funded money."""
        return sum(one.own for one in self.holds.values() if one.who == who)

    def free(self, who: int) -> int:
        return self.funded[who] - self.held(who)

    def capped(self) -> int:
        return self.capped_spent + sum(one.amount for one in self.holds.values() if one.is_capped)

    def is_within_caps(self, amount: int) -> bool:
        taken = self.capped() + amount
        limits = [(self.caps.per_call, amount), (self.caps.per_day, taken), (self.caps.total, taken)]
        return all(most is None or asked <= most for most, asked in limits)

    def given(self, who: int) -> list[Grant]:
        return sorted((one for one in self.grants.values() if one.who == who), key=lambda one: one.order)

    def draw(self, who: int, amount: int) -> Parts:
        """What would be drawn of grants: what expires first, as far as it goes."""
        parts: Parts = {}
        for one in self.given(who):
            if not one.is_over and (part := min(one.left, amount - sum(parts.values()))):
                parts[one.id] = part
        return parts

    def can_take(self, who: int, amount: int) -> bool:
        return amount - sum(self.draw(who, amount).values()) <= self.free(who)

    def take(self, who: int, amount: int) -> tuple[int, Parts]:
        """Without a hold: the payer's own money that is taken, and what is drawn."""
        parts = self.draw(who, amount)
        for grant_id, part in parts.items():
            self.grants[grant_id].spent += part
        own = amount - sum(parts.values())
        self.funded[who] -= own
        return own, parts

    def give_back(self, one: Charge, amount: int) -> None:
        """The payer's own money first, then the grants, last the first to expire; what is over expires."""
        own = min(amount, one.own)
        one.own -= own
        self.funded[one.who] += own
        if own == amount:
            return
        left = amount - own
        for grant in sorted((self.grants[one] for one in one.parts), key=lambda one: one.order, reverse=True):
            part = min(left, one.parts[grant.id])
            one.parts[grant.id] -= part
            grant.spent -= part
            left -= part
        assert left == 0, "what stands of a charge is what paid for it"
        self.expire(one.who)

    def expire(self, who: int) -> int:
        due = [one for one in self.given(who) if one.is_over and one.left]
        for one in due:
            self.budget += one.left
            one.expired += one.left
        return len(due)

    def close(self, call_id: UUID, spent: int) -> None:
        """End a hold: grants pay what was spent, first what expires first, and the payer the rest."""
        hold, paid = self.holds.pop(call_id), 0
        for one in sorted((self.grants[one] for one in hold.parts), key=lambda one: one.order):
            part = min(hold.parts[one.id], spent - paid)
            one.held -= hold.parts[one.id]
            one.spent += part
            paid += part
        self.funded[hold.who] -= spent - paid
        if hold.is_capped:
            self.capped_spent += spent
