"""What is taken for a request is what another strict reader takes for the same one, wherever it is cut."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.gateway.readers import Ours, Request, of_h11
from tests.paths.framing import BAD, GOOD, Vector

HOST = b"Host: a\r\n"
GET = b"GET /p/x HTTP/1.1\r\n"
POST = b"POST /p/y?z=1 HTTP/1.1\r\n"
LENGTH = b"Content-Length: 4\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
SOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"

PIECES = st.sampled_from(
    [
        GET, POST, b"HEAD /p/x HTTP/1.1\r\n", b"GET /other HTTP/1.1\r\n", b"POST /other HTTP/1.0\r\n", HOST,
        LENGTH, b"Content-Length: 0\r\n", b"Content-Length: 04\r\n", b"Content-Length: 4, 4\r\n",
        b"content-length:4\r\n", b"Content-Length: +4\r\n", b"Content-Length: 4\r\n Content-Length: 5\r\n",
        CHUNKED, b"Transfer-Encoding: x\r\n", b"Transfer-Encoding:\tCHUNKED \r\n",
        b"Transfer-Encoding: chunked, chunked\r\n", b"Connection: close\r\n", b"Connection: keep-alive\r\n",
        b"Expect: 100-continue\r\n", b"X-A: \xff\xfe\r\n", b" folded\r\n", b"X-B : c\r\n", b"X-C:\r\n",
        UPGRADE, SOCKET, b"\r\n", b"\n", b"\r", b"body", b"4\r\nbody\r\n", b"4;a=b\r\nbody\r\n",
        b"04\r\nbody\r\n", b"2\r\nbody\r\n", b"0\r\n", b"0\r\n\r\n", 
        b"X-T: 1\r\n", b"\x00", b" ", b"\t", b";", b":", b"#",
        GET + HOST + b"\r\n", POST + HOST + LENGTH + b"\r\nbody", POST + HOST + CHUNKED + b"\r\n",
    ]
)  # fmt: skip


def written(vector: Vector) -> bytes:
    return vector.data.replace("{shop}", "/p").replace("{host}", "a").encode("latin-1")


WHOLE = st.sampled_from([written(one) for one in [*GOOD, *BAD] if len(one.data) < 1000])


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = draw(WHOLE) + draw(st.one_of(st.just(b""), WHOLE))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        gone = draw(st.integers(0, 3))
        data = data[:at] + draw(st.one_of(PIECES, st.binary(max_size=2))) + data[at + gone :]
    return data


@st.composite
def cut(draw: st.DrawFn) -> list[bytes]:
    data = draw(st.one_of(st.lists(PIECES, max_size=12).map(b"".join), mutated()))
    edges = [0, *sorted(draw(st.lists(st.integers(0, len(data)), max_size=3))), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges) if begin < end]


class Runner:
    """One front for all examples, so that each meets what it remembers of those before."""

    def __init__(self, loop: asyncio.Runner) -> None:
        self.loop = loop
        self.ours = loop.run(self.make())

    async def make(self) -> Ours:
        return Ours()

    def served(self, pieces: Sequence[bytes]) -> list[Request]:
        served, answer = self.loop.run(self.ours.read(pieces))
        # Each has an answer.
        assert answer.count(b"HTTP/1.") >= len(served), (pieces, answer)
        return served

    def agree(self, pieces: Sequence[bytes]) -> None:
        served, theirs = self.served(pieces), of_h11(b"".join(pieces))
        assert served == theirs[: len(served)], (pieces, served, theirs)


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with asyncio.Runner() as loop:
        yield Runner(loop)


@pytest.mark.parametrize("vector", GOOD, ids=[one.name for one in GOOD])
def test_both_read_what_is_good(runner: Runner, vector: Vector) -> None:
    data = written(vector)
    whole = runner.served([data])
    assert len(whole) == vector.served
    assert whole == of_h11(data)
    assert whole == runner.served([bytes([one]) for one in data])


def test_a_trailer_is_no_header_of_the_next_request(runner: Runner) -> None:
    """Whoever shares a connection with others, by a balancer say, would be given theirs."""
    with_trailer = POST + HOST + CHUNKED + b"\r\n0\r\nAuthorization: Bearer x\r\n\r\n"
    for pieces in ([with_trailer + GET + HOST + b"\r\n"], [with_trailer, GET + HOST + b"\r\n"]):
        assert [one.fields for one in runner.served(pieces)] == [((b"host", b"a"),)] * 2


def test_an_upgrade_that_is_not_made_changes_nothing(runner: Runner) -> None:
    """What comes behind it are requests, however it is cut: curl offers h2c with each one."""
    next_one = POST + HOST + LENGTH + b"\r\nbody"
    for upgrade in (UPGRADE, SOCKET):
        first = GET + HOST + upgrade + b"\r\n"
        for pieces in ([first + next_one], [first, next_one], [first + next_one[:-2], next_one[-2:]]):
            assert [one.body for one in runner.served(pieces)] == [b"", b"body"]


FRAMED_BEHIND = [POST + HOST + CHUNKED + b"\r\n4\r\nbody\r\n0\r\nTransfer-Encoding: x\r\n\r\n"]
SOCKET_WITH_A_BODY = [GET + HOST + SOCKET + LENGTH + b"\r\nbody", GET + HOST + b"\r\n"]


@given(cut())
@example([GET + HOST + b"\r\n"] * 3)
@example(SOCKET_WITH_A_BODY)
@example(FRAMED_BEHIND)
@settings(max_examples=1500, deadline=None, derandomize=True)
def test_nothing_is_served_that_h11_reads_differently(runner: Runner, pieces: list[bytes]) -> None:
    runner.agree(pieces)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@given(cut())
@settings(max_examples=100_000, deadline=None)
def test_nothing_is_served_that_h11_reads_differently_for_long(runner: Runner, pieces: list[bytes]) -> None:
    runner.agree(pieces)
