"""The provider of an installation that has none: whatever is asked, it says how to have one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from control.computes.provider import (
    Address,
    At,
    Capabilities,
    ComputeEvent,
    ComputeSpec,
    ComputeState,
    Resolved,
    StopMode,
    TimelineInfo,
    TimelineSpec,
)
from gateway.kit.problem import Unavailable
from gateway.kit.sql import Connection


def refused() -> Unavailable:
    return Unavailable(
        "nothing runs databases here: start farebox computes, and set FAREBOX_COMPUTES__URL to its address"
    )


class NoProvider:
    async def capabilities(self) -> Capabilities:
        raise refused()

    async def create_timeline(
        self, timeline: str, spec: TimelineSpec, source: tuple[str, At] | None = None
    ) -> TimelineInfo:
        raise refused()

    async def delete_timeline(self, timeline: str) -> None:
        raise refused()

    async def archive(self, timeline: str) -> None:
        raise refused()

    async def unarchive(self, timeline: str) -> None:
        raise refused()

    async def stat(self, timeline: str) -> TimelineInfo:
        raise refused()

    async def set_retention(self, timeline: str, seconds: int) -> None:
        raise refused()

    async def resolve(self, timeline: str, at: At) -> Resolved:
        raise refused()

    async def reach(self, timeline: str, at: At) -> Resolved:
        raise refused()

    async def start(self, endpoint: str, timeline: str, spec: ComputeSpec) -> Address:
        raise refused()

    async def stop(self, endpoint: str, mode: StopMode = "fast") -> None:
        raise refused()

    async def restart(self, endpoint: str, spec: ComputeSpec) -> Address:
        raise refused()

    async def status(self, endpoint: str) -> ComputeState:
        raise refused()

    @asynccontextmanager
    async def session(self, endpoint: str) -> AsyncIterator[None]:
        raise refused()
        yield

    async def slots(self, timeline: str) -> tuple[str, ...]:
        raise refused()

    async def limit_disk(self, project: str, size: int | None) -> None:
        raise refused()

    def traffic(self, endpoint: str, sent: int = 0, received: int = 0) -> None:
        raise refused()

    async def events(self, after: str | None = None) -> AsyncIterator[ComputeEvent]:
        raise refused()
        yield

    async def state(self) -> str:
        return "ok: nothing runs databases here"

    async def admin(self, endpoint: str, database: str = "postgres") -> Connection:
        raise refused()
