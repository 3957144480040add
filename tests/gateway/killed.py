"""A program that charges a call to a purse, and is killed before anything else happens."""

import asyncio
import os
import signal
import sys
from datetime import timedelta
from uuid import UUID

from gateway.kit import ids
from gateway.kit.sql import create_pool
from gateway.ledger import slips
from gateway.ledger.purses import Purses
from gateway.ledger.slips import Charge

PRICE = 100


async def main(dsn: str, database: str, owner: UUID, asset: UUID, payee: UUID, publisher: UUID) -> None:
    slips.BOOK_SECONDS = 3600
    async with create_pool(dsn, database=database) as pool:
        own = Purses(pool, timedelta(seconds=-5))
        while (purse := own.draw(owner, asset, PRICE)) is None:
            await asyncio.gather(*own.crew.tasks)
        said = slips.said(payee, PRICE, 7, publisher, 200, "GET", "/x", "GET /x")
        assert await own.charge(Charge(purse, ids.new(), PRICE, said))
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    server, name, *whose = sys.argv[1:]
    owner, asset, payee, publisher = map(UUID, whose)
    asyncio.run(main(server, name, owner, asset, payee, publisher))
