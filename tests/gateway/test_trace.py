import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.kit import ids, trace

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{SPAN}-01"


def headers(*values: str) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict([("traceparent", value) for value in values]))


@pytest.mark.parametrize(
    ("value", "is_valid"),
    [
        (VALID, True),
        (f"00-{TRACE}-{SPAN}-00", True),
        (f"00-{TRACE}-{SPAN}-ff", True),              # flags that nobody has given a meaning yet
        (f"cc-{TRACE}-{SPAN}-01", True),              # a later version
        (f"cc-{TRACE}-{SPAN}-01-what-comes", True),   # which may say more
        (f"cc-{TRACE}-{SPAN}-01.what-comes", False),  # behind a dash only
        (f"00-{TRACE}-{SPAN}-01-more", False),        # and this version may not
        (f"ff-{TRACE}-{SPAN}-01", False),             # a version that will never be
        (f"00-{'0' * 32}-{SPAN}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (VALID.upper(), False),                       # lower case only
        (f"00-{TRACE}-{SPAN}", False),
        (f" {VALID}", False),
        ("", False),
        ("\udcff" * 55, False),
    ],
)  # fmt: skip
def test_a_trace_is_read_or_counts_as_none(value: str, is_valid: bool) -> None:
    assert (trace.read(value) is not None) == is_valid


def test_a_trace_goes_on_with_a_span_of_ours() -> None:
    call_id = ids.new()
    found = trace.of(headers(VALID), call_id, None)
    assert found is not None
    assert (found.trace_id, found.parent_id, found.is_sampled) == (TRACE, SPAN, True)
    assert found.header == f"00-{TRACE}-{found.span_id}-01"
    assert found.span_id != SPAN
    assert trace.read(found.header) == (TRACE, found.span_id, 1)


def test_two_headers_are_none() -> None:
    assert trace.of(headers(VALID, VALID), ids.new(), None) is None


def test_without_a_sampler_no_trace_begins_here() -> None:
    assert trace.of(headers(), ids.new(), None) is None


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_sampler_decides_for_a_trace_that_begins_here(is_kept: bool) -> None:
    found = trace.of(headers("nonsense"), ids.new(), lambda trace_id, parent: is_kept)
    assert found is not None
    assert (found.parent_id, found.is_sampled) == (None, is_kept)
    assert trace.read(found.header) is not None
