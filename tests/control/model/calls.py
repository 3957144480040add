"""Steps of money that comes in or is given, and of calls that spend it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from hypothesis import strategies as st

from gateway.kit import ids
from gateway.ledger import accounts, caps, grants, holds, purses
from gateway.ledger.batches import Opening, Posting
from gateway.ledger.caps import Caps
from gateway.ledger.grants import NewGrant
from gateway.ledger.purses import Purses
from gateway.ledger.spenders import CALLS_MIN, SHARE
from tests.arrivals import arrive
from tests.control.conftest import TEST_USDC
from tests.control.model.dying import DEATHS, Death
from tests.control.model.plain import Grant, Hold
from tests.control.model.world import AMOUNTS, PERCENT, PICKS, WHO, World, picked, step
from tests.gateway.charges import charge_of

LIMITS = st.none() | st.none() | AMOUNTS
# Small ones, so that a call often draws on several grants.
PRICES = st.integers(1, 20) | st.integers(1, 20) | AMOUNTS
GIFTS = st.integers(1, 8) | st.integers(1, 10**6)


class Calls(World):
    @step(who=WHO, amount=AMOUNTS)
    def deposit(self, who: int, amount: int) -> None:
        async def deposited() -> None:
            account = await accounts.ensure(self.pool, self.owners[who], TEST_USDC, "funded")
            await arrive(self.pool, account, TEST_USDC, amount, "Deposit")

        self.run(deposited())
        self.model.funded[who] += amount

    @step(who=WHO, amount=GIFTS, hours=st.integers(1, 3), death=DEATHS)
    def give(self, who: int, amount: int, hours: int, death: Death | None) -> None:
        """From a budget that was filled for it; whoever heard nothing gives it again for the same cause."""
        filled, cause_id = uuid4(), uuid4()
        expires_at = datetime.now(UTC) + timedelta(days=1, hours=hours)
        new = NewGrant(self.owners[who], TEST_USDC, amount, "gift", cause_id, "Welcome", expires_at)

        async def given() -> None:
            await grants.fill(self.pool, TEST_USDC, amount, "bank", filled)
            async with self.pool.acquire() as db, db.transaction():
                await grants.give(db, new)

        self.until_done(given, death)
        made = self.run(self.pool.fetchval("SELECT id FROM grants WHERE cause_id = $1", cause_id))
        self.model.grants[made] = Grant(made, who, amount, (hours, len(self.model.grants)))

    def until_done(self, work: Callable[[], Awaitable[Any]], death: Death | None) -> Any:
        """A job that is begun again when its process is gone."""

        async def once() -> Any:
            return await work()

        answer, is_gone = self.run(self.dies(once(), death))
        return self.run(once()) if is_gone else answer

    @step(weight=2, can=lambda model: bool(model.grants), pick=PICKS)
    def pass_a_date(self, pick: int) -> None:
        """Nothing is drawn from a grant any more, whether or not the job has seen it."""
        grants = self.model.grants.values()
        one = picked([one for one in grants if one.held and not one.is_over] or grants, pick)
        if not one.is_over:
            one.is_over = True
            earlier = "UPDATE grants SET expires_at = expires_at - interval '1 year' WHERE id = $1"
            self.run(self.pool.execute(earlier, one.id))

    @step(weight=2, death=DEATHS)
    def expire(self, death: Death | None) -> None:
        self.until_done(lambda: grants.expire(self.pool), death)
        assert self.run(grants.expire(self.pool)) == 0
        for who in range(2):
            self.model.expire(who)

    @step(per_call=LIMITS, per_day=LIMITS, total=LIMITS)
    def cap(self, per_call: int | None, per_day: int | None, total: int | None) -> None:
        self.model.caps = Caps(per_call, per_day, total)
        self.run(caps.put(self.pool, self.key_id, self.model.caps))

    @step(
        weight=3,
        who=WHO,
        amount=PRICES,
        is_capped=st.booleans(),
        name=st.none() | st.sampled_from(["one", "two"]),
        death=DEATHS,
    )
    def hold(self, who: int, amount: int, is_capped: bool, name: str | None, death: Death | None) -> None:
        model, call_id, is_capped = self.model, ids.new(), is_capped and who == 0
        opening = Opening(
            call_id, self.owners[who], self.earnings_id, TEST_USDC, amount,
            key_id=self.key_id if is_capped else None, name=name, digest=bytes(32),
        )  # fmt: skip
        verdict, is_gone = self.run(self.dies(self.holds.open(opening), death))
        if is_gone:
            # A hold that was opened for somebody who is gone is given up.
            self.run(self.holds.void(call_id))
            return
        is_new = name is None or (who, name) not in model.names
        is_within = not is_capped or model.is_within_caps(amount)
        assert verdict.is_open == (is_new and is_within and model.can_take(who, amount))
        if not verdict.is_open:
            return
        parts = model.draw(who, amount)
        for grant_id, part in parts.items():
            model.grants[grant_id].held += part
        model.holds[call_id] = Hold(who, amount, parts, is_capped, name)
        if name is not None:
            model.names[who, name] = call_id

    @step(
        weight=2,
        can=lambda model: bool(model.holds or model.costs),
        pick=PICKS,
        percent=PERCENT,
        share=PERCENT,
        death=DEATHS,
    )
    def post(self, pick: int, percent: int, share: int, death: Death | None) -> None:
        model = self.model
        call_id = picked([*model.holds, *model.costs], pick)
        hold = model.holds.get(call_id)
        held = hold.amount if hold else 100
        spent = held * percent // 100
        fee = spent * share // 100
        posting = Posting(
            call_id, spent, fee, "GET /x", self.publisher_id, "GET", "/x", 200, is_partial=spent < held
        )
        # Asked again, a post says that it is done.
        expected = hold is not None or model.costs[call_id] == spent
        assert self.until_done(lambda: self.holds.post(posting), death) == expected
        if hold is not None:
            model.costs[call_id] = spent
            model.close(call_id, spent)
            model.earned += spent - fee
            model.fees += fee

    # A gateway with purses does several things at a time, so that no number of statements is the same moment
    # twice; ``test_purses`` has it die at each of them.
    @step(weight=2, amount=st.integers(1, 50), share=PERCENT, death=st.none())
    def spend_ahead(self, amount: int, share: int, death: Death | None) -> None:
        """A gateway takes a purse and pays a call from it; what one that is gone leaves is swept."""
        model, call_id, fee = self.model, ids.new(), amount * share // 100
        has_plenty = model.busy >= CALLS_MIN * SHARE * amount
        posting = Posting(call_id, amount, fee, "GET /x", self.publisher_id, "GET", "/x", 200)
        gateway = Purses(self.pool, timedelta(hours=1))
        gateway.charges.patience_seconds = 0
        # No time passes: what a tick gives back would be another run's statement.
        gateway.is_ticking = True

        async def spent() -> bool:
            try:
                purse = None
                for _ in range(CALLS_MIN + 1):
                    if (purse := gateway.draw(self.busy, TEST_USDC, amount)) is None:
                        await asyncio.gather(*gateway.crew.tasks)
                return purse is not None and await gateway.charge(charge_of(purse, self.earnings_id, posting))
            finally:
                while gateway.crew.tasks:
                    await asyncio.gather(*gateway.crew.tasks)

        is_spent, is_gone = self.run(self.dies(spent(), death))
        if is_gone or (death is not None and death.is_dead):
            gateway.spenders.clear()
            self.run(self.pool.execute("UPDATE purses SET expires_at = now()"))
            self.until_done(lambda: purses.return_expired(self.pool), death)
            assert self.run(purses.return_expired(self.pool)) == 0
        else:
            self.run(gateway.close())
        assert self.run(self.pool.fetchval("SELECT count(*) FROM purses")) == 0
        charged = "SELECT count(*) = 1 FROM transfers WHERE kind = 'charge' AND cause_id = $1"
        is_charged = self.run(self.pool.fetchval(charged, call_id))
        assert is_gone or is_charged == is_spent
        assert death is not None or is_charged == has_plenty
        if is_charged:
            model.busy -= amount
            model.earned += amount - fee
            model.fees += fee

    @step(can=lambda model: bool(model.holds), pick=PICKS, death=DEATHS)
    def void(self, pick: int, death: Death | None) -> None:
        call_id = picked(self.model.holds, pick)
        done, is_gone = self.run(self.dies(self.holds.void(call_id), death))
        assert is_gone or done
        self.run(self.holds.void(call_id))
        assert not self.run(self.holds.void(call_id))
        self.close(call_id)

    @step(can=lambda model: bool(model.holds), pick=PICKS, death=DEATHS)
    def leave_open(self, pick: int, death: Death | None) -> None:
        """A gateway is gone with a call under way, another starts, and the sweeper closes what expired."""
        call_id = picked(self.model.holds, pick)
        self.run(self.holds.close())
        self.start_gateway()
        past = "UPDATE holds SET expires_at = now() - interval '1 second' WHERE call_id = $1"
        self.run(self.pool.execute(past, call_id))
        self.until_done(lambda: holds.void_expired(self.pool), death)
        assert self.run(holds.void_expired(self.pool)) == 0
        self.close(call_id)

    def close(self, call_id: UUID) -> None:
        """With nothing spent."""
        self.model.close(call_id, 0)
        self.model.names = {name: one for name, one in self.model.names.items() if one != call_id}
