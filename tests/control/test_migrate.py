import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from control import migrate
from control.migrate import Migration, SchemaError
from gateway.kit.sql import Connection

FIRST = Migration(
    "0001_first.sql", "CREATE TABLE first (id integer PRIMARY KEY); INSERT INTO first VALUES (1);"
)
SECOND = Migration("0002_second.sql", "CREATE TABLE second (id integer);")
THIRD = Migration("0003_third.sql", "ALTER TABLE first ADD COLUMN note text;")


@pytest.fixture
async def connection(empty: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(empty)
    yield connection
    await connection.close()


async def test_files_are_applied_once_in_order(connection: Connection) -> None:
    assert await migrate.apply(connection, [FIRST, SECOND]) == [FIRST.name, SECOND.name]
    assert await migrate.apply(connection, [FIRST, SECOND]) == []
    assert await migrate.apply(connection, [FIRST, SECOND, THIRD]) == [THIRD.name]


async def test_four_racing_runners_apply_each_file_once(empty: str) -> None:
    connections = [await asyncpg.connect(empty) for _ in range(4)]
    results = await asyncio.gather(*(migrate.apply(one, [FIRST, SECOND]) for one in connections))
    assert sorted(name for names in results for name in names) == [FIRST.name, SECOND.name]
    assert await connections[0].fetchval("SELECT count(*) FROM first") == 1
    for one in connections:
        await one.close()


async def test_the_real_migrations_make_a_schema_that_passes_the_check(empty: str) -> None:
    with pytest.raises(SchemaError, match=r"older than this farebox.*0001_identity"):
        await migrate.check(empty)
    assert await migrate.migrate(empty) == [one.name for one in migrate.files()]
    await migrate.check(empty)


async def test_a_failed_file_leaves_nothing_of_itself(connection: Connection) -> None:
    broken = Migration("0002_broken.sql", "CREATE TABLE half (id integer); SELECT 1/0;")
    with pytest.raises(SchemaError, match=r"0002_broken\.sql was not applied"):
        await migrate.apply(connection, [FIRST, broken, THIRD])
    assert await connection.fetchval("SELECT to_regclass('half')") is None
    assert list(await migrate.applied(connection)) == [FIRST.name]


async def test_a_table_in_use_is_waited_for_five_seconds(connection: Connection, empty: str) -> None:
    await migrate.apply(connection, [FIRST])
    busy = await asyncpg.connect(empty)
    async with busy.transaction():
        await busy.execute("SELECT * FROM first")
        with pytest.raises(SchemaError, match="in use for 5 seconds"):
            await migrate.apply(connection, [FIRST, SECOND, THIRD])
    assert await migrate.apply(connection, [FIRST, SECOND, THIRD]) == [THIRD.name]
    await busy.close()


@pytest.mark.parametrize(
    ("known", "complaint"),
    [
        ([FIRST, Migration(SECOND.name, SECOND.sql + " ")], r"0002_second\.sql is not what was applied"),
        ([FIRST], r"newer than this farebox: it has 0002_second\.sql"),
        ([FIRST, Migration("0001_late.sql", ""), SECOND], r"0001_late\.sql comes before 0002_second\.sql"),
    ],
)
async def test_a_history_that_is_not_ours_is_refused(
    connection: Connection, known: list[Migration], complaint: str
) -> None:
    await migrate.apply(connection, [FIRST, SECOND])
    with pytest.raises(SchemaError, match=complaint):
        await migrate.apply(connection, known)


async def test_a_newer_schema_does_not_stop_a_gateway(connection: Connection) -> None:
    await migrate.apply(connection, [*migrate.files(), Migration("9999_future.sql", "SELECT 1")])
    await migrate.check(connection)
