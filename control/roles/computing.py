"""Who runs databases for the other roles."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

from config.computes import Computes as Chosen
from control.computes.nowhere import NoProvider
from control.computes.remote import RemoteProvider

Computes: TypeAlias = RemoteProvider | NoProvider


@asynccontextmanager
async def computing(settings: Chosen) -> AsyncIterator[Computes]:
    """The agent of the settings; ``farebox up`` names its own to its processes."""
    if settings.url is None:
        yield NoProvider()
        return
    provider = RemoteProvider(settings.url, None if settings.key is None else settings.key.get_secret_value())
    try:
        yield provider
    finally:
        await provider.close()
