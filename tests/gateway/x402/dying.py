"""A worker that is killed at a step: ``python -m tests.gateway.x402.dying STEP DSN NETWORK``."""

import asyncio
import os
import signal
import sys
from datetime import timedelta
from unittest.mock import patch

from config.settings import Network
from gateway.kit.sql import create_pool
from gateway.x402 import payouts
from gateway.x402.local import LocalFacilitator


def kill(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def work(step: str, dsn: str, network: Network) -> None:
    async with create_pool(dsn, size_max=2) as pool:
        facilitator = LocalFacilitator(pool, network)
        with patch(step, side_effect=kill):
            for _ in range(3):
                await payouts.work(pool, {network.id: facilitator}, timedelta(0), timedelta(0))


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2], Network.model_validate_json(sys.argv[3])))
