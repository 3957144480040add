"""``farebox doctor``: what a start needs, looked at one by one, with what to do about what is missing."""

import platform
import sys
from collections.abc import AsyncIterator, Callable
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

import aiohttp
from redis.asyncio import Redis
from redis.exceptions import RedisError

from config.settings import Network, Settings, data_home
from control import migrate
from control.embedded import binaries, directory, postgres, valkey
from control.embedded.processes import StartFailed
from control.finding import Finding
from control.supervisor import keys, ports, wires
from gateway.kit import crypto

PYTHON_MIN = (3, 11)
POSTGRES_VERSION_MIN = 16
# Compiled modules: they are what a machine with an unusual processor or C library lacks.
COMPILED = ("aiohttp", "asyncpg", "uvloop", "hiredis", "msgspec", "coincurve", "sha3", "cryptography")
RPC_TIMEOUT = aiohttp.ClientTimeout(total=10)


Check: TypeAlias = Callable[[Settings], AsyncIterator[Finding]]


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    checks: tuple[Check, ...] = (
        interpreter, data_directory, files, programs, addresses, database, connections, cache, secret_keys,
        networks, card_payments, certificate, publishers_databases, projects_databases,
    )  # fmt: skip
    for check in checks:
        async for finding in check(settings):
            yield finding


async def interpreter(settings: Settings) -> AsyncIterator[Finding]:
    is_new = sys.version_info >= PYTHON_MIN
    yield Finding("python", platform.python_version(), None if is_new else "Install Python 3.11 or later.")
    missing = [name for name in COMPILED if not can_import(name)]
    yield Finding(
        "compiled modules",
        f"missing or broken: {', '.join(missing)}" if missing else "all of them load",
        "Install farebox again, with pip, for this Python and this machine." if missing else None,
    )


def can_import(name: str) -> bool:
    try:
        import_module(name)
    except ImportError:
        return False
    return True


async def data_directory(settings: Settings) -> AsyncIterator[Finding]:
    path = data_of(settings)
    nearest = next(one for one in (path, *path.parents) if one.is_dir())
    try:
        trial = nearest / f".farebox-doctor-{path.name}"
        trial.touch()
        trial.unlink()
    except OSError as error:
        yield Finding(
            "data directory",
            f"{nearest} cannot be written to ({error.strerror})",
            "Choose another one with --data-dir, or give it to the user that runs farebox.",
        )
        return
    is_open = directory.is_traversable(nearest, directory.POSTGRES_UID)
    # Not an error: on Linux the servers are started inside, and the sockets are made elsewhere.
    suffix = "" if is_open else ", closed to other users, so the sockets will be under /tmp"
    if not is_open and sys.platform != "linux":
        yield Finding(
            "data directory",
            f"{nearest} cannot be entered by user {directory.POSTGRES_UID}, which PostgreSQL runs as",
            "Choose another one with --data-dir.",
        )
        return
    yield Finding("data directory", f"{path} can be written to{suffix}")


async def programs(settings: Settings) -> AsyncIterator[Finding]:
    if settings.postgres.dsn is None:
        try:
            found = postgres.bin_dir(settings.postgres.bin_dir)
            version = await binaries.version(found / "postgres")
            is_new = int(version.partition(".")[0]) >= POSTGRES_VERSION_MIN
            remedy = None if is_new else f"Use PostgreSQL {POSTGRES_VERSION_MIN} or later."
            yield Finding("embedded postgres", f"{version} in {found}", remedy)
        except StartFailed as error:
            yield Finding("embedded postgres", str(error), "Install it, or set FAREBOX_POSTGRES__DSN.")
    if settings.redis.url is None:
        try:
            server = valkey.program()
            yield Finding("embedded valkey", f"{await binaries.version(server)} in {server.parent}")
        except StartFailed as error:
            yield Finding("embedded valkey", str(error), "Install it, or set FAREBOX_REDIS__URL.")


async def addresses(settings: Settings) -> AsyncIterator[Finding]:
    for name, host, port, path in (
        ("port", settings.listen.host, settings.listen.port, "/healthz"),
        ("metrics port", settings.metrics.host, settings.metrics.port, "/metrics"),
    ):
        try:
            ports.listen_alone(host, port).close()
        except ports.PortTaken as error:
            if await answers(ports.origin(host, port) + path):
                yield Finding(name, f"{port} on {host} is served by a farebox that runs")
            else:
                variable = "FAREBOX_LISTEN__PORT" if name == "port" else "FAREBOX_METRICS__PORT"
                yield Finding(name, str(error), f"Set {variable}, or end what uses it.")
        else:
            yield free(name, host, port)
    chosen = settings.pgproxy
    try:
        ports.listen_alone(chosen.host, chosen.port).close()
    except ports.PortTaken as error:
        if await wires.speaks_postgres(chosen.host, chosen.port):
            yield Finding(
                "postgres port", f"{chosen.port} on {chosen.host} is served, by a farebox if one runs"
            )
        else:
            yield Finding("postgres port", str(error), "Set FAREBOX_PGPROXY__PORT, or end what uses it.")
        return
    yield free("postgres port", chosen.host, chosen.port)


def free(name: str, host: str, port: int) -> Finding:
    return Finding(name, f"{port} on {host} is free" if port else f"any free one on {host}")


async def answers(url: str) -> bool:
    try:
        async with aiohttp.ClientSession(timeout=RPC_TIMEOUT) as session, session.get(url) as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


async def database(settings: Settings) -> AsyncIterator[Finding]:
    dsn = dsn_of(settings)
    if dsn is None:
        yield Finding("database", "embedded, and not running now")
        return
    try:
        async with migrate.connected(dsn) as connection:
            version = connection.get_server_version()
            if version.major < POSTGRES_VERSION_MIN:
                remedy = f"Use PostgreSQL {POSTGRES_VERSION_MIN} or later."
                yield Finding("database", f"PostgreSQL {version.major}", remedy)
                return
            yield Finding("database", f"PostgreSQL {version.major}.{version.minor} answers")
            await migrate.check(connection)
            yield Finding("schema", "as new as this farebox")
    except migrate.DatabaseUnreachable as error:
        yield Finding("database", str(error), "Correct FAREBOX_POSTGRES__DSN, or start the server it names.")
    except migrate.SchemaError as error:
        yield Finding("schema", str(error), "Run farebox migrate, or farebox up, which does it too.")


async def cache(settings: Settings) -> AsyncIterator[Finding]:
    if settings.redis.url is None:
        yield Finding("redis", "embedded, started with farebox up")
        return
    try:
        async with Redis.from_url(
            settings.redis.url.get_secret_value(), socket_timeout=5, socket_connect_timeout=5
        ) as client:
            await client.ping()
        yield Finding("redis", "answers")
    except (RedisError, OSError, ValueError) as error:
        yield Finding("redis", str(error), "Correct FAREBOX_REDIS__URL, or start the server it names.")


async def secret_keys(settings: Settings) -> AsyncIterator[Finding]:
    chosen = [key.get_secret_value() for key in settings.secrets.keys]
    path = data_of(settings) / keys.NAME
    try:
        found = chosen or keys.stored(path)
        if not found:
            yield Finding("encryption keys", f"one will be made in {path}")
            return
        crypto.Keyring.parse(found)
        yield Finding("encryption keys", f"{len(found)} in {'the settings' if chosen else path}")
    except OSError as error:
        yield Finding(
            "encryption keys", f"{path}: {error.strerror}", "Run this as the user that runs farebox."
        )
    except ValueError as error:
        yield Finding("encryption keys", str(error), "Make one with: farebox secrets new")


async def networks(settings: Settings) -> AsyncIterator[Finding]:
    if not settings.networks:
        yield Finding("networks", "none: callers pay from prepaid balances only")
    async with aiohttp.ClientSession(timeout=RPC_TIMEOUT) as session:
        for network in settings.networks:
            try:
                yield await look_at(network, session)
            except (aiohttp.ClientError, TimeoutError, ValueError, TypeError, KeyError) as error:
                is_remote = network.facilitator_url is not None
                who, setting = ("facilitator", "facilitator_url") if is_remote else ("node", "rpc_url")
                detail = f"the {who} does not answer: {str(error) or type(error).__name__}"
                yield Finding(network.id, detail, f"Correct its {setting} in FAREBOX_NETWORKS.")


async def look_at(network: Network, session: aiohttp.ClientSession) -> Finding:
    if network.facilitator_url is not None:
        return await look_at_facilitator(network, network.facilitator_url, session)
    chain_id = await ask(network, session, "eth_chainId")
    if chain_id != network.chain_id:
        return Finding(
            network.id,
            f"the node is of chain {chain_id}",
            "Correct its id or its rpc_url in FAREBOX_NETWORKS.",
        )
    price = await ask(network, session, "eth_gasPrice")
    signers = [address_of(key) for key in network.keys]
    for signer in signers:
        balance = await ask(network, session, "eth_getBalance", signer, "latest")
        if balance < price * network.gas_limit:
            return Finding(
                network.id,
                f"{signer} has {balance} wei, and one settlement may take {price * network.gas_limit}",
                "Send it the chain's own coin: it pays for settlements.",
            )
    return Finding(network.id, f"the node answers and {', '.join(signers)} has gas")


async def look_at_facilitator(network: Network, url: str, session: aiohttp.ClientSession) -> Finding:
    secret = network.facilitator_authorization
    headers = {"Authorization": secret.get_secret_value()} if secret else {}
    async with session.get(f"{url.rstrip('/')}/supported", headers=headers) as response:
        answer = await response.json(content_type=None)
    settled = {(one["x402Version"], one["scheme"], one["network"]) for one in answer["kinds"]}
    if (2, "exact", network.id) not in settled:
        remedy = "Correct its id or its facilitator_url in FAREBOX_NETWORKS."
        return Finding(network.id, "the facilitator does not settle version 2 of exact on it", remedy)
    return Finding(network.id, "the facilitator answers and settles payments on it")


async def ask(network: Network, session: aiohttp.ClientSession, method: str, *parameters: str) -> int:
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
    assert network.rpc_url is not None, "a network without a facilitator of its own has a node"
    async with session.post(network.rpc_url, json=request) as response:
        answer = await response.json(content_type=None)
    if "result" not in answer:
        raise ValueError(str(answer.get("error", answer)))
    return int(answer["result"], 16)


def address_of(private_key: str) -> str:
    """Imported here because this page must also run where these two are what is missing."""
    coincurve, sha3 = import_module("coincurve"), import_module("sha3")
    public = coincurve.PrivateKey.from_hex(private_key.removeprefix("0x")).public_key.format(compressed=False)
    return f"0x{sha3.keccak_256(public[1:]).hexdigest()[-40:]}"


def elsewhere(module: str, name: str) -> Check:
    """A check whose module is imported when it runs, as above; that something is missing was said by then."""

    async def check(settings: Settings) -> AsyncIterator[Finding]:
        try:
            found = import_module(module)
        except ImportError:
            return
        async for finding in getattr(found, name)(settings):
            yield finding

    return check


card_payments = elsewhere("control.processors.checkup", "processors")
publishers_databases = elsewhere("control.selling.checkup", "sellers")
projects_databases = elsewhere("control.postgres.checkup", "databases")
certificate = elsewhere("control.supervisor.certificates", "certificate")
files = elsewhere("control.supervisor.checkup", "files")
connections = elsewhere("control.supervisor.checkup", "connections")


def data_of(settings: Settings) -> Path:
    return (settings.data_dir or data_home()).absolute()


def dsn_of(settings: Settings) -> str | None:
    """The database in the settings, or the embedded one while a ``farebox up`` runs it."""
    if settings.postgres.dsn is not None:
        return settings.postgres.dsn.get_secret_value()
    try:
        return (data_of(settings) / "run" / "dsn").read_text()
    except OSError:
        return None
