"""Whether a server may fall asleep, and if not, why, in sentences for its owner."""

from control.computes.derive import connect
from control.computes.postmaster import Postmaster
from gateway.kit.sql import Statements

SQL = Statements(__file__)

REASONS = {
    "walsender": "a replica or subscriber receives changes",
    "autovacuum worker": "a table is being vacuumed",
}


async def reasons(server: Postmaster, quiet_seconds: int) -> tuple[str, ...]:
    """Asked only when the proxy has been quiet that long: this look must not be what keeps it awake."""
    connection = await connect(server.sockets)
    try:
        rows = await connection.fetch(SQL.sample, float(quiet_seconds))
    finally:
        await connection.close()
    return tuple(sentence(row["backend_type"], row["state"], row["pid"]) for row in rows)


def sentence(kind: str, state: str | None, pid: int) -> str:
    if kind != "client backend":
        return f"{REASONS.get(kind, 'a subscription receives changes')} (process {pid})"
    if state == "idle":
        return f"session {pid} was used within the time that it waits before sleep"
    return f"session {pid} is {state or 'starting'}"
