"""A TCP proxy that breaks what passes through it, in one way at a time, until it is healed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Fault: TypeAlias = Literal["latency", "reset", "half_close", "dropped_answer", "blackhole", "refused"]

LATENCY_SECONDS = 0.05
CHUNK_BYTES = 1 << 16


@dataclass(slots=True)
class FaultProxy:
    """Listens on ``port`` and passes everything on to ``target``: a (host, port) or the path of a socket."""

    target: tuple[str, int] | str
    port: int = 0
    fault: Fault | None = None
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    age: int = 0
    """Connections of an earlier one are lost: open, and nothing comes through."""

    def lose_all(self) -> None:
        """What is connected now falls silent for good, as behind a firewall that forgot it; new ones pass."""
        self.age += 1

    async def heal(self) -> None:
        """Pass everything on again; connections that the fault spoilt are gone."""
        self.fault = None
        self.cut()

    def cut(self) -> None:
        for writer in list(self.writers):
            writer.transport.abort()

    def break_by(self, fault: Fault) -> None:
        self.fault = fault
        if fault == "reset":
            self.cut()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        try:
            if self.fault in ("refused", "reset"):
                writer.transport.abort()
                return
            there, back = await self.dial()
            self.writers.add(back)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self.pass_on(reader, back, self.age, is_answer=False))
                    group.create_task(self.pass_on(there, writer, self.age, is_answer=True))
            finally:
                self.writers.discard(back)
                back.transport.abort()
        except* (OSError, asyncio.IncompleteReadError):
            pass  # One side is gone, and the other will notice.
        finally:
            self.writers.discard(writer)
            writer.transport.abort()

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.target, str):
            return await asyncio.open_unix_connection(self.target)
        return await asyncio.open_connection(*self.target)

    async def pass_on(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, age: int, *, is_answer: bool
    ) -> None:
        while chunk := await source.read(CHUNK_BYTES):
            if age < self.age:
                continue
            if self.fault == "latency":
                await asyncio.sleep(LATENCY_SECONDS)
            elif self.fault == "blackhole" or (self.fault == "dropped_answer" and is_answer):
                continue
            elif self.fault == "half_close" and is_answer:
                sink.write(chunk[: len(chunk) // 2])
                await sink.drain()
                break
            sink.write(chunk)
            await sink.drain()
        with suppress(OSError):
            sink.write_eof()


@asynccontextmanager
async def between(target: tuple[str, int] | str) -> AsyncIterator[FaultProxy]:
    proxy = FaultProxy(target)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
