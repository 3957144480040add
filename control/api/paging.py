"""The two envelopes of a successful answer: one thing, or a page of them."""

from collections.abc import Sequence
from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, Field

Item = TypeVar("Item")

Limit = Annotated[int, Field(ge=1, le=100, description="How many to return.")]
Offset = Annotated[int, Field(ge=0, le=2**31 - 1, description="How many to skip.")]


class Pagination(BaseModel):
    total: Annotated[int, Field(description="How many there are on all pages.")]
    count: Annotated[int, Field(description="How many are in this answer.")]
    limit: int
    offset: int
    has_more: Annotated[bool, Field(description="Whether there is a page after this one.")]


class Data(BaseModel, Generic[Item]):
    data: Item
    pagination: Annotated[Pagination | None, Field(description="Null for one thing.")] = None


class Page(BaseModel, Generic[Item]):
    data: list[Item]
    pagination: Pagination


def page(found: Sequence[Item], total: int, limit: int, offset: int) -> Page[Item]:
    has_more = offset + len(found) < total
    return Page(
        data=list(found),
        pagination=Pagination(total=total, count=len(found), limit=limit, offset=offset, has_more=has_more),
    )
