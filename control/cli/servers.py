"""The commands that run servers: all of them, or one role."""

from pathlib import Path
from typing import Annotated

import typer

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
    from control.cli import serving

    serving.serve(serving.EVERYTHING, serving.Listen(host, port, workers), config, data_dir)


def gateway(host: Host = None, port: Port = None, workers: Workers = None, config: Config = None) -> None:
    """Run the gateway alone, for paid calls, against a database that others use too.

    Needs FAREBOX_POSTGRES__DSN and FAREBOX_SECRETS__KEYS, and a schema that is up to date. Without
    FAREBOX_REDIS__URL each host counts its rate limits for itself, and without FAREBOX_COMPUTES__URL
    projects' databases are not sold.
    """
    from control.cli import serving

    serving.serve(serving.GATEWAY, serving.Listen(host, port, workers), config)


def control(host: Host = None, port: Port = None, workers: Workers = None, config: Config = None) -> None:
    """Run the management API alone.

    Needs FAREBOX_POSTGRES__DSN and FAREBOX_SECRETS__KEYS, and a schema that is up to date; and
    FAREBOX_COMPUTES__URL for projects' databases.
    """
    from control.cli import serving

    serving.serve(serving.CONTROL, serving.Listen(host, port, workers), config)


def pgproxy(
    host: Annotated[
        str | None,
        typer.Option(help="The address to listen on.", show_default="FAREBOX_PGPROXY__HOST, else 127.0.0.1"),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="0 takes a free port.", show_default="FAREBOX_PGPROXY__PORT, else 6432"
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            help="How many processes share the port.",
            show_default="FAREBOX_PGPROXY__WORKERS, else 1",
        ),
    ] = None,
    config: Config = None,
) -> None:
    """Run the proxy alone that PostgreSQL's clients connect to, in front of projects' databases.

    Needs FAREBOX_POSTGRES__DSN, FAREBOX_SECRETS__KEYS and FAREBOX_COMPUTES__URL, and a schema that is up to
    date. SIGTERM lets sessions finish what they are doing.
    """
    from control.cli import serving

    serving.serve(serving.PGPROXY, serving.Listen(host, port, workers), config)


def computes(
    data_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIRECTORY",
            help="Projects' data is kept below it.",
            show_default="/var/lib/farebox for root, else farebox in the user's data home",
        ),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Where other machines reach it, with FAREBOX_COMPUTES__KEY.",
            show_default="FAREBOX_COMPUTES__LISTEN, else its socket alone",
        ),
    ] = None,
    config: Config = None,
) -> None:
    """Run projects' databases alone, for the roles whose FAREBOX_COMPUTES__URL names this agent.

    Needs no database beforehand. Ctrl-C or SIGTERM stops them, unless FAREBOX_COMPUTES__STAY is true; on
    SIGHUP it ends and they stay for the next one.
    """
    from control.cli import hosting

    hosting.serve(config, data_dir, listen)


def worker(config: Config = None) -> None:
    """Run the background jobs alone: settling what was interrupted, voiding what expired, making branches.

    Needs FAREBOX_POSTGRES__DSN and FAREBOX_SECRETS__KEYS, and a schema that is up to date; and
    FAREBOX_COMPUTES__URL for operations on projects' databases, which wait without it.
    """
    from control.cli import serving

    serving.serve(serving.WORKER, serving.Listen(), config)
