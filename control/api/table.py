"""The table of operations in ``control/README.md``: made from what is registered, so that it is true."""

from collections.abc import Sequence

from control.api.operation import Operation, Room

START, END = "<!-- operations: made by python -m control table -->", "<!-- end of operations -->"
HEAD = "| operation | room | id | permission | statuses |\n|---|---|---|---|---|"


def made(rooms: Sequence[Room]) -> str:
    rows = [row(operation) for room in rooms for operation in room.operations]
    return "\n".join([START, HEAD, *rows, END])


def row(operation: Operation) -> str:
    # Too many calls, an outage and a bug can end any of them.
    statuses = sorted({operation.status, *(one.status for one in operation.fails)} - {429, 503})
    return (
        f"| `{operation.method} {operation.path}` | {operation.room} | {operation.id} "
        f"| {operation.access or 'anyone'} | {' '.join(map(str, statuses))} |"
    )


def put_into(text: str, rooms: Sequence[Room]) -> str:
    before, _, rest = text.partition(START)
    return before + made(rooms) + rest.partition(END)[2]
