"""What it takes to settle an ``exact`` payment, and the words that refuse one.

The codes are those of the x402 specification, section 9, and of its EVM mechanism.
"""

from collections.abc import Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias
from uuid import UUID

from gateway.kit.values import dataclass
from gateway.types import Asset

if TYPE_CHECKING:
    from gateway.answers.store import Kept
    from gateway.x402.transactions import Stored

Outcome: TypeAlias = Literal["settled", "failed", "pending"]


@dataclass(frozen=True, slots=True)
class Authorization:
    """An EIP-3009 ``TransferWithAuthorization`` that its payer signed. Times are Unix seconds."""

    asset: Asset
    payer: str
    pay_to: str
    amount: int
    valid_after: int
    valid_before: int
    nonce: bytes
    signature: bytes = field(repr=False)
    """r, s and v of a key, 65 bytes; of a contract wallet whatever it takes."""


class PaymentInvalid(Exception):
    """The payment cannot settle as it is. ``code`` is public and machine-readable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class FacilitatorUnavailable(Exception):
    """Nobody can be asked right now; nothing was sent."""


class ChainMismatch(FacilitatorUnavailable):
    """The chain or the facilitator is not the one that the settings describe: somebody has to change them."""


class PaymentNotClaimed(Exception):
    """The payment was decided by somebody else in the meantime. Nothing was signed."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a payment stands. ``pending`` is an unknown outcome, never a failure."""

    outcome: Outcome
    transaction: str
    """``0x…``, or "" when nothing was sent."""
    failure: str | None = None


class Facilitator(Protocol):
    """One network's way of settling."""

    can_be_asked_again: bool
    """Whether somebody can tell at any time what became of a payment that was submitted."""

    async def start(self) -> None:
        """Compare the settings with the chain; ``ChainMismatch`` when they contradict each other."""

    async def close(self) -> None: ...

    async def check(self, authorization: Authorization) -> int | None:
        """Ask the chain whether the transfer would succeed now, and return what the payer has.

        None where the facilitator cannot tell. ``PaymentInvalid`` when it would not, and
        ``FacilitatorUnavailable`` when the chain cannot be asked.
        """

    async def check_again(self, authorization: Authorization) -> None:
        """``check`` once more, right before ``submit``, where that costs less than what it prevents."""

    async def submit(
        self,
        payment_id: UUID,
        authorization: Authorization,
        usage: dict[str, Any],
        kept: "Kept | None" = None,
    ) -> None:
        """Store the signed transaction and the payment as submitted, in one commit, then send it.

        ``usage`` is stored with the payment, for whoever books it, and the answer ``kept`` beside it. Returns
        once the transaction is stored, also when sending it failed: the outcome is then asked for like any
        other. Before that it may raise ``FacilitatorUnavailable`` or ``PaymentNotClaimed``, and nothing was
        stored or sent.
        """

    async def recheck(self, settled: "Sequence[Stored]") -> "tuple[Sequence[Stored], Sequence[Stored]]":
        """Of settled payments, those that are final now and those that are lost; see ``finality.py``."""

    async def outcome(self, payment_id: UUID, wait_seconds: float) -> Settlement:
        """Wait for the receipt and the asset's ``Transfer`` log; send again what the node does not know."""
