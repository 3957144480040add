"""What a node says of a payment before it is sent: whether the transfer would succeed now."""

from dataclasses import dataclass
from typing import Any

from config.settings import Network
from gateway.x402 import exact, multicall, token, undeployed
from gateway.x402.chain import Chain, NodeRefused, call, is_true, number, text
from gateway.x402.facilitator import Authorization, FacilitatorUnavailable, PaymentInvalid
from gateway.x402.gas_money import GasMoney
from gateway.x402.questions import Call, Request


@dataclass(frozen=True, slots=True)
class Checks:
    chain: Chain
    network: Network
    gas_money: GasMoney
    sender: str
    """One of the signers: tokens do not care which of them sends a transfer."""

    async def check(self, authorization: Authorization) -> int | None:
        """See ``Facilitator.check``."""
        if undeployed.is_wrapped(authorization):
            payers = await undeployed.check(self.chain, self.network, authorization, self.sender)
            await self.gas_money.check()
            return payers
        code, funds, simulated = await self.chain.ask_all(
            ("eth_getCode", [authorization.payer, "latest"]),
            self.balance(authorization),
            self.transfer(authorization),
        )
        is_refused = isinstance(simulated, NodeRefused)
        await self.check_signature(authorization, has_code=text(code) != "0x", is_refused=is_refused)
        await self.gas_money.check()
        await self.judge(authorization, simulated)
        return None if isinstance(funds, NodeRefused) else number(funds)

    async def check_again(self, authorization: Authorization) -> None:
        """Its money may be elsewhere since, or the authorization used: asking costs less than a transaction
        that reverts. What was signed has not changed, and the balance shows in the simulation.
        """
        if undeployed.is_wrapped(authorization):
            await undeployed.check(self.chain, self.network, authorization, self.sender)
            return
        [simulated] = await self.chain.ask_all(self.transfer(authorization))
        await self.judge(authorization, simulated)

    def transfer(self, authorization: Authorization) -> Request | Call:
        """What to ask to know whether the transfer would succeed: it would not, were it used or too dear."""
        # With the gas that the transaction will have, so that too little shows here.
        to, gas = authorization.asset.address, self.network.gas_limit
        data = token.transfer_with_authorization(authorization)
        if multicall.can_share(authorization):
            return Call(self.sender, to, data, gas)
        return call(to, data, sender=self.sender, gas=hex(gas))

    def balance(self, authorization: Authorization) -> Call:
        data = token.balance_of(authorization.payer)
        return Call(self.sender, authorization.asset.address, data, self.network.gas_limit, is_reading=True)

    async def judge(self, authorization: Authorization, simulated: Any) -> None:
        if isinstance(simulated, NodeRefused):
            raise await self.explain(authorization, simulated)

    async def check_signature(
        self, authorization: Authorization, *, has_code: bool, is_refused: bool
    ) -> None:
        """A plain account signs with its key. One with code, by EIP-7702 too, says itself what its signature
        is (ERC-1271): its key alone does not speak for it.
        """
        if has_code:
            question = token.is_valid_signature(exact.digest(authorization), authorization.signature)
            # What the wallet runs is somebody else's program; it may use as much gas as the transfer.
            asked = call(authorization.payer, question, gas=hex(self.network.gas_limit))
            [answer] = await self.chain.ask_all(asked)
            if isinstance(answer, NodeRefused) and not answer.is_execution:
                raise FacilitatorUnavailable(f"the node did not ask the wallet: {answer}")
            is_signed = not isinstance(answer, NodeRefused) and text(answer) == token.IS_VALID
        elif is_refused:
            # By the token, which looks at the last byte. A key that is remembered does not.
            is_signed = exact.recover(authorization) == authorization.payer
        else:
            is_signed = exact.is_signed_by_key(authorization)
        if not is_signed:
            raise PaymentInvalid("invalid_exact_evm_payload_signature", exact.NOT_SIGNED)

    async def explain(self, authorization: Authorization, simulated: NodeRefused) -> Exception:
        """Why the transfer would not succeed, or that the node could not say."""
        if not simulated.is_execution:
            return FacilitatorUnavailable(f"the node did not simulate the transfer: {simulated}")
        asset, payer = authorization.asset.address, authorization.payer
        used, balance = await self.chain.ask_all(
            call(asset, token.authorization_state(payer, authorization.nonce)),
            call(asset, token.balance_of(payer)),
        )
        if is_true(used):
            return PaymentInvalid("invalid_exact_evm_nonce_already_used", "the authorization was used before")
        if number(balance) < authorization.amount:
            return PaymentInvalid("insufficient_funds", "the payer has less of the asset than the price")
        return PaymentInvalid(
            "invalid_exact_evm_transaction_simulation_failed",
            f"the transfer would not succeed: {simulated!s:.200}",
        )
