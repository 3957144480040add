"""The log of calls: whole lines, in pieces that share a pipe."""

import asyncio
import json
import os
from uuid import UUID

from gateway.metering import lines
from gateway.metering.lines import FLUSH_SECONDS, PIECE_BYTES_MAX, WAITING_MAX, Lines


async def test_lines_are_written_together_a_moment_later() -> None:
    pieces: list[bytes] = []
    log = Lines(pieces.append)
    log.add({"call_id": UUID(int=1), "path": "/ä"})
    log.add({"n": 2})
    assert pieces == []
    await asyncio.sleep(2 * FLUSH_SECONDS)
    assert [json.loads(line) for line in b"".join(pieces).splitlines()] == [
        {"call_id": str(UUID(int=1)), "path": "/ä"},
        {"n": 2},
    ]
    assert len(pieces) == 1


async def test_a_piece_is_whole_lines_and_fits_a_pipe() -> None:
    pieces: list[bytes] = []
    log = Lines(pieces.append)
    for number in range(WAITING_MAX):
        log.add({"n": number, "filler": "x" * (number % 1500)})
    # A crowd does not wait for the clock.
    assert sum(piece.count(b"\n") for piece in pieces) == WAITING_MAX
    assert all(piece.endswith(b"\n") and len(piece) <= PIECE_BYTES_MAX for piece in pieces)
    assert not log.flushing.is_set


async def test_what_waits_is_written_when_the_process_ends() -> None:
    pieces: list[bytes] = []
    log = Lines(pieces.append)
    log.add({"n": 1})
    log.flush()
    log.flush()
    assert pieces == [b'{"n":1}\n']


def test_a_standard_error_that_is_gone_stops_nobody() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        lines.write_all(b"nobody hears this\n", writing)
    finally:
        os.close(writing)
