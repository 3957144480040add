"""Make the invoices of a month, and make them again while they are drafts.

One organization's invoice is one transaction, and making it twice, at once, or after a crash makes the same
one: a unique index has one for an organization, month and mode, and whoever finds a draft writes its lines
anew.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from config.plans import Invoicing, Plan
from config.settings import Network
from control.invoicing.lines import Calls, Line, Month, Subscription, calls, fees, holding, metered
from control.quotas.catalogue import applying
from gateway.kit import ids
from gateway.kit.sql import Db, Pool, Statements
from gateway.ledger import accounts
from gateway.types import Mode

SQL = Statements(__file__)

BATCH = 100
CENT_DECIMALS = 2
FIRST = UUID(int=0)
INVOICING = Invoicing()


@dataclass(frozen=True, slots=True)
class Terms:
    """What invoices are made by, from the settings."""

    plans: Sequence[Plan]
    assets: Mapping[Mode, UUID]
    """What an invoice of each mode is paid in: the first asset of that mode that has cents."""
    due_days: int = INVOICING.due_days

    @property
    def fees_in(self) -> Mode:
        """Plans and meters are paid in live money, where there is any."""
        return "live" if "live" in self.assets else "test"


def terms(plans: Sequence[Plan], networks: Sequence[Network], invoicing: Invoicing = INVOICING) -> Terms:
    assets: dict[Mode, UUID] = {}
    for one in accounts.of_networks(networks).values():
        if one.decimals >= CENT_DECIMALS:
            assets.setdefault(one.mode, one.id)
    return Terms(plans, assets, invoicing.due_days)


async def candidates(db: Db, month: Month, after: UUID = FIRST, limit: int = BATCH) -> list[UUID]:
    """Organizations that may need an invoice, by id."""
    rows = await db.fetch(SQL.candidates, month.first, month.end.date(), after, limit)
    return [row["id"] for row in rows]


@dataclass(frozen=True, slots=True)
class Wanting:
    """Whose invoice of a month is not there, as it seems, and in which money."""

    organization_id: UUID
    modes: Sequence[Mode]


async def due(
    db: Db, terms: Terms, month: Month, after: UUID = FIRST, limit: int = BATCH, *, is_draft_enough: bool
) -> list[Wanting]:
    """By id. Some of them need none: what they used is included in their plan."""
    rows = await db.fetch(
        SQL.due, month.first, month.end.date(), after, limit, terms.fees_in, list(terms.assets),
        is_draft_enough,
    )  # fmt: skip
    return [Wanting(row["id"], row["modes"]) for row in rows]


async def draft(
    pool: Pool, terms: Terms, month: Month, organization_id: UUID, modes: Iterable[Mode] | None = None
) -> list[UUID]:
    """Make an organization's invoices of a month; those that were made before are returned as well."""
    made = []
    for mode in terms.assets if modes is None else modes:
        async with pool.acquire() as db, db.transaction():
            invoice_id = await draft_one(db, terms, month, organization_id, mode)
        if invoice_id is not None:
            made.append(invoice_id)
    return made


async def draft_one(db: Db, terms: Terms, month: Month, organization_id: UUID, mode: Mode) -> UUID | None:
    found = await db.fetchrow(SQL.lock, organization_id, mode, month.first)
    if found is None:
        if not await lines(db, terms, month, organization_id, mode):
            return None
        asset_id = terms.assets[mode]
        await db.execute(SQL.insert, ids.new(), organization_id, asset_id, mode, month.first)
        # Somebody else's, if they came first: it is waited for above and found here.
        found = await db.fetchrow(SQL.lock, organization_id, mode, month.first)
    if found is None:
        # It was voided in this moment.
        return None
    if found["status"] == "draft":
        await write(db, terms, month, organization_id, mode, found["id"])
    invoice_id: UUID = found["id"]
    return invoice_id


async def write(
    db: Db, terms: Terms, month: Month, organization_id: UUID, mode: Mode, invoice_id: UUID
) -> int:
    """Write a draft's lines as they are now and return the total. Its row is locked."""
    found = await lines(db, terms, month, organization_id, mode)
    await db.execute(SQL.clear, invoice_id)
    columns = [
        (at, one.line_type, one.description, one.quantity, one.unit_price, one.amount_cents, one.asset_id,
         one.amount_atomic)
        for at, one in enumerate(found)
    ]  # fmt: skip
    if columns:
        await db.execute(SQL.write, invoice_id, *zip(*columns, strict=True))
    total = sum(one.amount_cents for one in found)
    await db.execute(SQL.total, invoice_id, total)
    return total


async def lines(db: Db, terms: Terms, month: Month, organization_id: UUID, mode: Mode) -> list[Line]:
    start, end = month.first, month.end.date()
    found: list[Line] = []
    if mode == terms.fees_in:
        rows = await db.fetch(SQL.subscriptions, organization_id, month.start, month.end)
        chosen = [
            Subscription(row["plan_name"], row["price_cents"], row["started_at"], row["ends_at"])
            for row in rows
        ]
        found += fees(month, chosen)
        applied = [applying(terms.plans, row["plan_id"]) for row in rows]
        held = holding(month, list(zip(applied, chosen, strict=True)), terms.plans[0])
        used = await db.fetchrow(SQL.metered, organization_id, start, end)
        assert used is not None, "sums are always a row"
        found += metered(held, month, dict(used))
    sold = await db.fetch(SQL.calls, organization_id, start, end, mode)
    return found + calls(Calls(**dict(row)) for row in sold)
