"""What a process says of what it depends on, for ``/readyz``."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from redis.exceptions import RedisError

from gateway import snapshot
from gateway.buckets import Buckets
from gateway.kit.sql import Pool

POSTGRES_TIMEOUT_SECONDS = 2

State: TypeAlias = Callable[[], Awaitable[str]]


def checks(
    pool: Pool, buckets: Buckets | None, computes: State
) -> Callable[[], Awaitable[Mapping[str, str]]]:
    async def check() -> Mapping[str, str]:
        found = {"postgres": await postgres_state(pool)}
        if buckets is not None:
            found["redis"] = await redis_state(buckets)
        # Never "down": paid calls go on, but for those that ask a database that sleeps.
        found["computes"] = await computes()
        return found

    return check


async def postgres_state(pool: Pool) -> str:
    try:
        await asyncio.wait_for(snapshot.version(pool), POSTGRES_TIMEOUT_SECONDS)
    except Exception as error:
        # Whatever it is, the probe reports it: a load balancer asks, not a person.
        return f"down: {type(error).__name__}"
    return "ok"


async def redis_state(buckets: Buckets) -> str:
    if buckets.redis is None:
        return "ok: each process limits for itself"
    try:
        await buckets.redis.ping()
    except RedisError as error:
        # Paid calls go on without it.
        return f"degraded: {type(error).__name__}, each process limits for itself"
    return "ok"
