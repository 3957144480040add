"""What an organization still comes to owe, before it is gone."""

from uuid import UUID

from control.invoicing import drafting
from control.invoicing.drafting import Terms
from control.invoicing.lines import Month
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


async def unbilled(db: Db, terms: Terms, organization_id: UUID) -> list[Month]:
    """The months of the last year, this one among them, that something is due for and that have no invoice.

    Calls are paid when they are made: they keep nobody.
    """
    found = []
    for row in await db.fetch(SQL.unbilled, organization_id, terms.fees_in):
        month = Month(row["month"])
        lines = await drafting.lines(db, terms, month, organization_id, terms.fees_in)
        if sum(line.amount_cents for line in lines) > 0:
            found.append(month)
    return found
