"""The upstream wants the same on every request: an API key in a header or query, more headers, or nothing.

A key without a scheme, sent in ``Authorization``, becomes ``Bearer <key>``; a key with a space in it
(``Basic …``, ``Token …``) already has one. An upstream that wants a bare key in ``Authorization`` gets it
through ``api_headers``, whose values are sent as they are.
"""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator

from gateway.auth_mode import AuthMode, HeaderName, HeaderSecret, ModeSettings
from gateway.types import Outbound, Vouched


class Settings(ModeSettings, frozen=True):
    upstream_api_key: HeaderSecret | None = None
    api_key_header: HeaderName | None = None
    api_key_query_param: Annotated[str, Field(pattern=r"^[A-Za-z0-9._~\[\]-]{1,128}$")] | None = None
    api_headers: Annotated[dict[HeaderName, HeaderSecret], Field(max_length=64, default_factory=dict)]

    @model_validator(mode="after")
    def is_unambiguous(self) -> Self:
        if self.api_key_header is not None and self.api_key_query_param is not None:
            raise ValueError("the key goes into api_key_header or api_key_query_param, not both")
        names = [name.lower() for name in self.headers()]
        if len(set(names)) != len(names):
            raise ValueError("a header is given twice")
        return self

    def headers(self) -> Mapping[str, SecretStr]:
        key = self.upstream_api_key
        if key is None or self.api_key_query_param is not None:
            return self.api_headers
        name = self.api_key_header or "Authorization"
        if name.lower() in {other.lower() for other in self.api_headers}:
            raise ValueError(f"{name} is given both as the key's header and in api_headers")
        return {name: with_scheme(name, key), **self.api_headers}


def with_scheme(name: str, key: SecretStr) -> SecretStr:
    text = key.get_secret_value()
    return SecretStr(f"Bearer {text}") if name.lower() == "authorization" and " " not in text else key


async def authorize(settings: Settings, outbound: Outbound) -> Vouched:
    headers = {name: value.get_secret_value() for name, value in settings.headers().items()}
    if settings.upstream_api_key is None or settings.api_key_query_param is None:
        return Vouched(headers)
    return Vouched(headers, {settings.api_key_query_param: settings.upstream_api_key.get_secret_value()})


MODE = AuthMode(Settings, authorize)
