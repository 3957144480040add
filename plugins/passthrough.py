"""The upstream knows the caller itself: the caller's own headers, if the publisher listed them, travel on.

What speaks to the gateway never does: its key, its session cookie, payments, the wallet's name. A caller with
an ``Authorization`` for the upstream sends it under another name, which the publisher rewrites.
"""

from typing import Annotated, Self

from pydantic import Field, model_validator

from gateway.auth_mode import AuthMode, HeaderName, ModeSettings, is_dropped
from gateway.types import Outbound, Vouched

# Where many clients put their key by habit, which here would be the one to the gateway.
KEY = "x-api-key"


class Settings(ModeSettings, frozen=True):
    allowed_passthrough_headers: Annotated[tuple[HeaderName, ...], Field(max_length=64)] = ()
    passthrough_header_rewrite: Annotated[
        dict[HeaderName, HeaderName], Field(max_length=64, default_factory=dict)
    ]

    @model_validator(mode="after")
    def is_unambiguous(self) -> Self:
        allowed = {name.lower() for name in self.allowed_passthrough_headers}
        for name in allowed:
            if is_dropped(name) or name == KEY:
                raise ValueError(f"{name} speaks to the gateway and is not passed on")
        rewritten = [name.lower() for name in self.passthrough_header_rewrite]
        for name in rewritten:
            if name not in allowed:
                raise ValueError(f"{name} is rewritten but is not in allowed_passthrough_headers")
        if len(set(rewritten)) != len(rewritten):
            raise ValueError("a header is rewritten twice")
        targets = {name.lower() for name in self.names().values()}
        if len(targets) != len(allowed):
            raise ValueError("two headers would have the same name upstream")
        return self

    def names(self) -> dict[str, str]:
        """The upstream's name of each header, by the client's name in lower case."""
        names = {name.lower(): name for name in self.allowed_passthrough_headers}
        return names | {name.lower(): target for name, target in self.passthrough_header_rewrite.items()}


async def authorize(settings: Settings, outbound: Outbound) -> Vouched:
    names = settings.names()
    headers: dict[str, str] = {}
    for name, value in outbound.client_headers.items():
        target = names.get(name.lower())
        if target is not None:
            # A header that came more than once is the same as its values joined, RFC 9110 section 5.2.
            headers[target] = f"{headers[target]}, {value}" if target in headers else value
    return Vouched(headers, is_selective=True)


MODE = AuthMode(Settings, authorize)
