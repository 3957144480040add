"""Strangers who ask for ever new things of one endpoint: what they are told is made once, but for the URL."""

from collections.abc import Callable

import pytest
from yarl import URL

from control.agent.client import decode
from gateway import unpaid
from gateway.buckets import Allowance, Bucket, Buckets
from gateway.front import reply as replying
from gateway.front.connection import Connection
from gateway.front.reply import Lines
from tests.paths.conftest import Farebox

QUERIES = (
    "q=2", "", "q", "?", "q=a%20b%22", "q='\"\\{}<>", "resource=x&url=y", "x" * 300, "x" * 600, "x" * 1900,
    "q=%C3%BC", "a=1&a=2",
)  # fmt: skip
Asked = tuple[int, str, object, str | None]


@pytest.fixture
def again(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was told where the request arrived."""
    told: list[str] = []

    def put_again(connection: Connection, lines: Lines, more: str, body: bytes) -> None:
        told.append(more)
        replying.put_again(connection, lines, more, body)

    def ahead(buckets: Buckets, asked: tuple[Bucket, ...]) -> Allowance:
        """Whether something is left of what was taken ahead is up to how fast Valkey is."""
        return Allowance(0, asked[0], 100, 0.0)

    monkeypatch.setattr(unpaid, "put_again", put_again)
    monkeypatch.setattr(Buckets, "ahead", ahead)
    return told


async def asked(farebox: Farebox, url: str, agent: str) -> Asked:
    """All but what is another in each answer. Another agent's first question is answered by the stages."""
    headers = {"User-Agent": agent}
    async with farebox.session.get(URL(url, encoded=True), headers=headers) as response:
        required = response.headers.get("PAYMENT-REQUIRED")
        challenge = decode(required) if required else None
        return response.status, await response.text(), challenge, response.headers.get("Content-Length")


async def told_of_each(farebox: Farebox, url: str, agent_of: Callable[[int], str]) -> list[Asked]:
    return [await asked(farebox, f"{url}?{query}", agent_of(n)) for n, query in enumerate(QUERIES)]


async def test_what_is_told_of_another_query_is_what_the_stages_would_say(
    farebox: Farebox, again: list[str]
) -> None:
    url = await farebox.publish(description='sells "resource":"x" and "url":') + "/x"
    for _ in range(2):
        await asked(farebox, f"{url}?q=1", "one")
    again.clear()
    found = await told_of_each(farebox, url, lambda _: "one")
    # Three of them are too long to be remembered, or the URLs of those.
    assert len(again) >= len(QUERIES) - 3
    again.clear()
    assert found == await told_of_each(farebox, url, str)
    assert not again
    assert {one[0] for one in found} == {402}


async def test_what_cannot_be_sent_on_is_refused_as_ever(farebox: Farebox, again: list[str]) -> None:
    url = await farebox.publish() + "/x"
    for _ in range(2):
        await asked(farebox, f"{url}?q=1", "one")
    again.clear()
    statuses = [(await asked(farebox, f"{url}?{query}", "one"))[0] for query in ("q=ü", "q=2", "q=ü")]
    assert statuses == [400, 402, 400]
    assert len(again) == 1


async def test_what_was_told_so_can_be_paid(farebox: Farebox, again: list[str]) -> None:
    url = await farebox.publish() + "/x"
    for n in range(2):
        await farebox.agent.ask("GET", f"{url}?q={n}")
    again.clear()
    challenge = await farebox.agent.ask("GET", f"{url}?q=new")
    assert len(again) == 1
    assert decode(challenge.headers["PAYMENT-REQUIRED"])["resource"]["url"] == f"{url}?q=new"
    payment = {"PAYMENT-SIGNATURE": farebox.agent.sign(challenge)}
    paid = await farebox.agent.ask("GET", f"{url}?q=new", headers=payment)
    assert paid.status == 200


async def test_once_something_else_is_published_the_stages_say_it_first(
    farebox: Farebox, again: list[str]
) -> None:
    url = await farebox.publish() + "/x"
    for n in range(2):
        await farebox.agent.ask("GET", f"{url}?q={n}")
    again.clear()
    await farebox.publish("other")
    first, *others = [await farebox.agent.ask("GET", f"{url}?r={n}") for n in range(10)]
    assert first.status == 402
    assert len(again) == 9
    assert {one.status for one in others} == {402}
