"""One scrape for all processes: each writes its numbers to files of its own, and this adds them up."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from control.supervisor.busiest import Busiest

# When a counter began is known from when its process did; the series would double their number.
disable_created_metrics()  # type: ignore[no-untyped-call]

PROCESSES = ("worker", "jobs", "pgproxy", "postgres", "valkey", "nursery")


class Metrics:
    """What the processes write to ``directory``, and how often one had to be started again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.registry = CollectorRegistry()
        processes = MultiProcessCollector(None, str(directory))  # type: ignore[no-untyped-call]
        self.registry.register(Busiest(processes))
        self.restarts = Counter(
            "farebox_process_restarts",
            "Processes that ended by themselves and were started again.",
            ["process"],
            registry=self.registry,
        )
        # From the start, or the first restart would not be a change of the number.
        for process in PROCESSES:
            self.restarts.labels(process)

    def count_end(self, name: str, pid: int) -> None:
        # Its counters stay, since what they counted has happened; its gauges spoke of a process that lived.
        mark_process_dead(pid, str(self.directory))  # type: ignore[no-untyped-call]
        self.restarts.labels(name.partition(" ")[0]).inc()

    def forget(self, name: str, pid: int) -> None:
        """It ended because another took its place: nothing to count."""
        mark_process_dead(pid, str(self.directory))  # type: ignore[no-untyped-call]

    async def show(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        body = await asyncio.to_thread(encode, self.registry)
        return web.Response(body=body, headers={"Content-Type": content_type})


@asynccontextmanager
async def serving(metrics: Metrics, listening: socket.socket) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_get("/metrics", metrics.show)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        yield
    finally:
        await runner.cleanup()
