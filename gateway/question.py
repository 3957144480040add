"""What is asked of a publisher's database: read from the body before the price, which depends on it."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from importlib import import_module
from typing import Annotated, Any

import msgspec

from config.settings import Queries
from gateway.kit.problem import Refusal, invalid
from gateway.options import Format, Question
from gateway.types import Inbound, Match

BODY_BYTES_MAX = 1 << 18
# Reading a statement takes a tenth of a second for this much of it.
STATEMENT_CHARACTERS_MAX = 1 << 14
PARAMETERS_MAX = 1000
FORMATS: Mapping[str, Format] = {
    "application/json": "json",
    "application/*": "json",
    "*/*": "json",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "text/csv": "csv",
    "text/*": "csv",
}
WEIGHT = re.compile(r";\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*(?:;|$)", re.IGNORECASE)


class Body(msgspec.Struct, forbid_unknown_fields=True):
    query: Annotated[str, msgspec.Meta(min_length=1, max_length=STATEMENT_CHARACTERS_MAX)]
    params: Annotated[list[Any], msgspec.Meta(max_length=PARAMETERS_MAX)] | None = None
    database: str | None = None


class BodyTooLarge(Refusal):
    status, slug, title = 413, "query-too-large", "Query too large"


class NotAcceptable(Refusal):
    status, slug, title = 406, "not-acceptable", "No such format"


DECODER = msgspec.json.Decoder(Body, float_hook=Decimal)


async def read(inbound: Inbound, match: Match, settings: Queries) -> Inbound:
    dsn = match.route.database
    assert dsn is not None, "asked only for databases"
    accepted = format_of(", ".join(inbound.headers.getall("Accept", ())))
    body = decoded(await content(inbound))
    if body.database not in (None, dsn.database):
        raise invalid("body/database", "is not the database that is sold here")
    asked = await rows_asked(body.query)
    limit = settings.rows_max if asked is None else min(asked, settings.rows_max)
    question = Question(body.query, tuple(body.params or ()), limit, accepted)
    return replace(inbound, question=question)


async def content(inbound: Inbound) -> bytes:
    """All of the body. It is kept for whoever hashes it later."""
    too_large = BodyTooLarge(f"a query's body has at most {BODY_BYTES_MAX} bytes")
    if inbound.body.length is not None and inbound.body.length > BODY_BYTES_MAX:
        raise too_large
    await inbound.body.digest()
    parts, size = [], 0
    async for chunk in inbound.body.chunks():
        parts.append(chunk)
        size += len(chunk)
        if size > BODY_BYTES_MAX:
            raise too_large
    return b"".join(parts)


def decoded(content: bytes) -> Body:
    try:
        return DECODER.decode(content)
    except msgspec.ValidationError as error:
        raise invalid("body", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError):
        raise invalid("body", 'is not JSON like {"query": "SELECT …", "params": []}') from None


async def rows_asked(statement: str) -> int | None:
    """``invalid`` unless it is one statement that reads. In a thread: a long one takes a while."""
    if "\x00" in statement:
        raise invalid("body/query", "has a NUL character")
    asked, why = await asyncio.to_thread(looked_at, statement)
    if why is not None:
        raise invalid("body/query", why)
    return asked


@lru_cache(maxsize=256)
def looked_at(statement: str) -> tuple[int | None, str | None]:
    # Its library takes a third of a second to import, and most processes never sell a query.
    statements = import_module("gateway.statements")
    try:
        return statements.rows_asked(statement), None
    except statements.Unfit as unfit:
        return None, str(unfit)


def format_of(accept: str) -> Format:
    if not accept.strip():
        return "json"
    ranges = sorted(map(weighed, accept.split(",")), key=lambda one: -one[0])
    found = next((FORMATS[name] for weight, name in ranges if weight and name in FORMATS), None)
    if found is None:
        raise NotAcceptable("a result is application/json, application/x-ndjson or text/csv")
    return found


def weighed(one: str) -> tuple[float, str]:
    name, semicolon, _ = one.partition(";")
    weight = WEIGHT.search(one) if semicolon else None
    return float(weight[1]) if weight else 1.0, name.strip().lower()
