"""What a project's people prepare in their databases for whoever works there as a superuser."""

from control.postgres import connecting
from tests.control.postgres.test_swapping import Shop, shop

__all__ = ["shop"]

# Triggers for replicas fire while a branch is emptied, and what they call would run as superuser.
BECOME = """
CREATE FUNCTION become() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN EXECUTE 'ALTER ROLE app SUPERUSER'; RETURN NULL; END $$;
CREATE TRIGGER always BEFORE TRUNCATE ON kept EXECUTE FUNCTION become();
CREATE TRIGGER replica AFTER TRUNCATE ON kept EXECUTE FUNCTION become();
CREATE TRIGGER off AFTER TRUNCATE ON kept EXECUTE FUNCTION become();
ALTER TABLE kept ENABLE ALWAYS TRIGGER always;
ALTER TABLE kept ENABLE REPLICA TRIGGER replica;
ALTER TABLE kept DISABLE TRIGGER off;
"""
TRIGGERS = "SELECT string_agg(tgname || ' ' || tgenabled::text, ', ' ORDER BY tgname) FROM pg_trigger"


async def test_emptying_a_branch_runs_no_trigger_of_its_owner(shop: Shop) -> None:
    async with shop.owner() as owner:
        await owner.execute(BECOME)
        # Whoever works here would do so as them.
        await owner.execute("ALTER DATABASE app SET role = app")
    empty = await shop.branch("empty", init_source="schema-only")
    assert await shop.last() == ("finished", None)
    async with shop.owner(empty) as owner:
        assert not await owner.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = 'app'")
        assert await owner.fetchval(TRIGGERS) == "always A, off D, replica R"
        assert await owner.fetch("SELECT n FROM kept") == []


async def test_no_database_is_left_out_when_a_branch_is_emptied(shop: Shop) -> None:
    branch_id = shop.project.branch_id
    async with shop.owner() as owner:
        for name in ("model", "closed", "broken"):
            await owner.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    for name in ("model", "closed"):
        async with connecting.admin(shop.pool, shop.computes, branch_id, name) as admin:
            await admin.execute("CREATE TABLE public.kept AS SELECT 1 AS n")
    async with shop.owner() as owner:
        await owner.execute("ALTER DATABASE model IS_TEMPLATE true")
        await owner.execute("ALTER DATABASE closed ALLOW_CONNECTIONS false")
    async with connecting.admin(shop.pool, shop.computes, branch_id) as admin:
        # As an interrupted DROP DATABASE leaves it.
        await admin.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'broken'")
    empty = await shop.branch("empty", init_source="schema-only")
    assert await shop.last() == ("finished", None)
    async with connecting.admin(shop.pool, shop.computes, empty) as admin:
        found = await admin.fetch("SELECT datname, datallowconn, datistemplate FROM pg_database")
        assert {("model", True, True), ("closed", False, False)} <= {tuple(row) for row in found}
        assert "broken" not in {row["datname"] for row in found}
        await admin.execute("ALTER DATABASE closed ALLOW_CONNECTIONS true")
    for name in ("model", "closed"):
        async with connecting.admin(shop.pool, shop.computes, empty, name) as admin:
            assert await admin.fetchval("SELECT count(*) FROM public.kept") == 0
