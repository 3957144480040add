"""What the doctor says of projects' databases and of the way in to them."""

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from config import settings
from config.computes import Computes
from config.pgproxy import PgProxy
from config.settings import Postgres, Settings
from control.finding import Finding
from control.postgres import checkup
from control.postgres.running import Runner
from control.supervisor.certificates import certificate
from gateway.kit import ids
from gateway.kit.sql import Pool
from gateway.pgwire import messages, tls
from tests.control.computes.test_agent import agent
from tests.control.postgres.conftest import Project
from tests.control.postgres.conftest import computes as computes
from tests.control.postgres.conftest import keyring as keyring
from tests.control.postgres.conftest import project as project
from tests.control.postgres.conftest import root as root
from tests.control.postgres.conftest import runner as runner


@pytest.fixture
def fine(tmp_path: Path) -> Settings:
    return settings.load().model_copy(update={"data_dir": tmp_path, "pgproxy": PgProxy(port=0)})


@pytest.fixture
def shallow() -> Iterator[Path]:
    """Where other users may pass through, in memory: what an agent makes at first is flushed."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="doctor-", dir=memory if memory.is_dir() else "/tmp") as name:
        Path(name).chmod(0o711)
        yield Path(name)


async def found(check: Callable[[Settings], AsyncIterator[Finding]], chosen: Settings) -> dict[str, Finding]:
    return {finding.subject: finding async for finding in check(chosen)}


def pem(path: Path, *, days: int, name: str = "localhost") -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(f"*.{name}")]), critical=False)
        .sign(private, hashes.SHA256())
    )
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)


@asynccontextmanager
async def showing(path: Path) -> AsyncIterator[int]:
    """A port where this certificate is shown, as the proxy does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert messages.U32.unpack((await reader.readexactly(8))[4:]) == (messages.SSL_REQUEST,)
        writer.write(b"S")
        await writer.start_tls(context)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("days", "domain", "is_well"),
    [(365, None, True), (365, "db.example", True), (365, "other.example", False), (3, None, False),
     (-1, None, False)],
)  # fmt: skip
async def test_a_certificate_is_good_and_for_the_names_that_endpoints_have(
    fine: Settings, tmp_path: Path, days: int, domain: str | None, is_well: bool
) -> None:
    path = tmp_path / "chosen.pem"
    pem(path, days=days, name="db.example")
    proxy = PgProxy(port=0, domain=domain, tls_cert=path, tls_key=path)
    told = (await found(certificate, fine.model_copy(update={"pgproxy": proxy})))["postgres certificate"]
    assert (told.remedy is None) is is_well, told


async def test_a_certificate_of_ours_is_said_to_be_signed_by_nobody(fine: Settings, tmp_path: Path) -> None:
    assert "will be made" in (await found(certificate, fine))["postgres certificate"].detail
    path, _ = tls.ensure(tmp_path, None)
    told = (await found(certificate, fine))["postgres certificate"]
    assert ("signed by nobody" in told.detail, told.remedy) == (True, None)
    path.write_text("nonsense")
    assert (await found(certificate, fine))["postgres certificate"].remedy


async def test_a_proxy_that_shows_another_certificate_is_found(fine: Settings, tmp_path: Path) -> None:
    new, old = tmp_path / "new.pem", tmp_path / "old.pem"
    pem(new, days=365)
    pem(old, days=365)
    for shown, is_well in ((new, True), (old, False)):
        async with showing(shown) as port:
            proxy = PgProxy(port=port, tls_cert=new, tls_key=new)
            told = await found(certificate, fine.model_copy(update={"pgproxy": proxy}))
            assert (told["postgres certificate"].remedy is None) is is_well


async def test_what_runs_databases_needs_room_and_programs(
    fine: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = await found(checkup.databases, fine)
    assert {one.remedy for one in told.values()} == {None}
    assert set(told) == {"projects' disk", "projects' servers", "projects' databases"}
    # Data that a server of this version does not start on.
    data = tmp_path / "computes" / "timelines" / "one" / "pgdata"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("17\n")
    told = await found(checkup.databases, fine)
    assert "version 17" in str(told["projects' servers"].remedy)
    bare = tmp_path / "bin"
    bare.mkdir()
    for name in ("postgres", "initdb"):
        (bare / name).write_text("#!/bin/sh\necho postgres 18.1\n")
        (bare / name).chmod(0o755)
    told = await found(checkup.databases, fine.model_copy(update={"postgres": Postgres(bin_dir=bare)}))
    assert "lacks pg_controldata" in told["projects' servers"].detail
    monkeypatch.setattr(checkup, "FREE_BYTES_MIN", 1 << 60)
    assert "Make room" in str((await found(checkup.databases, fine))["projects' disk"].remedy)


async def test_an_agent_that_is_away_is_found(fine: Settings) -> None:
    chosen = fine.model_copy(update={"computes": Computes(url="unix:/nowhere/agent.sock")})
    assert (await found(checkup.databases, chosen))["projects' databases"].remedy


async def test_what_is_stuck_or_should_run_is_found(
    fine: Settings, server: str, database: str, pool: Pool, project: Project, runner: Runner, shallow: Path
) -> None:
    await runner.drain()
    dsn = SecretStr(server.replace("/postgres?", f"/{database}?"))
    async with agent(shallow) as running:
        update = {"postgres": Postgres(dsn=dsn), "computes": Computes(url=running.url)}
        chosen = fine.model_copy(update=update)
        told = await found(checkup.databases, chosen)
        assert {one.subject for one in told.values() if one.remedy} == set(), told
        assert "0 to be done" in told["operations"].detail
        # Rows say that it runs, and the agent knows of nothing.
        await pool.execute("UPDATE endpoints SET status = 'active', status_at = now() - interval '1 minute'")
        await pool.executemany(
            "INSERT INTO operations (id, project_id, action, status, error, created_at, finished_at) "
            "VALUES ($1, $2, $3, $4, $5, now() - interval '10 minutes', $6)",
            [
                (ids.new(), project.id, "reset_branch", "scheduling", "the disk is full", None),
                (ids.new(), project.id, "create_branch", "failed", "the history is lost", datetime.now(UTC)),
            ],
        )
        told = await found(checkup.databases, chosen)
        assert told["operations"].remedy
        assert all(one in told["operations"].detail for one in ("disk is full", "history is lost"))
        label = await pool.fetchval("SELECT label FROM endpoints")
        assert told["computes"].remedy
        assert label in told["computes"].detail
