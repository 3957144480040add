"""What a worker keeps for each connection and each call: little, and no more the longer they last."""

import asyncio
import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager

from aiohttp import web

from tests.paths.conftest import Farebox
from tests.paths.test_processes import (  # noqa: F401
    Up,
    resident_bytes,
    served_everywhere,
    up,
    workers,
)

KILOBYTE, MEGABYTE = 1 << 10, 1 << 20
IDLE, WAITING, SLOW = 2000, 600, 60


def connect(farebox: Farebox, number: int) -> socket.socket:
    """From another address than the one before, because each has a limit."""
    port = int(farebox.origin.rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), 10, (f"127.0.0.{2 + number % 20}", 0))


@contextmanager
def connected(farebox: Farebox, count: int, data: bytes, *, is_answered: bool) -> Iterator[None]:
    """So many callers who have sent this."""
    with ExitStack() as stack:
        callers = [stack.enter_context(connect(farebox, number)) for number in range(count)]
        for caller in callers:
            caller.sendall(data)
            if is_answered:
                assert b" 200 " in caller.recv(4096)
        yield


def resident(farebox: Farebox) -> int:
    return sum(resident_bytes(pid) for pid in workers(farebox))


async def each(stack: AsyncExitStack, farebox: Farebox, count: int, path: str, *, is_answered: bool) -> float:
    """What workers grow by for each of them; all stay, or what is freed would hide what is taken."""
    data = f"GET {path} HTTP/1.1\r\nHost: a\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n".encode()
    before = resident(farebox)
    callers = connected(farebox, count, data, is_answered=is_answered)
    # In a thread, because the upstream is served by this loop.
    await asyncio.to_thread(callers.__enter__)
    stack.push_async_callback(asyncio.to_thread, callers.__exit__, None, None, None)
    await asyncio.sleep(1)
    return (resident(farebox) - before) / count


async def test_connections_and_calls_keep_little(up: Up) -> None:  # noqa: F811
    farebox = up.farebox
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    go_on = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/wait":
            await go_on.wait()
        if request.path != "/large":
            return web.Response(text="ok")
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(64):
            await response.write(bytes(MEGABYTE))
        return response

    shop = await farebox.publish(price_per_call="0")
    await served_everywhere(farebox, shop)
    farebox.upstream.handler = answer
    path = shop.removeprefix(farebox.origin)
    async with AsyncExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        # The first calls make what all others use.
        await each(stack, farebox, 40, f"{path}/x", is_answered=True)
        waiting = await each(stack, farebox, WAITING, f"{path}/wait", is_answered=False)
        idle = await each(stack, farebox, IDLE, f"{path}/x", is_answered=True)
        slow = await each(stack, farebox, SLOW, f"{path}/large", is_answered=False)
        go_on.set()
    sys.stdout.write(f"bytes: waiting {waiting:.0f}, idle {idle:.0f}, slow {slow:.0f}\n")
    assert idle < 16 * KILOBYTE
    assert waiting < 64 * KILOBYTE
    # Of 64 MiB: what was read before the caller turned out to be slow.
    assert slow < MEGABYTE / 2
