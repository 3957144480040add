"""Turn an annotated handler into an operation that ``serve`` runs and ``openapi`` documents.

A handler's signature is its contract. Positional parameters come from the path, keyword-only ones from the
query string, except ``body`` and ``Header``s. It returns the response: a model is 200, ``Headed[Model]`` 200
with headers, ``Created[Model]`` 201, ``Found`` 302, ``None`` 204, ``Done`` 200 without a body,
``Blob | Found`` an image here or elsewhere, ``Csv`` a file, ``Model | Html`` what ``Accept`` prefers,
``Written[Model]`` JSON that is written already, ``Text`` plain text.
"""

import inspect
import re
import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

from asyncpg.pool import Pool as AnyPool
from pydantic import TypeAdapter

from control.api import idempotency
from control.api.access import Actor, Forbidden, Suspended
from control.api.answers import Blob, Created, Csv, Done, Found, Headed, Html, Text, Written
from control.api.audit import Entry
from control.api.credentials import ForeignOrigin
from control.api.idempotency import Claim
from control.api.permissions import CATALOGUE
from control.api.ports import NOBODY, Ports, Visitor
from gateway.buckets import TooManyCalls
from gateway.kit.problem import Invalid, NotFound, Refusal, Unauthorized, Unavailable
from gateway.kit.sql import Db, Pool

Handler: TypeAlias = Callable[..., Awaitable[Any]]
HandlerT = TypeVar("HandlerT", bound=Handler)


class TooLarge(Refusal):
    status, slug, title = 413, "request-entity-too-large", "Request Entity Too Large"


@dataclass(frozen=True, slots=True)
class Header:
    """A keyword-only parameter that is a request header: ``Annotated[str, Header("Idempotency-Key")]``."""

    name: str


@dataclass(frozen=True, slots=True)
class Query:
    """A keyword-only parameter that clients spell as no Python name is spelled."""

    name: str


@dataclass(frozen=True, slots=True)
class Rest:
    """A keyword-only parameter that is all of the query that no other parameter is: names and values."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a handler may use besides its declared inputs."""

    db: Db
    actor: Actor
    ports: Ports
    claim: Claim | None = None
    """The request's idempotency key, if it has one."""
    visitor: Visitor = NOBODY
    entry: Entry | None = None
    """The audit log's row to be, for an operation that changes something."""

    @property
    def pool(self) -> Pool:
        """For an operation that is not one transaction."""
        assert isinstance(self.db, AnyPool), "this operation is a transaction already"
        return self.db

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Db]:
        """For an operation that is not one itself, because it asks somebody outside before or after.

        The first one has the audit log's row, too: what follows may fail, and this was done.
        """
        async with self.pool.acquire() as connection, connection.transaction():
            if self.claim is not None:
                await self.claim.take(connection)
            yield connection
            if self.entry is not None:
                await self.entry.write(connection, "success")

    def about(self, resource_id: UUID, *, organization_id: UUID | None = None) -> None:
        """Tell the audit log what the operation was about, where neither the path nor the answer shows it."""
        if self.entry is not None:
            self.entry.resource_id = resource_id
            self.entry.organization_id = organization_id or self.entry.organization_id

    def note(self, **facts: str) -> None:
        """Tell the audit log more than the path and the names of fields, none of it a secret."""
        if self.entry is not None:
            self.entry.noted |= facts

    def by(self, user_id: UUID) -> None:
        """Tell the audit log who it was, in an operation for anyone."""
        if self.entry is not None:
            self.entry.actor_id = user_id


@dataclass(frozen=True, slots=True)
class Input:
    name: str
    """As the client spells it."""
    parameter: str
    place: str
    adapter: TypeAdapter[Any]
    default: Any

    @property
    def is_required(self) -> bool:
        return self.default is inspect.Parameter.empty


@dataclass(frozen=True, slots=True)
class Operation:
    id: str
    room: str
    method: str
    path: str
    handler: Handler
    access: str | None
    fails: tuple[type[Refusal], ...]
    is_transaction: bool
    inputs: tuple[Input, ...]
    body: TypeAdapter[Any] | None
    status: int
    returns: TypeAdapter[Any] | None
    is_signup: bool = False
    """Makes an account for a stranger: limited more closely than anything else."""
    is_change: bool = True
    """Written to the audit log."""
    is_once: bool = False
    """Takes an ``Idempotency-Key``, although it answers otherwise than what creates something."""

    @property
    def media_type(self) -> str | None:
        """Of an answer that is no JSON."""
        hint = typing.get_type_hints(self.handler)["return"]
        if hint == Blob | Found:
            return "image/*"
        return {Csv: "text/csv", Text: "text/plain"}.get(hint)

    @property
    def is_printable(self) -> bool:
        return Html in typing.get_args(typing.get_type_hints(self.handler)["return"])

    @property
    def is_idempotent(self) -> bool:
        """Whether it creates something that an ``Idempotency-Key`` keeps from being created twice."""
        return self.is_once or is_creating(self.method, self.access, self.status)


class Room:
    """One resource's operations. ``name`` is the package, the OpenAPI tag and the audit noun."""

    def __init__(self, name: str, prefix: str) -> None:
        self.name = name
        self.prefix = prefix
        self.operations: list[Operation] = []
        self.get = partial(self.add, "GET")
        self.post = partial(self.add, "POST")
        self.put = partial(self.add, "PUT")
        self.patch = partial(self.add, "PATCH")
        self.delete = partial(self.add, "DELETE")

    def add(
        self,
        method: str,
        path: str = "",
        *,
        access: str | None,
        at: str | None = None,
        id: str | None = None,
        fails: Sequence[type[Refusal]] = (),
        is_transaction: bool = True,
        is_signup: bool = False,
        is_change: bool | None = None,
        is_once: bool = False,
    ) -> Callable[[HandlerT], HandlerT]:
        """Register a handler.

        ``access`` is the permission a caller needs, None for an operation that anyone may call. ``at`` is a
        whole path, for a room that is found under several; ``id`` is the operation's id where clients know it
        by one. An operation is one transaction; one that must commit before it asks somebody outside opts
        out, gets the pool as ``call.db``, and opens its own. Whatever is no GET is taken for a change, unless
        ``is_change`` knows better. ``is_once`` is for what moves money and answers 200 or 204.
        """

        if access is not None and access not in CATALOGUE:
            raise ValueError(f"{self.name}: {access} is not in the catalogue of permissions")

        def register(handler: HandlerT) -> HandlerT:
            where = self.prefix + path if at is None else at
            inputs, body, (status, returns) = read_signature(handler, where)
            possible = dict.fromkeys([*fails, *implied(where, access, inputs, body)])
            if is_once or is_creating(method, access, status):
                possible |= dict.fromkeys([*idempotency.REFUSALS, Invalid])
            is_told = method != "GET" if is_change is None else is_change
            name = id or f"{self.name}.{handler.__name__}"
            self.operations.append(
                Operation(
                    name, self.name, method, where, handler, access, tuple(possible), is_transaction,
                    inputs, body, status, returns, is_signup, is_told, is_once,
                )
            )  # fmt: skip
            return handler

        return register


def is_creating(method: str, access: str | None, status: int) -> bool:
    return method == "POST" and access is not None and status == 201


Signature: TypeAlias = tuple[tuple[Input, ...], TypeAdapter[Any] | None, tuple[int, TypeAdapter[Any] | None]]


def read_signature(handler: Handler, path: str) -> Signature:
    hints = typing.get_type_hints(handler, include_extras=True)
    _, *parameters = inspect.signature(handler).parameters.values()
    inputs = tuple(input_of(one, hints[one.name]) for one in parameters if one.name != "body")
    in_path = [item.name for item in inputs if item.place == "path"]
    if re.findall(r"{(\w+)}", path) != in_path:
        raise TypeError(f"{handler.__qualname__}: {path} does not match the parameters {in_path}")
    body = TypeAdapter(hints["body"]) if "body" in hints else None
    return inputs, body, response_of(hints["return"])


def input_of(parameter: inspect.Parameter, hint: Any) -> Input:
    marks = (one for one in getattr(hint, "__metadata__", ()) if isinstance(one, Header | Query | Rest))
    mark = next(marks, None)
    place = "query" if parameter.kind is parameter.KEYWORD_ONLY else "path"
    place = "header" if isinstance(mark, Header) else "rest" if isinstance(mark, Rest) else place
    name = mark.name if isinstance(mark, Header | Query) else parameter.name
    return Input(name, parameter.name, place, TypeAdapter(hint), parameter.default)


def response_of(annotation: Any) -> tuple[int, TypeAdapter[Any] | None]:
    bodiless = {type(None): 204, Done: 200, Found: 302}
    if annotation in bodiless:
        return bodiless[annotation], None
    if annotation == Blob | Found or annotation in (Csv, Text):
        return 200, None
    if Html in typing.get_args(annotation):
        return 200, TypeAdapter(typing.get_args(annotation)[0])
    origin = typing.get_origin(annotation)
    if origin in (Created, Headed, Written):
        (inner,) = typing.get_args(annotation)
        model = typing.get_args(inner)[0] if typing.get_origin(inner) is Written else inner
        return 201 if origin is Created else 200, TypeAdapter(model)
    return 200, TypeAdapter(annotation)


def implied(
    path: str, access: str | None, inputs: Sequence[Input], body: TypeAdapter[Any] | None
) -> list[type[Refusal]]:
    """What the layer itself refuses, so that no handler has to list it."""
    refusals: list[type[Refusal]] = [TooManyCalls, Unavailable]
    if inputs or body:
        refusals.append(Invalid)
    if body:
        refusals.append(TooLarge)
    if access:
        refusals += [Unauthorized, Forbidden, ForeignOrigin, Suspended]
    if access and ("{organization_id}" in path or "{project_id}" in path):
        refusals.append(NotFound)
    return refusals
