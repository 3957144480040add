"""How a project's server is set up. All of it is on the command line, which no tenant can change."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from control.computes import units

ADMIN = "cloud_admin"
"""The superuser of every server. It has no password, and no tenant can become it."""

PORT = 5432

# A segment of 1 MB instead of 16: each suspension ends one, and an empty database keeps two.
INITDB = ("--username", ADMIN, "--auth", "trust", "--encoding", "UTF8", "--no-instructions", "--no-sync",
          "--wal-segsize=1")  # fmt: skip

# The archive is a second name of the segment, so no bytes are copied. A segment must then never be written
# again, hence no recycling; and the same segment may be offered twice, after a crash between the two steps.
ARCHIVE_COMMAND = "test ../wal/%f -ef %p || ln %p ../wal/%f"

COMMON = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "allow_alter_system": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "huge_pages": "off",
    "dynamic_shared_memory_type": "posix",
    "jit": "off",
    "wal_recycle": "off",
    "min_wal_size": "2MB",
    "wal_buffers": "1MB",
    "autovacuum_worker_slots": "3",
    "max_logical_replication_workers": "0",
    "recovery_init_sync_method": "syncfs",
}

SERVING = COMMON | {
    "wal_level": "replica",
    "archive_mode": "on",
    "archive_command": ARCHIVE_COMMAND,
    "max_wal_size": "256MB",
    "checkpoint_timeout": "15min",
    "max_wal_senders": "4",
    "max_replication_slots": "4",
    "max_slot_wal_keep_size": "1GB",
    "idle_replication_slot_timeout": "40h",
    "idle_in_transaction_session_timeout": "5min",
    # Less than FATAL is for tenants to read in their sessions: one who raises warnings must not fill a disk.
    "log_min_messages": "fatal",
    "log_min_error_statement": "panic",
}

CHANGING = "server.conf"
# As initdb would have written them.
CHANGING_EVER = {"datestyle": "iso, mdy", "default_text_search_config": "pg_catalog.english"}
# For sessions that do not say otherwise: one that wants to delete something can.
CHANGING_FULL = CHANGING_EVER | {"default_transaction_read_only": "on"}

# A server that replays history into a copy, which is thrown away if anything goes wrong.
REPLAYING = COMMON | {
    "shared_buffers": "64MB",
    "max_connections": "10",
    "io_method": "sync",
    "fsync": "off",
    "archive_mode": "off",
    "autovacuum": "off",
    "hot_standby": "off",
    "restore_command": "false",
    "recovery_target_timeline": "current",
    "recovery_target_action": "promote",
}


def serving(number: Decimal, sockets: str, *, is_logical: bool) -> Mapping[str, str]:
    chosen = SERVING | dict(units.limits(number).settings) | {"unix_socket_directories": sockets}
    if is_logical:
        chosen |= {"wal_level": "logical", "max_logical_replication_workers": "4"}
    return chosen


def arguments(settings: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(part for name, value in settings.items() for part in ("-c", f"{name}={value}"))


def write_changing(directory: Path, *, is_full: bool) -> None:
    """What may change while it runs, and so cannot be on the command line. It is all of the server's file."""
    partial = directory / f"{CHANGING}.new"
    partial.write_text(changing(is_full=is_full))
    partial.chmod(0o644)
    partial.rename(directory / CHANGING)


def changing(*, is_full: bool) -> str:
    chosen = CHANGING_FULL if is_full else CHANGING_EVER
    return "".join(f"{name} = '{value}'\n" for name, value in chosen.items())


def write_access_rules(data: Path, operator: str | None) -> None:
    """Who may connect, and how.

    When root runs the servers, the superuser is whom the kernel says is root: the server's own user is not,
    so that nothing inside a server can come back to it as superuser. Otherwise both are one user, and who
    may enter the directory of the socket is let in.
    """
    superuser = "trust" if operator is None else "peer map=operator"
    rules = f"""\
local all {ADMIN} {superuser}
local all all scram-sha-256
local replication all reject
"""
    (data / "pg_hba.conf").write_text(rules)
    (data / "pg_ident.conf").write_text("" if operator is None else f"operator {operator} {ADMIN}\n")
