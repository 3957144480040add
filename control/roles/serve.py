"""Answer requests, as the gateway, the management API, or both on one port."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from config.settings import Settings
from control import health
from control.roles.base import based
from control.roles.gateway import gated
from control.roles.management import managed
from gateway import server
from gateway.buckets import Buckets
from gateway.key_uses import noting
from gateway.kit.crypto import Keyring
from gateway.kit.garbage import expect_little_garbage
from gateway.kit.memory import keep_for_the_next
from gateway.kit.ssrf import Guard

DRAIN_SECONDS = 20
BACKLOG = 1024
REDIS_TIMEOUT_SECONDS = 1


async def serve(
    settings: Settings,
    *,
    is_gateway: bool,
    is_control: bool,
    listening: socket.socket,
    on_ready: Callable[[], None],
) -> None:
    """Serve until cancelled, then finish the calls that are being served."""
    host, port = listening.getsockname()[:2]
    origin = settings.public_url or f"http://{host}:{port}"
    async with AsyncExitStack() as stack:
        base = await stack.enter_async_context(based(settings, origin))
        guard = Guard(is_private_allowed=settings.allow_private_upstreams)
        keyring = Keyring.parse([key.get_secret_value() for key in settings.secrets.keys])
        buckets = Buckets(shared(settings))
        stack.push_async_callback(buckets.close)
        uses = await stack.enter_async_context(noting(base.pool))
        gate = management = None
        if is_gateway:
            gate = await stack.enter_async_context(gated(base, guard, keyring, buckets, uses))
        if is_control:
            management = await stack.enter_async_context(managed(base, guard, keyring, buckets, uses))
        front = server.create(
            gate,
            management,
            health.checks(base.pool, None if gate is None else gate.buckets, base.computes.state),
            settings.listen,
        )
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(front, sock=listening, backlog=BACKLOG)
        try:
            expect_little_garbage()
            keep_for_the_next()
            on_ready()
            await asyncio.Event().wait()
        finally:
            with listening.dup() as queue:
                listener.close()
                await front.accept_waiting(queue)
            await front.drain(DRAIN_SECONDS)


def shared(settings: Settings) -> Redis | None:
    if settings.redis.url is None:
        return None
    return Redis.from_url(
        settings.redis.url.get_secret_value(),
        socket_timeout=REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
        # No call waits for a second try: it is limited by its own process until the server is back.
        retry=Retry(NoBackoff(), 0),
    )
