import asyncio
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from gateway.kit import ids
from gateway.rails.x402 import X402Rail
from gateway.x402 import payments
from gateway.x402.claims import Claims
from gateway.x402.settlement import Checked
from tests.gateway.x402.shop import Shop


@pytest.mark.parametrize("ticks", [0, 1, 2, 5])
async def test_a_claim_whose_call_is_cancelled_meanwhile_is_given_back(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, ticks: int
) -> None:
    claims, signed = Claims(shop.pool), shop.sign()
    recorder: Any = SimpleNamespace(waiting=[], add=lambda event: recorder.waiting.append(event))
    taken = SimpleNamespace(authorization=signed, presented=SimpleNamespace(identifier=None))

    async def take(*_: Any) -> Any:
        return taken, bytes(32), Checked(None, 0)

    monkeypatch.setattr(X402Rail, "take", take)
    monkeypatch.setattr(X402Rail, "challenge", lambda *_: None)
    unused: Any = SimpleNamespace(is_owed=lambda _: True, failures_max=lambda _: 0)
    rail = X402Rail(shop.pool, unused, unused, claims, recorder, 0, unused)
    call: Any = SimpleNamespace(call_id=ids.new(), method="GET", path="/", client_address="127.0.0.1")
    match: Any = SimpleNamespace(route=SimpleNamespace(publisher_id=uuid4()))
    price = SimpleNamespace(asset=signed.asset, payee_id=shop.credit_id)
    quote: Any = SimpleNamespace(prices=(price,))
    caller: Any = SimpleNamespace(organization_id=None)
    held = asyncio.get_running_loop().create_task(rail.hold(call, caller, match, quote))
    while not (claims.group.crew.tasks or held.done()):  # noqa: ASYNC110 - its batch is a task that nobody tells of
        await asyncio.sleep(0)
    for _ in range(ticks):
        await asyncio.sleep(0)
    held.cancel()
    with pytest.raises(asyncio.CancelledError):
        await held
    assert await payments.states(shop.pool, [call.call_id]) == {call.call_id: "void"}
    assert [(one.call_id, one.outcome) for one in recorder.waiting] == [(call.call_id, "abandoned")]
    await claims.close()
