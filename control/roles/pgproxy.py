"""Let PostgreSQL's clients in to projects' databases."""

import asyncio
import hashlib
import socket
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack

import structlog

from config.settings import Settings
from control import migrate
from control.roles.base import Misconfigured
from control.roles.computing import computing
from control.roles.facts import Facts
from gateway.kit import sql
from gateway.kit.garbage import expect_little_garbage
from gateway.pgwire import tls
from gateway.pgwire.server import Proxy
from gateway.pgwire.tls import Certificate

MOCK = b"salts of roles that do not exist"

log = structlog.get_logger(__name__)


async def proxy(settings: Settings, *, listening: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve until cancelled, then let sessions finish what they are doing.

    Chains, prices and money are no concern of this one, so that none of them has to be there for it.
    """
    assert settings.postgres.dsn is not None, "the command line gives every role a database"
    dsn = settings.postgres.dsn.get_secret_value()
    certificate = certificate_of(settings)
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(sql.create_pool(dsn, size_max=settings.postgres.pool_size))
        await migrate.check(pool)
        computes = await stack.enter_async_context(computing(settings.computes))
        facts = Facts(pool, computes, settings.plans)
        stack.push_async_callback(facts.close)
        served = Proxy(settings.pgproxy, facts, certificate, mock_secret(settings))
        served.run(listening, stack)
        expect_little_garbage()
        on_ready()
        await asyncio.Event().wait()


def mock_secret(settings: Settings) -> bytes:
    """The same in all processes, and known to nobody else."""
    assert settings.secrets.keys, "the command line gives every role a key"
    return hashlib.sha256(MOCK + settings.secrets.keys[0].get_secret_value().encode()).digest()


def certificate_of(settings: Settings) -> Certificate:
    chosen = settings.pgproxy
    if chosen.tls_cert is not None:
        assert chosen.tls_key is not None, "the settings were read so"
        try:
            return tls.load(chosen.tls_cert, chosen.tls_key)
        except (OSError, ValueError, ssl.SSLError) as error:
            raise Misconfigured(
                f"FAREBOX_PGPROXY__TLS_CERT and …__TLS_KEY are no certificate with its key: {error}."
            ) from None
    assert settings.data_dir is not None, "the command line gives every role a directory"
    path, is_new = tls.ensure(settings.data_dir, chosen.domain)
    if is_new:
        log.warning(
            "PostgreSQL's clients are shown a certificate that nobody has signed; "
            "FAREBOX_PGPROXY__TLS_CERT and …__TLS_KEY are for one of your own",
            path=str(path),
        )
    return tls.load(path, path)
