"""A program that writes down what settled payments, and is killed before it books them."""

import asyncio
import os
import signal
import sys
from uuid import UUID

from gateway.kit.sql import create_pool
from gateway.x402.bookings import Bookings
from gateway.x402.payments import Settled


async def main(server: str, database: str, transaction: str, ids: list[UUID]) -> None:
    async with create_pool(server, database=database) as pool:
        own, settled = Bookings(pool), Settled(transaction, is_final=True)
        await asyncio.gather(*(own.promise(one, settled) for one in ids))
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    where, name, by, *which = sys.argv[1:]
    asyncio.run(main(where, name, by, [UUID(one) for one in which]))
