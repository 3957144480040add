from gateway.kit.sql import Pool
from tests.control.conftest import Client, Member, bearer, join


async def test_a_key_sees_its_own_organization_only(client: Client, pool: Pool, member: Member) -> None:
    await join(pool)
    listed = (await (await client.get("/organizations")).json())["data"]
    assert [one["id"] for one in listed] == [member.organization_id]
    assert (
        listed[0].items()
        >= {
            "name": "Somebody",
            "created_by": str(member.id.user_id),
            "is_personal": True,
            "deleted_at": None,
            "stripe_customer_id": None,
        }.items()
    )
    assert listed[0]["slug"].startswith("somebody-")


async def test_listing_needs_the_permission(client: Client, pool: Pool, member: Member) -> None:
    narrow = await bearer(pool, member.id, ["wallet.read"])
    assert (await client.get("/organizations", headers=narrow)).status == 403
