"""``farebox outbox``: mail that was not sent, for the operator to read."""

import asyncio
from typing import Annotated
from uuid import UUID

import typer

from control import migrate
from control.cli.errors import Sorry
from control.cli.servers import Config, DataDir
from control.cli.upkeep import dsn_of, load
from control.mail import outbox as letters
from control.mail.outbox import Waiting
from gateway.kit import sql


def outbox(
    letter_id: Annotated[
        UUID | None, typer.Argument(metavar="[ID]", help="Show this letter, links and all.")
    ] = None,
    with_sent: Annotated[bool, typer.Option("--all", help="List what was sent, too.")] = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """List mail that waits to be sent, newest first, or show one letter.

    Without FAREBOX_MAIL__HOST all mail waits here. A letter may have a link that signs somebody in: it is
    gone once it was sent, and the rest of it after a week.
    """
    dsn = dsn_of(load(config, data_dir))
    if letter_id is None:
        for one in asyncio.run(listed(dsn, with_sent=with_sent)):
            print(f"{one.id}  {one.created_at:%Y-%m-%d %H:%M}  {state(one)}  {one.recipient}  {one.subject}")
        return
    found = asyncio.run(read(dsn, letter_id))
    if found is None:
        raise Sorry(f"there is no letter {letter_id}")
    print(f"To: {found.recipient}\nSubject: {found.subject}\nState: {state(found)}\n\n{found.body_text}")


def state(letter: Waiting) -> str:
    if letter.sent_at is not None:
        return "sent"
    if letter.failed_at is not None:
        return f"failed ({letter.last_error})"
    return f"waiting, tried {letter.attempts} times ({letter.last_error})" if letter.last_error else "waiting"


async def listed(dsn: str, *, with_sent: bool) -> list[Waiting]:
    await migrate.check(dsn)
    async with sql.create_pool(dsn, size_max=1) as pool:
        return await letters.waiting(pool, with_sent=with_sent)


async def read(dsn: str, letter_id: UUID) -> Waiting | None:
    await migrate.check(dsn)
    async with sql.create_pool(dsn, size_max=1) as pool:
        return await letters.find(pool, letter_id)
