"""One directory of projects' data and one proxy for all tests of a module, with real clients."""

import asyncio
import hashlib
import socket
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio

from config.pgproxy import PgProxy
from control.computes.local import LocalProvider
from control.computes.opening import opened
from control.computes.provider import ComputeSpec, ComputeUnavailable, TimelineSpec
from gateway.pgwire import backend, messages, scram, tls
from gateway.pgwire.computes import Address, Endpoint, NotStarted
from gateway.pgwire.server import Proxy
from gateway.pgwire.wire import Wire

PASSWORD = "correct horse battery staple"
SPEC = ComputeSpec()


@dataclass
class Kept:
    """What rows say elsewhere, in memory; the databases are real."""

    provider: LocalProvider
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    verifiers: dict[tuple[UUID, str], str] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    moved: Counter[str] = field(default_factory=Counter)
    parameters: dict[str, str] = field(default_factory=dict)
    failure: str | None = None

    async def find(self, label: str) -> Endpoint | None:
        self.asked["find"] += 1
        return self.endpoints.get(label)

    async def verifier(self, endpoint: Endpoint, role: str) -> str | None:
        return self.verifiers.get((endpoint.id, role))

    def refused(self, endpoint: Endpoint, role: str) -> None:
        self.asked["refused"] += 1

    async def wake(self, endpoint: Endpoint) -> Address:
        self.asked["wake"] += 1
        if self.failure is not None:
            raise NotStarted(self.failure)
        try:
            found = await self.provider.start(str(endpoint.id), str(endpoint.timeline_id), SPEC)
        except ComputeUnavailable as error:
            raise NotStarted(str(error)) from None
        return Address(found.sockets / ".s.PGSQL.5432", {**found.parameters, **self.parameters})

    def session(self, endpoint: Endpoint) -> AbstractAsyncContextManager[None]:
        return self.entered(str(endpoint.id))

    @asynccontextmanager
    async def entered(self, endpoint: str) -> AsyncIterator[None]:
        try:
            async with self.provider.session(endpoint):
                yield
        except ComputeUnavailable as error:
            raise NotStarted(str(error)) from None

    def traffic(self, endpoint: Endpoint, received: int, sent: int) -> None:
        self.moved[endpoint.label] += received + sent


@dataclass
class Stage:
    """The proxy and one endpoint behind it."""

    kept: Kept
    proxy: Proxy
    port: int
    certificate: Path
    endpoint: Endpoint
    root: Path

    @property
    def label(self) -> str:
        return self.endpoint.label

    def dsn(self, *, pooled: bool = False, role: str = "app", password: str = PASSWORD, **more: str) -> str:
        """For libpq: by options, as where there is no name."""
        label = self.label + ("-pooler" if pooled else "")
        given = {
            "host": "127.0.0.1", "port": str(self.port), "user": role, "password": password,
            "dbname": "app", "sslmode": "disable", "options": f"endpoint={label}", **more,
        }  # fmt: skip
        return " ".join(f"{name}='{value}'" for name, value in given.items() if value)

    def by_name(self, *, pooled: bool = False, **more: str) -> str:
        """For libpq: by the name in the handshake, checked in every way there is."""
        label = self.label + ("-pooler" if pooled else "")
        named = {
            "host": f"{label}.localhost", "hostaddr": "127.0.0.1", "options": "", "sslmode": "verify-full",
            "sslrootcert": str(self.certificate), "channel_binding": "require",
        }  # fmt: skip
        return self.dsn(pooled=False, **{**named, **more})

    async def connect(self, *, pooled: bool = False, **more: Any) -> Any:
        label = self.label + ("-pooler" if pooled else "")
        given = {"user": "app", "password": PASSWORD, "database": "app", "ssl": False, **more}
        settings = {"options": f"endpoint={label}", **given.pop("server_settings", {})}
        return await asyncpg.connect(host="127.0.0.1", port=self.port, server_settings=settings, **given)

    async def sleep(self) -> None:
        await self.kept.provider.stop(str(self.endpoint.id))

    async def admin(self, database: str = "app") -> Any:
        await self.kept.wake(self.endpoint)
        return await self.kept.provider.admin(str(self.endpoint.id), database)

    def change(self, **changes: Any) -> None:
        self.endpoint = replace(self.endpoint, **changes)
        self.kept.endpoints[self.label] = self.endpoint


@asynccontextmanager
async def proxying(kept: Kept, directory: Path, **settings: Any) -> AsyncIterator[tuple[Proxy, int, Path]]:
    pem, _ = tls.ensure(directory, None)
    chosen = PgProxy(**{"cancel_dir": directory, "drain_seconds": 0, **settings})
    proxy = Proxy(chosen, kept, tls.load(pem, pem), b"a secret of the installation")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        async with AsyncExitStack() as stack:
            proxy.run(listening, stack)
            yield proxy, listening.getsockname()[1], pem


async def populate(kept: Kept) -> Endpoint:
    endpoint = Endpoint(uuid4(), "ep-" + uuid4().hex[:12], uuid4(), uuid4())
    await kept.provider.create_timeline(str(endpoint.timeline_id), TimelineSpec("shop"))
    await kept.provider.start(str(endpoint.id), str(endpoint.timeline_id), SPEC)
    admin = await kept.provider.admin(str(endpoint.id))
    await admin.execute("CREATE ROLE app LOGIN CREATEDB CREATEROLE REPLICATION BYPASSRLS")
    await admin.execute(f"ALTER ROLE app PASSWORD '{PASSWORD}'")
    await admin.execute("CREATE DATABASE app OWNER app")
    kept.verifiers[endpoint.id, "app"] = await admin.fetchval(
        "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'"
    )
    await admin.close()
    kept.endpoints[endpoint.label] = endpoint
    return endpoint


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="pgproxy-", dir=memory if memory.is_dir() else "/tmp") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(root: Path) -> AsyncIterator[Stage]:
    async with opened(root, look_seconds=3600) as provider, AsyncExitStack() as stack:
        kept = Kept(provider)
        endpoint = await populate(kept)
        proxy, port, pem = await stack.enter_async_context(proxying(kept, root))
        yield Stage(kept, proxy, port, pem, endpoint, root)
        await stack.aclose()
        await provider.stop_all()


@pytest_asyncio.fixture(loop_scope="module")
async def narrow(stage: Stage) -> AsyncIterator[Stage]:
    """A proxy whose pools have one connection: whoever keeps it keeps it from all others."""
    async with proxying(stage.kept, stage.root, pool_size=1, pool_wait_seconds_max=1) as (proxy, port, pem):
        yield Stage(stage.kept, proxy, port, pem, stage.endpoint, stage.root)
    stage.change(pooler_mode="transaction")


async def raw(stage: Stage, *, pooled: bool = True) -> Wire:
    """Logged in to the pooler, for messages that no library sends in this order."""
    _, wire = await asyncio.get_running_loop().create_connection(Wire, "127.0.0.1", stage.port)
    options = f"endpoint={stage.label}{'-pooler' if pooled else ''}".encode()
    wire.write(messages.startup({b"user": b"app", b"database": b"app", b"options": options}))
    verifier = scram.parse(stage.kept.verifiers[stage.endpoint.id, "app"])
    assert verifier is not None
    salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), verifier.salt, verifier.iterations)
    keys = scram.Keys(scram.mac(salted, b"Client Key"), verifier.stored_key, verifier.server_key)
    await backend.authenticate(wire, keys)
    return (await backend.until_ready(backend.Session(wire, Path()))).wire
