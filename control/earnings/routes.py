from uuid import UUID

from control.api import assets
from control.api.assets import number
from control.api.fields import OrganizationId
from control.api.operation import Call, Room
from control.api.paging import Page, page
from control.earnings import store
from control.earnings.models import Earnings
from gateway.kit.problem import NotFound

room = Room("earnings", "/organizations/{organization_id}/publishers/{publisher_id}/earnings")


@room.get(access="earnings.read", fails=[NotFound], id="get_org_publisher_earnings")
async def index(call: Call, organization_id: OrganizationId, publisher_id: UUID) -> Page[Earnings]:
    """Show what a publisher earned, asset by asset, in the money of your key.

    A publisher that was deleted has earned what it earned.
    """
    publisher = await store.publisher(call.db, organization_id, publisher_id)
    if publisher is None:
        raise NotFound(f"no publisher {publisher_id}")
    found, age = [], call.ports.settings.payouts.age
    for row in await store.by_asset(call.db, organization_id, publisher_id, call.actor.mode):
        decimals = row["asset_decimals"]
        waiting = await store.waiting(call.db, organization_id, row["asset_id"], age)
        found.append(
            Earnings(
                publisher_id=publisher["id"],
                publisher_name=publisher["name"],
                publisher_slug=publisher["slug"],
                wallet_address=publisher["wallet_address"],
                asset=assets.info(row, call.ports.settings.networks),
                total_revenue=number(row["revenue"], decimals),
                total_withdrawn=number(row["withdrawn"], decimals),
                pending_payout=number(row["pending"], decimals),
                available=number(waiting.available, decimals),
                total_revenue_atomic=row["revenue"],
                total_withdrawn_atomic=row["withdrawn"],
                pending_payout_atomic=row["pending"],
                available_atomic=waiting.available,
                waiting_atomic=waiting.amount,
                waiting_until=waiting.until,
                request_count=row["requests"],
            )
        )
    return page(found, len(found), len(found), 0)
