"""A request's body: streamed once, or read to its end and hashed before anything else happens."""

import hashlib
import tempfile
from collections.abc import AsyncIterator
from typing import IO

from aiohttp import HttpVersion11, web

from gateway.bodies import Body
from gateway.front.arrived import Arrived
from gateway.kit.problem import Refusal

# Kept in memory up to here; a larger body that must be hashed first goes to disk.
MEMORY_BYTES_MAX = 1 << 20
CHUNK_BYTES = 1 << 16


class BodyTooLarge(Refusal):
    status, slug, title = 413, "body-too-large", "Request body too large"


class RequestBroken(Refusal):
    status, slug, title = 400, "request-incomplete", "Request incomplete"


def body_of(request: Arrived, bytes_max: int) -> Body:
    if request.content_length == 0:
        return NO_BODY
    if not request.body:
        return RequestBody(request, bytes_max)
    if len(request.body) > bytes_max:
        raise BodyTooLarge(f"a body may have {bytes_max} bytes")
    return HereBody(request.body)


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

    def here(self) -> bytes | None:
        return b"" if self.length == 0 else None

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


class HereBody:
    """Of a request that is here in one piece."""

    is_whole = True

    def __init__(self, data: bytes) -> None:
        self.data, self.length = data, len(data)

    def here(self) -> bytes:
        return self.data

    async def digest(self) -> bytes:
        return hashlib.sha256(self.data).digest()

    async def chunks(self) -> AsyncIterator[bytes]:
        if self.data:
            yield self.data

    def close(self) -> None:
        """It is in memory."""


# Of a request that has none, and so of all of them.
NO_BODY = HereBody(b"")
