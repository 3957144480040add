"""A publisher earns by calls, asks for its money, and has it on chain."""

from eth_utils.address import to_checksum_address

from control.demo import token
from control.roles import work
from control.roles.base import based
from gateway.kit.sql import Pool
from tests.gateway.conftest import Ledger
from tests.paths.conftest import DOLLAR, Farebox

RECEIVER = "0x" + "e7" * 20
APPROVE = bytes.fromhex("095ea7b3")


async def test_what_calls_earned_lands_on_chain(farebox: Farebox, pool: Pool) -> None:
    account = await farebox.sign_up()
    await farebox.fund(account, 2 * DOLLAR)
    shop = await farebox.publish("shop", price_per_call="0.50")
    for _ in range(2):
        assert (await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)).status == 200
    assert (await farebox.pay("GET", f"{shop}/x")).status == 200
    # Three calls at half a dollar, less a tenth.
    assert await farebox.earned() == (1_350_000, 150_000)

    body = {"destination_wallet": RECEIVER, "amount_atomic": 1_250_000, "description": "my earnings"}
    asked = await farebox.agent.ask(
        "POST", f"{farebox.origin}/billing/publishers/shop/payouts",
        headers={**farebox.publisher.headers, "Idempotency-Key": "october"}, body=body,
    )  # fmt: skip
    assert asked.status == 200, asked.text
    assert (await farebox.earned())[0] == 100_000

    # The platform's wallet has what agents paid on chain, and lets the facilitator's key pay out of it.
    await farebox.chain.mint(farebox.token, farebox.platform_wallet, DOLLAR)
    key = farebox.chain.accounts[1].address
    data = APPROVE + token.word(key) + (2 * DOLLAR).to_bytes(32)
    await farebox.chain.transact(farebox.token, data, sender=farebox.chain.accounts[3])
    async with based(farebox.settings, farebox.origin) as base:
        for _ in range(2):
            await pool.execute("UPDATE payouts SET asked_at = NULL")
            await work.pay_out(base)
        await work.measure(base)

    assert await farebox.chain.balance(farebox.token, RECEIVER) == 1_250_000
    at = f"{farebox.origin}/billing/publishers/shop/payouts/{asked.json['id']}"
    shown = (await farebox.agent.ask("GET", at, headers=farebox.publisher.headers)).json
    assert (shown["status"], shown["destination_wallet"]) == ("completed", to_checksum_address(RECEIVER))
    receipt = await farebox.chain.run(farebox.chain.node.receipts.get, shown["tx_hash"])
    assert receipt is not None
    assert receipt["status"] == "0x1"
    ledger = Ledger(farebox.pool)
    assert await ledger.balance(farebox.publisher.organization_id, farebox.asset, "payouts") == (0, 0)
    # Two dollars came by a deposit and half a one by a payment; the payout left.
    clearing = "SELECT posted FROM accounts WHERE kind = 'chain'"
    assert await farebox.pool.fetchval(clearing) == -2 * DOLLAR - DOLLAR // 2 + 1_250_000
    assert await farebox.is_sound()
