import asyncio
import json
from collections.abc import Awaitable, Callable
from importlib.metadata import EntryPoint

import pytest
from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError

from gateway import auth_mode
from gateway.auth_mode import CalledUrl, HeaderName, HeaderSecret, ModeSettings, Token, TokenCache
from gateway.auth_mode import UpstreamAuthFailed as Failed
from plugins import jwt, oauth2_cc, passthrough, static


def test_own_modes_are_found_as_foreign_ones_are() -> None:
    modes = auth_mode.installed()
    assert [modes[name] for name in ("static", "jwt", "oauth2_cc", "passthrough")] == [
        static.MODE,
        jwt.MODE,
        oauth2_cc.MODE,
        passthrough.MODE,
    ]


@pytest.mark.parametrize(
    ("points", "error", "message"),
    [
        ([("broken", "plugins.static:Settings")], TypeError, "broken"),
        ([("gone", "plugins.no_such_module:MODE")], ModuleNotFoundError, "no_such_module"),
        # A package that takes over the name of one of ours would read its publishers' secrets.
        ([("static", "plugins.static:MODE"), ("static", "plugins.jwt:MODE")], ValueError, "declared twice"),
    ],
)
def test_an_entry_point_that_is_no_mode_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, points: list[tuple[str, str]], error: type[Exception], message: str
) -> None:
    found = [EntryPoint(name, value, auth_mode.GROUP) for name, value in points]
    monkeypatch.setattr(auth_mode, "entry_points", lambda group: found)
    with pytest.raises(error, match=message):
        auth_mode.installed()


class Nested(BaseModel):
    key: SecretStr


class Sample(ModeSettings, frozen=True):
    header: HeaderName = "X-Key"
    value: HeaderSecret | None = None
    more: dict[str, SecretStr] = {}  # noqa: RUF012
    many: tuple[Nested, ...] = ()
    raw: SecretBytes | None = None
    token_url: CalledUrl | None = None


@pytest.mark.parametrize(
    "values",
    [
        {"header": "X-A", "value": "s", "more": {"a": "s2"}, "many": [{"key": "s3"}], "raw": "s4"},
        {"token_url": "https://id.example.com/token"},
        {},
    ],
)
def test_dumped_settings_are_json_and_make_the_same_settings(values: dict[str, object]) -> None:
    settings = Sample.model_validate(values)
    dumped = auth_mode.dump_settings(settings)
    assert values.items() <= dumped.items()
    assert Sample.model_validate(json.loads(json.dumps(dumped))) == settings


def test_null_means_not_set() -> None:
    assert Sample.model_validate({"header": None, "value": None, "more": None}) == Sample()


def test_settings_of_another_mode_are_refused() -> None:
    with pytest.raises(ValidationError, match="upstream_api_key"):
        Sample.model_validate({"upstream_api_key": "k"})


def test_settings_do_not_change_after_validation() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Sample().header = "Host"  # type: ignore[misc]


@pytest.mark.parametrize("values", [{"value": "s3cret\n"}, {"more": "s3cret"}, {"s3cret": "s3cret"}])
def test_a_refused_value_is_not_repeated(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as refused:
        Sample.model_validate(values)
    assert "'s3cret" not in str(refused.value)
    assert "input_value" not in str(refused.value)


def test_the_urls_that_a_mode_calls_are_found() -> None:
    assert auth_mode.called_urls(Sample(token_url="https://id.example.com/")) == ["https://id.example.com/"]
    assert auth_mode.called_urls(Sample()) == []


@pytest.mark.parametrize("url", ["ftp://id.example.com/", "https://u:p@id.example.com/", "/token"])
def test_a_url_that_can_never_be_called_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        Sample(token_url=url)


def test_a_failed_authorization_is_the_upstreams_fault() -> None:
    problem = Failed("no token").problem()
    assert (problem.status, problem.code, problem.message) == (502, "upstream-auth-failed", "no token")
    assert Failed.outcome == "upstream_failed"


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(auth_mode, "time", clock)
    return clock


class Maker:
    """Makes numbered tokens when its gate is open, and counts how often it was asked."""

    def __init__(self, lifetime_seconds: float = 3600) -> None:
        self.asked = 0
        self.lifetime_seconds = lifetime_seconds
        self.gate = asyncio.Event()
        self.failure: Exception | None = None

    async def __call__(self) -> Token:
        self.asked += 1
        number = self.asked
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return Token(f"token {number}", self.lifetime_seconds)


async def waiting(count: int, call: Callable[[], Awaitable[str]]) -> list[asyncio.Task[str]]:
    """Start that many calls and let each get as far as it can."""

    async def one() -> str:
        return await call()

    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(one()) for _ in range(count)]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_many_calls_at_once_make_one_token() -> None:
    cache, make = TokenCache(), Maker()
    tasks = await waiting(100, lambda: cache.get("settings", make))
    make.gate.set()
    assert await asyncio.gather(*tasks) == ["token 1"] * 100
    assert make.asked == 1


async def test_everyone_who_waits_gets_the_failure_and_the_next_call_tries_again() -> None:
    cache, make = TokenCache(), Maker()
    make.failure = Failed("the endpoint said no")
    tasks = await waiting(100, lambda: cache.get("settings", make))
    make.gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [(type(one), str(one)) for one in outcomes] == [(Failed, "the endpoint said no")] * 100
    assert make.asked == 1
    make.failure = None
    assert await cache.get("settings", make) == "token 2"


async def test_a_bug_is_seen_by_every_call() -> None:
    cache, make = TokenCache(), Maker()
    make.failure = ZeroDivisionError()
    make.gate.set()
    tasks = await waiting(3, lambda: cache.get("settings", make))
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in outcomes] == [ZeroDivisionError] * 3


async def test_the_others_go_on_when_the_one_who_asks_hangs_up() -> None:
    cache, make = TokenCache(), Maker()
    first, *others = await waiting(100, lambda: cache.get("settings", make))
    first.cancel()
    await asyncio.wait([first])
    assert first.cancelled()
    make.gate.set()
    assert await asyncio.gather(*others) == ["token 2"] * 99
    assert make.asked == 2


async def test_the_others_go_on_when_one_who_waits_hangs_up() -> None:
    cache, make = TokenCache(), Maker()
    *others, last = await waiting(100, lambda: cache.get("settings", make))
    last.cancel()
    await asyncio.wait([last])
    make.gate.set()
    assert await asyncio.gather(*others) == ["token 1"] * 99
    assert make.asked == 1


@pytest.mark.parametrize(
    ("lifetime_seconds", "kept_seconds"),
    [
        (3600, 3540),
        (120, 60),
        (60, 30),        # a short life is halved, or a token would never be used twice
        (10**9, 86400),  # a vendor may revoke it before its time
    ],
)  # fmt: skip
async def test_a_token_is_kept_until_shortly_before_it_expires(
    clock: Clock, lifetime_seconds: float, kept_seconds: float
) -> None:
    cache, make = TokenCache(), Maker(lifetime_seconds)
    make.gate.set()
    await cache.get("settings", make)
    clock.seconds += kept_seconds - 0.001
    await cache.get("settings", make)
    assert make.asked == 1
    clock.seconds += 0.002
    await cache.get("settings", make)
    assert make.asked == 2


async def test_a_token_that_is_already_expiring_is_used_once() -> None:
    cache, make = TokenCache(), Maker(lifetime_seconds=0)
    make.gate.set()
    assert [await cache.get("settings", make) for _ in range(2)] == ["token 1", "token 2"]


async def test_who_waited_for_a_token_uses_it_however_short_its_life() -> None:
    cache, make = TokenCache(), Maker(lifetime_seconds=0)
    tasks = await waiting(100, lambda: cache.get("settings", make))
    make.gate.set()
    assert await asyncio.gather(*tasks) == ["token 1"] * 100


async def test_settings_do_not_share_tokens() -> None:
    cache, make = TokenCache(), Maker()
    make.gate.set()
    assert [await cache.get(settings, make) for settings in ("a", "b", "a")] == [
        "token 1",
        "token 2",
        "token 1",
    ]


async def test_the_cache_is_bounded_and_drops_the_oldest() -> None:
    cache, make = TokenCache(size_max=2), Maker()
    make.gate.set()
    for settings in ("a", "b", "c", "b", "c"):
        await cache.get(settings, make)
    assert make.asked == 3
    assert list(cache.kept) == ["b", "c"]
    assert cache.being_made == {}
