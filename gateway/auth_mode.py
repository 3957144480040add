"""What an auth-mode plugin is, and how installed ones are found.

A mode proves to a publisher's upstream that a request comes from the gateway. It is a settings model and
one coroutine from the request about to be sent to what must be added to it. It is given no app and no pool;
a mode that must ask a token endpoint uses ``outbound.fetch``, which raises OSError, with public text, when
there is no good answer.

The fields of a settings model are named as in the publishers API, so ``mode.settings.model_fields`` picks the
mode's own out of a request.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Annotated, Any, Final, Generic, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, Field, SecretBytes, SecretStr, model_validator
from pydantic_core import to_jsonable_python

from gateway.kit import hygiene, ssrf
from gateway.kit.problem import Refusal
from gateway.types import Outbound, Vouched

GROUP = "farebox.auth_modes"

# These say where a request goes or where it ends; a second opinion on that is request smuggling.
FRAMING = hygiene.HOP_BY_HOP | {"host", "content-length", "expect"}

SettingsT = TypeVar("SettingsT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class AuthMode(Generic[SettingsT]):
    settings: type[SettingsT]
    authorize: Callable[[SettingsT, Outbound], Awaitable[Vouched]]


class UpstreamAuthFailed(Refusal):
    """The upstream's credentials could not be had, so the call was not sent and costs nothing.

    Its text is public: a mode never puts a secret, a URL or an upstream's own words into it.
    """

    status, slug, title = 502, "upstream-auth-failed", "Upstream authorization failed"
    outcome = "upstream_failed"


class ModeSettings(BaseModel, extra="forbid", frozen=True, hide_input_in_errors=True):
    """A null is a field that was not set, since that is how API clients say it."""

    @model_validator(mode="before")
    @classmethod
    def without_nulls(cls, values: object) -> object:
        if isinstance(values, dict):
            return {name: value for name, value in values.items() if value is not None}
        return values


def plain(name: str) -> str:
    # Some servers read Content_Length as Content-Length, so the two are one name here.
    return name.lower().replace("_", "-")


def is_dropped(name: str) -> bool:
    """Whether a caller's header ends at the gateway, so that no mode ever sees it."""
    return plain(name) in hygiene.REQUEST_DROPPED or plain(name).startswith(hygiene.PREFIXES)


def not_framing(name: str) -> str:
    if plain(name) in FRAMING or plain(name).startswith("proxy-"):
        raise ValueError(f"{name} belongs to the gateway")
    return name


def sendable(value: SecretStr) -> SecretStr:
    """Refused here, when the publisher saves it, because on a paid call it is too late."""
    text = value.get_secret_value()
    if not text or not text.isascii() or not text.isprintable() or text != text.strip():
        raise ValueError("must be printable ASCII, without spaces around it")
    return value


def callable_url(url: str) -> str:
    ssrf.parse(url)
    return url


class Called:
    """Marks a field as a URL that the mode itself will ask."""


HeaderName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$"), AfterValidator(not_framing)
]
HeaderSecret = Annotated[SecretStr, Field(max_length=8192), AfterValidator(sendable)]
CalledUrl = Annotated[str, Field(max_length=2048), AfterValidator(callable_url), Called()]


def called_urls(settings: BaseModel) -> Sequence[str]:
    """The URLs in these settings, for whoever saves them to pass through the guard first."""
    marked = [
        getattr(settings, name)
        for name, field in type(settings).model_fields.items()
        if any(map(is_called, (*field.metadata, field.annotation)))
    ]
    return [url for url in marked if url is not None]


def is_called(annotation: object) -> bool:
    # The mark of an optional URL is inside its union.
    return isinstance(annotation, Called) or any(map(is_called, get_args(annotation)))


def dump_settings(settings: BaseModel) -> dict[str, Any]:
    """Return settings as JSON values, secrets revealed: what is sealed, and validated again on opening."""
    dumped = to_jsonable_python(revealed(settings.model_dump(exclude_none=True)))
    assert isinstance(dumped, dict)
    return dumped


def revealed(value: object) -> object:
    if isinstance(value, SecretStr | SecretBytes):
        return value.get_secret_value()
    if isinstance(value, dict):
        return {name: revealed(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [revealed(one) for one in value]
    return value


def installed() -> Mapping[str, AuthMode[Any]]:
    """Load every mode by its name. What is wrong with one is an error now, at start, not on a paid call."""
    modes: dict[str, AuthMode[Any]] = {}
    for point in entry_points(group=GROUP):
        if point.name in modes:
            raise ValueError(f"{GROUP} entry point {point.name} is declared twice")
        mode = point.load()
        if not isinstance(mode, AuthMode):
            raise TypeError(f"{GROUP} entry point {point.name} is a {type(mode).__name__}, not an AuthMode")
        modes[point.name] = mode
    return modes


@dataclass(frozen=True, slots=True)
class Token:
    text: str
    lifetime_seconds: float


class TokenCache:
    """Tokens by the settings they were made from, kept until shortly before they expire.

    However many calls want one at once, one of them makes it and the others wait. A failure is shared with
    those who wait and then forgotten. When the maker is cancelled, one of those who wait takes over: nobody
    hangs up on somebody else's behalf, and no work outlives the calls that want it.
    """

    EARLY_SECONDS: Final = 60.0
    # A vendor may revoke a token before its time; nobody should have to wait a year for us to notice.
    KEPT_SECONDS_MAX: Final = 86_400.0

    def __init__(self, size_max: int = 1024) -> None:
        self.size_max = size_max
        self.kept: dict[Hashable, tuple[str, float]] = {}
        self.being_made: dict[Hashable, asyncio.Future[Token | UpstreamAuthFailed | None]] = {}

    async def get(self, settings: Hashable, make: Callable[[], Awaitable[Token]]) -> str:
        while True:
            text, expires = self.kept.get(settings, ("", 0.0))
            if time.monotonic() < expires:
                return text
            other = self.being_made.get(settings)
            if other is None:
                return await self.made(settings, make)
            # The shield keeps one waiter's cancellation from the future that all wait for.
            outcome = await asyncio.shield(other)
            if isinstance(outcome, UpstreamAuthFailed):
                raise UpstreamAuthFailed(str(outcome))
            if outcome is not None:
                return outcome.text

    async def made(self, settings: Hashable, make: Callable[[], Awaitable[Token]]) -> str:
        outcome: Token | UpstreamAuthFailed | None = None
        future = self.being_made[settings] = asyncio.get_running_loop().create_future()
        try:
            outcome = token = await make()
            self.keep(settings, token)
            return token.text
        except UpstreamAuthFailed as failure:
            outcome = failure
            raise
        finally:
            del self.being_made[settings]
            future.set_result(outcome)

    def keep(self, settings: Hashable, token: Token) -> None:
        early = min(self.EARLY_SECONDS, token.lifetime_seconds / 2)
        kept_seconds = min(token.lifetime_seconds - early, self.KEPT_SECONDS_MAX)
        self.kept.pop(settings, None)
        if len(self.kept) >= self.size_max:
            # A dict remembers the order, and a renewed token is put at its end: the oldest goes.
            del self.kept[next(iter(self.kept))]
        self.kept[settings] = token.text, time.monotonic() + kept_seconds
