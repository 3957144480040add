"""Wallets that are not deployed yet are refused in words, unless the settings name their factory."""

from eth_abi.abi import encode as pack

from control.agent.client import decode, encode
from gateway.x402.undeployed import MAGIC
from tests.paths.conftest import DOLLAR, Farebox


async def test_a_wallet_that_is_not_deployed_is_told_so(farebox: Farebox) -> None:
    url = await farebox.publish() + "/weather"
    payment = decode(farebox.agent.sign(await farebox.agent.ask("GET", url)))
    inner = bytes.fromhex(payment["payload"]["signature"][2:])
    wrapped = pack(["address", "bytes", "bytes"], ["0x" + "77" * 20, b"deploy", inner]) + MAGIC
    payment["payload"]["signature"] = "0x" + wrapped.hex()
    got = await farebox.agent.ask("GET", url, headers={"PAYMENT-SIGNATURE": encode(payment)})
    assert (got.status, got.json["error"]) == (402, "invalid_exact_evm_payload_undeployed_smart_wallet")
    assert "deploy it" in got.json["detail"]
    assert farebox.upstream.seen == []
    assert await farebox.chain.balance(farebox.token, farebox.payer) == 10 * DOLLAR
    assert await farebox.pool.fetchval("SELECT count(*) FROM payments") == 0
