"""A process that is gone at any of its statements: what it did not commit is not there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import asyncpg
from hypothesis import strategies as st

# Of a request, with those that find out who asks; a long one has some 40.
STATEMENTS_MAX = 30


class Gone(OSError):
    """As a connection that broke, so that nothing in the way takes it for a bug."""


@dataclass
class Death:
    """At the statement or commit of this number: before it, or after, so that it is done and nobody heard."""

    at: int
    is_after: bool
    seen: int = 0

    @property
    def is_dead(self) -> bool:
        return self.seen >= self.at

    async def meet(self, statement: Any, *args: Any, **options: Any) -> Any:
        was_dead = self.is_dead
        self.seen += 1
        if not self.is_dead:
            return await statement(*args, **options)
        if not was_dead and self.is_after:
            await statement(*args, **options)
        raise Gone("the process is gone")


DEATHS = st.none() | st.none() | st.builds(Death, st.integers(1, STATEMENTS_MAX), st.booleans())


@contextmanager
def dying(death: Death | None) -> Iterator[None]:
    """Once dead it says nothing more to the database, which rolls back by itself what was begun."""
    if death is None:
        yield
        return
    untyped: Any = asyncpg.Connection
    ask, run = untyped._execute, untyped.execute

    async def asked(self: Any, *args: Any, **options: Any) -> Any:
        return await death.meet(ask, self, *args, **options)

    async def ran(self: Any, query: str, *args: Any, **options: Any) -> Any:
        # Those with values come by above.
        if args or not query.startswith("COMMIT"):
            return await run(self, query, *args, **options)
        return await death.meet(run, self, query, **options)

    with (
        patch.object(asyncpg.Connection, "_execute", asked),
        patch.object(asyncpg.Connection, "execute", ran),
    ):
        yield
