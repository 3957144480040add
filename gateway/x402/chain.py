"""Questions to a chain's node over JSON-RPC, and answers that are either trustworthy or an exception."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import aiohttp
from aiohttp import ClientSession, ClientTimeout
from web3 import AsyncHTTPProvider
from web3.types import RPCEndpoint

from gateway.x402.facilitator import FacilitatorUnavailable

TIMEOUT = ClientTimeout(total=10, sock_connect=3)

Request: TypeAlias = tuple[str, list[Any]]
"""A method and its parameters."""

# What nodes of different makes call a transfer that the EVM ran and did not like. Every other error is the
# node's own and says nothing about the payment.
EXECUTION_FAILURES = ("revert", "invalid opcode", "out of gas")

UNANSWERED = (aiohttp.ClientError, TimeoutError, OSError)
# What the provider raises on its way through an answer that is not JSON-RPC.
NONSENSE = (ValueError, TypeError, AttributeError, KeyError)


class NodeRefused(Exception):
    """The node understood the question and answered with an error."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(str(error.get("message", "")))
        self.code = error.get("code")

    def says(self, *phrases: str) -> bool:
        return any(phrase in str(self).lower() for phrase in phrases)

    @property
    def is_execution(self) -> bool:
        return self.code == 3 or self.says(*EXECUTION_FAILURES)


class Chain:
    """One network's node.

    ``FacilitatorUnavailable`` comes out of every method when the node does not answer, or answers nonsense.
    """

    def __init__(self, rpc_url: str) -> None:
        # Asked again where it makes sense, by whoever waits for the answer, and not behind their back.
        self.provider = AsyncHTTPProvider(
            rpc_url, request_kwargs={"timeout": TIMEOUT}, exception_retry_configuration=None
        )
        self.session: ClientSession | None = None

    async def close(self) -> None:
        await self.provider.disconnect()

    async def ask(self, method: str, *params: Any) -> Any:
        """Return the result; ``NodeRefused`` when it is an error."""
        [answer] = await self.ask_all((method, list(params)))
        if isinstance(answer, NodeRefused):
            raise answer
        return answer

    async def ask_all(self, *requests: Request) -> list[Any]:
        """Ask all at once; each result is in its request's place, and an error there is a ``NodeRefused``."""
        await self.open()
        batch = [(RPCEndpoint(method), params) for method, params in requests]
        try:
            answers = await self.provider.make_batch_request(batch)
        except (*UNANSWERED, *NONSENSE) as error:
            # Not its text: that has the RPC URL in it, and many of those have a key in them.
            raise FacilitatorUnavailable(f"the node does not answer: {kind(error)}") from None
        if not isinstance(answers, list) or len(answers) != len(requests):
            raise FacilitatorUnavailable(f"the node does not answer batches: {answers!r:.200}")
        # The provider numbers the requests of a batch in order and sorts the answers by number.
        numbers: list[Any] = [answer.get("id") for answer in answers]
        if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            raise FacilitatorUnavailable(f"the node answered other questions: {numbers!r:.200}")
        return [result(answer) for answer in answers]

    async def open(self) -> None:
        """Keep connections: the provider's own session opens one for each request."""
        if self.session is None or self.session.closed:
            self.session = await self.provider.cache_async_session(ClientSession())


def kind(error: Exception) -> str:
    status = f" {error.status}" if isinstance(error, aiohttp.ClientResponseError) else ""
    return type(error).__name__ + status


def result(answer: Mapping[str, Any]) -> Any:
    if answer.get("error") is not None:
        return NodeRefused(answer["error"])
    if "result" not in answer:
        raise FacilitatorUnavailable("the node's answer has neither a result nor an error")
    return answer["result"]


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
