"""Clients that other people wrote pay unmodified."""

import httpx
from eth_account import Account
from x402 import x402Client
from x402.http.clients.httpx import x402HttpxClient
from x402.mechanisms.evm.exact import ExactEvmScheme
from x402.mechanisms.evm.signers import EthAccountSigner

from tests.paths.conftest import DOLLAR, Farebox


async def test_the_official_python_client_pays(farebox: Farebox) -> None:
    url = await farebox.publish() + "/weather?city=oslo"
    # It pays in the assets it knows, USDC among them; the test token has to be allowed.
    client = x402Client().set_spend_controls({"allowed_assets": True})
    signer = EthAccountSigner(Account.from_key(farebox.agent.private_key))
    client.register("eip155:*", ExactEvmScheme(signer))
    async with x402HttpxClient(client, timeout=httpx.Timeout(30)) as http:
        got = await http.get(url)
        assert (got.status_code, got.json()["path"]) == (200, "/weather?city=oslo")
        assert "PAYMENT-RESPONSE" in got.headers
        posted = await http.post(url, json={"n": 1})
        assert posted.status_code == 200
    assert await farebox.chain.balance(farebox.token, farebox.platform_wallet) == DOLLAR // 2
    assert len(farebox.upstream.bodies) == 2
