"""``farebox up`` with small stand-ins for the servers: ``python supervised.py up DIRECTORY [PLAN]``.

As ``python supervised.py child ROLE …`` it is the stand-in: a server that tells who it is, or a job that
waits.
"""

import asyncio
import signal
import sys
from dataclasses import replace
from pathlib import Path

from aiohttp import web
from prometheus_client import Counter

from config import logging, settings
from control.cli.errors import speak_plainly
from control.supervisor import contract, ports, up, workers
from gateway.kit.sql import Pool

# How long the stand-ins that ignore the signal are waited for, instead of the twenty seconds of a real one.
IGNORED_SECONDS = 2.0
CALLS = Counter("stand_in_calls", "Calls that were answered.")


async def answer(request: web.Request) -> web.Response:
    await asyncio.sleep(float(request.query.get("seconds", 0)))
    CALLS.inc()
    mine = settings.load()
    assert mine.postgres.dsn is not None
    assert mine.redis.url is not None
    return web.json_response(
        {
            "dsn": mine.postgres.dsn.get_secret_value(),
            "redis": mine.redis.url.get_secret_value(),
            "keys": [key.get_secret_value() for key in mine.secrets.keys],
            "public_url": mine.public_url,
            "roles": sys.argv[2:],
        }
    )


async def work(roles: list[str]) -> None:
    if roles in (["worker"], ["computes"], ["pgproxy"]):
        contract.tell_ready()
        await asyncio.Event().wait()
    mine = settings.load()
    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, shutdown_timeout=workers.DRAIN_SECONDS)
    await runner.setup()
    try:
        await web.SockSite(runner, ports.join(mine.listen.host, mine.listen.port)).start()
        contract.tell_ready()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


async def refuse(roles: list[str]) -> None:
    sys.exit("the stand-in does not want to start")


async def ignore_signals(roles: list[str]) -> None:
    asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    contract.tell_ready()
    await asyncio.Event().wait()


BEHAVIOURS = {"child": work, "refuse": refuse, "ignore": ignore_signals}


async def ensure_operator(pool: Pool) -> list[str]:
    """A key for whoever finds its table missing."""
    if await pool.fetchval("SELECT to_regclass('stand_in') IS NOT NULL"):
        return []
    await pool.execute("CREATE TABLE stand_in (id integer PRIMARY KEY)")
    return ["operator key: the-operators-key"]


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def supervise(directory: str, plan_name: str = "EVERYTHING", behaviour: str = "child") -> None:
    if behaviour == "ignore":
        workers.DRAIN_SECONDS = IGNORED_SECONDS
    chosen = settings.load().model_copy(update={"data_dir": Path(directory)})
    logging.configure(chosen.log_format, chosen.log_level)
    plan = replace(getattr(up, plan_name), child=(sys.executable, "-P", __file__, behaviour))
    asyncio.run(up.run(up.Start(chosen, plan, ensure_operator, say)))


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "up":
        speak_plainly(lambda: supervise(*rest))
    else:
        asyncio.run(contract.until_told(BEHAVIOURS[what](rest)))
