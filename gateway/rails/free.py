"""Rail ``free``: nothing is held, nothing is charged, and the call is written down."""

from collections.abc import Mapping

from gateway.kit.values import dataclass
from gateway.metering.usage import Recorder
from gateway.tariffs import NOTHING_MEASURED, Used
from gateway.types import Caller, Head, Inbound, Match, Outcome, Rail, Receipt

NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Event:
    """Every free call begins alike."""

    rail: Rail = "free"
    payer: None = None


class FreeHold:
    event = Event()
    is_steady = True
    keeper = metering = None

    def __init__(self, recorder: Recorder, inbound: Inbound, caller: Caller, match: Match) -> None:
        self.recorder, self.inbound, self.caller, self.match = recorder, inbound, caller, match
        self.is_open = True

    async def post(self, head: Head, measured: Used = NOTHING_MEASURED) -> Receipt:
        self.record("free", head.status)
        return Receipt(self.inbound.call_id, "free", 0, None, NO_HEADERS)

    async def void(self, outcome: Outcome, status: int | None) -> None:
        self.record(outcome, status)

    def record(self, outcome: Outcome, status: int | None) -> None:
        if self.is_open:
            self.is_open = False
            self.recorder.add_free(self.inbound, self.caller, self.match, outcome, status)
