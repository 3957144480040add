"""Resources of one upstream account that many callers share: each belongs to whichever organization created
it.

The id is read from the answer to the POST that created the resource, and written down before the caller has
the end of that answer. A path with an id that is somebody else's, or nobody's, is the same 404.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import replace
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from aiohttp import ClientError

from gateway.kit import documents, tasks
from gateway.kit.documents import Found
from gateway.kit.problem import NotFound
from gateway.kit.sql import Pool, Statements
from gateway.options import Ownership
from gateway.types import Answer, Caller, Inbound, Match

SQL = Statements(__file__)

PLACEHOLDER = ":resourceId"
ID_LENGTH_MAX = 512
REST_SECONDS = 10


class ResourceUnknown(NotFound):
    slug, title = "resource-not-found", "Resource not found"


def ownership_of(details: Mapping[str, Any]) -> Ownership | None:
    if not details.get("ownership_tracking_enabled"):
        return None
    before, found, _ = (details.get("resource_id_url_pattern") or "").partition(PLACEHOLDER)
    if not found:
        return None
    path = documents.steps(details.get("resource_id_response_path") or "id")
    return Ownership(loose(before.strip("/")), path)


def loose(path: str) -> tuple[str, ...]:
    """Segments as every server reads them, whichever spellings it takes for the same."""
    return tuple(unquote(part).partition(";")[0].casefold() for part in path.split("/")) if path else ()


async def check(pool: Pool, inbound: Inbound, match: Match, caller: Caller) -> None:
    """Refuse a path to a resource that the caller does not own; of most publishers nothing is asked."""
    if match.route.ownership is None:
        return
    resource_id = named(match, inbound.path)
    if resource_id is None:
        return
    values = (match.route.publisher_id, resource_id, caller.organization_id)
    if not await pool.fetchval(SQL.is_owner, *values):
        raise ResourceUnknown(f"{match.route.slug} has no resource {resource_id[:100]} of yours")


def named(match: Match, path: str) -> str | None:
    """The resource that a path names; None for the collection and for documented words in an id's place."""
    ownership, endpoint = match.route.ownership, match.endpoint
    assert ownership is not None, "asked only where it is tracked"
    parts, place = path.strip("/").split("/"), len(ownership.collection)
    if len(parts) <= place or loose("/".join(parts[:place])) != ownership.collection:
        return None
    if endpoint is not None and len(endpoint.segments) > place and endpoint.segments[place][:1] not in "{:*":
        return None
    return unquote(parts[place]) or None


def is_creation(inbound: Inbound, match: Match) -> bool:
    ownership = match.route.ownership
    is_collection = ownership is not None and loose(inbound.path.strip("/")) == ownership.collection
    return inbound.method == "POST" and is_collection


def recorded(
    pool: Pool, inbound: Inbound, match: Match, caller: Caller, answer: Answer
) -> AbstractAsyncContextManager[Answer]:
    """The answer as it is passed on, and the resource that it created written down."""
    ownership, organization_id = match.route.ownership, caller.organization_id
    if ownership is None or organization_id is None:
        return nullcontext(answer)
    if not (answer.head.is_success and is_creation(inbound, match)):
        return nullcontext(answer)
    return writing_down(Creation(pool, match.route.publisher_id, organization_id, ownership, answer))


@asynccontextmanager
async def writing_down(creation: "Creation") -> AsyncIterator[Answer]:
    try:
        yield replace(creation.answer, chunks=creation.chunks())
    finally:
        await tasks.finish(creation.close())


class Creation:
    def __init__(
        self, pool: Pool, publisher_id: UUID, organization_id: UUID, ownership: Ownership, answer: Answer
    ) -> None:
        self.pool, self.publisher_id, self.organization_id = pool, publisher_id, organization_id
        self.answer = answer
        headers = answer.head.headers
        self.left = int(length) if (length := headers.get("Content-Length", "")).isdecimal() else None
        self.found = Found(ownership.path, headers.get("Content-Type", ""))
        self.is_whole = False
        self.is_claimed = False

    async def chunks(self) -> AsyncIterator[bytes]:
        async for chunk in self.answer.chunks:
            self.found.feed(chunk)
            if self.left is not None:
                self.left -= len(chunk)
            if self.left == 0:
                await self.claim()
            yield chunk
        await self.claim()

    async def claim(self) -> None:
        if self.is_claimed:
            return
        self.is_claimed = self.is_whole = True
        value = self.found.value()
        if isinstance(value, bool) or not isinstance(value, str | int):
            return
        resource_id = str(value)
        if 0 < len(resource_id) <= ID_LENGTH_MAX and "\x00" not in resource_id:
            values = (self.publisher_id, resource_id, self.organization_id)
            await tasks.finish(execute(self.pool, *values))

    async def close(self) -> None:
        """A caller who hung up owns what it created all the same."""
        if self.is_claimed:
            return
        with suppress(ClientError, TimeoutError, ConnectionError):
            async with asyncio.timeout(REST_SECONDS):
                async for chunk in self.answer.chunks:
                    self.found.feed(chunk)
        await self.claim()


async def execute(pool: Pool, publisher_id: UUID, resource_id: str, organization_id: UUID) -> None:
    await pool.execute(SQL.claim, publisher_id, resource_id, organization_id)
