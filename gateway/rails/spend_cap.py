"""What a caller is told whose API key may not spend as much as the call costs."""

from datetime import UTC, datetime, timedelta

from gateway.kit.money import to_text
from gateway.kit.problem import Problem, Refusal
from gateway.ledger import caps
from gateway.ledger.batches import Verdict
from gateway.types import Price

NAMES = {"per_call": "one call", "per_day": "one day", "total": "all its calls"}


class SpendCapReached(Refusal):
    """403 and not 402: a client that answers every 402 with a payment must not pay its way around a cap."""

    status, slug, title = 403, "spend-cap-reached", "The key's spend cap is reached"

    def __init__(self, verdict: Verdict, price: Price) -> None:
        assert verdict.obstacle in NAMES, "another refusal is not for a cap"
        cap, remaining = (to_text(one, caps.DECIMALS) for one in (verdict.cap, verdict.remaining))
        asked = f"{to_text(price.ceiling, price.asset.decimals)} {price.asset.symbol}"
        resets_at = midnight() if verdict.obstacle == "per_day" else None
        when = f"; it starts anew at {resets_at}" if resets_at else ""
        super().__init__(
            f"this call may cost {asked}, and this key may spend {cap} for {NAMES[verdict.obstacle]}, "
            f"of which {remaining} is left{when}"
        )
        self.members = {
            "cap": verdict.obstacle,
            "limit": cap,
            "remaining": remaining,
            "resets_at": resets_at,
        }

    def problem(self) -> Problem:
        return super().problem().model_copy(update=self.members)


def midnight() -> str:
    """The end of this UTC day."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return (today + timedelta(days=1)).isoformat().replace("+00:00", "Z")
