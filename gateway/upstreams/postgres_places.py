"""Where a database is that is sold: what its publisher said, or a branch of a project here."""

from typing import TypeAlias

from gateway.kit.dsn import Dsn
from gateway.kit.problem import Refusal
from gateway.upstreams.branches import Branch, Branches
from gateway.upstreams.exchange import unreachable

Database: TypeAlias = Dsn | Branch
Sold: TypeAlias = Branches | None
"""Whom to ask for branches; None where nobody knows any."""


async def locate(branches: Sold, database: Database) -> Dsn:
    """A branch is woken for it. What is wrong with it is its publisher's, unless it may be right soon."""
    if isinstance(database, Dsn):
        return database
    if branches is None:
        raise unreachable()
    try:
        return await branches.wake(database)
    except Refusal as refusal:
        # The publisher is told more, when it is saved.
        raise refusal if refusal.status == 503 else unreachable() from refusal
