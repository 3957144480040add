"""Payers that are wallets nobody has deployed yet (ERC-6492): deployed and charged in one transaction.

Their signature comes wrapped with a factory and the call that makes it deploy them. Such calls run at our
expense, so the settings name the factories, and without any these payments are refused. Nothing that is left
half done can cost anybody: the transaction is a program that calls the factory and then the token, and
reverts as a whole when the transfer does. The same program, run by ``eth_call``, says beforehand what would
happen.

Source: ERC-6492; x402 scheme_exact_evm, smart wallets.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from config.settings import Network
from gateway.x402 import exact, token
from gateway.x402.chain import Chain, NodeRefused, call, is_true, number, text
from gateway.x402.facilitator import Authorization, FacilitatorUnavailable, PaymentInvalid
from gateway.x402.questions import Request
from gateway.x402.signers import Fields

MAGIC = b"\x64\x92" * 16

# EVM opcodes: Yellow Paper, appendix H.2.
CODECOPY, EXTCODESIZE, MLOAD, MSTORE = b"\x39", b"\x3b", b"\x51", b"\x52"
JUMPI, GAS, JUMPDEST, STOP = b"\x57", b"\x5a", b"\x5b", b"\x00"
CALL, RETURN, REVERT = b"\xf1", b"\xf3", b"\xfd"
# Of three calls: whether each succeeded, and the first word that it returned. Behind it stands what is sent.
ANSWERS_BYTES = 3 * 64
# What a program costs besides its calls: a transaction that creates, its bytes, and the answers as code.
OVERHEAD_GAS = 250_000


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A payment that says how to deploy its payer."""

    inner: Authorization
    """With the signature that the wallet takes for its own."""
    factory: str
    deployment: bytes


def is_wrapped(authorization: Authorization) -> bool:
    return authorization.signature.endswith(MAGIC)


def refuse(authorization: Authorization) -> None:
    """Where nobody deploys anything."""
    if is_wrapped(authorization):
        raise PaymentInvalid(
            "invalid_exact_evm_payload_undeployed_smart_wallet",
            "wallets that are not deployed yet cannot pay here: deploy it, then sign again",
        )


def read(authorization: Authorization, factories: Sequence[str]) -> Wrapped:
    if not factories:
        refuse(authorization)
    try:
        factory, deployment, signature = decode(
            ["address", "bytes", "bytes"], authorization.signature[: -len(MAGIC)]
        )
    except (DecodingError, OverflowError):
        raise PaymentInvalid(
            "invalid_exact_evm_payload_signature", "the signature is not wrapped as ERC-6492 says"
        ) from None
    if factory.lower() not in {one.lower() for one in factories}:
        raise PaymentInvalid(
            "eip6492_factory_not_allowed", f"wallets of the factory {factory} are not deployed here"
        )
    if not signature or signature.endswith(MAGIC):
        raise PaymentInvalid("invalid_exact_evm_payload_signature", "the wrapped signature is none")
    return Wrapped(replace(authorization, signature=bytes(signature)), factory.lower(), bytes(deployment))


async def check(chain: Chain, network: Network, authorization: Authorization, sender: str) -> int:
    """What the payer has; ``PaymentInvalid`` unless it can be deployed and charged."""
    wrapped = read(authorization, network.wallet_factories)
    inner, asset = wrapped.inner, authorization.asset.address
    question = token.is_valid_signature(exact.digest(inner), inner.signature)
    calls = (authorization.payer, question), charged(wrapped)
    used, funds, ran = await chain.ask_all(
        call(asset, token.authorization_state(authorization.payer, authorization.nonce)),
        call(asset, token.balance_of(authorization.payer)),
        run(program(wrapped, network, calls, is_transaction=False), sender, gas_limit(network)),
    )
    if is_true(used):
        raise PaymentInvalid("invalid_exact_evm_nonce_already_used", "the authorization was used before")
    is_asked, word, is_charged = answers(ran)
    if not is_asked or "0x" + word != token.IS_VALID:
        raise PaymentInvalid("invalid_exact_evm_payload_signature", exact.NOT_SIGNED)
    if not is_charged:
        if number(funds) < authorization.amount:
            raise PaymentInvalid("insufficient_funds", "the payer has less of the asset than the price")
        raise PaymentInvalid(
            "invalid_exact_evm_transaction_simulation_failed", "the transfer would not succeed"
        )
    return number(funds)


def answers(ran: object) -> tuple[bool, str, bool]:
    """Whether the wallet answered, what it did, and whether the token moved the money."""
    if isinstance(ran, NodeRefused):
        if not ran.is_execution:
            raise FacilitatorUnavailable(f"the node did not simulate the deployment: {ran}") from ran
        raise PaymentInvalid("smart_wallet_deployment_failed", f"the wallet is not deployed: {ran!s:.200}")
    words = text(ran).removeprefix("0x")
    if len(words) != ANSWERS_BYTES * 2:
        raise FacilitatorUnavailable(f"the node answered nonsense: {ran!r:.200}")
    _, _, asked, word, charged, _ = (words[start : start + 64] for start in range(0, len(words), 64))
    return int(asked, 16) == 1, word, int(charged, 16) == 1


def transaction(authorization: Authorization, network: Network, nonce: int) -> Fields:
    """What creates no contract, but deploys the payer and charges it on the way."""
    wrapped = read(authorization, network.wallet_factories)
    code = program(wrapped, network, [charged(wrapped)], is_transaction=True)
    return Fields(network.chain_id, nonce, gas_limit(network), b"", code)


def gas_limit(network: Network) -> int:
    """The most that settling a payment may use."""
    if not network.wallet_factories:
        return network.gas_limit
    return network.gas_limit + network.deployment_gas_limit + OVERHEAD_GAS


def charged(wrapped: Wrapped) -> tuple[str, bytes]:
    return wrapped.inner.asset.address, token.transfer_with_authorization(wrapped.inner)


def run(code: bytes, sender: str, gas: int) -> Request:
    """Ask what a program returns that is not on the chain."""
    return "eth_call", [{"data": "0x" + code.hex(), "from": sender, "gas": hex(gas)}, "latest"]


def program(
    wrapped: Wrapped, network: Network, calls: Sequence[tuple[str, bytes]], *, is_transaction: bool
) -> bytes:
    """EVM code that deploys the wallet, unless somebody else has, and then makes these calls, whether or not
    one fails.

    It ends by returning the answers, or for a transaction by reverting unless the last call succeeded.
    """
    # How long it is goes into it, and does not depend on what stands there.
    end = len(steps(wrapped, network, calls, 0, is_transaction=is_transaction))
    code = steps(wrapped, network, calls, end, is_transaction=is_transaction)
    return code + wrapped.deployment + b"".join(data for _, data in calls)


def steps(
    wrapped: Wrapped, network: Network, calls: Sequence[tuple[str, bytes]], end: int, *, is_transaction: bool
) -> bytes:
    # Where a wallet stands already, making it again would burn all the gas that the factory is given.
    deploy = step(wrapped.factory, len(wrapped.deployment), end, 0, push(network.deployment_gas_limit, 4))
    code = address(wrapped.inner.payer) + EXTCODESIZE
    code += push(len(code) + 4 + len(deploy), 2) + JUMPI + deploy + JUMPDEST
    place = end + len(wrapped.deployment)
    for position, (to, data) in enumerate(calls, 1):
        code += step(to, len(data), place, 64 * position, GAS)
        place += len(data)
    if not is_transaction:
        return code + push(ANSWERS_BYTES, 2) + push(0, 1) + RETURN
    code += push(64 * len(calls), 1) + MLOAD
    failure = push(0, 1) + push(0, 1) + REVERT
    return code + push(len(code) + 4 + len(failure), 2) + JUMPI + failure + JUMPDEST + STOP


def step(to: str, length: int, place: int, answer: int, gas: bytes) -> bytes:
    """Call with the data that stands at this place of the code, and keep the answer."""
    code = push(length, 3) + push(place, 3) + push(ANSWERS_BYTES, 2) + CODECOPY
    code += push(32, 1) + push(answer + 32, 1) + push(length, 3) + push(ANSWERS_BYTES, 2) + push(0, 1)
    return code + address(to) + gas + CALL + push(answer, 1) + MSTORE


def address(account: str) -> bytes:
    return push(int(account, 16), 20)


def push(value: int, size: int) -> bytes:
    return bytes([0x5F + size]) + value.to_bytes(size, "big")
