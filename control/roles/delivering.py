"""What the worker sends by itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from config.settings import Settings
from control.mail import postman
from control.webhooks import jobs
from control.webhooks.jobs import Deliverer
from gateway.kit.crypto import Keyring
from gateway.kit.post import posting
from gateway.kit.sql import Pool
from gateway.kit.ssrf import Guard
from gateway.kit.tasks import Crew


@asynccontextmanager
async def delivering(pool: Pool, settings: Settings) -> AsyncIterator[None]:
    """Send mail and deliver to webhooks while the block runs.

    Beside the other jobs: a slow mail server, or a slow receiver, holds up nobody's money.
    """
    crew = Crew()
    guard = Guard(is_private_allowed=settings.allow_private_upstreams)
    keyring = Keyring.parse([key.get_secret_value() for key in settings.secrets.keys])
    async with posting(guard, jobs.TIMEOUT_SECONDS) as post:
        crew.start(postman.deliver_forever(pool, settings.mail, postman.context(settings.mail)))
        crew.start(Deliverer(pool, keyring, post).run())
        try:
            yield
        finally:
            await crew.close()
