"""The official TypeScript client, which was written without any knowledge of this gateway."""

import json

from tests.anvil import pay_with_typescript
from tests.paths.conftest import Farebox

PRICE = 250_000


async def test_the_official_client_pays_for_one_call_and_gets_it(farebox: Farebox) -> None:
    shop = await farebox.publish()
    before = await farebox.chain.balance(farebox.token, farebox.platform_wallet)
    paid = await pay_with_typescript(f"{shop}/forecast?city=Oslo", farebox.agent.private_key)
    assert paid["status"] == 200, paid
    assert json.loads(paid["body"]) == {"path": "/forecast?city=Oslo", "method": "GET"}
    receipt = paid["paymentResponse"]
    assert (receipt["success"], receipt["network"]) == (True, farebox.chain.network)
    assert receipt["payer"].lower() == farebox.payer
    assert await farebox.chain.balance(farebox.token, farebox.platform_wallet) == before + PRICE
    assert len(farebox.upstream.seen) == 1
    assert await farebox.is_sound()


async def test_the_official_client_is_told_why_it_could_not_pay(farebox: Farebox) -> None:
    """An account without money: the answer is another 402, and nothing reached the upstream."""
    shop = await farebox.publish()
    poor = farebox.chain.accounts[8]
    refused = await pay_with_typescript(f"{shop}/forecast", bytes(poor.key))
    assert refused["status"] == 402
    assert "insufficient_funds" in refused["body"]
    assert farebox.upstream.seen == []
