"""What ``farebox outbox`` shows."""

import asyncio
from pathlib import Path
from uuid import UUID

from control import migrate
from control.cli.errors import Sorry
from control.cli.installation import dsn_of, load
from control.mail import outbox
from control.mail.outbox import Waiting
from gateway.kit import sql


def show(letter_id: str | None, data_dir: Path | None, config: Path | None, *, with_sent: bool) -> None:
    wanted = None if letter_id is None else parsed(letter_id)
    dsn = dsn_of(load(config, data_dir))
    if wanted is None:
        for one in asyncio.run(listed(dsn, with_sent=with_sent)):
            print(f"{one.id}  {one.created_at:%Y-%m-%d %H:%M}  {state(one)}  {one.recipient}  {one.subject}")
        return
    found = asyncio.run(read(dsn, wanted))
    if found is None:
        raise Sorry(f"there is no letter {wanted}: `farebox outbox --all` lists those there are")
    print(f"To: {found.recipient}\nSubject: {found.subject}\nState: {state(found)}\n\n{found.body_text}")


def parsed(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Sorry(
            f"{text!r} is no id of a letter: `farebox outbox` lists letters, with theirs first"
        ) from None


def state(letter: Waiting) -> str:
    if letter.sent_at is not None:
        return "sent"
    if letter.failed_at is not None:
        return f"failed ({letter.last_error})"
    return f"waiting, tried {letter.attempts} times ({letter.last_error})" if letter.last_error else "waiting"


async def listed(dsn: str, *, with_sent: bool) -> list[Waiting]:
    await migrate.check(dsn)
    async with sql.create_pool(dsn, size_max=1) as pool:
        return await outbox.waiting(pool, with_sent=with_sent)


async def read(dsn: str, letter_id: UUID) -> Waiting | None:
    await migrate.check(dsn)
    async with sql.create_pool(dsn, size_max=1) as pool:
        return await outbox.find(pool, letter_id)
