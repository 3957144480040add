"""Parts of an amount: never more than there is, and the whole exactly."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.ledger.shares import share

RESTS = st.dictionaries(st.integers(0, 5), st.integers(0, 10**30), min_size=1)


@given(rests=RESTS, parts=st.lists(st.integers(0, 10**30), max_size=6))
def test_parts_come_to_the_whole(rests: dict[int, int], parts: list[int]) -> None:
    left = dict(rests)
    for part in [*parts, None]:
        total = sum(left.values())
        amount = total if part is None else min(part, total)
        taken = share(amount, left)
        assert sum(taken.values()) == amount
        assert all(0 <= taken[key] <= left[key] for key in left)
        # Nobody gives more than a unit beside their proportion.
        assert all(abs(taken[key] * total - amount * left[key]) < total for key in left if total)
        left = {key: left[key] - taken[key] for key in left}
    assert not any(left.values())
