"""Waking endpoints: once for all who wait, not too often, and not again at once after it failed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

from gateway.kit.tasks import Crew
from gateway.pgwire import backend, metrics
from gateway.pgwire.backend import NotThere, Session, Told
from gateway.pgwire.computes import Address, Computes, Endpoint, NotAllowed, NotStarted
from gateway.pgwire.messages import TOO_MANY, Fatal
from gateway.pgwire.scram import Keys
from gateway.pgwire.wire import part

# More often than this nobody's use of an endpoint wakes it.
WAKES_MAX = 60
WAKES_SECONDS = 60.0
REST_SECONDS_MIN = 1.0
REST_SECONDS_MAX = 30.0
PAUSE_SECONDS_MIN = 0.02
PAUSE_SECONDS_MAX = 1.0
KNOWN_MAX = 10_000


@dataclass(slots=True)
class Known:
    """What is remembered of an endpoint."""

    timeline_id: UUID | None = None
    address: Address | None = None
    waking: asyncio.Future[None] | None = None
    error: str = ""
    sqlstate: str = "57P03"
    rest_seconds: float = 0.0
    rests_until: float = 0.0
    wakes: list[float] = field(default_factory=list)


def no_room(_: Endpoint) -> bool:
    return False


class Waker:
    def __init__(self, computes: Computes, wait_seconds_max: float) -> None:
        self.computes, self.wait_seconds_max = computes, wait_seconds_max
        self.known: dict[UUID, Known] = {}
        self.crew = Crew()
        self.make_room: Callable[[Endpoint], bool] = no_room
        """Give up a connection to its server that nobody uses, if there is one."""

    async def close(self) -> None:
        await self.crew.close()

    @asynccontextmanager
    async def session(
        self, endpoint: Endpoint, parameters: Mapping[bytes, bytes], keys: Keys
    ) -> AsyncIterator[Session]:
        """Logged in at the endpoint, which is woken for that and not put to sleep under it without notice."""
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self.wait_seconds_max):
                    session = await self.patiently(stack, endpoint, parameters, keys)
            except TimeoutError:
                raise Fatal("57P03", "the database did not become ready in time; try again later") from None
            stack.callback(part, session.wire.transport)
            yield session

    async def patiently(
        self, stack: AsyncExitStack, endpoint: Endpoint, parameters: Mapping[bytes, bytes], keys: Keys
    ) -> Session:
        """Whoever comes while it stops, or while its data is exchanged, waits; or for one more connection."""
        pause = PAUSE_SECONDS_MIN
        while True:
            address = await self.address(endpoint)
            try:
                async with AsyncExitStack() as own:
                    await own.enter_async_context(self.computes.session(endpoint))
                    session = await backend.log_in(address, parameters, keys)
                    stack.push_async_exit(own.pop_all())
                    return session
            except (NotThere, NotStarted):
                self.forget(endpoint, address)
            except Told as told:
                if told.sqlstate != TOO_MANY or not self.make_room(endpoint):
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSE_SECONDS_MAX)

    def forget(self, endpoint: Endpoint, address: Address) -> None:
        known = self.known.get(endpoint.id)
        if known is not None and known.address is address:
            known.address = None

    async def address(self, endpoint: Endpoint) -> Address:
        """Where it was a moment ago, or where it is now that it was woken."""
        known = self.remembered(endpoint)
        if known.address is not None:
            return known.address
        if known.waking is None:
            self.refuse_if_resting(known)
            known.waking = asyncio.get_running_loop().create_future()
            self.crew.start(self.wake(endpoint, known, known.waking))
        # One who hangs up leaves the others what they wait for.
        await asyncio.shield(known.waking)
        if known.address is None:
            raise Fatal(known.sqlstate, known.error or "the database was not started; try again")
        return known.address

    def remembered(self, endpoint: Endpoint) -> Known:
        known = self.known.pop(endpoint.id, None) or Known()
        self.known[endpoint.id] = known
        if known.timeline_id != endpoint.timeline_id:
            known.timeline_id, known.address = endpoint.timeline_id, None
        while len(self.known) > KNOWN_MAX:
            self.known.pop(next(iter(self.known)))
        return known

    def refuse_if_resting(self, known: Known) -> None:
        now = asyncio.get_running_loop().time()
        if now < known.rests_until:
            raise Fatal(
                known.sqlstate, known.error, f"It is tried again in {known.rests_until - now:.0f} seconds."
            )
        known.wakes = [at for at in known.wakes if now - at < WAKES_SECONDS]
        if len(known.wakes) >= WAKES_MAX:
            metrics.WAKES.labels("limited").inc()
            raise Fatal("57P03", "the endpoint was started too often just now; try again in a minute")
        known.wakes.append(now)

    async def wake(self, endpoint: Endpoint, known: Known, woken: asyncio.Future[None]) -> None:
        loop = asyncio.get_running_loop()
        since = loop.time()
        try:
            async with asyncio.timeout(self.wait_seconds_max):
                known.address = await self.computes.wake(endpoint)
        except NotAllowed as error:
            metrics.WAKES.labels("refused").inc()
            known.error, known.sqlstate = str(error), error.sqlstate
            # No longer than that, as it may be allowed at any moment.
            known.rest_seconds, known.rests_until = 0.0, loop.time() + REST_SECONDS_MIN
        except (NotStarted, TimeoutError) as error:
            metrics.WAKES.labels("failed").inc()
            known.error = str(error) or "the database did not become ready in time"
            known.sqlstate = error.sqlstate if isinstance(error, NotStarted) else "57P03"
            known.rest_seconds = min(max(REST_SECONDS_MIN, 2 * known.rest_seconds), REST_SECONDS_MAX)
            known.rests_until = loop.time() + known.rest_seconds
        else:
            metrics.WAKES.labels("woken").inc()
            metrics.WAKE_SECONDS.observe(loop.time() - since)
            known.rest_seconds = 0.0
        finally:
            known.waking = None
            woken.set_result(None)
