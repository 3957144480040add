from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.api import wire_ids
from gateway.kit import ids

# The same in every process that collects these tests.
A_UUID = "5cb8fe93-3c7f-4d84-8fcc-27eb11f7b6ac"


@given(st.uuids(), st.sampled_from(["p", "org", "k", "ev"]))
def test_moving_between_the_spellings_loses_nothing(value: UUID, prefix: str) -> None:
    spelled = wire_ids.spell(prefix, value)
    assert wire_ids.read(prefix, spelled) == value
    assert wire_ids.read(prefix, spelled.lower()) == value
    assert wire_ids.read(prefix, str(value)) == value
    assert wire_ids.read_any(spelled) == value
    assert wire_ids.read("", wire_ids.spell_person(value)) == value


@given(st.uuids(), st.uuids())
def test_the_order_is_the_same(one: UUID, other: UUID) -> None:
    assert (one < other) == (wire_ids.spell("p", one) < wire_ids.spell("p", other))


def test_an_id_of_today_looks_like_one() -> None:
    assert wire_ids.spell("p", ids.new()).startswith("p_01")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "p_",
        "p_0000000000000000000000000",      # a digit short
        "p_00000000000000000000000000 ",
        "p_8ZZZZZZZZZZZZZZZZZZZZZZZZZ",     # more than 128 bits
        "p_0000000000000000000000000U",     # no such digit
        "org_00000000000000000000000000",   # another kind
        "{" + A_UUID + "}",
        "urn:uuid:" + A_UUID,
        A_UUID.replace("-", ""),                        # a person's
        "p_0000000000000000000000000٣",     # a digit, elsewhere
    ],
)  # fmt: skip
def test_what_is_no_id_is_none(text: str) -> None:
    assert wire_ids.read("p", text) is None
