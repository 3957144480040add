"""What the planner expects, read from what EXPLAIN says as JSON."""

from typing import Annotated

import msgspec

from gateway.upstreams.postgres_refusals import lost


class Plan(msgspec.Struct):
    row_count: Annotated[int, msgspec.Meta(ge=0)] = msgspec.field(name="Plan Rows")


class Planned(msgspec.Struct):
    plan: Plan = msgspec.field(name="Plan")


class Row(msgspec.Struct):
    plans: Annotated[list[Planned], msgspec.Meta(min_length=1)] = msgspec.field(name="QUERY PLAN")


class Result(msgspec.Struct):
    rows: Annotated[list[Row], msgspec.Meta(min_length=1)]


DECODER = msgspec.json.Decoder(Result)


def rows_of(content: bytes) -> int:
    """Refused like a lost answer when it is none: whoever runs the server may say anything."""
    try:
        return DECODER.decode(content).rows[0].plans[0].plan.row_count
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise lost() from None
