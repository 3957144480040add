"""Token buckets against a real Valkey, and without one."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway import buckets as module
from gateway.buckets import Bucket, Buckets, TooManyCalls
from tests import valkey as valkey_server
from tests.waiting import until


def bucket(burst: int = 3, rate: float = 0.001, kind: str = "key") -> Bucket:
    return Bucket(kind, uuid4().hex, rate, burst)


def client(url: str) -> Redis:
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0))


@pytest.fixture(params=["shared", "local"])
async def buckets(request: pytest.FixtureRequest, valkey: str) -> AsyncIterator[Buckets]:
    """The two must decide alike."""
    made = Buckets(client(valkey) if request.param == "shared" else None)
    yield made
    await made.close()


async def test_a_burst_is_granted_and_no_more_at_any_concurrency(buckets: Buckets) -> None:
    one = bucket(burst=30)
    allowances = await asyncio.gather(*(buckets.take(one) for _ in range(100)))
    granted = [each for each in allowances if not each.wait_seconds]
    assert sorted(each.remaining for each in granted) == list(range(30))
    assert all(each.wait_seconds > 900 for each in allowances if each.wait_seconds)


async def test_tokens_come_back_at_the_rate(buckets: Buckets) -> None:
    one = bucket(burst=1, rate=5)
    assert not (await buckets.take(one)).wait_seconds
    wait_seconds = (await buckets.take(one)).wait_seconds
    assert 0 < wait_seconds <= 0.2
    await asyncio.sleep(wait_seconds + 0.01)
    assert not (await buckets.take(one)).wait_seconds


async def test_one_takes_from_all_of_its_buckets_or_from_none(buckets: Buckets) -> None:
    wide, narrow = bucket(burst=10), bucket(burst=1, kind="publisher")
    assert not (await buckets.take(wide, narrow)).wait_seconds
    for _ in range(5):
        refused = await buckets.take(wide, narrow)
        assert (refused.kind, refused.remaining) == ("publisher", 0)
        assert refused.wait_seconds > 0
    assert (await buckets.take(wide)).remaining == 8


async def test_the_bucket_that_leaves_least_is_told(buckets: Buckets) -> None:
    granted = await buckets.take(bucket(burst=9), bucket(burst=4, rate=2, kind="publisher"))
    assert granted.headers == {
        "RateLimit-Limit": "4",
        "RateLimit-Remaining": "3",
        "RateLimit-Reset": "1",
        "RateLimit-Policy": '"publisher";q=4;w=2',
        "RateLimit": '"publisher";r=3;t=1',
    }


async def test_what_is_given_back_can_be_taken_again_and_never_exceeds_the_burst(buckets: Buckets) -> None:
    one = bucket(burst=2)
    await buckets.take(one)
    await buckets.take(one)
    buckets.give_back(one)
    await asyncio.sleep(0.05)
    assert (await buckets.take(one)).wait_seconds == 0
    for _ in range(5):
        buckets.give_back(one)
    await asyncio.sleep(0.05)
    assert (await buckets.take(one)).remaining == 1


async def test_a_refusal_says_when_to_come_again(buckets: Buckets) -> None:
    one = bucket(burst=1, rate=0.1)
    await buckets.require(one)
    with pytest.raises(TooManyCalls) as caught:
        await buckets.require(one)
    assert caught.value.headers["Retry-After"] == "10"
    assert caught.value.headers["RateLimit-Remaining"] == "0"


async def test_all_who_ask_in_one_tick_share_one_round_trip(
    valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = Buckets(client(valkey))
    trips = 0
    script = shared.script
    assert script is not None

    async def counted(**arguments: object) -> object:
        nonlocal trips
        trips += 1
        return await script(**arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(shared, "script", counted)
    one = bucket(burst=200)
    await asyncio.gather(*(shared.take(one, bucket()) for _ in range(100)))
    assert trips == 1
    await shared.close()


async def test_two_processes_share_a_bucket(valkey: str) -> None:
    left, right = Buckets(client(valkey)), Buckets(client(valkey))
    one = bucket(burst=50)
    takes = [each.take(one) for each in (left, right) for _ in range(50)]
    assert sum(not each.wait_seconds for each in await asyncio.gather(*takes)) == 50
    await left.close()
    await right.close()


async def test_while_valkey_is_away_each_process_limits_and_afterwards_all_share_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.1)
    path = tmp_path / "link"
    buckets = Buckets(client(f"unix://{path}"))
    with valkey_server.running() as url:
        path.symlink_to(url.removeprefix("unix://"))
        await buckets.take(bucket())
        assert REGISTRY.get_sample_value("farebox_limits_shared") == 1
    one = bucket(burst=5)
    async with asyncio.timeout(10):
        allowances = await asyncio.gather(*(buckets.take(one) for _ in range(20)))
    assert sum(not each.wait_seconds for each in allowances) == 5
    assert REGISTRY.get_sample_value("farebox_limits_shared") == 0
    path.unlink()
    with valkey_server.running() as url:
        path.symlink_to(url.removeprefix("unix://"))
        await until(lambda: REGISTRY.get_sample_value("farebox_limits_shared") == 1)
        assert (await buckets.take(one)).remaining == 4
        await buckets.close()
