"""Cards that stay. The processor has them; we have what a person tells them apart by."""

from dataclasses import dataclass
from uuid import UUID

from control.processors.port import Card, Cards, Provider
from gateway.kit import ids
from gateway.kit.sql import Db, Pool, Statements
from gateway.types import Mode

SQL = Statements(__file__)


@dataclass(frozen=True, slots=True)
class Method:
    id: UUID
    type: str
    brand: str | None
    last4: str | None
    exp_month: int | None
    exp_year: int | None
    is_default: bool


async def customer(db: Db, cards: Cards, organization_id: UUID) -> str:
    """Who the organization is at the processor, made there if nobody asked before."""
    args = (organization_id, cards.provider, cards.mode)
    known: str | None = await db.fetchval(SQL.customer, *args)
    if known is not None:
        return known
    await db.execute(SQL.keep_customer, *args, await cards.customer(organization_id))
    return str(await db.fetchval(SQL.customer, *args))


async def index(db: Db, organization_id: UUID, mode: Mode) -> list[Method]:
    rows = await db.fetch(SQL.index, organization_id, mode)
    return [Method(**{name: row[name] for name in Method.__dataclass_fields__}) for row in rows]


async def keep(
    db: Db, organization_id: UUID, provider: Provider, mode: Mode, card: Card, *, is_default: bool
) -> UUID | None:
    """In a transaction. None if another organization has this card."""
    await db.execute(SQL.hurry, organization_id)
    if is_default:
        await db.execute(SQL.clear_default, organization_id, mode)
    kept: UUID | None = await db.fetchval(
        SQL.keep, ids.new(), organization_id, provider, mode, card.id, card.type, card.brand, card.last4,
        card.exp_month, card.exp_year, card.fingerprint, is_default,
    )  # fmt: skip
    return kept


async def remove(db: Db, method_id: UUID, organization_id: UUID, mode: Mode) -> bool:
    """In a transaction. The processor is told afterwards, by ``detach``."""
    await db.execute(SQL.hurry, organization_id)
    if await db.fetchval(SQL.remove, method_id, organization_id, mode) is None:
        return False
    await db.execute(SQL.next_default, organization_id, mode)
    return True


async def detach(pool: Pool, cards: Cards) -> int:
    """Have the processor forget what was removed here; asking twice does no harm."""
    rows = await pool.fetch(SQL.undetached, cards.provider, cards.mode)
    for row in rows:
        await cards.detach(row["provider_id"])
        await pool.execute(SQL.detached, row["id"])
    return len(rows)


async def refresh(db: Db, cards: Cards, card_id: str, card: Card | None) -> bool:
    """What the processor says of a card now: it expired and was renewed, or it is attached to nobody."""
    owner = await db.fetchrow(SQL.by_provider_id, cards.provider, card_id)
    if owner is None:
        return False
    if card is None or card.customer_id is None:
        await db.execute(SQL.hurry, owner["organization_id"])
        await db.execute(SQL.gone, cards.provider, card_id)
        await db.execute(SQL.next_default, owner["organization_id"], owner["mode"])
    else:
        await db.execute(
            SQL.renewed, cards.provider, card_id, card.brand, card.last4, card.exp_month, card.exp_year
        )
    return True
