"""Promotional money in calls: spent first, by what expires first, and a publisher is really paid with it."""

import asyncio
import re
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from control.identity import keys
from gateway.kit.sql import Pool, create_pool
from gateway.ledger import accounts, caps, grants, holds, moves, promoted
from gateway.ledger.batches import Opening
from gateway.ledger.caps import Caps
from gateway.ledger.holds import Holds
from tests.gateway.conftest import USDC, Ledger, Seller

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
async def budget(ledger: Ledger) -> None:
    await ledger.fill_budget(1_000_000)


async def wallet(ledger: Ledger, owner: UUID) -> tuple[tuple[int, int], tuple[int, int]]:
    """Promotional and funded money: posted and held of each."""
    return await ledger.balance(owner, kind="promotional"), await ledger.balance(owner)


async def test_sixty_calls_on_four_given_and_six_funded_give_ten(
    crowd: Pool, ledger: Ledger, seller: Seller
) -> None:
    owner = await ledger.funded(600)
    await ledger.grant(owner, 400)
    processes = [Holds(crowd, HOUR) for _ in range(4)]
    openings = [seller.opening(owner, 100) for _ in range(60)]
    opened = await asyncio.gather(*(processes[n % 4].open(one) for n, one in enumerate(openings)))
    assert sum(one.is_open for one in opened) == 10
    assert await wallet(ledger, owner) == ((400, 400), (600, 600))
    posted = await asyncio.gather(
        *(
            processes[n % 4].post(seller.posting(one.call_id, 100, 10))
            for n, one in enumerate(openings)
            if opened[n].is_open
        )
    )
    assert posted == [True] * 10
    assert await wallet(ledger, owner) == ((0, 0), (0, 0))
    assert await ledger.balance(seller.organization_id, kind="earnings") == (900, 0)
    assert await ledger.balance(accounts.PLATFORM, kind="fees") == (100, 0)
    assert await ledger.is_sound()


async def test_calls_that_race_for_what_does_not_divide_evenly_leave_less_than_one(
    crowd: Pool, ledger: Ledger, seller: Seller
) -> None:
    owner = await ledger.funded(333)
    for amount in (50, 7, 120):
        await ledger.grant(owner, amount)
    processes = [Holds(crowd, HOUR) for _ in range(4)]

    async def call(n: int) -> int:
        opening = seller.opening(owner, 37)
        if not (await processes[n % 4].open(opening)).is_open:
            return 0
        if n % 3 == 0:
            await processes[n % 4].void(opening.call_id)
            return 0
        assert await processes[(n + n % 2) % 4].post(seller.posting(opening.call_id, 31, 3))
        return 31

    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(call(n)) for n in range(60)]
        for _ in range(5):
            group.create_task(holds.void_expired(crowd))
    spent = sum(one.result() for one in calls)
    promotional, funded = await wallet(ledger, owner)
    assert promotional[0] + funded[0] == 510 - spent
    assert promotional[1] == funded[1] == 0
    assert await ledger.is_sound()


@pytest.mark.parametrize(
    ("given", "funded", "amount", "spent", "after"),
    [
        ([100], 100, 60, 60, (40, 100)),
        ([100], 100, 150, 150, (0, 50)),
        ([100], 100, 150, 120, (0, 80)),  # what is given back is funded money first
        ([100], 100, 150, 30, (70, 100)),
        ([100], 100, 150, 0, (100, 100)),
        ([100], 0, 100, 100, (0, 0)),
        ([30, 30, 30], 0, 70, 45, (45, 0)),
    ],
)
async def test_a_call_is_paid_from_what_was_given_first(
    ledger: Ledger,
    seller: Seller,
    holds: Holds,
    given: list[int],
    funded: int,
    amount: int,
    spent: int,
    after: tuple[int, int],
) -> None:
    owner = await ledger.funded(funded)
    for one in given:
        await ledger.grant(owner, one)
    opening = seller.opening(owner, amount)
    assert (await holds.open(opening)).is_open
    assert await holds.post(seller.posting(opening.call_id, spent))
    promotional, own = await wallet(ledger, owner)
    assert (promotional, own) == ((after[0], 0), (after[1], 0))
    assert await ledger.balance(seller.organization_id, kind="earnings") == (spent, 0)
    assert await ledger.pool.fetchval("SELECT organization_id FROM usage_events") == owner
    assert await ledger.is_sound()


async def test_the_grant_that_expires_first_is_spent_first(
    ledger: Ledger, seller: Seller, holds: Holds
) -> None:
    owner = await ledger.organization()
    for hours in (3, 1, 2):
        await ledger.grant(owner, 100, timedelta(hours=hours))
    opening = seller.opening(owner, 250)
    assert (await holds.open(opening)).is_open
    assert await ledger.grants(owner) == [(100, 0, 0), (100, 0, 0), (50, 0, 0)]
    assert await holds.post(seller.posting(opening.call_id, 120))
    assert await ledger.grants(owner) == [(0, 100, 0), (0, 20, 0), (0, 0, 0)]
    again = seller.opening(owner, 100)
    assert (await holds.open(again)).is_open
    assert await ledger.grants(owner) == [(0, 100, 0), (80, 20, 0), (20, 0, 0)]
    assert await holds.void(again.call_id)
    assert await ledger.grants(owner) == [(0, 100, 0), (0, 20, 0), (0, 0, 0)]
    assert await ledger.is_sound()


async def test_promotional_money_never_comes_back_as_earnings(ledger: Ledger, holds: Holds) -> None:
    """Neither to the organization that has it, nor to another one that the same person made."""
    person_id = uuid4()
    await ledger.pool.execute("INSERT INTO users (id, kind, name) VALUES ($1, 'agent', 'A')", person_id)
    owner, second = [await ledger.organization(person_id) for _ in range(2)]
    await ledger.grant(owner, 100)
    for seller_id in (owner, second):
        earnings_id = await accounts.ensure(ledger.pool, seller_id, USDC.id, "earnings")
        own = Seller(seller_id, await ledger.publisher(seller_id), earnings_id)
        assert (await holds.open(own.opening(owner, 50))).obstacle == "short"
        await ledger.deposit(owner, 50)
        opening = own.opening(owner, 50)
        assert (await holds.open(opening)).is_open
        assert await holds.post(own.posting(opening.call_id, 50))
    assert await wallet(ledger, owner) == ((100, 0), (0, 0))
    assert await ledger.is_sound()


async def test_a_call_to_oneself_does_not_stand_in_the_way_of_others(
    ledger: Ledger, seller: Seller, holds: Holds
) -> None:
    owner = await ledger.organization()
    await ledger.grant(owner, 100)
    earnings_id = await accounts.ensure(ledger.pool, owner, USDC.id, "earnings")
    own = Seller(owner, await ledger.publisher(owner), earnings_id)
    asked = [
        own.opening(owner, 60),
        seller.opening(owner, 60),
        own.opening(owner, 40),
        seller.opening(owner, 40),
    ]
    for ask in (holds.try_open, holds.try_open_promoted):
        opened = await holds.open_batch(asked, ask=ask)
        assert [one.is_open for one in opened] == [False, True, False, True]
        for one in asked:
            await holds.void(one.call_id)
        asked = [replace(one, call_id=uuid4()) for one in asked]
    assert await ledger.is_sound()


async def test_caps_and_keys_hold_for_promotional_money_too(
    ledger: Ledger, seller: Seller, holds: Holds
) -> None:
    owner = await ledger.organization()
    await ledger.grant(owner, 1000)
    key_id: UUID = (
        await keys.issue(ledger.pool, keys.NewKey(owner, accounts.PLATFORM, "k", "user", "test"))
    )[0]["id"]
    await caps.put(ledger.pool, key_id, Caps(per_call=100, total=250))

    def opening(amount: int, name: str | None = None) -> Opening:
        digest = bytes(32) if name else None
        return replace(seller.opening(owner, amount), key_id=key_id, name=name, digest=digest)

    assert (await holds.open(opening(101))).obstacle == "per_call"
    first = opening(100, "one")
    assert (await holds.open(first)).is_open
    assert (await holds.open(opening(100, "one"))).obstacle == "repeated"
    assert (await holds.open(opening(100))).is_open
    reached = await holds.open(opening(60))
    assert (reached.obstacle, reached.cap, reached.remaining) == ("total", 250, 50)
    assert await holds.post(replace(seller.posting(first.call_id, 40), is_partial=True))
    again = opening(100, "two")
    assert (await holds.open(again)).is_open
    assert (await holds.open(opening(100, "one"))).obstacle == "repeated"
    assert await holds.void(again.call_id)
    assert (await holds.open(opening(100, "two"))).is_open
    spending = (await caps.find(ledger.pool, [key_id]))[key_id]
    assert (spending.spent_today, spending.spent_total) == (240, 240)
    told = await ledger.pool.fetch("SELECT type FROM events WHERE type LIKE 'key%' ORDER BY created_at")
    assert [row["type"] for row in told] == ["key.cap_near", "key.cap_reached"]
    assert await ledger.is_sound()


async def test_whoever_has_nothing_left_takes_the_shorter_way_again(
    ledger: Ledger, seller: Seller, holds: Holds
) -> None:
    owner = await ledger.funded(1000)
    await ledger.grant(owner, 100)

    async def call() -> bool:
        opening = seller.opening(owner, 100)
        assert (await holds.open(opening)).is_open
        is_promoted: bool = await ledger.pool.fetchval(
            "SELECT is_promoted FROM accounts WHERE owner_id = $1 AND kind = 'funded'", owner
        )
        assert is_promoted == holds.promoted.is_known(owner, USDC.id)
        assert await holds.post(seller.posting(opening.call_id, 100))
        return is_promoted

    # The second finds that nothing is left.
    assert [await call() for _ in range(3)] == [True, False, False]
    await ledger.grant(owner, 100)
    assert await call()
    assert holds.promoted.drawn == set()
    assert await ledger.is_sound()


async def test_a_process_that_was_told_nothing_closes_what_another_opened(
    ledger: Ledger, seller: Seller, pool: Pool
) -> None:
    owner = await ledger.organization()
    await ledger.grant(owner, 300)
    one, other = Holds(pool, HOUR), Holds(pool, HOUR)
    openings = [seller.opening(owner, 100) for _ in range(3)]
    for opening in openings:
        assert (await one.open(opening)).is_open
    assert await other.post(seller.posting(openings[0].call_id, 70))
    # Asked again, a post says that it is done; another cost is another call's.
    assert await one.post(seller.posting(openings[0].call_id, 70))
    assert not await other.post(seller.posting(openings[0].call_id, 71))
    assert await other.void(openings[1].call_id)
    assert not await one.void(openings[1].call_id)
    assert await wallet(ledger, owner) == ((230, 100), (0, 0))
    assert await ledger.is_sound()


async def test_the_sweeper_voids_holds_on_promotional_money(
    ledger: Ledger, seller: Seller, pool: Pool
) -> None:
    owner = await ledger.funded(100)
    await ledger.grant(owner, 150)
    for lifetime in (timedelta(0), HOUR):
        assert (await Holds(pool, lifetime).open(seller.opening(owner, 100))).is_open
    assert await holds.void_expired(pool) == 1
    assert await wallet(ledger, owner) == ((150, 50), (100, 50))
    assert await ledger.is_sound()


async def test_closing_a_hold_on_promotional_money_happens_once(
    crowd: Pool, ledger: Ledger, seller: Seller
) -> None:
    owner = await ledger.funded(50)
    await ledger.grant(owner, 50)
    processes = [Holds(crowd, timedelta(0)) for _ in range(4)]
    opening = seller.opening(owner, 100)
    assert (await processes[0].open(opening)).is_open
    closings = [
        closing
        for process in processes
        for closing in (
            process.post(seller.posting(opening.call_id, 70)),
            process.void(opening.call_id),
            holds.void_expired(crowd),
        )
    ]
    # A post that comes second, with the same cost, says that it is done.
    await asyncio.gather(*closings)
    promotional, funded = await wallet(ledger, owner)
    assert (promotional, funded) in [((0, 0), (30, 0)), ((50, 0), (50, 0))]
    assert await ledger.is_sound()


async def test_low_balances_are_told_of_both_together(ledger: Ledger, seller: Seller, holds: Holds) -> None:
    owner = await ledger.funded(100)
    await ledger.grant(owner, 100)
    for spent in (90, 20):
        opening = seller.opening(owner, 100)
        assert (await holds.open(opening)).is_open
        assert await holds.post(replace(seller.posting(opening.call_id, spent), alert_below=100))
    told = await ledger.pool.fetch("SELECT payload FROM events WHERE type = 'wallet.balance_low'")
    assert [row["payload"]["balance_atomic"] for row in told] == ["90"]


async def test_nothing_of_a_promoted_call_reads_a_whole_table(server: str, database: str) -> None:
    async with create_pool(server, database=database, is_planned_once=True) as pool, pool.acquire() as one:
        for name in ("open", "post", "void"):
            explain = await one.prepare(f"EXPLAIN (GENERIC_PLAN) {getattr(promoted.SQL, name)}")
            lines = [row[0].strip() for row in await explain.fetch(*[None for _ in explain.get_parameters()])]
            scans = [
                at for at, line in enumerate(lines) if re.search(r"(Index|Index Only|Seq|Tid) Scan", line)
            ]
            assert [lines[at] for at in scans if "Index Cond" not in lines[at + 1]] == [], name


async def test_a_hold_draws_on_its_payers_promotional_money_only(ledger: Ledger, seller: Seller) -> None:
    owner, other = [await ledger.organization() for _ in range(2)]
    payer_id = await ledger.deposit(owner, 100)
    promotional_id = await accounts.ensure(ledger.pool, other, USDC.id, "promotional")
    for strange in (promotional_id, payer_id, uuid4()):
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await ledger.pool.execute(
                "INSERT INTO holds (call_id, payer_id, payee_id, asset_id, amount, expires_at,"
                " promotional_id, promotional_amount) VALUES ($1, $2, $3, $4, 10, now(), $5, 10)",
                uuid4(), payer_id, seller.earnings_id, USDC.id, strange,
            )  # fmt: skip


class TestExpiry:
    async def test_what_is_not_spent_goes_back_and_what_is_held_may_still_be_spent(
        self, ledger: Ledger, seller: Seller, holds: Holds
    ) -> None:
        owner = await ledger.organization()
        await ledger.deposit(owner, 1000)
        grant_id = await ledger.grant(owner, 100)
        held = [seller.opening(owner, 30) for _ in range(2)]
        for one in held:
            assert (await holds.open(one)).is_open
        await ledger.pool.execute("UPDATE grants SET expires_at = now() WHERE id = $1", grant_id)
        assert await grants.expire(ledger.pool) == 1
        assert await ledger.grants(owner) == [(60, 0, 40)]
        # A call that begins now has no part in it.
        late = seller.opening(owner, 100)
        assert (await holds.open(late)).is_open
        assert await wallet(ledger, owner) == ((60, 60), (1000, 100))
        assert await grants.expire(ledger.pool) == 0
        assert await holds.post(seller.posting(held[0].call_id, 20))
        assert await holds.void(held[1].call_id)
        assert await ledger.grants(owner) == [(0, 20, 40)]
        assert await grants.expire(ledger.pool) == 1
        assert await ledger.grants(owner) == [(0, 20, 80)]
        assert await ledger.balance(accounts.PLATFORM, kind="promotion_budget") == (1_000_000 - 20, 0)
        told = await ledger.pool.fetch(
            "SELECT payload ->> 'amount_atomic' AS amount FROM events WHERE type = 'wallet.grant_expired'"
            " ORDER BY created_at"
        )
        assert [row["amount"] for row in told] == ["40", "40"]
        assert await ledger.is_sound()

    async def test_what_expired_is_not_spent_before_the_job_has_seen_it(
        self, ledger: Ledger, seller: Seller, holds: Holds
    ) -> None:
        owner = await ledger.organization()
        await ledger.deposit(owner, 50)
        await ledger.grant(owner, 100, timedelta(0))
        assert (await holds.open(seller.opening(owner, 100))).obstacle == "short"
        assert (await holds.open(seller.opening(owner, 50))).is_open
        assert await wallet(ledger, owner) == ((100, 0), (50, 50))

    async def test_expiry_racing_calls_loses_nothing(
        self, crowd: Pool, ledger: Ledger, seller: Seller
    ) -> None:
        owner = await ledger.organization()
        await ledger.deposit(owner, 500)
        grant_id = await ledger.grant(owner, 500)
        processes = [Holds(crowd, HOUR) for _ in range(3)]

        async def call(n: int) -> int:
            await asyncio.sleep(n * 0.004)
            opening = seller.opening(owner, 10)
            if not (await processes[n % 3].open(opening)).is_open:
                return 0
            await asyncio.sleep(0.02)
            if n % 4 == 0:
                await processes[n % 3].void(opening.call_id)
                return 0
            assert await processes[n % 3].post(seller.posting(opening.call_id, 7, 1))
            return 7

        async def expire(n: int) -> None:
            await asyncio.sleep(n * 0.01)
            if n == 12:
                await crowd.execute("UPDATE grants SET expires_at = now() WHERE id = $1", grant_id)
            await grants.expire(crowd)

        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(call(n)) for n in range(80)]
            for n in range(40):
                group.create_task(expire(n))
        await grants.expire(crowd)
        ((held, spent, expired),) = await ledger.grants(owner)
        assert (held, spent + expired) == (0, 500)
        paid = sum(one.result() for one in calls)
        assert await wallet(ledger, owner) == ((0, 0), (500 - (paid - spent), 0))
        assert await ledger.is_sound()

    async def test_a_crash_between_its_steps_undoes_both(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        owner = await ledger.organization()
        await ledger.grant(owner, 100, timedelta(0))

        async def crash(*_: object) -> None:
            raise RuntimeError("killed")

        with monkeypatch.context() as patch:
            patch.setattr(moves, "move", crash)
            with pytest.raises(RuntimeError):
                await grants.expire(ledger.pool)
        assert await ledger.grants(owner) == [(0, 0, 0)]
        assert await grants.expire(ledger.pool) == 1
        assert await ledger.grants(owner) == [(0, 0, 100)]
        assert await ledger.is_sound()


class TestGiving:
    async def test_two_hundred_at_once_for_one_cause_give_one(self, crowd: Pool, ledger: Ledger) -> None:
        owner, cause_id = await ledger.organization(), uuid4()
        new = grants.NewGrant(owner, USDC.id, 100, "daily", cause_id, "Daily claim", await tomorrow(crowd))

        async def give() -> bool:
            async with crowd.acquire(timeout=30) as connection, connection.transaction():
                return await grants.give(connection, new) is not None

        assert sum(await asyncio.gather(*(give() for _ in range(200)))) == 1
        assert await ledger.balance(owner, kind="promotional") == (100, 0)
        assert await ledger.is_sound()

    async def test_an_empty_budget_gives_nothing_and_leaves_nothing(
        self, crowd: Pool, ledger: Ledger
    ) -> None:
        owners = [await ledger.organization() for _ in range(20)]
        expires_at = await tomorrow(crowd)

        async def give(owner: UUID) -> bool:
            async with crowd.acquire() as connection, connection.transaction():
                new = grants.NewGrant(owner, USDC.id, 100_000, "gift", uuid4(), "Gift", expires_at)
                try:
                    return await grants.give(connection, new) is not None
                except moves.Short:
                    return False

        assert sum(await asyncio.gather(*map(give, owners))) == 10
        assert await ledger.balance(accounts.PLATFORM, kind="promotion_budget") == (0, 0)
        assert await crowd.fetchval("SELECT count(*) FROM grants") == 10
        assert await crowd.fetchval("SELECT count(*) FROM events") == 10
        assert await ledger.is_sound()

    async def test_the_budget_is_filled_from_fees_as_far_as_there_are_some(self, ledger: Ledger) -> None:
        with pytest.raises(moves.Short):
            await grants.fill(ledger.pool, USDC.id, 1, "fees", uuid4())
        assert await ledger.balance(accounts.PLATFORM, kind="promotion_budget") == (1_000_000, 0)


async def tomorrow(pool: Pool) -> datetime:
    at: datetime = await pool.fetchval("SELECT now() + interval '1 day'")
    return at
