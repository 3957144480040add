"""Writes that wait for others of the same turn."""

import asyncio
from dataclasses import dataclass, field
from typing import cast

from gateway.kit.outbox import Outbox


@dataclass(eq=False)
class Wire:
    written: list[bytes]
    name: bytes = b""
    is_over: bool = field(default=False)

    def write(self, data: bytes) -> None:
        self.written.append(self.name + data)

    def is_closing(self) -> bool:
        return self.is_over


def transport(wire: Wire) -> asyncio.Transport:
    return cast(asyncio.Transport, wire)


async def test_what_is_said_in_one_turn_is_written_in_its_order_before_what_is_asked_for_later() -> None:
    written: list[bytes] = []
    outbox, loop = Outbox(asyncio.get_running_loop()), asyncio.get_running_loop()
    one, two = transport(Wire(written, b"one ")), transport(Wire(written, b"two "))
    for at, data in ((one, b"1"), (two, b"2"), (one, b"3")):
        outbox.put(at, data, 2)
    loop.call_soon(written.append, b"later")
    assert written == []
    await asyncio.sleep(0)
    assert written == [b"one 1", b"two 2", b"one 3", b"later"]
    outbox.put(two, b"4", 2)
    await asyncio.sleep(0)
    assert written[4:] == [b"two 4"]


async def test_who_is_alone_is_not_kept() -> None:
    wire = Wire([])
    Outbox(asyncio.get_running_loop()).put(transport(wire), b"1", 1)
    assert wire.written == [b"1"]


async def test_what_has_to_go_first_can_be_sent_and_goes_once() -> None:
    wire, outbox = Wire([]), Outbox(asyncio.get_running_loop())
    outbox.put(transport(wire), b"1", 2)
    outbox.send()
    wire.is_over = True
    outbox.put(transport(wire), b"2", 2)
    await asyncio.sleep(0)
    assert wire.written == [b"1"]


async def test_who_is_left_alone_is_told_in_the_same_order() -> None:
    written: list[bytes] = []
    outbox, wire = Outbox(asyncio.get_running_loop()), transport(Wire(written))
    outbox.put(wire, b"1", 2)
    outbox.put(wire, b"2", 1)
    assert written == [b"1", b"2"]
    await asyncio.sleep(0)
    assert written == [b"1", b"2"]
