"""Who did what: one row for each operation that changed something, in the transaction of the change.

The layer writes it, so no room can forget it. It names the fields that were sent and never what was in them,
so that no secret gets here. A permission that was lacking is written too, in a transaction of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel

from control.api import wire_ids
from control.api.access import Actor
from gateway.kit import ids
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)

REQUEST_ID = "X-Request-Id"
KNOWN_AS = web.RequestKey("known_as", str)
TEXT_MAX = 512

Status: TypeAlias = Literal["success", "denied", "failure"]
Category: TypeAlias = Literal["create", "update", "delete", "read"]
CATEGORIES: Mapping[str, Category] = {
    "POST": "create",
    "PUT": "update",
    "PATCH": "update",
    "DELETE": "delete",
    "GET": "read",
}


@dataclass(slots=True)
class Entry:
    """What is known of a request while it is carried out."""

    action: str
    method: str
    category: Category
    resource_type: str
    permission: str | None
    path: str
    address: str
    user_agent: str | None
    request_id: str
    actor: Actor | None = None
    actor_id: UUID | None = None
    """Who it was after all, where an operation for anyone finds out: somebody who logs in, say."""
    organization_id: UUID | None = None
    resource_id: UUID | None = None
    fields: list[str] = field(default_factory=list)
    noted: dict[str, str] = field(default_factory=dict)
    """What the operation itself adds."""
    is_written: bool = False

    def admitted(self, actor: Actor) -> None:
        self.actor, self.actor_id, self.organization_id = actor, actor.user_id, actor.organization_id

    def sent(self, body: object) -> None:
        """Only names that the API knows: a free-form object's could be anything."""
        if isinstance(body, BaseModel):
            self.fields = sorted(body.model_fields_set)

    def made(self, result: object) -> None:
        """Find the id of what was created in the answer, unless the path or the handler named something."""
        if self.resource_id is None:
            self.resource_id = id_in(result)

    async def write(self, db: Db, status: Status, error: str | None = None) -> None:
        if self.is_written:
            return
        await db.execute(
            SQL.insert, ids.new(), self.organization_id, self.actor_id, self.actor_type, self.action,
            self.category, self.resource_type, self.resource_id, status, error, self.address,
            self.user_agent, self.request_id, self.metadata,
        )  # fmt: skip
        self.is_written = True

    @property
    def actor_type(self) -> str:
        if self.actor is None:
            return "anonymous" if self.actor_id is None else "user"
        return "api_key" if self.actor.kind == "key" else "user"

    @property
    def metadata(self) -> dict[str, Any]:
        known = {"method": self.method, "path": self.path, "permission": self.permission}
        if self.actor is not None:
            known[f"{'api_key' if self.actor.kind == 'key' else 'session'}_id"] = str(self.actor.key_id)
        told = {name: value for name, value in known.items() if value is not None}
        return {**self.noted, **told, "fields": self.fields}


def begin(
    request: web.Request,
    action: str,
    resource_type: str,
    permission: str | None,
    path: str,
    address: str,
    *,
    is_change: bool,
) -> Entry:
    named = [value for name, value in request.match_info.items() if name != "organization_id"]
    found = [one for one in map(wire_ids.read_any, named) if one is not None]
    agent = request.headers.get("User-Agent")
    method = "GET" if request.method == "HEAD" else request.method
    return Entry(
        action,
        method,
        # A link that a browser follows starts something, too.
        "create" if is_change and method == "GET" else CATEGORIES[method],
        resource_type,
        permission,
        path,
        address,
        None if agent is None else storable(agent),
        request_id(request),
        resource_id=found[-1] if found else None,
    )


def request_id(request: web.Request) -> str:
    """The caller's own name for its request, if it is one that can be shown, or a new one."""
    if KNOWN_AS not in request:
        sent = request.headers.get(REQUEST_ID, "")
        is_plain = 0 < len(sent) <= 64 and sent.isascii() and sent.isprintable()
        request[KNOWN_AS] = sent if is_plain else str(ids.new())
    return request[KNOWN_AS]


def storable(text: str) -> str:
    """Header bytes that are not UTF-8 arrive as surrogates, which Postgres does not take."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")[:TEXT_MAX]


def id_in(result: object) -> UUID | None:
    """Answers have what they are about as their ``id``, at the top or one level below."""
    value = getattr(result, "value", result)
    if not isinstance(value, BaseModel):
        return None
    for one in (value, *(getattr(value, name) for name in type(value).model_fields)):
        found = getattr(one, "id", None)
        if isinstance(found, UUID):
            return found
    return None
