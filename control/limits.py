"""Where processes share what callers have used up."""

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from config.settings import Settings

REDIS_TIMEOUT_SECONDS = 1


def shared(settings: Settings) -> Redis | None:
    if settings.redis.url is None:
        return None
    return Redis.from_url(
        settings.redis.url.get_secret_value(),
        socket_timeout=REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
        # No call waits for a second try: it is limited by its own process until the server is back.
        retry=Retry(NoBackoff(), 0),
    )
