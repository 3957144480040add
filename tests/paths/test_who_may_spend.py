"""What the management side decides about people and publishers holds for paid calls within a second."""

from collections.abc import Awaitable, Callable

from gateway.kit.sql import Pool
from tests.paths.conftest import DOLLAR, Farebox
from tests.waiting import until


async def test_a_suspended_publisher_is_not_served(farebox: Farebox, pool: Pool) -> None:
    shop = await farebox.publish()
    caller = await farebox.sign_up()
    await farebox.fund(caller, DOLLAR)
    assert (await farebox.agent.ask("GET", f"{shop}/a", headers=caller.headers)).status == 200
    await pool.execute("UPDATE publishers SET suspended_at = now()")

    async def is_gone() -> bool:
        return (await farebox.agent.ask("GET", f"{shop}/a", headers=caller.headers)).status == 404

    await until(is_gone)
    calls = len(farebox.upstream.seen)
    assert (await farebox.agent.ask("GET", f"{shop}/a")).status == 404
    assert len(farebox.upstream.seen) == calls


async def test_what_a_suspended_organization_sells_is_not_served(farebox: Farebox, pool: Pool) -> None:
    shops = [await farebox.publish(slug) for slug in ("one", "other")]
    caller = await farebox.sign_up()
    await farebox.fund(caller, DOLLAR)
    await pool.execute("UPDATE publishers SET suspended_at = now() WHERE slug = 'other'")
    seller = farebox.publisher.organization_id

    def have(*statuses: int) -> Callable[[], Awaitable[bool]]:
        async def do() -> bool:
            asked = [await farebox.agent.ask("GET", f"{shop}/a", headers=caller.headers) for shop in shops]
            return tuple(one.status for one in asked) == statuses

        return do

    await until(have(200, 404))
    await pool.execute("UPDATE organizations SET suspended_at = now() WHERE id = $1", seller)
    await until(have(404, 404))
    balance = await farebox.balance(caller)
    assert (await farebox.agent.ask("GET", f"{shops[0]}/a")).status == 404
    # What was suspended by itself stays so.
    await pool.execute("UPDATE organizations SET suspended_at = NULL WHERE id = $1", seller)
    await until(have(200, 404))
    assert await farebox.balance(caller) < balance
    assert await farebox.is_sound()


async def test_a_suspended_person_spends_nothing(farebox: Farebox, pool: Pool) -> None:
    shop = await farebox.publish()
    caller = await farebox.sign_up()
    await farebox.fund(caller, DOLLAR)
    own = "SELECT user_id FROM members WHERE organization_id = $1"

    def is_answered(status: int) -> Callable[[], Awaitable[bool]]:
        async def do() -> bool:
            return (await farebox.agent.ask("GET", f"{shop}/a", headers=caller.headers)).status == status

        return do

    for value, status in (("NULL", 200), ("now()", 401), ("NULL", 200)):
        await pool.execute(
            f"UPDATE users SET suspended_at = {value} WHERE id IN ({own})", caller.organization_id
        )
        await until(is_answered(status))


async def test_a_key_spends_as_long_as_its_user_may(farebox: Farebox, pool: Pool) -> None:
    shop = await farebox.publish()
    caller = await farebox.sign_up()
    await farebox.fund(caller, 3 * DOLLAR)

    async def status() -> int:
        return (await farebox.agent.ask("GET", f"{shop}/a", headers=caller.headers)).status

    async def is_refused() -> bool:
        return await status() == 401

    async def is_served() -> bool:
        return await status() == 200

    own = caller.organization_id
    assert await is_served()
    await pool.execute("UPDATE organizations SET suspended_at = now() WHERE id = $1", own)
    await until(is_refused)
    await pool.execute("UPDATE organizations SET suspended_at = NULL WHERE id = $1", own)
    await until(is_served)
    await pool.execute("UPDATE members SET role = 'viewer' WHERE organization_id = $1", own)
    await until(is_refused)
    await pool.execute(
        "INSERT INTO roles (id, organization_id, name, permissions) "
        "VALUES ($1, $1, 'buyer', '{wallet.spend}')",
        own,
    )
    await pool.execute("UPDATE members SET role = NULL, role_id = $1 WHERE organization_id = $1", own)
    await until(is_served)
    await pool.execute("UPDATE roles SET permissions = '{wallet.read}' WHERE id = $1", own)
    await until(is_refused)


async def test_a_projects_key_spends_nothing(farebox: Farebox) -> None:
    shop = await farebox.publish()
    caller = await farebox.sign_up()
    await farebox.fund(caller, DOLLAR)
    made = await farebox.agent.ask(
        "POST", f"{farebox.origin}/v1/projects", headers=caller.headers, body={"name": "P"}
    )
    at = f"{farebox.origin}/v1/projects/{made.json['project']['id']}/api-keys"
    issued = await farebox.agent.ask("POST", at, headers=caller.headers, body={"name": "k"})
    key = issued.json["plaintext"]
    headers = {"Authorization": f"Bearer {key}"}
    assert (await farebox.agent.ask("GET", f"{shop}/a", headers=headers)).status == 401
    # Nor does a publisher see it, wherever its owner puts it.
    paid = await farebox.agent.ask("GET", f"{shop}/a", headers={**caller.headers, "X-API-Key": key})
    assert paid.status == 200
    assert key not in str(farebox.upstream.seen[-1].headers)
