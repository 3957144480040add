"""Statements inside a project's database: in a session that its owner has not prepared for us."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import asyncpg

from control.computes.provider import ComputeUnavailable
from gateway.identify import QuotaExceeded
from gateway.kit.problem import Refusal
from gateway.kit.sql import OUTAGES, Connection, Statements

SQL = Statements(__file__)


class InUseInside(Refusal):
    status, slug, title = 409, "database-busy", "In use inside the database"


class RefusedByPostgres(Refusal):
    """It is their own Postgres, so what it says is for them to read."""

    status, slug, title = 409, "refused-by-postgres", "Postgres refused it"


REFUSALS = (InUseInside, RefusedByPostgres, ComputeUnavailable, QuotaExceeded)
"""Of whatever changes something there, for which the server is woken."""

IN_USE = (
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.ObjectInUseError,
)


async def prepare(connection: Connection) -> None:
    """Before anything else in a database that somebody else owns."""
    with refusing():
        await connection.execute(SQL.careful)


@contextmanager
def refusing(known: Mapping[type[asyncpg.PostgresError], Refusal] | None = None) -> Iterator[None]:
    """While it is entered, what Postgres refuses is a refusal; ``known`` are better words for some of it."""
    try:
        yield
    except asyncpg.PostgresError as error:
        raise refusal_of(error, known or {}) from None
    except UnicodeDecodeError:
        # Names that were made in a database of another encoding.
        raise RefusedByPostgres("what it answers is not UTF-8") from None
    except OUTAGES:
        raise ComputeUnavailable("the connection to the database was lost") from None


def refusal_of(error: asyncpg.PostgresError, known: Mapping[type[asyncpg.PostgresError], Refusal]) -> Refusal:
    for kind, refusal in known.items():
        if isinstance(error, kind):
            return refusal
    if isinstance(error, IN_USE):
        return InUseInside(f"a session in the database is in the way: {told(error)}")
    if isinstance(error, OUTAGES):
        return ComputeUnavailable("the server of the database is not able to now; try again")
    return RefusedByPostgres(told(error))


def told(error: asyncpg.PostgresError) -> str:
    """With the objects that stand in the way, which are in the detail."""
    detail = getattr(error, "detail", None)
    return f"{error}: {detail}" if detail else str(error)


async def run(connection: Connection, statement: str, *arguments: object) -> None:
    """Have Postgres write a statement, with its own quoting of the names in it, and carry it out."""
    await connection.execute(await connection.fetchval(statement, *arguments))
