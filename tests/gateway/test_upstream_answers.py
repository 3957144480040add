"""What is taken for an answer is what another strict reader takes for the same one."""

from collections.abc import Iterable
from itertools import pairwise

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.upstreams.answer import Improper, Reading
from gateway.upstreams.said import whole

OK = b"HTTP/1.1 200 OK\r\n"
NONE = b"Content-Length: 0\r\n\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def read(method: str, *pieces: bytes, is_ended: bool = True) -> tuple[Reading, bytes]:
    reading = Reading(method)
    body = b"".join([reading.feed(piece) for piece in pieces])
    if is_ended and not reading.is_done:
        reading.feed_eof()
    return reading, body


GOOD = [
    (OK + b"Content-Length: 4\r\n\r\nbody", b"body", True),
    (OK + NONE, b"", True),
    (OK + b"content-length:4\r\nConnection: keep-alive\r\n\r\nbody", b"body", True),
    (OK + b"Content-Length: 4\r\nConnection: x, Close\r\n\r\nbody", b"body", False),
    # Until its end, which cannot be told from a connection that broke.
    (OK + b"\r\nbody", b"body", False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\nConnection: keep-alive\r\n\r\nbody", b"body", False),
    (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", b"", True),
    (b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n", b"", True),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n", b"", True),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + OK + NONE, b"", True),
    (CHUNKED + b"4\r\nbody\r\n0\r\n\r\n", b"body", True),
    (CHUNKED + b"00000002;a=b\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n", b"body", True),
    (CHUNKED + b"4\r\nbody\r\n0\r\nX-T: 1\r\nContent-Length: 9\r\n\r\n", b"body", True),
]  # fmt: skip

BAD = [
    b"HTTP/2 200 OK\r\n\r\n",
    b"HTTP/1.1 20 OK\r\n\r\n",
    b"HTTP/1.1  200 OK\r\n\r\n",
    b"ICY 200 OK\r\n\r\n",
    b"\r\n" + OK + b"Content-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    b"HTTP/1.1 200 OK\r\nX: 1\nY: 2\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 9 + OK + b"\r\n",
    OK + b"X: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
    OK + b"X : a\r\nContent-Length: 0\r\n\r\n",
    OK + b": a\r\nContent-Length: 0\r\n\r\n",
    OK + b"X: a\x00b\r\nContent-Length: 0\r\n\r\n",
    OK + b"X: a\rb\r\nContent-Length: 0\r\n\r\n",
    OK + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nbody",
    OK + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody",
    OK + b"Content-Length: 4, 4\r\n\r\nbody",
    OK + b"Content-Length: +4\r\n\r\nbody",
    OK + b"Content-Length: 0x4\r\n\r\nbody",
    OK + b"Content-Length: \r\n\r\n",
    OK + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: identity\r\n\r\n",
    OK.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    CHUNKED + b"5\r\nbody\r\n0\r\n\r\n",
    CHUNKED + b"3\r\nbody\r\n0\r\n\r\n",
    CHUNKED + b"4\nbody\n0\n\n",
    CHUNKED + b"-4\r\nbody\r\n0\r\n\r\n",
    CHUNKED + b"0x4\r\nbody\r\n0\r\n\r\n",
    CHUNKED + b"4 \r\nbody\r\n0\r\n\r\n",
    CHUNKED + b"\r\nbody\r\n0\r\n\r\n",
    CHUNKED + b"fffffffffffffffff\r\nbody",
    CHUNKED + b"4\r\nbody\r\n0\r\n folded\r\n\r\n",
    CHUNKED + b"4;" + b"x" * 5000,
    CHUNKED + b"0\r\n" + b"X-T: 1234567890\r\n" * 2000 + b"\r\n",
    OK + b"X: y\r\n" * 200 + b"\r\n",
    OK + b"X: " + b"y" * 70_000,
    # Half an answer.
    OK + b"Content-Length: 4\r\n\r\nbod",
    CHUNKED + b"4\r\nbody\r\n",
    CHUNKED + b"4\r\nbody\r\n0\r\n",
    OK + b"Content-Length: 4\r\n",
]


@pytest.mark.parametrize(("data", "expected", "is_kept"), GOOD)
def test_an_answer_is_read_however_it_is_cut(data: bytes, expected: bytes, is_kept: bool) -> None:
    for pieces in ([data], [bytes([one]) for one in data], [data[:20], data[20:50], data[50:]]):
        reading, body = read("GET", *pieces)
        assert (body, reading.is_kept, reading.is_surplus) == (expected, is_kept, False)


@pytest.mark.parametrize("data", BAD)
def test_what_is_ambiguous_or_incomplete_is_no_answer(data: bytes) -> None:
    for pieces in ([data], [bytes([one]) for one in data]):
        with pytest.raises(Improper):
            read("GET", *pieces)


@pytest.mark.parametrize("answer", [OK + b"Content-Length: 1\r\n\r\nx", CHUNKED + b"0\r\n\r\n"])
def test_more_than_the_answer_is_noticed(answer: bytes) -> None:
    for pieces in ([answer + OK], [answer, OK]):
        assert read("GET", *pieces)[0].is_surplus


def test_chunks_are_the_same_wherever_they_are_cut() -> None:
    chunks = (
        b"1\r\na\r\n" * 3 + b"2;x=1\r\nbc\r\n" + b"00a\r\n0123456\r\n9\r\n" + b"1\r\nd\r\n0\r\nX-T: 1\r\n\r\n"
    )
    for first in range(len(chunks) + 1):
        for second in range(first, len(chunks) + 1):
            pieces = chunks[:first], chunks[first:second], chunks[second:]
            reading, body = read("GET", CHUNKED, *pieces)
            assert (reading.is_done, reading.is_surplus, body) == (True, False, b"aaabc0123456\r\n9d"), pieces


@pytest.mark.parametrize(
    "chunk",
    [b"1\r\nab\r\n", b"2\r\na\r\n1\r\nb\r\n", b"1\r\na\n\r", b"0x1\r\na\r\n", b"_1\r\na\r\n", b"+1\r\na\r\n"],
)
def test_a_chunk_that_is_wrong_is_found_behind_many_that_are_right(chunk: bytes) -> None:
    with pytest.raises(Improper):
        read("GET", CHUNKED + b"1\r\na\r\n" * 50 + chunk + b"0\r\n\r\n", is_ended=True)


def test_an_answer_to_head_has_no_body() -> None:
    for framing in (b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""):
        reading, body = read("HEAD", OK + framing + b"\r\n", is_ended=False)
        assert (reading.is_done, reading.is_kept, body) == (True, True, b"")


Fields = list[tuple[str, str]]


def of_h11(method: str, data: bytes) -> tuple[int, Fields, bytes, Fields, bool] | None:
    """The final answer as h11 reads it, with its trailers, and whether the connection goes on; None when it
    reads none.
    """
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    connection.receive_data(b"")
    found: tuple[int, Fields] | None = None
    body = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                found = event.status_code, decoded(event.headers)
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                is_kept = connection.their_state is h11.DONE
                return None if found is None else (*found, body, decoded(event.headers), is_kept)
            elif not isinstance(event, h11.InformationalResponse):
                return None
    except h11.RemoteProtocolError:
        return None


PIECES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 204 x\r\n", b"HTTP/1.1 304\r\n",
        b"HTTP/1.1 100 C\r\n\r\n", b"Content-Length: 4\r\n", b"Content-Length: 0\r\n",
        b"Content-Length: 04\r\n", b"Content-Length: 4,4\r\n",
        b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: x\r\n",
        b"Transfer-Encoding:\tChunked \r\n", b"Connection: close\r\n", b"X-A: \xff\xfe\r\n", b" folded\r\n",
        b"X-B : c\r\n", b"X-C:\r\n", b"\r\n", b"\n", b"\r", b"body", b"4\r\nbody\r\n", b"4;a=b\r\nbody\r\n",
        b"04\r\nbody\r\n", b"2\r\nbody\r\n", b"0\r\n", b"0\r\n\r\n", b"X-T: 1\r\n", b"\x00", b" ", b"\t",
        b";",
    ]
)  # fmt: skip
WHOLE = st.sampled_from([data for data, _, _ in GOOD] + BAD[:40])


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = draw(WHOLE)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        gone = draw(st.integers(0, 3))
        data = data[:at] + draw(st.one_of(PIECES, st.binary(max_size=2))) + data[at + gone :]
    return data


ANSWERS = st.one_of(st.lists(PIECES, max_size=8).map(b"".join), mutated())
METHODS = st.sampled_from(["GET", "HEAD"])
CUTS = st.lists(st.floats(0, 1), max_size=3)


@settings(max_examples=2000, deadline=None, derandomize=True)
@given(ANSWERS, METHODS, CUTS)
@example(OK + b"Content-Length: 4\r\n\r\nbody", "GET", [])
def test_nothing_is_passed_on_that_h11_reads_differently(data: bytes, method: str, cuts: list[float]) -> None:
    agree(data, method, cuts)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@settings(max_examples=100_000, deadline=None)
@given(ANSWERS, METHODS, CUTS)
def test_nothing_is_passed_on_that_h11_reads_differently_for_long(
    data: bytes, method: str, cuts: list[float]
) -> None:
    agree(data, method, cuts)


def agree(data: bytes, method: str, cuts: list[float]) -> None:
    edges = [0, *sorted(int(share * len(data)) for share in cuts), len(data)]
    try:
        reading, body = read(method, *(data[begin:end] for begin, end in pairwise(edges)))
    except Improper:
        # What is taken for a whole answer at a glance is one.
        assert method == "HEAD" or whole(data) is None, data
        return
    if reading.is_surplus:
        return
    if method == "GET" and (said := whole(data)) is not None:
        assert (said.status, data[-said.length :]) == (reading.status, body)
    theirs = of_h11(method, data)
    assert theirs is not None, data
    fields = [(name.lower(), as_sent(value)) for name, value in reading.headers.items()]
    assert (reading.status, unframed(fields), body) == (theirs[0], unframed(theirs[1]), theirs[2])
    assert [(name.lower(), as_sent(value)) for name, value in reading.trailers] == theirs[3]
    # Where the next answer begins, if there may be one.
    assert theirs[4] or not reading.is_kept


def decoded(fields: Iterable[tuple[bytes, bytes]]) -> Fields:
    return [(name.decode(), value.decode("latin-1")) for name, value in fields]


def as_sent(value: str) -> str:
    return value.encode(errors="surrogateescape").decode("latin-1")


def unframed(fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Without what h11 writes in its own way."""
    return [one for one in fields if one[0] not in ("content-length", "transfer-encoding")]
