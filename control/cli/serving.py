"""What the commands that run servers do."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from config import logging, settings
from config.settings import Settings
from control import bootstrap
from control.embedded.processes import StartFailed
from control.supervisor import up
from control.supervisor.up import CONTROL, EVERYTHING, GATEWAY, PGPROXY, WORKER, Plan, Start
from gateway.kit.sql import Pool

__all__ = ["CONTROL", "EVERYTHING", "GATEWAY", "PGPROXY", "WORKER", "Listen", "serve"]


@dataclass(frozen=True, slots=True)
class Listen:
    """What the command line says of it; None is what the settings say."""

    host: str | None = None
    port: int | None = None
    workers: int | None = None


def serve(plan: Plan, listen: Listen, config: Path | None, data_dir: Path | None = None) -> None:
    chosen = with_listen(settings.load(config), listen, "listen" if plan.servers else "pgproxy")
    if data_dir is not None:
        chosen = chosen.model_copy(update={"data_dir": data_dir})
    if not plan.is_whole and chosen.postgres.dsn is None:
        raise StartFailed("FAREBOX_POSTGRES__DSN is not set. To have a database embedded, use: farebox up")
    if plan == PGPROXY and chosen.computes.url is None:
        raise StartFailed("FAREBOX_COMPUTES__URL is not set: it names the agent that runs the databases.")
    logging.configure(chosen.log_format, chosen.log_level)

    async def ensure_operator(pool: Pool) -> Sequence[str]:
        email = await bootstrap.ensure_login(pool, chosen.bootstrap)
        return made(await bootstrap.ensure_operator(pool), email)

    start = Start(chosen, plan, ensure_operator, say, config)
    asyncio.run(up.run(start))


def made(key: str | None, email: str | None) -> Sequence[str]:
    told = []
    if email is not None:
        told.append(f"operator login: {email}, with FAREBOX_BOOTSTRAP__ADMIN_PASSWORD")
    elif key is not None:
        told.append("operator login: none; FAREBOX_BOOTSTRAP__ADMIN_EMAIL and …__ADMIN_PASSWORD make one")
    if key is not None:
        told.append(f"operator key (shown this once, keep it): {key}")
    return told


def with_listen(chosen: Settings, listen: Listen, group: Literal["listen", "pgproxy"]) -> Settings:
    given = {"host": listen.host, "port": listen.port, "workers": listen.workers}
    changes = {name: value for name, value in given.items() if value is not None}
    return chosen.model_copy(update={group: getattr(chosen, group).model_copy(update=changes)})


def say(line: str) -> None:
    print(line, flush=True)
