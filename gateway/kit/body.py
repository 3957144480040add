"""A request's body: streamed once, or read to its end and hashed before anything else happens."""

import hashlib
import tempfile
from collections.abc import AsyncIterator
from typing import IO

from aiohttp import HttpVersion11, web

from gateway.front.arrived import Arrived
from gateway.kit.problem import Refusal

# Kept in memory up to here; a larger body that must be hashed first goes to disk.
MEMORY_BYTES_MAX = 1 << 20
CHUNK_BYTES = 1 << 16


class BodyTooLarge(Refusal):
    status, slug, title = 413, "body-too-large", "Request body too large"


class RequestBroken(Refusal):
    status, slug, title = 400, "request-incomplete", "Request incomplete"


class RequestBody:
    """Implements ``gateway.types.Body`` on aiohttp's stream. Close it when the call is over."""

    def __init__(self, request: Arrived, bytes_max: int) -> None:
        self.request = request
        self.bytes_max = bytes_max
        self.kept: IO[bytes] | None = None
        self.sha256 = b""
        declared = request.content_length
        self.length = declared if declared is not None else (None if request.can_read_body else 0)
        if declared is not None and declared > bytes_max:
            raise BodyTooLarge(f"a body may have {bytes_max} bytes")

    @property
    def is_whole(self) -> bool:
        return self.length == 0 or self.kept is not None or self.request.content.is_eof()

    async def digest(self) -> bytes:
        if self.kept is None:
            # Closed by ``close``: it is read again after this function returns.
            self.kept = tempfile.SpooledTemporaryFile(MEMORY_BYTES_MAX)  # noqa: SIM115
            hashed = hashlib.sha256()
            async for chunk in self.arriving():
                hashed.update(chunk)
                self.kept.write(chunk)
            self.length = self.kept.tell()
            self.sha256 = hashed.digest()
        return self.sha256

    async def chunks(self) -> AsyncIterator[bytes]:
        if self.kept is None:
            async for chunk in self.arriving():
                yield chunk
            return
        self.kept.seek(0)
        while chunk := self.kept.read(CHUNK_BYTES):
            yield chunk

    async def arriving(self) -> AsyncIterator[bytes]:
        if self.length == 0:
            return
        transport = self.request.transport
        is_asked = self.request.headers.get("Expect", "").lower() == "100-continue"
        if is_asked and self.request.version >= HttpVersion11 and transport is not None:
            # Only now: a client that asks first is not made to send a body that would be refused. Not before
            # HTTP/1.1, which knows no such answer: what comes next would be taken for the next one's.
            transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        total = 0
        try:
            async for chunk in self.request.content.iter_any():
                total += len(chunk)
                if total > self.bytes_max:
                    raise BodyTooLarge(f"a body may have {self.bytes_max} bytes")
                yield chunk
        except (web.RequestPayloadError, OSError) as error:
            # Its sender hung up. Nobody hears this, but it is no bug either.
            raise RequestBroken(
                "the request's body ended before it was complete; nothing was charged"
            ) from error

    def close(self) -> None:
        if self.kept is not None:
            self.kept.close()


class NoBody:
    """Of a request that has none, and so of all of them."""

    length = 0
    is_whole = True
    sha256 = hashlib.sha256().digest()

    async def digest(self) -> bytes:
        return self.sha256

    async def chunks(self) -> AsyncIterator[bytes]:
        none: tuple[bytes, ...] = ()
        for chunk in none:
            yield chunk

    def close(self) -> None:
        """Nothing was kept."""


NO_BODY = NoBody()
