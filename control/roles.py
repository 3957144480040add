"""The composition root: what each process is made of, and in what order it starts and stops.

``serve`` answers requests, as the gateway, the management API, or both on one port. ``work`` does what nobody
waits for. Every part is given its slice of the settings here and nowhere else.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import structlog
from aiohttp import web

from config.settings import Settings
from control import app, health, migrate
from control.api import idempotency
from control.api.ports import Ports
from control.identity import links, sessions
from control.limits import shared
from control.mail import outbox, postman
from control.reporting import looking, reporting
from control.wallet import routes as wallet
from gateway import auth_mode, server, snapshot
from gateway.answers import store as kept_answers
from gateway.buckets import Buckets
from gateway.call import Gate
from gateway.exchange import Exchanger
from gateway.forward import Upstreams
from gateway.key_uses import KeyUses, noting
from gateway.kit import fetch, sql
from gateway.kit.crypto import Keyring
from gateway.kit.garbage import expect_little_garbage
from gateway.kit.signing import Signer
from gateway.kit.sql import Pool
from gateway.kit.ssrf import Guard
from gateway.kit.stack import stay_shallow
from gateway.kit.tasks import Crew
from gateway.ledger import accounts, holds
from gateway.ledger.accounts import AssetChanged
from gateway.ledger.holds import Holds
from gateway.metering import gauges, metrics
from gateway.metering.usage import Recorder
from gateway.pay import Till
from gateway.rails import toll
from gateway.rails.prepaid import LowBalance, PrepaidRail
from gateway.rails.toll import TollRail
from gateway.rails.upfront import Adopt, UpfrontRail
from gateway.rails.x402 import X402Rail
from gateway.snapshot import Snapshot
from gateway.types import Mode
from gateway.upstreams.http import HttpUpstreams
from gateway.upstreams.load import Loads
from gateway.upstreams.websocket import SocketUpstreams
from gateway.x402 import finality, payments
from gateway.x402.claims import Claims
from gateway.x402.deposits import Deposits
from gateway.x402.facilitating import FacilitatorForOthers
from gateway.x402.facilitator import ChainMismatch
from gateway.x402.facilitators import facilitator
from gateway.x402.offers import Offers
from gateway.x402.settlement import Settlements

DRAIN_SECONDS = 20
BACKLOG = 1024
# A hold outlives the longest call by this much, so it never expires under one.
HOLD_MARGIN_SECONDS = 60
SWEEP_SECONDS = 5
RECONCILE_AGE = timedelta(seconds=10)
RECHECK_AGE = timedelta(seconds=60)
# Connections of the ledger, beside each so many others.
LEDGER_SHARE = 3
# One after the other, before the other jobs have their turn again.
RECHECK_BATCHES = 20

log = structlog.get_logger(__name__)


class Misconfigured(Exception):
    """The settings contradict the database or a chain; the text is a sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Base:
    """What every role stands on."""

    settings: Settings
    dsn: str
    pool: Pool
    settlements: Settlements
    offers: Offers
    origin: str

    @property
    def settle_lifetime(self) -> timedelta:
        """How long a caller may be asking a remote facilitator, which must not be asked by two at once."""
        remote = (one.settle_timeout_seconds for one in self.settings.networks if one.facilitator_url)
        return timedelta(seconds=max(remote, default=0))

    @property
    def call_lifetime(self) -> timedelta:
        """No call is still running after this long, so what it left open may be closed."""
        settling = max((one.settle_timeout_seconds for one in self.settings.networks), default=0)
        seconds = self.settings.upstream.total_timeout_seconds + settling + HOLD_MARGIN_SECONDS
        return timedelta(seconds=seconds)


async def serve(
    settings: Settings,
    *,
    is_gateway: bool,
    is_control: bool,
    listening: socket.socket,
    on_ready: Callable[[], None],
) -> None:
    """Serve until cancelled, then finish the calls that are being served."""
    host, port = listening.getsockname()[:2]
    origin = settings.public_url or f"http://{host}:{port}"
    async with AsyncExitStack() as stack:
        base = await stack.enter_async_context(based(settings, origin))
        guard = Guard(is_private_allowed=settings.allow_private_upstreams)
        keyring = Keyring.parse([key.get_secret_value() for key in settings.secrets.keys])
        buckets = Buckets(shared(settings))
        stack.push_async_callback(buckets.close)
        uses = await stack.enter_async_context(noting(base.pool))
        gate = management = None
        if is_gateway:
            gate = await stack.enter_async_context(gated(base, guard, keyring, buckets, uses))
        if is_control:
            management = await stack.enter_async_context(managed(base, guard, keyring, buckets, uses))
        front = server.create(
            gate,
            management,
            health.checks(base.pool, None if gate is None else gate.buckets),
            settings.listen,
        )
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(front, sock=listening, backlog=BACKLOG)
        try:
            expect_little_garbage()
            on_ready()
            await asyncio.Event().wait()
        finally:
            with listening.dup() as queue:
                listener.close()
                await front.accept_waiting(queue)
            await front.drain(DRAIN_SECONDS)


async def work(settings: Settings, *, on_ready: Callable[[], None]) -> None:
    """Close what dead processes left open and finish what is pending, until cancelled."""
    async with AsyncExitStack() as stack:
        base = await stack.enter_async_context(based(settings, settings.public_url or "http://localhost"))
        crew = Crew()
        stack.push_async_callback(crew.close)
        # Beside the other jobs: a slow mail server holds up nobody's money.
        crew.start(postman.deliver_forever(base.pool, settings.mail, postman.context(settings.mail)))
        on_ready()
        while True:
            for job in (sweep, reconcile, recheck, prune, measure):
                try:
                    await job(base)
                except Exception:
                    # A job that fails now, because the database is away say, is due again in a moment.
                    log.exception("job.failed", job=job.__name__)
            metrics.JOBS_RAN.set_to_current_time()
            await asyncio.sleep(SWEEP_SECONDS)


async def sweep(base: Base) -> None:
    voided = await holds.void_expired(base.pool)
    abandoned = await payments.abandon(base.pool, base.call_lifetime)
    if voided or abandoned:
        log.info("job.swept", holds=voided, payments=abandoned)


async def reconcile(base: Base) -> None:
    if finished := await base.settlements.reconcile(RECONCILE_AGE + base.settle_lifetime):
        log.info("job.reconciled", payments=finished)


async def recheck(base: Base) -> None:
    for _ in range(RECHECK_BATCHES):
        if await finality.recheck(base.settlements, RECHECK_AGE) < finality.BATCH:
            return


async def prune(base: Base) -> None:
    await snapshot.prune(base.pool)
    kept = timedelta(hours=base.settings.idempotency.keep_hours)
    await kept_answers.prune(base.pool, kept)
    await toll.prune(base.pool, kept)
    await idempotency.prune(base.pool, kept)
    await sessions.prune(base.pool)
    await links.prune(base.pool)
    await outbox.prune(base.pool)


async def measure(base: Base) -> None:
    gauges.look_at_pools([base.pool])
    await gauges.look_at_money(base.pool, [network.id for network in base.settings.networks])


@asynccontextmanager
async def based(settings: Settings, origin: str) -> AsyncIterator[Base]:
    assert settings.postgres.dsn is not None, "the command line gives every role a database"
    stay_shallow()
    dsn = settings.postgres.dsn.get_secret_value()
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(sql.create_pool(dsn, size_max=settings.postgres.pool_size))
        await migrate.check(pool)
        try:
            await accounts.publish_assets(pool, settings.networks)
        except AssetChanged as error:
            raise Misconfigured(str(error)) from None
        facilitators = {network.id: facilitator(pool, network) for network in settings.networks}
        for one in facilitators.values():
            stack.push_async_callback(one.close)
            try:
                await one.start()
            except ChainMismatch as error:
                raise Misconfigured(f"{error}. Mend FAREBOX_NETWORKS.") from None
        waits = {network.id: network.settle_timeout_seconds for network in settings.networks}
        settlements = Settlements(pool, facilitators, waits)
        stack.push_async_callback(settlements.close)
        yield Base(settings, dsn, pool, settlements, Offers(settings.networks), origin)


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
        # Of its own, so that no other query keeps the money of a call waiting.
        size = max(1, settings.postgres.pool_size // LEDGER_SHARE)
        ledger = await stack.enter_async_context(
            sql.create_pool(base.dsn, size_max=size, is_planned_once=True)
        )
        reserved = Holds(ledger, lifetime)
        stack.push_async_callback(reserved.close)
        answers = kept_answers.Answers(pool, settings.idempotency.answer_bytes_max, lifetime)
        stack.push_async_callback(answers.close)
        http = HttpUpstreams(guard, settings.upstream)
        stack.push_async_callback(http.close)
        sockets = SocketUpstreams(guard, settings.upstream)
        stack.push_async_callback(sockets.close)
        fee = settings.fees.platform_basis_points
        low = LowBalance.parse(settings.wallet.low_balance_threshold, settings.networks)
        prepaid = PrepaidRail(pool, reserved, recorder, fee, base.origin, answers, low)
        claims = Claims(ledger)
        stack.push_async_callback(claims.close)
        x402 = X402Rail(pool, base.offers, base.settlements, claims, recorder, fee, answers)
        upfront = UpfrontRail(x402, prepaid, adoption(pool))
        till = Till(prepaid, x402, upfront, recorder, TollRail(pool, answers))
        signer = Signer.parse([key.get_secret_value() for key in settings.secrets.keys])
        session = await stack.enter_async_context(fetch.session(guard))
        exchanger = Exchanger(fetch.guarded_ask(guard, session), signer, base.origin)
        asked = fetch.guarded_fetch(guard, session)
        upstreams = Upstreams(http, sockets, asked, exchanger, base.origin)
        loads = Loads(settings.upstream)
        reporter = await stack.enter_async_context(reporting(settings))
        await stack.enter_async_context(looking([pool, ledger], http, recorder, loads))
        yield Gate(base.origin, settings.limits, published, buckets, loads, till, upstreams, reporter)


def adoption(pool: Pool) -> Adopt:
    async def adopt(payer: str, mode: Mode) -> str | None:
        with suppress(wallet.AddressTaken):
            async with pool.acquire() as connection, connection.transaction():
                return await wallet.newcomer(connection, payer, mode)
        return None

    return adopt


@asynccontextmanager
async def managed(
    base: Base, guard: Guard, keyring: Keyring, buckets: Buckets, uses: KeyUses
) -> AsyncIterator[web.Server]:
    deposits = Deposits(base.pool, base.offers, base.settlements, f"{base.origin}/wallet/deposit/crypto")
    settings = base.settings
    others = FacilitatorForOthers(base.pool, base.settlements, settings.networks, settings.facilitator)
    modes = auth_mode.installed()
    ports = Ports(guard, keyring, modes, settings, deposits, others, base.origin, buckets, uses)
    runner = web.AppRunner(app.create(base.pool, ports), access_log=None)
    await runner.setup()
    try:
        assert runner.server is not None, "a runner has a server once it is set up"
        yield runner.server
    finally:
        await runner.cleanup()
