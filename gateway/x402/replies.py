"""What a node's answer to one question says: its result, or why there is none."""

from collections.abc import Mapping
from typing import Any

from gateway.x402.facilitator import FacilitatorUnavailable

# What nodes of different makes call a transfer that the EVM ran and did not like. Every other error is the
# node's own and says nothing about the payment.
EXECUTION_FAILURES = ("revert", "invalid opcode", "out of gas")


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


def result(answer: object) -> Any:
    """``NodeRefused`` for an error and ``FacilitatorUnavailable`` for nonsense, and neither is raised here,
    because the answer is handed to all who asked the same.
    """
    if not isinstance(answer, dict):
        return FacilitatorUnavailable("the node's answer has neither a result nor an error")
    error = answer.get("error")
    if error is not None:
        if isinstance(error, dict):
            return NodeRefused(error)
        return FacilitatorUnavailable(f"the node answered nonsense: {error!r:.200}")
    if "result" not in answer:
        return FacilitatorUnavailable("the node's answer has neither a result nor an error")
    return answer["result"]
