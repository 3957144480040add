"""Steps of charges without a call, and of earnings on their way out."""

from typing import Any

from hypothesis import strategies as st

from gateway.ledger.accounts import PLATFORM
from tests.control.model.dying import DEATHS, Death
from tests.control.model.plain import Charge, Payout
from tests.control.model.world import AMOUNTS, FEE_BASIS_POINTS, PERCENT, PICKS, WHO, World, picked, step

REFUNDS = ["the rest", "all", "nearly all", "more than own", "a part"]
SLASHES = ["all", "too much", "a part"]
RECEIVER = "0x" + "c5" * 20


class Charges(World):
    @property
    def charges_at(self) -> str:
        return f"/billing/publishers/{self.slug}/charges"

    def sell(self, path: str, body: Any, death: Death | None) -> tuple[int, Any]:
        return self.ask_once(path, body, death, self.seller.headers)

    @step(weight=2, who=WHO, amount=AMOUNTS, death=DEATHS)
    def charge(self, who: int, amount: int, death: Death | None) -> None:
        model = self.model
        body = {"agent_wallet": self.wallets[who], "amount_atomic": amount, "description": "x"}
        status, made = self.sell(self.charges_at, body, death)
        assert status == (200 if model.can_take(who, amount) else 402)
        if status == 200:
            fee = amount * FEE_BASIS_POINTS // 10_000
            model.charges[made["id"]] = Charge(who, amount, fee, *model.take(who, amount))
            model.earned += amount - fee
            model.fees += fee

    @step(
        weight=3,
        can=lambda model: bool(model.charges),
        pick=PICKS,
        how=st.sampled_from(REFUNDS),
        percent=PERCENT,
        death=DEATHS,
    )
    def refund(self, pick: int, how: str, percent: int, death: Death | None) -> None:
        model = self.model
        charge_id = picked(model.charges, pick)
        one = model.charges[charge_id]
        asked = {
            "the rest": None,
            "all": one.stands or 1,
            "nearly all": max(one.stands - 1, 1),
            "more than own": one.own + 1,
            "a part": one.amount * percent // 100 or 1,
        }[how]
        body = {"reason": "late", "amount_atomic": asked}
        status, shown = self.sell(f"{self.charges_at}/{charge_id}/refund", body, death)
        wanted = one.stands if asked is None else asked
        if not wanted or wanted > one.stands:
            assert (status, shown["code"]) == (409, "refund-exceeds-charge")
            return
        # What may not be there any more: the publisher's part, or the platform's, within a unit of rounding.
        fee = wanted * one.fee // one.stands
        if status != 200:
            assert shown["code"] == "earnings-too-low"
            assert model.earned < wanted - fee or model.fees < fee + 1
            return
        back = model.fees - self.run(self.balance(PLATFORM, "fees")) + self.before["fees"]
        assert back == one.fee if wanted == one.stands else fee <= back <= fee + 1
        one.fee -= back
        model.fees -= back
        model.earned -= wanted - back
        model.give_back(one, wanted)

    @step(
        can=lambda model: bool(model.charges),
        pick=PICKS,
        how=st.sampled_from(SLASHES),
        percent=PERCENT,
        death=DEATHS,
    )
    def slash(self, pick: int, how: str, percent: int, death: Death | None) -> None:
        model = self.model
        charge_id = picked(model.charges, pick)
        one = model.charges[charge_id]
        left = one.stands - one.slashed
        edges = {"all": left, "too much": left + 1, "a part": one.amount * percent // 100}
        amount = max(edges[how], 1)
        body = {"reason": "abuse", "slash_amount_atomic": amount}
        status, _ = self.sell(f"{self.charges_at}/{charge_id}/slash", body, death)
        assert status == (409 if amount > left else 204 if model.can_take(one.who, amount) else 402)
        if status == 204:
            model.take(one.who, amount)
            one.slashed += amount
            model.earned += amount

    @step(amount=AMOUNTS, death=DEATHS)
    def pay_out(self, amount: int, death: Death | None) -> None:
        body = {"destination_wallet": RECEIVER, "amount_atomic": amount, "description": "x"}
        status, made = self.sell(f"/billing/publishers/{self.slug}/payouts", body, death)
        assert status == (200 if amount <= self.model.earned else 409)
        if status == 200:
            self.model.payouts[made["id"]] = Payout(amount)
            self.model.earned -= amount
            self.model.leaving += amount

    @step(
        can=lambda model: bool(model.payouts),
        pick=PICKS,
        death=DEATHS,
        decision=st.sampled_from(["sent", "failed", "returned"]),
    )
    def decide(self, pick: int, death: Death | None, decision: str) -> None:
        payout_id = picked(self.model.payouts, pick)
        one = self.model.payouts[payout_id]
        body = {"status": decision, "reference": "r", "reason": "r"}
        answer = self.ask("PATCH", f"/platform/payouts/{payout_id}", body, death, self.operator)
        may = (one.state, decision) in {("requested", "sent"), ("requested", "failed"), ("sent", "returned")}
        if answer is None:
            state = self.run(self.pool.fetchval("SELECT state FROM payouts WHERE id = $1", payout_id))
            assert state in ((one.state, decision) if may else (one.state,))
            may = may and state == decision
        else:
            assert answer[0] == (200 if may else 409)
        if may:
            self.model.leaving -= one.amount if one.state == "requested" else 0
            self.model.earned += one.amount if decision != "sent" else 0
            one.state = decision  # type: ignore[assignment]
