"""Steps of plans, and of the invoices that they come to."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from config.plans import Plan
from control.invoicing import monthly
from control.quotas.catalogue import id_of
from tests.control.model.dying import DEATHS, Death
from tests.control.model.plain import Invoice
from tests.control.model.world import CENT, INVOICES, PICKS, PLANS, World, picked, step


class Billing(World):
    months = 0
    """Each is billed once, over all examples: they share a database, and what they owe is their own."""

    @step(plan=st.sampled_from(PLANS), death=DEATHS)
    def choose(self, plan: Plan, death: Death | None) -> None:
        path, body, headers = (
            "/organizations/default/plan",
            {"plan_id": str(id_of(plan))},
            self.payers[0].headers,
        )
        if self.ask("POST", path, body, death, headers) is None:
            # Choosing the plan that one has chosen changes nothing.
            self.ask("POST", path, body, None, headers)
        # Of the months to come, whether it holds at once or follows.
        self.model.price = plan.price_cents

    @step(death=DEATHS)
    def end_a_month(self, death: Death | None) -> None:
        Billing.months += 1
        first = datetime.now(UTC).replace(day=1, hour=2)
        for _ in range(self.months + 1):
            first = (first + timedelta(days=32)).replace(day=1)
        _, is_gone = self.run(self.dies(self.bill(first), death))
        if is_gone:
            # Whoever leased the month is gone, and the lease runs out.
            self.run(self.pool.execute("UPDATE invoice_runs SET leased_until = now()"))
            self.run(self.bill(first))
        rows = self.run(self.rows(INVOICES, self.owners))
        made = {key: row for key, row in rows.items() if key not in self.model.invoices}
        price = self.model.price
        assert list(made.values()) == ([("issued", price)] if price else [])
        self.model.invoices |= {key: Invoice(price) for key in made}

    async def bill(self, at: datetime) -> None:
        while await monthly.bill(self.pool, self.terms, at):
            pass

    @step(can=lambda model: bool(model.invoices), pick=PICKS, death=DEATHS)
    def pay(self, pick: int, death: Death | None) -> None:
        invoice_id = picked(self.model.invoices, pick)
        one, path = self.model.invoices[invoice_id], f"/billing/invoices/{invoice_id}/pay/wallet"
        can = one.state == "issued" and one.cents * CENT <= self.model.free(0)
        answer = self.ask("POST", path, None, death, self.payers[0].headers)
        if answer is None:
            can = self.became(invoice_id, one, "paid", can)
        else:
            assert answer[0] == (200 if can else 402 if one.state == "issued" else 400)
        if can:
            one.state = "paid"
            self.model.funded[0] -= one.cents * CENT
            self.model.revenue += one.cents

    @step(can=lambda model: bool(model.invoices), pick=PICKS, death=DEATHS)
    def void_invoice(self, pick: int, death: Death | None) -> None:
        invoice_id = picked(self.model.invoices, pick)
        one = self.model.invoices[invoice_id]
        can = one.state == "issued"
        answer = self.ask("POST", f"/platform/invoices/{invoice_id}/void", None, death, self.operator)
        if answer is None:
            can = self.became(invoice_id, one, "void", can)
        else:
            assert answer[0] < 300 if can else answer[0] == 409
        if can:
            one.state = "void"

    def became(self, invoice_id: str, one: Invoice, state: Any, can: bool) -> bool:
        """Whether it is done, when nobody answered."""
        found = self.run(self.pool.fetchval("SELECT status FROM invoices WHERE id = $1", invoice_id))
        assert found in ((one.state, state) if can else (one.state,))
        return bool(can and found == state)
