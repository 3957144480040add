"""Questions to a node go out together, and what is wrong with one answer is wrong with one only."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from gateway.kit.stack import stay_shallow
from gateway.x402 import rpc
from gateway.x402.chain import Chain, NodeRefused
from gateway.x402.facilitator import FacilitatorUnavailable

Answers = Callable[[list[dict[str, Any]]], Any]


def right(question: dict[str, Any]) -> dict[str, Any]:
    """A node that says again what it is asked."""
    return {"jsonrpc": "2.0", "id": question["id"], "result": question["params"][0]}


@dataclass
class Node:
    """Answers batches as a test tells it to, and remembers how many questions each had."""

    url: str = ""
    answers: Answers = lambda questions: [right(one) for one in questions]
    sizes: list[int] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    is_open: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        question = await request.json()
        questions = question if isinstance(question, list) else [question]
        self.sizes.append(len(questions))
        self.asked += questions
        await self.is_open.wait()
        if isinstance(question, dict):
            return web.json_response(right(question))
        answers = self.answers(questions)
        return answers if isinstance(answers, web.Response) else web.json_response(answers)


@pytest.fixture(autouse=True)
def shallow() -> None:
    """As every process of the product is."""
    stay_shallow()


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    node = Node()
    node.is_open.set()
    app = web.Application()
    app.router.add_post("/", node.answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    node.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield node
    node.is_open.set()
    await runner.cleanup()


@pytest.fixture
async def chain(node: Node) -> AsyncIterator[Chain]:
    chain = Chain(node.url)
    yield chain
    await chain.close()


async def ask(chain: Chain, count: int) -> list[Any]:
    """As many calls, each with a question of its own: the results, and what was raised."""
    return await asyncio.gather(*(chain.ask("echo", place) for place in range(count)), return_exceptions=True)


async def test_what_is_asked_in_one_tick_goes_out_as_one_request(node: Node, chain: Chain) -> None:
    assert await ask(chain, 50) == list(range(50))
    assert node.sizes == [50]


async def test_a_question_that_waits_already_is_not_asked_twice(node: Node, chain: Chain) -> None:
    results = await asyncio.gather(*(chain.ask_all(("echo", ["same"]), ("echo", [one])) for one in range(9)))
    assert results == [["same", one] for one in range(9)]
    assert node.sizes == [10]


async def test_what_is_asked_while_all_lanes_are_taken_goes_together(node: Node, chain: Chain) -> None:
    node.is_open.clear()
    async with asyncio.TaskGroup() as group:
        asking = []
        for place in range(20):
            asking.append(group.create_task(chain.ask("echo", place)))
            async with asyncio.timeout(30):
                await asyncio.sleep(0)
                while len(node.sizes) < min(place + 1, rpc.LANES):  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
        assert node.sizes == [1] * rpc.LANES
        node.is_open.set()
    assert [one.result() for one in asking] == list(range(20))
    assert node.sizes == [*[1] * rpc.LANES, 20 - rpc.LANES]


async def test_no_request_has_more_questions_than_nodes_allow(node: Node, chain: Chain) -> None:
    assert await ask(chain, 2 * rpc.BATCH_MAX + 1) == list(range(2 * rpc.BATCH_MAX + 1))
    assert sorted(node.sizes) == [1, rpc.BATCH_MAX, rpc.BATCH_MAX]


BAD: dict[str, Callable[[dict[str, Any]], Any]] = {
    "an error": lambda one: {"id": one["id"], "error": {"code": 3, "message": "execution reverted"}},
    "an error that is no object": lambda one: {"id": one["id"], "error": "execution reverted"},
    "neither a result nor an error": lambda one: {"id": one["id"]},
    "not an object": lambda one: "what?",
    "nothing": lambda one: None,
    "another question's answer": lambda one: {"id": one["id"] + 1000, "result": 99},
    "an answer without a number": lambda one: {"id": True, "result": 99},
    "a number that is text": lambda one: {"id": str(one["id"]), "result": 99},
}


@pytest.mark.parametrize("bad", BAD)
async def test_one_bad_answer_of_a_batch_is_one_callers(node: Node, chain: Chain, bad: str) -> None:
    node.answers = lambda questions: [
        *map(right, questions[:2]),
        BAD[bad](questions[2]),
        *map(right, questions[3:]),
    ]
    results = await ask(chain, 5)
    assert [results[place] for place in (0, 1, 3, 4)] == [0, 1, 3, 4]
    assert isinstance(results[2], NodeRefused if bad == "an error" else FacilitatorUnavailable)


async def test_answers_come_in_any_order_and_some_not_at_all(node: Node, chain: Chain) -> None:
    node.answers = lambda questions: [right(one) for one in reversed(questions)][1:]
    *answered, dropped = await ask(chain, 5)
    assert answered == [0, 1, 2, 3]
    assert isinstance(dropped, FacilitatorUnavailable)


TOO_MUCH: dict[str, Callable[[], Any]] = {
    "one error for all": lambda: {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no"}},
    "413": lambda: web.Response(status=413),
    "400": lambda: web.json_response({"error": "batches are for customers"}, status=400),
}


@pytest.mark.parametrize("refusal", TOO_MUCH)
@pytest.mark.parametrize("most", [1, 3, 10])
async def test_a_node_that_refuses_large_batches_is_asked_in_smaller_ones(
    node: Node, chain: Chain, refusal: str, most: int
) -> None:
    node.answers = lambda questions: (
        [right(one) for one in questions] if len(questions) <= most else TOO_MUCH[refusal]()
    )
    assert await ask(chain, 40) == list(range(40))
    # What it was found to take is remembered.
    node.sizes.clear()
    assert await ask(chain, 40) == list(range(40))
    assert max(node.sizes) <= most + 2


async def test_a_node_that_was_short_of_breath_is_given_more_again(node: Node, chain: Chain) -> None:
    chain.node.size_max = 1
    assert await ask(chain, 40) == list(range(40))
    assert chain.node.size_max > 1


NONSENSE: dict[str, Callable[[], web.Response]] = {
    "a page": lambda: web.Response(text="<html>"),
    "a number": lambda: web.json_response(7),
    "an object": lambda: web.json_response({"ok": True}),
    "half": lambda: web.Response(text='[{"id": 0, "result"'),
    "depth": lambda: web.Response(text="[" * 100_000),
    "500": lambda: web.Response(status=500),
    "429": lambda: web.Response(status=429),
}


@pytest.mark.parametrize("nonsense", NONSENSE)
async def test_nonsense_is_told_to_all_and_the_next_batch_has_a_chance(
    node: Node, chain: Chain, nonsense: str
) -> None:
    node.answers = lambda _: NONSENSE[nonsense]()
    assert all(isinstance(one, FacilitatorUnavailable) for one in await ask(chain, 5))
    node.answers = lambda questions: [right(one) for one in questions]
    assert await ask(chain, 5) == list(range(5))


async def test_a_node_that_is_silent_is_waited_for_once_and_by_everybody_at_a_time(
    node: Node, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain.node.deadlines, "seconds", 0.3)
    node.is_open.clear()
    results = await ask(chain, 10 * rpc.BATCH_MAX)
    assert all(isinstance(one, FacilitatorUnavailable) for one in results)
    # Nobody had to wait for those before it to give up.
    assert len(node.sizes) <= rpc.LANES


async def test_a_caller_that_goes_away_does_not_take_its_neighbours_answers(node: Node, chain: Chain) -> None:
    node.is_open.clear()
    async with asyncio.TaskGroup() as group:
        leaving = group.create_task(chain.ask("echo", "same"))
        staying = group.create_task(chain.ask("echo", "same"))
        await asyncio.sleep(0.05)
        leaving.cancel()
        node.is_open.set()
    assert staying.result() == "same"
    assert len(node.asked) == 1
