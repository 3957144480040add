"""An HTTP upstream: pooled keep-alive connections, bodies streamed both ways and never decoded, no redirects.

Nothing is ever sent twice: a request that broke may have run, and only its caller knows whether it may run
again.
"""

from collections.abc import Mapping

from config.settings import Upstream
from gateway.kit import hygiene
from gateway.kit.ssrf import Guard
from gateway.kit.tasks import Crew
from gateway.types import Body
from gateway.upstreams import request
from gateway.upstreams.deadlines import Deadlines
from gateway.upstreams.dial import Dialler
from gateway.upstreams.exchange import Exchange, improper
from gateway.upstreams.pool import Pool
from gateway.upstreams.request import Fields
from gateway.upstreams.said import Pass


class HttpUpstreams:
    """The connections of one process to everybody's upstreams."""

    def __init__(self, guard: Guard, settings: Upstream) -> None:
        dialler = Dialler(guard, settings.connect_timeout_seconds)
        self.pool = Pool(dialler, settings.connections_per_host)
        self.deadlines = Deadlines(settings.total_timeout_seconds)
        self.crew = Crew()

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | Fields,
        body: Body,
        passed: Pass = hygiene.of_response,
    ) -> Exchange:
        """To be asked, or entered with ``async with``, for the answer as soon as its head is there."""
        try:
            base, target = request.split(url)
            lane = self.pool.lane(base)
            fields = headers if isinstance(headers, Fields) else request.fields(headers)
            head = request.head(method, target, lane.origin.authority, fields, body)
        except ValueError:
            raise improper() from None
        return Exchange(lane, self.deadlines, self.crew, method, head, body, passed)

    def connections(self) -> tuple[int, int]:
        """How many are carrying a call, and how many wait for one."""
        return self.pool.counts()

    async def close(self) -> None:
        self.deadlines.close()
        await self.crew.close()
        await self.pool.close()
