"""The commands that run servers: all of them, or one role."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from config import logging, settings
from config.settings import Settings
from control import bootstrap
from control.embedded.processes import StartFailed
from control.supervisor import up as supervisor
from control.supervisor.up import Plan, Start
from gateway.kit.sql import Pool

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="A TOML file with settings; variables go before it."),
]
Host = Annotated[
    str | None,
    typer.Option(help="The address to listen on.", show_default="FAREBOX_LISTEN__HOST, else 127.0.0.1"),
]
Port = Annotated[
    int | None,
    typer.Option(
        min=0, max=65535, help="0 takes a free port.", show_default="FAREBOX_LISTEN__PORT, else 8402"
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=64,
        help="How many processes share the port.",
        show_default="FAREBOX_LISTEN__WORKERS, else 1",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        metavar="DIRECTORY",
        help="Where the embedded database and the encryption key are kept.",
        show_default="/var/lib/farebox for root, else farebox in the user's data home",
    ),
]


def up(
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    workers: Workers = None,
    config: Config = None,
) -> None:
    """Run everything on this machine: database, cache, gateway, management API and background jobs.

    Needs nothing beforehand. The first start prints the operator's key; the last line printed is
    "farebox ready: http://HOST:PORT". Ctrl-C or SIGTERM finishes the calls under way and stops everything.
    """
    chosen = settings.load(config)
    if data_dir is not None:
        chosen = chosen.model_copy(update={"data_dir": data_dir})
    serve(with_listen(chosen, host, port, workers), supervisor.EVERYTHING, config)


def gateway(host: Host = None, port: Port = None, workers: Workers = None, config: Config = None) -> None:
    """Run the gateway alone, for paid calls, against a database that others use too.

    Needs FAREBOX_POSTGRES__DSN and FAREBOX_SECRETS__KEYS, and a schema that is up to date. Without
    FAREBOX_REDIS__URL each host counts its rate limits for itself.
    """
    serve(with_listen(settings.load(config), host, port, workers), supervisor.GATEWAY, config)


def control(host: Host = None, port: Port = None, workers: Workers = None, config: Config = None) -> None:
    """Run the management API alone.

    Needs FAREBOX_POSTGRES__DSN and FAREBOX_SECRETS__KEYS, and a schema that is up to date.
    """
    serve(with_listen(settings.load(config), host, port, workers), supervisor.CONTROL, config)


def worker(config: Config = None) -> None:
    """Run the background jobs alone: settling what was interrupted, voiding what expired.

    Needs FAREBOX_POSTGRES__DSN and FAREBOX_SECRETS__KEYS, and a schema that is up to date.
    """
    serve(settings.load(config), supervisor.WORKER, config)


def with_listen(chosen: Settings, host: str | None, port: int | None, workers: int | None) -> Settings:
    given = {"host": host, "port": port, "workers": workers}
    changes = {name: value for name, value in given.items() if value is not None}
    return chosen.model_copy(update={"listen": chosen.listen.model_copy(update=changes)})


def serve(chosen: Settings, plan: Plan, config: Path | None) -> None:
    if not plan.is_whole and chosen.postgres.dsn is None:
        raise StartFailed("FAREBOX_POSTGRES__DSN is not set. To have a database embedded, use: farebox up")
    logging.configure(chosen.log_format, chosen.log_level)

    async def ensure_operator(pool: Pool) -> str | None:
        await bootstrap.ensure_login(pool, chosen.bootstrap)
        return await bootstrap.ensure_operator(pool)

    start = Start(chosen, plan, ensure_operator, say, config)
    asyncio.run(supervisor.run(start))


def say(line: str) -> None:
    print(line, flush=True)
