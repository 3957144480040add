"""Rail ``free``: nothing is held, nothing is charged, and the call is written down."""

from dataclasses import dataclass

from gateway.ledger.usage import Usage
from gateway.metering.usage import Recorder, begun, ended
from gateway.tariffs import NOTHING_MEASURED, Used
from gateway.types import Caller, Head, Inbound, Match, Outcome, Receipt


@dataclass(slots=True)
class FreeHold:
    recorder: Recorder
    event: Usage
    is_open: bool = True
    is_steady: bool = True
    keeper: None = None
    metering: None = None

    async def post(self, head: Head, measured: Used = NOTHING_MEASURED) -> Receipt:
        self.record("free", head.status)
        return Receipt(self.event.call_id, "free", 0, None)

    async def void(self, outcome: Outcome, status: int | None) -> None:
        self.record(outcome, status)

    def record(self, outcome: Outcome, status: int | None) -> None:
        if not self.is_open:
            return
        self.is_open = False
        self.recorder.add(ended(self.event, outcome, status))


def hold(recorder: Recorder, inbound: Inbound, caller: Caller, match: Match) -> FreeHold:
    return FreeHold(recorder, begun(inbound, caller, match, "free"))
