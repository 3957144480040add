"""What a remote facilitator says, read with suspicion. Pure.

It may be slow, broken, of another version or a liar, and each of them must end in "not known" rather than in
a result: a success that is none gives a call away, a failure that is none makes its payer pay twice.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.x402.facilitator import (
    Authorization,
    ChainMismatch,
    FacilitatorUnavailable,
    Outcome,
    PaymentInvalid,
)

HASH = re.compile(r"0x[0-9a-fA-F]{64}", re.ASCII)
CODE = re.compile(r"[a-z0-9_]{1,100}", re.ASCII)
MESSAGE_CHARACTERS_MAX = 200

# Its own trouble and not the payment's: a payer who is told so could only sign another in vain.
OWN_TROUBLE = frozenset(
    {
        "unexpected_verify_error", "unsupported_scheme", "invalid_scheme", "invalid_network",
        "invalid_x402_version", "invalid_exact_evm_failed_to_get_network_config", "network_mismatch",
    }
)  # fmt: skip

# What a transfer by somebody else, or one that it forgot about, looks like as well. It proves nothing.
AMBIGUOUS = frozenset(
    {
        "settlement_pending", "duplicate_settlement", "unexpected_settle_error", "invalid_transaction_state",
        "invalid_exact_evm_nonce_already_used", "nonce_already_used", "transaction_unconfirmed",
    }
)  # fmt: skip


class Nonsense(Exception):
    """An answer that is not one to this question. The text is for the log."""


@dataclass(frozen=True, slots=True)
class Told:
    """What it says about a settlement."""

    outcome: Outcome
    transaction: str = ""
    failure: str | None = None
    is_final: bool = False
    """Of a failure, whether it says that nothing was and will be sent."""


UNKNOWN = Told("pending")


def parse(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise FacilitatorUnavailable("the facilitator's answer is not JSON") from None


def check_supported(answer: Any, network: str) -> None:
    """``ChainMismatch`` when it says that it does not settle ``exact`` on this network."""
    kinds = answer.get("kinds") if isinstance(answer, dict) else None
    if not isinstance(kinds, list):
        raise Nonsense("supported has no kinds")
    found = [one for one in kinds if isinstance(one, dict)]
    wanted = {"x402Version": 2, "scheme": "exact", "network": network}
    if not any(wanted.items() <= one.items() for one in found):
        raise ChainMismatch(f"the facilitator of {network} does not settle version 2 of exact on it")


def read_verdict(answer: Any, asked: Authorization) -> None:
    """``PaymentInvalid`` when it says no, ``Nonsense`` unless it says a clear yes."""
    answer = members(answer)
    same(answer.get("payer"), asked.payer, "payer")
    verdict = answer.get("isValid")
    if verdict is True:
        return
    if verdict is not False:
        raise Nonsense("isValid is not a boolean")
    code = coded(answer.get("invalidReason"), "unexpected_verify_error")
    if code in OWN_TROUBLE:
        raise FacilitatorUnavailable(f"the facilitator could not verify the payment: {code}")
    message = answer.get("invalidMessage")
    said = f": {message:.{MESSAGE_CHARACTERS_MAX}}" if isinstance(message, str) else ""
    raise PaymentInvalid(code, f"the facilitator refused the payment{said}")


def read_settlement(answer: Any, asked: Authorization) -> Told:
    answer = members(answer)
    success = answer.get("success")
    if not isinstance(success, bool):
        raise Nonsense("success is not a boolean")
    same(answer.get("payer"), asked.payer, "payer")
    transaction = answer.get("transaction") or ""
    if not isinstance(transaction, str) or (transaction and not HASH.fullmatch(transaction)):
        raise Nonsense("transaction is not a transaction's hash")
    transaction = transaction.lower()
    network = answer.get("network")
    if success or network:
        same(network or "", asked.asset.network, "network")
    if not success:
        return failure(answer, transaction)
    same(answer.get("amount"), str(asked.amount), "amount")
    if not transaction:
        raise Nonsense("success without a transaction")
    return Told("settled", transaction)


def failure(answer: Mapping[str, Any], transaction: str) -> Told:
    code = coded(answer.get("errorReason"), "unexpected_settle_error")
    if code == "settlement_pending":
        return Told("pending", transaction, code)
    return Told("failed", transaction, code, is_final=code not in AMBIGUOUS)


def members(answer: Any) -> Mapping[str, Any]:
    if not isinstance(answer, dict):
        raise Nonsense("the answer is not an object")
    return answer


def same(said: Any, expected: str, what: str) -> None:
    """It need not repeat what it was asked about, but what it repeats has to be that."""
    if said is None:
        return
    if not isinstance(said, str) or said.lower() != expected:
        raise Nonsense(f"{what} is {said!r:.80} and should be {expected}")


def coded(said: Any, otherwise: str) -> str:
    return said if isinstance(said, str) and CODE.fullmatch(said) else otherwise
