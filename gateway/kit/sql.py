"""Statements live in a .sql file beside the module that runs them; this reads them and opens the pool."""

import json
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import asyncpg

from gateway.kit import pools

Pool: TypeAlias = pools.Pool
Pooled: TypeAlias = pools.Pooled
Connection: TypeAlias = pools.Connection
Db: TypeAlias = Pool | Pooled | Connection

# What a database that is away, starting or full raises; anything else is a bug.
OUTAGES = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.InsufficientResourcesError,
)

PLAN_ONCE = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off; \
SET enable_mergejoin = off; SET enable_bitmapscan = off; SET jit = off"

SEPARATOR = "\x1f"
NAME = re.compile(r"^-- (name|part): (\w+)$", re.MULTILINE)


class Statements:
    """``Statements(__file__).insert`` is the text under ``-- name: insert`` in the sibling .sql file.

    What several statements say alike stands once, under ``-- part: columns``, and in them as ``{columns}``.
    Those of several files stand in the directory's ``parts.sql``.
    """

    def __init__(self, module_file: str) -> None:
        self.path = Path(module_file).with_suffix(".sql")
        shared = self.path.with_name("parts.sql")
        parts = read(shared)["part"] if shared.exists() else {}
        own = read(self.path)
        parts |= {name: filled(text, parts) for name, text in own["part"].items()}
        self.by_name = {name: filled(text, parts) for name, text in own["name"].items()}

    def __getattr__(self, name: str) -> str:
        try:
            return self.by_name[name]
        except KeyError:
            raise AttributeError(f"{self.path} has no statement named {name}") from None


def read(path: Path) -> dict[str, dict[str, str]]:
    """The texts of a file by their names, statements and parts apart."""
    _, *found = NAME.split(path.read_text())
    texts: dict[str, dict[str, str]] = {"name": {}, "part": {}}
    for kind, name, text in zip(found[::3], found[1::3], found[2::3], strict=True):
        if name in texts[kind]:
            raise ValueError(f"{path}: a name is used twice")
        texts[kind][name] = text.strip()
    return texts


def filled(text: str, parts: Mapping[str, str]) -> str:
    for name, part in parts.items():
        text = text.replace(f"{{{name}}}", part)
    return text


def create_pool(
    dsn: str, *, database: str | None = None, size_max: int = 10, is_planned_once: bool = False
) -> Pool:
    """Enter the result with ``async with``.

    NUMERIC is ``int`` and JSONB is Python values on its connections. ``is_planned_once`` is for statements
    that run for every call and find all their rows by a key.
    """
    init = plan_once if is_planned_once else speak_python
    return pools.bounded(dsn, database=database, max_size=size_max, init=init)


async def plan_once(connection: Connection) -> None:
    """Planning takes longer than running these, and statistics only mislead: those of a table that was empty
    a minute ago say that reading all of it is cheapest.
    """
    await speak_python(connection)
    await connection.execute(PLAN_ONCE)


async def speak_python(connection: Connection) -> None:
    await connection.set_type_codec(
        "numeric", schema="pg_catalog", encoder=digits, decoder=int, format="text"
    )
    await connection.execute(pools.SESSION)
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)


def listed(values: Iterable[object]) -> str:
    """Ids or numbers, None among them, for ``$1::text::uuid[]``: asyncpg asks of each in a list whether it is
    one itself, and that takes longer than the statement.
    """
    return "{" + ",".join(["NULL" if one is None else str(one) for one in values]) + "}"


def joined(values: Sequence[str]) -> str:
    """Texts for ``string_to_array($1, chr(31))``. Nothing that a caller sends has got a control character so
    far.
    """
    text = SEPARATOR.join(values)
    if text.count(SEPARATOR) != len(values) - 1:
        raise ValueError("a text has the character in it that is to stand between them")
    return text


def digits(amount: int) -> str:
    # Only integers have an index, so a float or a Decimal cannot reach the ledger and be rounded there.
    return str(operator.index(amount))
