"""The management API: what its rooms reach besides the database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from control import app
from control.api.ports import Ports
from control.roles.base import Base
from control.roles.charging import charging
from control.selling.branches import SoldBranches
from gateway import auth_mode
from gateway.buckets import Buckets
from gateway.key_uses import KeyUses
from gateway.kit.crypto import Keyring
from gateway.kit.ssrf import Guard
from gateway.upstreams.postgres import Queries
from gateway.x402.deposits import Deposits
from gateway.x402.facilitating import FacilitatorForOthers


@asynccontextmanager
async def managed(
    base: Base, guard: Guard, keyring: Keyring, buckets: Buckets, uses: KeyUses
) -> AsyncIterator[web.Server]:
    deposits = Deposits(base.pool, base.offers, base.settlements, f"{base.origin}/wallet/deposit/crypto")
    settings = base.settings
    others = FacilitatorForOthers(base.pool, base.settlements, settings.networks, settings.facilitator)
    modes = auth_mode.installed()
    sold = SoldBranches(base.pool, base.computes, settings.plans)
    queries = Queries(guard, settings.upstream, settings.queries, sold)
    async with charging(settings) as processors:
        ports = Ports(
            guard, keyring, modes, settings, deposits, others, base.origin, buckets, uses, processors,
            queries, base.computes,
        )  # fmt: skip
        runner = web.AppRunner(app.create(base.pool, ports), access_log=None)
        await runner.setup()
        try:
            assert runner.server is not None, "a runner has a server once it is set up"
            yield runner.server
        finally:
            await runner.cleanup()
            await queries.close()
