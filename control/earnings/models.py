from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from control.api.assets import AssetInfo, Number


class Earnings(BaseModel):
    """What a publisher earned in one asset, net of the platform's fee."""

    publisher_id: UUID
    publisher_name: str
    publisher_slug: str
    wallet_address: str
    asset: AssetInfo
    total_revenue: Number
    total_withdrawn: Number
    pending_payout: Number
    available: Number
    total_revenue_atomic: Annotated[
        int, Field(description="Calls and charges less the fee, less refunds, and penalties.")
    ]
    total_withdrawn_atomic: Annotated[
        int, Field(description="Paid out, and what callers paid to the publisher's own wallet.")
    ]
    pending_payout_atomic: Annotated[int, Field(description="Asked for and not known to have arrived.")]
    available_atomic: Annotated[
        int,
        Field(
            description="What the organization can have paid out now: its publishers share it. Where the "
            "operator says so, earnings are available some days after they were earned."
        ),
    ]
    waiting_atomic: Annotated[
        int, Field(description="What the organization has earned as well and cannot have paid out yet.")
    ]
    waiting_until: Annotated[
        datetime | None,
        Field(description="When the oldest of that can be paid out; null where nothing waits."),
    ]
    request_count: Annotated[int, Field(description="Calls and charges that were paid.")]
