import asyncio
from dataclasses import replace
from typing import Any

import pytest

from control.identity import organizations
from control.recovery import codes
from gateway.key_uses import KeyUses
from gateway.kit.sql import Pool
from tests.control.conftest import Client, Member, bearer, join, refused_fields


async def set_up(client: Client, **headers: str) -> dict[str, Any]:
    response = await client.post("/wallet/recovery", json={}, headers=headers)
    assert response.status == 200, await response.text()
    return dict((await response.json())["data"])


async def recover(client: Client, code: str) -> tuple[int, dict[str, Any]]:
    response = await client.post("/wallet/recover", json={"recovery_code": code})
    body = await response.json()
    return response.status, body.get("data", body)


def with_key(answer: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {answer['agent']['api_key']}"}


async def test_a_lost_key_is_recovered_and_the_old_ones_are_revoked(
    client: Client, pool: Pool, member: Member
) -> None:
    code = (await set_up(client))["recovery_code"]
    assert len(code) == 24
    spelled = f" {code[:6].lower()}-{code[6:12]} {code[12:]}".replace("0", "O").replace("1", "l")
    status, answer = await recover(client, spelled)
    assert status == 200
    assert (answer["success"], answer["agent"]["organization_id"]) == (True, member.organization_id)
    assert answer["new_recovery_code"] != code
    assert (await client.get("/wallet/balance")).status == 401
    balance = await client.get("/wallet/balance", headers=with_key(answer))
    assert (await balance.json())["data"]["has_recovery"] is True
    audited = await pool.fetchrow(
        "SELECT actor_id, organization_id FROM audit_logs WHERE action = 'wallet_recover'"
    )
    assert tuple(audited or ()) == (member.id.user_id, member.id.organization_id)


async def test_the_code_is_shown_once_and_stored_as_its_hash(client: Client, pool: Pool) -> None:
    first = await set_up(client)
    again = await set_up(client)
    assert (again["has_recovery"], again["recovery_code"]) == (True, None)
    stored = await pool.fetchval("SELECT row_to_json(recoveries)::text FROM recoveries")
    assert first["recovery_code"] not in stored


async def test_an_address_is_kept_and_only_told_to_be_there(client: Client) -> None:
    body = {"email": "owner@example.com"}
    first = await (await client.post("/wallet/recovery", json=body)).json()
    assert (first["data"]["has_recovery_email"], "owner@" in str(first)) == (True, False)
    assert (await set_up(client))["has_recovery_email"] is True


async def test_a_code_is_good_once_after_its_key_was_used(client: Client, pool: Pool) -> None:
    code = (await set_up(client))["recovery_code"]
    _, answer = await recover(client, code)
    await pool.execute("INSERT INTO key_uses (key_id, used_at) SELECT key_id, now() FROM recoveries")
    assert (await recover(client, code))[0] == 401
    assert (await recover(client, answer["new_recovery_code"]))[0] == 200


async def test_the_first_use_of_a_key_ends_the_code_before_it(client: Client, pool: Pool) -> None:
    code = (await set_up(client))["recovery_code"]
    await recover(client, code)
    key_id, uses = await pool.fetchval("SELECT key_id FROM recoveries"), KeyUses()
    uses.note(key_id)
    async with asyncio.timeout(10):
        # Not for the minute in which all that was used is written.
        await uses.wait()
    await uses.write(pool)
    assert (await recover(client, code))[0] == 401
    uses.note(key_id)
    assert not uses.is_one_new.is_set()


async def test_whoever_lost_the_answer_tries_again(client: Client, pool: Pool) -> None:
    code = (await set_up(client))["recovery_code"]
    _, lost = await recover(client, code)
    status, answer = await recover(client, code)
    assert status == 200
    assert (await client.get("/wallet/balance", headers=with_key(lost))).status == 401
    assert (await client.get("/wallet/balance", headers=with_key(answer))).status == 200
    await pool.execute("UPDATE recoveries SET recovered_at = now() - interval '11 minutes'")
    assert (await recover(client, code))[0] == 401


async def test_many_at_once_leave_one_key(client: Client, pool: Pool, member: Member) -> None:
    code = (await set_up(client))["recovery_code"]
    await asyncio.gather(*(recover(client, code) for _ in range(20)))
    working = "SELECT count(*) FROM api_keys WHERE user_id = $1 AND revoked_at IS NULL"
    assert await pool.fetchval(working, member.id.user_id) == 1


@pytest.mark.parametrize("code", ["", "short", "U" * 24, "A" * 25, "é" * 24])
async def test_what_is_no_code_is_refused_by_its_form(client: Client, code: str) -> None:
    response = await client.post("/wallet/recover", json={"recovery_code": code})
    assert (response.status, await refused_fields(response)) == (400, ["body/recovery_code"])


async def test_an_unknown_code_opens_nothing(client: Client) -> None:
    await set_up(client)
    status, problem = await recover(client, codes.new())
    assert (status, problem["type"].rpartition("/")[2]) == (401, "recovery-code-unknown")


async def test_a_narrow_key_gets_no_code_that_gives_a_wide_one(
    client: Client, pool: Pool, member: Member
) -> None:
    scoped = await bearer(pool, member.id, scopes=["api_keys.write"])
    assert (await client.post("/wallet/recovery", json={}, headers=scoped)).status == 403
    assert await pool.fetchval("SELECT count(*) FROM recoveries") == 0


async def test_a_teams_wallet_is_not_one_members_to_recover(client: Client, pool: Pool) -> None:
    somebody = await join(pool)
    team_id = await organizations.create(pool, "Team", "team", somebody.id.user_id)
    assert team_id is not None
    acting = replace(somebody.id, organization_id=team_id)
    response = await client.post("/wallet/recovery", json={}, headers=await bearer(pool, acting))
    assert response.status == 409


async def test_somebody_who_is_suspended_stays_so(client: Client, pool: Pool, member: Member) -> None:
    code = (await set_up(client))["recovery_code"]
    await pool.execute("UPDATE users SET suspended_at = now() WHERE id = $1", member.id.user_id)
    assert (await recover(client, code))[0] == 401
