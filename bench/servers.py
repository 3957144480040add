"""What is around Farebox and beside it, each a process: ``python -m bench.servers NAME PORT …``.

The upstream answers a kilobyte, or a mebibyte. The plain proxy is what one writes with aiohttp on an
afternoon. The peer is a FastAPI application with the public x402 middleware and httpx behind it, asking a
facilitator that says yes to all.
"""

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import cast

import uvloop
from aiohttp import ClientSession, DummyCookieJar, TCPConnector, web

from bench.chain import Chain

NETWORK = "eip155:84532"
ASSET = "0x" + "a5" * 20
PAY_TO = "0x" + "b0" * 20
TERMS = {
    "scheme": "exact", "network": NETWORK, "asset": ASSET, "amount": "1000", "payTo": PAY_TO,
    "maxTimeoutSeconds": 300, "extra": {"name": "Bench Dollar", "version": "1"},
}  # fmt: skip
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "host", "content-length"}


def answer(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


ANSWER = answer(json.dumps({"sky": "clear", "filler": "x" * 995}).encode())
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
LARGE = answer(b"x" * (1 << 20))


class Upstream(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none by inheritance.
        self.transport = cast(asyncio.Transport, transport)
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        *heads, self.buffer = (self.buffer + data).split(b"\r\n\r\n")
        for head in heads:
            self.transport.write(LARGE if head.startswith(b"GET /big ") else ANSWER)


class Stub(asyncio.Protocol):
    """An HTTP server that costs next to nothing beside what asks it, and knows no more than those do."""

    def __init__(self, find: Callable[[bytes, bytes], bytes]) -> None:
        self.find = find
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (head_end := self.buffer.find(b"\r\n\r\n")) >= 0:
            found = LENGTH.search(self.buffer, 0, head_end)
            end = head_end + 4 + (int(found[1]) if found else 0)
            if len(self.buffer) < end:
                return
            path = self.buffer.split(b" ", 2)[1]
            self.transport.write(answer(self.find(path, self.buffer[head_end + 4 : end])))
            self.buffer = self.buffer[end:]


async def listen(port: int, protocol: Callable[[], asyncio.Protocol]) -> None:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", port)
    await server.serve_forever()


async def upstream(port: int) -> None:
    await listen(port, Upstream)


async def plain(port: int, target: str) -> None:
    session = ClientSession(
        connector=TCPConnector(limit=0), cookie_jar=DummyCookieJar(), auto_decompress=False
    )

    async def proxy(request: web.Request) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        url = f"{target}{request.rel_url}"
        async with session.request(request.method, url, headers=headers) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
            response = web.StreamResponse(status=answer.status, headers=kept)
            response.content_length = answer.content_length
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", proxy)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


async def facilitator(port: int, network: str) -> None:
    """Verifies and settles whatever it is sent, at once."""
    answers = {
        "/supported": {
            "kinds": [{"x402Version": 2, "scheme": "exact", "network": network}],
            "extensions": [],
            "signers": {},
        },
        "/verify": {"isValid": True},
        "/settle": {"success": True, "transaction": "0x" + "d" * 64, "network": network},
    }
    texts = {path.encode(): json.dumps(answer).encode() for path, answer in answers.items()}
    await listen(port, lambda: Stub(lambda path, _: texts[path]))


async def chain(port: int, domain: str) -> None:
    mined = Chain(domain)
    await listen(port, lambda: Stub(lambda _, body: mined.answer(body)))


def peer(port: int, target: str, facilitator_url: str) -> None:
    """By name, because only the bench needs it: pip install 'x402[fastapi]' uvicorn httptools."""
    fastapi, httpx, uvicorn = (import_module(name) for name in ("fastapi", "httpx", "uvicorn"))
    http, middleware = import_module("x402.http"), import_module("x402.http.middleware.fastapi")
    client = httpx.AsyncClient(base_url=target, limits=httpx.Limits(max_connections=None))
    sdk = import_module("x402")
    scheme = import_module("x402.mechanisms.evm.exact").ExactEvmServerScheme()
    facilitator_client = http.HTTPFacilitatorClient(http.FacilitatorConfig(url=facilitator_url))
    server = sdk.x402ResourceServer(facilitator_client)
    server.register(NETWORK, scheme)
    price = {"amount": "1000", "asset": ASSET, "extra": {"name": "Bench Dollar", "version": "1"}}
    option = http.PaymentOption(scheme="exact", pay_to=PAY_TO, price=price, network=NETWORK)
    app = fastapi.FastAPI()
    app.add_middleware(
        middleware.PaymentMiddlewareASGI,
        routes={"GET /paid/*": http.RouteConfig(accepts=option)},
        server=server,
    )

    @app.get("/{path:path}")  # type: ignore[untyped-decorator]
    async def proxy(path: str):  # type: ignore[no-untyped-def]
        answer = await client.get(f"/{path}")
        return fastapi.Response(answer.content, answer.status_code, media_type="application/json")

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False, loop="uvloop")


SERVERS: dict[str, Callable[..., Awaitable[None]]] = {
    "upstream": upstream,
    "plain": plain,
    "facilitator": facilitator,
    "chain": chain,
}


def main() -> None:
    name, port, *more = sys.argv[1:]
    if name == "peer":
        peer(int(port), *more)
    else:
        uvloop.run(run(SERVERS[name], int(port), more))


async def run(server: Callable[..., Awaitable[None]], port: int, more: list[str]) -> None:
    await server(port, *more)


if __name__ == "__main__":
    main()
