"""What SQL changed shortly before a server fell asleep is known while it sleeps."""

import asyncio

from control.computes import keeping
from control.computes.compute import Compute
from control.computes.provider import ComputeEvent, State
from control.postgres import connecting, following, inventory, passwords
from tests.control.branched import Branch
from tests.control.branched import branch as branch


async def ready(branch: Branch) -> Compute:
    """When the agent has looked, which it does while nobody waits."""
    await branch.wake()
    one = branch.computes.serving(str(branch.endpoint_id))
    assert one is not None
    async with asyncio.timeout(20):
        while one.verifiers is None:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.01)
    return one


async def asleep(branch: Branch, one: Compute) -> ComputeEvent:
    """As when nobody used it for long."""
    one.used_at -= 1000
    async with asyncio.timeout(20):
        while one.state is State.ACTIVE:
            await keeping.suspend(branch.computes, one)
    event = branch.computes.bulletin.kept[-1][1]
    assert event.kind == "suspended"
    await following.note(branch.pool, event)
    return event


async def set_password(branch: Branch, password: str) -> str:
    verifier = passwords.verifier(password)
    async with connecting.admin(branch.pool, branch.computes, branch.id) as admin:
        await admin.execute(f"ALTER ROLE app PASSWORD '{verifier}'")
    return verifier


async def known(branch: Branch) -> str | None:
    (row,) = await inventory.rows_of_roles(branch.pool, branch.id)
    verifier: str | None = row["verifier"]
    return verifier


async def test_a_password_is_learnt_when_the_server_falls_asleep(branch: Branch) -> None:
    one = await ready(branch)
    before = await known(branch)
    first = await set_password(branch, "first")
    assert await known(branch) == before
    event = await asleep(branch, one)
    assert list(event.verifiers) == ["app"]
    assert "SCRAM" not in repr(event)
    assert await known(branch) == first
    # What we knew is another one, and is forgotten.
    (row,) = await inventory.rows_of_roles(branch.pool, branch.id)
    assert row["password"] is None
    async with branch.session("app", "first"):
        pass
    # News of then that come again do not bring back what was then.
    one = await ready(branch)
    second = await set_password(branch, "second")
    later = await asleep(branch, one)
    await following.note(branch.pool, event)
    assert await known(branch) == second
    await ready(branch)
    await following.note(branch.pool, later)
    assert await branch.pool.fetchval("SELECT status FROM endpoints") == "active"


async def test_a_server_that_changed_nothing_tells_nothing(branch: Branch) -> None:
    one = await ready(branch)
    async with branch.owner() as owner:
        await owner.execute("CREATE TABLE kept (n int)")
    assert (await asleep(branch, one)).verifiers == {}
