"""The bench measures what it says; how fast anything is, no test asserts."""

import asyncio
import sys
from collections.abc import Callable
from itertools import repeat
from pathlib import Path

import pytest

from bench.__main__ import GROUPS
from bench.floors import FLOORS, PREPAID, Floor, verdict
from bench.load import Measured, length, load, request
from bench.others import PLAIN
from bench.report import p99, per_second
from bench.servers import ANSWER, Upstream

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("received", "end"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 40),
        (b"HTTP/1.1 200 OK\r\ncontent-length:2\r\n\r\nokHTTP", 39),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 59),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", None),
        (b"HTTP/1.1 200 OK\r\nContent-Le", None),
    ],
)
def test_the_end_of_an_answer_is_found(received: bytes, end: int | None) -> None:
    assert length(received) == end


async def test_each_request_is_answered_once_and_no_more_are_sent_than_there_are() -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        few = await load(port, iter([request("GET", "/")] * 100), connections=4, seconds=5)
        timed = await load(port, repeat(request("GET", "/")), connections=4, seconds=0.1)
    assert (few.statuses, few.broken, len(few.latencies)) == ({b"200": 100}, 0, 100)
    assert few.seconds < 5
    assert timed.broken == 0
    assert len(timed.latencies) > 4
    assert len(ANSWER) > 1024


async def test_every_target_answers_what_it_is_asked() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench", "--rounds", "1", "--seconds", "0.1", "--only", "Farebox", "upstream",
        "--connections", "16", "64",
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, _ = await asyncio.wait_for(process.communicate(), 240)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0
    measured, _, kept = out.decode().partition("| what |")
    rows = [line.strip("| ").split(" | ") for line in measured.splitlines() if line.startswith("| ")][1:]
    names = {row[0] for row in rows}
    assert {
        "upstream, direct",
        "plain aiohttp proxy",
        "Farebox, prepaid",
        "Farebox, x402 on stub chain",
        "Farebox, x402 by remote facilitator",
        "Farebox, free, 1 MiB",
    } <= names
    assert {row[0]: row[-1] for row in rows if row[-1] != "0"} == {}
    assert f"| {PREPAID}, c=64, of {PLAIN} |" in kept


def test_what_a_floor_compares_is_measured() -> None:
    measured = {(name, connections) for connections, names in GROUPS.items() for name in names}
    for floor in FLOORS:
        assert {(floor.mine, floor.connections), (floor.theirs, floor.connections)} <= measured


@pytest.mark.parametrize(
    ("of", "ratio", "told"),
    [
        (per_second, 9, "reaches the aim"),
        (per_second, 5, "holds"),
        (per_second, 4.9, "falls short"),
        # A latency is better the lower it is.
        (p99, 4.9, "reaches the aim"),
        (p99, 5.1, "falls short"),
    ],
)
def test_a_floor_says_whether_it_holds(of: Callable[[Measured], float], ratio: float, told: str) -> None:
    assert verdict(Floor("mine", "theirs", 64, 5, 9 if of is per_second else 5, of), [ratio]) == told


async def test_what_is_sent_behind_an_answer_is_no_answer() -> None:
    class Generous(Upstream):
        def data_received(self, data: bytes) -> None:
            self.transport.write(ANSWER + b"more")

    server = await asyncio.get_running_loop().create_server(Generous, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        found = await load(port, iter([request("GET", "/")] * 3), connections=1, seconds=5)
    assert (found.statuses, found.broken) == ({b"200": 3}, 3)
