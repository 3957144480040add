"""The gateway: all that a paid call needs, made once for each process."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from control.roles.base import Base
from control.roles.reporting import looking, reporting
from control.selling.branches import SoldBranches
from control.wallet import routes as wallet
from gateway import auth_mode
from gateway.answers import store as kept_answers
from gateway.buckets import Buckets
from gateway.call import Gate
from gateway.connections import Connections
from gateway.exchange import Exchanger
from gateway.forward import Upstreams
from gateway.key_uses import KeyUses
from gateway.kit import fetch
from gateway.kit.crypto import Keyring
from gateway.kit.signing import Signer
from gateway.kit.sql import Pool
from gateway.kit.ssrf import Guard
from gateway.ledger import accounts
from gateway.ledger.holds import Holds
from gateway.ledger.purses import Purses
from gateway.metering.usage import Recorder
from gateway.pay import Till
from gateway.rails.passthrough import PassthroughRail
from gateway.rails.prepaid import LowBalance, PrepaidRail
from gateway.rails.upfront import Adopt, UpfrontRail
from gateway.rails.x402 import X402Rail
from gateway.snapshot import Snapshot
from gateway.types import Mode
from gateway.upstreams.http import HttpUpstreams
from gateway.upstreams.load import Loads
from gateway.upstreams.postgres import Queries
from gateway.upstreams.websocket import SocketUpstreams
from gateway.x402.claims import Claims


@asynccontextmanager
async def gated(
    base: Base, guard: Guard, keyring: Keyring, buckets: Buckets, uses: KeyUses
) -> AsyncIterator[Gate]:
    settings, pool = base.settings, base.pool
    async with AsyncExitStack() as stack:
        published = Snapshot(
            pool, base.dsn, accounts.of_networks(settings.networks), auth_mode.installed(), keyring, uses
        )
        stack.push_async_callback(published.close)
        await published.start()
        recorder = Recorder(pool)
        stack.push_async_callback(recorder.close)
        recorder.start()
        lifetime = base.call_lifetime
        reserved, purses = Holds(base.ledger, lifetime), Purses(base.ledger, lifetime)
        for money in (reserved, purses):
            stack.push_async_callback(money.close)
        await purses.start()
        answers = kept_answers.Answers(pool, settings.idempotency.answer_bytes_max, lifetime)
        stack.push_async_callback(answers.close)
        http = HttpUpstreams(guard, settings.upstream)
        stack.push_async_callback(http.close)
        sockets = SocketUpstreams(guard, settings.upstream)
        stack.push_async_callback(sockets.close)
        sold = SoldBranches(pool, base.computes, settings.plans)
        queries = Queries(guard, settings.upstream, settings.queries, sold)
        stack.push_async_callback(queries.close)
        fee = settings.fees.platform_basis_points
        low = LowBalance.parse(settings.wallet.low_balance_threshold, settings.networks)
        prepaid = PrepaidRail(pool, reserved, purses, recorder, fee, base.origin, answers, low)
        claims = Claims(base.ledger, base.settlements.crowd)
        stack.push_async_callback(claims.close)
        x402 = X402Rail(pool, base.offers, base.settlements, claims, recorder, fee, answers)
        upfront = UpfrontRail(x402, prepaid, adoption(pool))
        till = Till(prepaid, x402, upfront, recorder, PassthroughRail(pool, answers))
        signer = Signer.parse([key.get_secret_value() for key in settings.secrets.keys])
        session = await stack.enter_async_context(fetch.session(guard))
        ask = fetch.guarded_ask(guard, session)
        exchanger = Exchanger(ask, signer, base.origin)
        own = Connections(pool, keyring, ask, base.origin)
        asked = fetch.guarded_fetch(guard, session)
        upstreams = Upstreams(http, sockets, queries, asked, exchanger, base.origin)
        loads = Loads(settings.upstream)
        reporter = await stack.enter_async_context(reporting(settings, recorder.offered))
        await stack.enter_async_context(looking([pool, base.ledger], http, recorder, loads))
        yield Gate(
            base.origin, settings.limits, published, buckets, loads, till, upstreams, reporter, own,
            settings.listen.trusted_proxies,
        )  # fmt: skip


def adoption(pool: Pool) -> Adopt:
    async def adopt(payer: str, mode: Mode) -> str | None:
        with suppress(wallet.AddressTaken):
            async with pool.acquire() as connection, connection.transaction():
                return await wallet.newcomer(connection, payer, mode)
        return None

    return adopt
