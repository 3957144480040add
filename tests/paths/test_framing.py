"""What cannot be read in one way only is refused, and what is accepted is one upstream request."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.paths.conftest import Farebox
from tests.paths.framing import BAD, GOOD, Vector

PATH = "/publishers/shop"


@pytest.fixture
async def farebox_with_shop(farebox: Farebox) -> Farebox:
    await farebox.publish(price_per_call="0", endpoints=[])
    return farebox


@asynccontextmanager
async def connected(origin: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = origin.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()


async def send(origin: str, data: bytes) -> bytes:
    """All that comes back until the server closes, or until it has nothing to say for a while."""
    answer = b""
    async with connected(origin) as (reader, writer):
        writer.write(data)
        try:
            while more := await asyncio.wait_for(reader.read(65_536), 0.4):
                answer += more
        except (TimeoutError, ConnectionError):
            pass
    return answer


def statuses(answer: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.[01] ([0-9]{3}) ", answer)]


def written(vector: Vector) -> bytes:
    return vector.data.replace("{shop}", PATH).replace("{host}", "gateway").encode("latin-1")


async def test_each_accepted_request_is_exactly_one_upstream_request(farebox_with_shop: Farebox) -> None:
    farebox = farebox_with_shop
    assert len(GOOD) + len(BAD) >= 50
    wrong = []
    for vector in [*GOOD, *BAD]:
        before = len(farebox.upstream.seen)
        answer = await send(farebox.origin, written(vector))
        served = len(farebox.upstream.seen) - before
        expected = [vector.status] * (vector.served or 1)
        if (served, statuses(answer)) != (vector.served, expected):
            wrong.append((vector.name, served, answer[:300]))
        elif vector.status != 200 and b"application/problem+json" not in answer:
            wrong.append((f"{vector.name}: no problem", served, answer[:300]))
    assert not wrong, "\n".join(map(str, wrong))
