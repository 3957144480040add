"""What a worker keeps for each connection and each call: little, and no more the longer they last."""

import asyncio
import resource
import selectors
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager

from aiohttp import web

from tests.paths.conftest import DOLLAR, Farebox
from tests.paths.test_processes import (  # noqa: F401
    Up,
    resident_bytes,
    served_everywhere,
    up,
    workers,
)

KILOBYTE, MEGABYTE = 1 << 10, 1 << 20
IDLE, WAITING, SLOW, UPLOADING = 2000, 600, 60, 60


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


@contextmanager
def uploading(farebox: Farebox, count: int, head: str, size: int) -> Iterator[None]:
    """So many callers who send this and so much behind it, as far as they are let."""
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for number in range(count):
            caller = stack.enter_context(connect(farebox, number))
            said = head.format(number=number) + f"Content-Length: {size}\r\n\r\n"
            caller.sendall(said.encode())
            caller.setblocking(False)
            selector.register(caller, selectors.EVENT_WRITE, [memoryview(bytes(size))])
        # Who was not let for a second is not let at all.
        while selector.get_map() and (ready := selector.select(timeout=1)):
            for key, _ in ready:
                key.data[0] = key.data[0][key.fileobj.send(key.data[0]) :]  # type: ignore[union-attr]
                if not key.data[0]:
                    selector.unregister(key.fileobj)
        yield


@asynccontextmanager
async def deaf() -> AsyncIterator[str]:
    """An upstream that takes connections and reads nothing, with as little as there can be in between."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listening.bind(("127.0.0.1", 0))
        listening.listen(1000)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


UPLOADS = [
    # What passes is no more the longer it is: a few pieces as they are read.
    ("short", MEGABYTE, "", MEGABYTE),
    ("long", 16 * MEGABYTE, "", MEGABYTE),
    # What is hashed before it is sent stays until the upstream has it, or is on disk.
    ("hashed", MEGABYTE, "Idempotency-Key: {count}-{{number}}\r\n", 2 * MEGABYTE),
    ("spooled", 16 * MEGABYTE, "Idempotency-Key: {count}-{{number}}\r\n", MEGABYTE),
]


async def test_an_upload_that_waits_for_its_upstream_keeps_little(up: Up) -> None:  # noqa: F811
    farebox = up.farebox
    account = await farebox.sign_up()
    await farebox.fund(account, 100 * DOLLAR)
    grown: dict[str, float] = {}
    async with deaf() as url, AsyncExitStack() as stack:
        for name, size, more, _ in UPLOADS:
            shop = await farebox.publish(name, price_per_call="0.01", api_url=url)
            await served_everywhere(farebox, shop)
            head = f"POST {shop.removeprefix(farebox.origin)}/x HTTP/1.1\r\nHost: a\r\n"
            head += f"Authorization: Bearer {account.key}\r\n{more}"
            before = 0
            # The first few make what all others use.
            for count in (10, UPLOADING):
                before = resident(farebox)
                callers = uploading(farebox, count, head.format(count=count), size)
                await asyncio.to_thread(callers.__enter__)
                stack.push_async_callback(asyncio.to_thread, callers.__exit__, None, None, None)
                await asyncio.sleep(1)
            grown[name] = (resident(farebox) - before) / UPLOADING
    sys.stdout.write(f"bytes: {grown}\n")
    assert {name for name, _, _, most in UPLOADS if grown[name] >= most} == set()
