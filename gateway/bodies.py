"""What a stage may do with a request's body."""

from collections.abc import AsyncIterator
from typing import Protocol


class Body(Protocol):
    """A request's body: read once as it arrives, or hashed first and then read as often as needed."""

    @property
    def length(self) -> int | None:
        """Bytes, 0 for no body at all, None when the client sends chunks."""

    def here(self) -> bytes | None:
        """All of it, where it came with the head; None where it has to be waited for, or read again."""

    async def digest(self) -> bytes:
        """Read all of it, keep it, and return its SHA-256."""

    def chunks(self) -> AsyncIterator[bytes]: ...

    @property
    def is_whole(self) -> bool:
        """Whether its sender has sent all of it."""

    def close(self) -> None:
        """Forget what was kept."""
