"""Questions to a chain's node over JSON-RPC, and answers that are either trustworthy or an exception."""

from collections.abc import Mapping
from typing import Any

from gateway.kit.groups import Crowd
from gateway.x402.facilitator import FacilitatorUnavailable
from gateway.x402.questions import Call, Request
from gateway.x402.replies import NodeRefused as NodeRefused
from gateway.x402.rpc import Node


class Chain:
    """One network's node.

    ``FacilitatorUnavailable`` comes out of every method when the node does not answer, or answers nonsense.
    """

    def __init__(self, rpc_url: str, crowd: Crowd | None = None) -> None:
        # Asked again where it makes sense, by whoever waits for the answer, and not behind their back.
        self.node = Node(rpc_url, crowd)

    async def close(self) -> None:
        await self.node.close()

    def run_together(self, multicall: str) -> None:
        """From now on, calls that come together are one question, to this contract."""
        self.node.multicall = multicall

    async def ask(self, method: str, *params: Any) -> Any:
        """Return the result; ``NodeRefused`` when it is an error."""
        [answer] = await self.ask_all((method, list(params)))
        if isinstance(answer, NodeRefused):
            raise answer
        return answer

    async def ask_all(self, *requests: Request | Call) -> list[Any]:
        """Ask all at once; each result is in its request's place, and an error there is a ``NodeRefused``."""
        return sensible(await self.node.ask(requests))

    async def ask_at_once(self, *requests: Request) -> list[Any]:
        """The same for those who have waited for each other already."""
        return sensible(await self.node.ask(requests, is_waited_for=True))

    async def ask_each(self, *requests: Request) -> list[Any]:
        """The same for questions that have nothing to do with each other: what is nonsense is None."""
        results = await self.node.ask(requests, is_waited_for=True)
        return [None if isinstance(one, FacilitatorUnavailable) else one for one in results]


def sensible(results: list[Any]) -> list[Any]:
    for one in results:
        if isinstance(one, FacilitatorUnavailable):
            # It is told to others as well, and an exception is raised once.
            raise FacilitatorUnavailable(*one.args)
    return results


def call(
    to: str, data: bytes, *, sender: str | None = None, gas: str | None = None, block: str = "latest"
) -> Request:
    request = {"to": to, "data": "0x" + data.hex(), "from": sender, "gas": gas}
    return "eth_call", [{name: value for name, value in request.items() if value is not None}, block]


def text(answer: Any) -> str:
    if isinstance(answer, NodeRefused):
        raise FacilitatorUnavailable(f"the node refused to answer: {answer}") from answer
    if not isinstance(answer, str) or not answer.startswith("0x"):
        raise FacilitatorUnavailable(f"the node answered nonsense: {answer!r:.200}")
    return answer


def number(answer: Any) -> int:
    try:
        return int(text(answer), 16)
    except ValueError:
        raise FacilitatorUnavailable(f"the node answered nonsense: {answer!r:.200}") from None


def is_true(answer: Any) -> bool:
    return number(answer) != 0


def entry(answer: Any) -> Mapping[str, Any] | None:
    """A block, a transaction or a receipt; None when the node has none."""
    if isinstance(answer, NodeRefused):
        raise FacilitatorUnavailable(f"the node refused to answer: {answer}") from answer
    if answer is not None and not isinstance(answer, dict):
        raise FacilitatorUnavailable(f"the node answered nonsense: {answer!r:.200}")
    return answer
