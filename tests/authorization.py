"""An authorization server that is somebody else's: authlib's, with PKCE required, refresh tokens that rotate
and revocation, over HTTP. Everybody who comes to it consents.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from authlib.common.security import generate_token
from authlib.oauth2.rfc6749 import (
    AuthorizationServer,
    ClientMixin,
    OAuth2Error,
    OAuth2Request,
    TokenMixin,
    grants,
)
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge

CLIENT_ID, CLIENT_SECRET = "farebox", "s3cret/with+signs"


@dataclass
class Client(ClientMixin):  # type: ignore[misc]
    redirect_uris: list[str]
    method: str = "client_secret_post"
    client_id: str = CLIENT_ID

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str:
        return self.redirect_uris[0]

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri in self.redirect_uris

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == CLIENT_SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == self.method

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in ("authorization_code", "refresh_token")


@dataclass
class Code:
    code: str
    redirect_uri: str
    scope: str
    code_challenge: str
    code_challenge_method: str

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope


@dataclass
class Token(TokenMixin):  # type: ignore[misc]
    access_token: str
    refresh_token: str
    scope: str
    is_taken_back: bool = False

    def check_client(self, client: Client) -> bool:
        return client.client_id == CLIENT_ID

    def get_scope(self) -> str:
        return self.scope

    def get_expires_in(self) -> int:
        return 3600

    def is_expired(self) -> bool:
        return False

    def is_revoked(self) -> bool:
        return self.is_taken_back

    def get_user(self) -> str:
        return "ada"

    def get_client(self) -> Client:
        raise NotImplementedError


@dataclass
class Provider:
    """The server's state, which tests look at and change."""

    client: Client
    url: str = ""
    lifetime_seconds: int = 3600
    seconds: float = 0
    """How long the token endpoint takes."""
    codes: dict[str, Code] = field(default_factory=dict)
    tokens: list[Token] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    """Forms that the token endpoint was sent."""

    def is_good(self, access_token: str) -> bool:
        return any(one.access_token == access_token and not one.is_taken_back for one in self.tokens)

    @property
    def good_count(self) -> int:
        return sum(not one.is_taken_back for one in self.tokens)


class Grant(grants.AuthorizationCodeGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic", "client_secret_post")

    def save_authorization_code(self, code: str, request: Any) -> None:
        data = request.payload.data
        self.server.provider.codes[code] = Code(
            code, data["redirect_uri"], data.get("scope", ""), data["code_challenge"],
            data["code_challenge_method"],
        )  # fmt: skip

    def query_authorization_code(self, code: str, client: Client) -> Code | None:
        found: Code | None = self.server.provider.codes.get(code)
        return found

    def delete_authorization_code(self, authorization_code: Code) -> None:
        del self.server.provider.codes[authorization_code.code]

    def authenticate_user(self, authorization_code: Code) -> str:
        return "ada"


class Refresh(grants.RefreshTokenGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic", "client_secret_post")
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> Token | None:
        good = (one for one in self.server.provider.tokens if not one.is_taken_back)
        return next((one for one in good if one.refresh_token == refresh_token), None)

    def authenticate_user(self, refresh_token: Token) -> str:
        return "ada"

    def revoke_old_credential(self, refresh_token: Token) -> None:
        refresh_token.is_taken_back = True


class Revocation(RevocationEndpoint):  # type: ignore[misc]
    CLIENT_AUTH_METHODS = ("client_secret_basic", "client_secret_post")

    def query_token(self, token_string: str, token_type_hint: str) -> Token | None:
        both = ((one, (one.access_token, one.refresh_token)) for one in self.server.provider.tokens)
        return next((one for one, texts in both if token_string in texts), None)

    def revoke_token(self, token: Token, request: Any) -> None:
        token.is_taken_back = True


class Request(OAuth2Request):  # type: ignore[misc]
    def __init__(self, method: str, url: str, headers: Any, values: Any) -> None:
        super().__init__(method, url, headers=headers)
        self.payload = BasicOAuth2Payload(values)

    @property
    def form(self) -> Any:
        return self.payload.data

    @property
    def args(self) -> Any:
        return self.payload.data


class Server(AuthorizationServer):  # type: ignore[misc]
    def __init__(self, provider: Provider) -> None:
        super().__init__()
        self.provider = provider
        self.register_token_generator(
            "default",
            BearerTokenGenerator(random_text, random_text, lambda *_: provider.lifetime_seconds),
        )
        self.register_grant(Grant, [CodeChallenge(required=True)])
        self.register_grant(Refresh)
        self.register_endpoint(Revocation)

    def query_client(self, client_id: str) -> Client | None:
        return self.provider.client if client_id == CLIENT_ID else None

    def save_token(self, token: dict[str, Any], request: Any) -> None:
        made = Token(token["access_token"], token["refresh_token"], token.get("scope", ""))
        self.provider.tokens.append(made)

    def create_oauth2_request(self, request: Any) -> Any:
        return request if isinstance(request, OAuth2Request) else Request(*request)

    def handle_response(self, status: int, body: Any, headers: Any) -> web.Response:
        if isinstance(body, dict):
            return web.json_response(body, status=status)
        return web.Response(status=status, text=body or "", headers=dict(headers))

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        return None


def random_text(*_: Any, **__: Any) -> str:
    return str(generate_token(42))


async def read(request: web.Request) -> Any:
    # The library insists on TLS, which ends before it here as it does elsewhere.
    url = str(request.url).replace("http://", "https://")
    return request.method, url, request.headers, {**request.query, **await request.post()}


@dataclass
class Site:
    provider: Provider
    server: Server

    async def authorize(self, request: web.Request) -> web.Response:
        asked = await read(request)
        try:
            grant = self.server.get_consent_grant(asked, end_user="ada")
        except OAuth2Error as error:
            return web.json_response({"error": error.error}, status=400)
        made: web.Response = self.server.create_authorization_response(asked, grant_user="ada", grant=grant)
        return made

    async def token(self, request: web.Request) -> web.Response:
        self.provider.asked.append({name: str(value) for name, value in (await request.post()).items()})
        made: web.Response = self.server.create_token_response(await read(request))
        await asyncio.sleep(self.provider.seconds)
        return made

    async def revoke(self, request: web.Request) -> web.Response:
        made: web.Response = self.server.create_endpoint_response("revocation", await read(request))
        return made

    async def profile(self, request: web.Request) -> web.Response:
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not self.provider.is_good(bearer):
            return web.Response(status=401)
        return web.json_response({"sub": "user-1", "email": "ada@example.com"})


@asynccontextmanager
async def authorizing() -> AsyncIterator[Provider]:
    provider = Provider(Client([]))
    site = Site(provider, Server(provider))
    app = web.Application()
    app.router.add_get("/authorize", site.authorize)
    app.router.add_post("/token", site.token)
    app.router.add_post("/revoke", site.revoke)
    app.router.add_get("/profile", site.profile)
    async with TestServer(app) as running:
        provider.url = str(running.make_url("")).rstrip("/")
        yield provider
