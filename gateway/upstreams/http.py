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
from gateway.upstreams.request import Fields, Request
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
        return self.begin(self.prepare(method, url, headers, body), b"", body, passed)

    def prepare(self, method: str, url: str, headers: Mapping[str, str] | Fields, body: Body) -> Request:
        """What can be sent as often as one likes, with a body of the same length."""
        try:
            place = request.split(url)
            authority = self.pool.lane(place[0]).origin.authority
            fields = headers if isinstance(headers, Fields) else request.fields(headers)
        except ValueError:
            raise improper() from None
        return request.request(method, place, authority, fields, body)

    def fields(self, headers: Mapping[str, str]) -> Fields:
        """As they are written, for more than one request."""
        try:
            return request.fields(headers)
        except ValueError:
            raise improper() from None

    def begin(self, one: Request, more: bytes, body: Body, passed: Pass) -> Exchange:
        """``send`` what is prepared. ``more`` are fields that are the gateway's own, with their line ends."""
        head = one.begin + more + one.end
        return Exchange(self.pool.lane(one.base), self.deadlines, self.crew, one.method, head, body, passed)

    def connections(self) -> tuple[int, int]:
        """How many are carrying a call, and how many wait for one."""
        return self.pool.counts()

    async def close(self) -> None:
        self.deadlines.close()
        await self.crew.close()
        await self.pool.close()
