from collections.abc import Callable, Mapping

import pytest

from gateway.types import Outbound


async def no_fetch(url: str, form: Mapping[str, str]) -> bytes:
    raise AssertionError(f"a mode without an endpoint of its own asked {url}")


@pytest.fixture
def outbound() -> Callable[..., Outbound]:
    """Makes the request about to be sent, with these headers of the caller."""

    def make(client_headers: Mapping[str, str] | None = None) -> Outbound:
        return Outbound("GET", "https://api.example.com/v1/rates", client_headers or {}, no_fetch)

    return make
