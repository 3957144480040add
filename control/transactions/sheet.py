"""A history for a spreadsheet (RFC 4180)."""

import csv
import io
from collections.abc import Iterable

from control.transactions.models import Transaction

LINES_MAX = 100_000
COLUMNS = (
    "id",
    "created_at",
    "direction",
    "source",
    "amount",
    "amount_atomic",
    "asset",
    "asset_id",
    "publisher",
    "description",
)
# What a spreadsheet would compute when it is opened: others choose names and paths.
# The last four are full width, and the same to some.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def write(lines: Iterable[Transaction]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for one in lines:
        sign = "-" if one.direction == "debit" else ""
        writer.writerow(
            (
                one.id,
                one.created_at.isoformat(),
                one.direction,
                one.source,
                sign + one.amount_usd,
                f"{sign}{one.amount_atomic}",
                one.asset_symbol,
                one.asset_id,
                plain(one.publisher_name),
                plain(one.description),
            )
        )
    return out.getvalue().encode()


def plain(text: str | None) -> str:
    """Somebody else's text, which is never a formula."""
    return f"'{text}" if text and text.startswith(FORMULA) else text or ""
