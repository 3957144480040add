"""How much may be open at once: reckoned, so that nobody has to."""

import resource

import pytest
from pydantic import SecretStr

from config import settings
from config.pgproxy import PgProxy
from config.settings import Listen, Postgres, Settings
from control.supervisor import capacity, checkup


def chosen(**groups: object) -> Settings:
    return settings.load().model_copy(update=groups)


@pytest.mark.parametrize(
    ("files", "wanted", "callers", "clients"),
    [
        (16_384, 12_288, 12_288, 4096),    # what it takes for the defaults
        (20_000, 20_000, 15_000, 4096),    # a quarter is for what calls need
        (4096, 12_288, 3072, 1536),        # a client of PostgreSQL and its server are two
        (4096, 100, 100, 50),              # fewer because somebody wants fewer
        (1, 12_288, 1, 0),                 # absurd, and no crash
        (resource.RLIM_INFINITY, 12_288, 12_288, 4096),
    ],
)  # fmt: skip
def test_callers_leave_files_for_what_their_calls_need(
    files: int, wanted: int, callers: int, clients: int
) -> None:
    possible = capacity.within(chosen(listen=Listen(connections_max=wanted)), files)
    assert possible.listen.connections_max == callers
    assert possible.pgproxy.connections_max == clients


@pytest.mark.parametrize(
    ("workers", "pool_size", "connections"),
    [
        (1, 10, 3 * 16 + 10 + 20),
        (64, 10, 66 * 16 + 10 + 20),
        (2, 200, 4 * 301 + 200 + 20),
    ],
)
def test_all_processes_together_find_a_connection_each(
    workers: int, pool_size: int, connections: int
) -> None:
    asked = chosen(
        listen=Listen(workers=workers), postgres=Postgres(pool_size=pool_size), pgproxy=PgProxy(workers=1)
    )
    assert capacity.database_connections(asked) == connections


async def test_the_doctor_says_where_files_are_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "files_max", lambda: 700)
    [found] = [one async for one in checkup.files(chosen())]
    assert "up to 525 connections" in found.detail
    assert found.remedy
    [found] = [one async for one in checkup.files(chosen(listen=Listen(connections_max=500)))]
    assert found.remedy is None


async def test_the_doctor_says_where_a_database_takes_too_few(server: str) -> None:
    dsn = SecretStr(server)
    [found] = [one async for one in checkup.connections(chosen(postgres=Postgres(dsn=dsn)))]
    assert found.remedy is None
    many = chosen(postgres=Postgres(dsn=dsn, pool_size=200), listen=Listen(workers=64))
    [found] = [one async for one in checkup.connections(many)]
    assert found.remedy
