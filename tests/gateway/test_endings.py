"""Lines of calls that ended alike are cut once and filled in: what they say is what each alone would say."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import msgspec
import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.kit import ids
from gateway.kit.problem import NotFound, Refusal, Unavailable
from gateway.metering import endings
from gateway.metering.endings import Alike, Ended, Ending
from gateway.metering.lines import Lines
from gateway.metering.report import Reporter, known_of, line_of
from gateway.metering.watch import Known, Watch
from gateway.types import Asset, Caller, Head, Hold, Match, Rail, Receipt
from tests.gateway.routes import route

SECOND = 1_000_000_000
SINCE = 1_700_000_000 * SECOND
ASSET = Asset(UUID(int=9), "eip155:84532", "0x" + "1" * 40, "USDC", "USDC", "2", 6, "test")
CALLER = Caller(UUID(int=5), UUID(int=6), "live")
PAYERS = ("0x" + "a" * 40, "0x" + "b" * 40)


def held(rail: str, payer: str | None) -> Hold:
    return cast(Hold, SimpleNamespace(event=SimpleNamespace(rail=rail, payer=payer)))


def again(known: Known) -> Watch:
    """A call of a head that came before."""
    watch = Watch(ids.new(), "GET", "/publishers/weather/now", None)
    watch.recalled(Match(route(), None, None, "http://x"), CALLER, known, is_priced=True)
    return watch


def known_at(path: str) -> Known:
    return Known(known_of(Watch(ids.new(), "GET", path, None)))


def ended(watches: list[Watch], *moments: int) -> Ended:
    """Calls that ended alike, at these moments by their own clock."""
    first, stages = watches[0], watches[0].stages
    ending = Ending(Alike(stages, is_socket=False, is_failed=False), (), None, line_of(first))
    rows = []
    for watch, moment in zip(watches, moments, strict=True):
        assert watch.known is not None, "it came before"
        entered = [moment - 10_000 * back for back in reversed(range(len(stages) + 1))]
        rows.append((ending, watch.call_id, watch.known, watch.payer, entered))
    return endings.ended(ending.alike, rows, SINCE)


@pytest.mark.parametrize("path", ["/%s%d%%", '/"quoted"\\', "/\0\1\x1f", "/\udcff", "/ä€😀", "/{}{0}"])
@pytest.mark.parametrize("payers", [(None, None), PAYERS, (PAYERS[0], '"')])
def test_what_is_filled_in_is_what_each_line_alone_would_say(
    path: str, payers: tuple[str | None, str | None]
) -> None:
    watches = []
    for payer in payers:
        watches.append(again(known_at(path)))
        watches[-1].held(held("x402" if payer else "free", payer))
        watches[-1].status = 200
    # Over the end of a second, and at the beginning of one.
    calls = ended(watches, SECOND - 1, SECOND)
    written = [msgspec.json.decode(text) for text in endings.texts(calls)]
    alone = [msgspec.json.decode(msgspec.json.encode(line)) for line in endings.lines(calls)]
    assert [one["timestamp"] for one in written] == [
        "2023-11-14T22:13:20.999999Z", "2023-11-14T22:13:21.000000Z",
    ]  # fmt: skip
    assert [list(one) for one in written] == [list(one) for one in alone]
    for one, other in zip(written, alone, strict=True):
        one["timestamp"] = other["timestamp"] = None
        assert one == other
    assert [one.get("payer") for one in written] == list(payers)
    assert written[0]["stages_ms"] == {"limit": 0.01, "protect": 0.01}


def paid(watch: Watch, cost: int, rail: Rail, payer: str | None = None, status: int = 200) -> None:
    watch.limited(cast(Any, None))
    watch.held(held(rail, payer))
    watch.answered(Head(status, "", CIMultiDictProxy(CIMultiDict())))
    watch.settled(Receipt(watch.call_id, rail, cost, ASSET) if status < 400 else None)
    watch.status = status


def refused(watch: Watch, refusal: Refusal) -> None:
    watch.refusal, watch.status = refusal, refusal.status


def cut(watch: Watch) -> None:
    paid(watch, 2, "prepaid")
    watch.broken = "cut_short"


ENDS: list[tuple[Callable[[Watch], None], dict[str, Any]]] = [
    (lambda watch: paid(watch, 1, "prepaid"), {"outcome": "charged", "charged_atomic": "1"}),
    (lambda watch: paid(watch, 2, "prepaid"), {"outcome": "charged", "charged_atomic": "2"}),
    (lambda watch: paid(watch, 2, "x402", PAYERS[0]), {"rail": "x402", "payer": PAYERS[0]}),
    (lambda watch: paid(watch, 2, "x402", PAYERS[1]), {"rail": "x402", "payer": PAYERS[1]}),
    (lambda watch: paid(watch, 2, "prepaid", status=500), {"outcome": "upstream_refused", "status": 500}),
    (cut, {"event": "call.cut_short", "charged_atomic": "2"}),
    (lambda watch: refused(watch, NotFound("nobody")), {"problem": "not-found", "status": 404}),
    (lambda watch: refused(watch, Unavailable("away")), {"problem": "unavailable", "status": 503}),
    (lambda watch: None, {"event": "call.cancelled", "outcome": "abandoned"}),
]


async def test_calls_with_one_head_are_told_apart_by_how_they_ended() -> None:
    pieces: list[bytes] = []
    log = Lines(pieces.append)
    reporter = Reporter(log, log.add, lambda publisher_id, times: None)
    known, expected = known_at("/same"), {}
    for end, said in ENDS * 3:
        watch = again(known)
        end(watch)
        expected[str(watch.call_id)] = said
        reporter.end(watch)
    reporter.flush()
    log.flush()
    lines = [msgspec.json.decode(line) for line in b"".join(pieces).splitlines()]
    assert len(lines) == len(expected)
    for line in lines:
        said = expected[line["call_id"]]
        assert {name: line.get(name) for name in said} == said
        assert ("payer" in line, "problem" in line) == ("payer" in said, "problem" in said)
    # One each, whoever paid.
    assert len(reporter.endings) == len(ENDS) - 1
