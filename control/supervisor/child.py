"""``python -m control.supervisor.child ROLE …``: a process that does the work of those roles."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import uvloop

from config import logging, settings
from config.settings import Settings
from control.embedded.directory import DirectoryUnusable
from control.embedded.processes import StartFailed
from control.migrate import SchemaError
from control.roles.base import Misconfigured
from control.roles.pgproxy import proxy
from control.roles.serve import serve
from control.roles.work import work
from control.supervisor import capacity, ports
from control.supervisor.contract import tell_ready, until_told
from gateway.metering import metrics


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("roles", nargs="+", choices=["gateway", "control", "worker", "computes", "pgproxy"])
    parser.add_argument("--config", type=Path)
    asked = parser.parse_args(argv)
    mine = settings.load(asked.config)
    logging.configure(mine.log_format, mine.log_level)
    mine = capacity.taken(mine, is_serving="gateway" in asked.roles)
    # Whoever takes no calls decides no limits, and must not seem to decide them alone. A fork forgets what
    # was said before it.
    metrics.LIMITS_SHARED.set(1)
    try:
        uvloop.run(until_told(work_of(asked.roles, mine)))
    except (SchemaError, ports.PortTaken, Misconfigured, StartFailed, DirectoryUnusable) as error:
        sys.exit(str(error))


async def work_of(names: list[str], mine: Settings) -> None:
    if names == ["worker"]:
        await work(mine, on_ready=tell_ready)
        return
    if names == ["computes"]:
        # What it imports, no other process needs.
        await import_module("control.roles.hosting").host(mine, on_ready=lambda path: tell_ready())
        return
    inherited = mine.listen.descriptor
    with (
        ports.join(mine.listen.host, mine.listen.port) if inherited is None else ports.inherit(inherited)
    ) as listening:
        if names == ["pgproxy"]:
            await proxy(mine, listening=listening, on_ready=tell_ready)
            return
        await serve(
            mine,
            is_gateway="gateway" in names,
            is_control="control" in names,
            listening=listening,
            on_ready=tell_ready,
        )


if __name__ == "__main__":
    main()
