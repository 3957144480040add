"""What a process may have open, by the settings and the system: nobody has to tune one to the other."""

import logging
import resource
import sys

from config.settings import Settings

log = logging.getLogger(__name__)

# Of PostgreSQL, beside our processes: for its superuser and for commands.
CONNECTIONS_BESIDE = 20

REMEDY = "Raise the limit: LimitNOFILE= of systemd, or ulimit -Hn."


def taken(settings: Settings, *, is_serving: bool) -> Settings:
    """Take all the open files that there may be, and return what the settings come to with them."""
    most = files_max()
    # The usual 1024 is from the days of select.
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    possible = within(settings, most)
    if is_serving and possible.listen != settings.listen:
        callers = possible.listen.connections_max
        log.warning("with %d open files there are at most %d connections. %s", most, callers, REMEDY)
    return possible


def files_max() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def within(settings: Settings, files: int) -> Settings:
    """With as many callers as leave files for what calls need: others would be let in and not served."""
    listen, pgproxy = settings.listen, settings.pgproxy
    callers = min(listen.connections_max, callers_max(files))
    # Each of these may have a connection to a server as well.
    clients = min(pgproxy.connections_max, callers // 2)
    update = {
        "listen": listen.model_copy(update={"connections_max": callers}),
        "pgproxy": pgproxy.model_copy(update={"connections_max": clients}),
    }
    return settings.model_copy(update=update)


def callers_max(files: int) -> int:
    """A quarter is left for upstreams, databases, and bodies on disk."""
    return sys.maxsize if files == resource.RLIM_INFINITY else max(1, files * 3 // 4)


def database_connections(settings: Settings) -> int:
    """What all processes of ``farebox up`` open at most, while one of them is replaced by another."""
    postgres = settings.postgres
    # The last is the one on which changes are listened for.
    each = postgres.pool_size + postgres.ledger_pool_size + 1
    servers, jobs, replaced = settings.listen.workers, 1, 1
    proxies = settings.pgproxy.workers * postgres.pool_size
    return (servers + jobs + replaced) * each + proxies + CONNECTIONS_BESIDE
