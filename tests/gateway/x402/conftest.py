from collections.abc import AsyncIterator
from typing import Any

import pytest

from control.demo.chain import Chain, running
from gateway.kit.sql import Pool
from gateway.x402.local import LocalFacilitator
from tests import anvil as programs
from tests.anvil import Anvil
from tests.gateway.x402.shop import Open, Shop, opened


@pytest.fixture
async def chain() -> AsyncIterator[Chain]:
    async with running() as chain:
        yield chain


@pytest.fixture
async def shop(chain: Chain, pool: Pool) -> Shop:
    return await opened(chain, pool, await chain.deploy_token())


@pytest.fixture
async def another(shop: Shop) -> AsyncIterator[Open]:
    """Make a facilitator, as another process would; ``changes`` are made to the network's settings."""
    made: list[LocalFacilitator] = []

    async def start(**changes: Any) -> LocalFacilitator:
        made.append(LocalFacilitator(shop.pool, shop.network.model_copy(update=changes)))
        await made[-1].start()
        return made[-1]

    yield start
    for facilitator in made:
        await facilitator.close()


@pytest.fixture
async def facilitator(another: Open) -> LocalFacilitator:
    return await another()


@pytest.fixture
async def anvil() -> AsyncIterator[Anvil]:
    async with programs.running() as chain:
        yield chain
