import json
from fractions import Fraction
from typing import Any

import pytest

from gateway.kit.documents import BYTES_MAX, Found, amount, at, steps

EVENTS = (
    b'event: a\r\ndata: {"usage": {"cost": 1}}\r\n\r\n'
    b': comment\ndata: {"usage":\ndata: {"cost": 2}}\n\n'
    b'data:{"usage": {"cost": 3}}\r\rdata: {"usage": null}\n\ndata: [DONE]\n\n'
)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_the_last_event_counts_however_the_stream_is_cut(size: int) -> None:
    found = Found(("usage", "cost"), "text/event-stream; charset=utf-8")
    for start in range(0, len(EVENTS), size):
        found.feed(EVENTS[start : start + size])
    assert found.value() == 3


def test_an_event_that_the_stream_broke_off_in_counts_if_it_is_whole() -> None:
    found = Found(("cost",), "text/event-stream")
    found.feed(b'data: {"cost": 1}\n\ndata: {"cost": 2}')
    assert found.value() == 2
    found = Found(("cost",), "text/event-stream")
    found.feed(b'data: {"cost": 1}\n\ndata: {"cost": ')
    assert found.value() == 1


def test_what_is_kept_of_a_stream_is_bounded() -> None:
    found = Found(("cost",), "text/event-stream")
    for _ in range(40):
        found.feed(b"x" * 100_000)
        assert len(found.kept) <= BYTES_MAX
    found.feed(b"\n\n")
    for _ in range(40):
        found.feed(b"data: " + b"[" * 100_000 + b"\n")
        assert sum(map(len, found.data)) <= BYTES_MAX
    found.feed(b'\n\ndata: {"cost": 7}\n\n')
    assert found.value() == 7


@pytest.mark.parametrize(
    ("path", "document", "value"),
    [
        ("a.b", {"a": {"b": 5}}, 5),
        ("$.a.b", {"a": {"b": "x"}}, "x"),
        ("a.1.b", {"a": [{}, {"b": 5}]}, 5),
        ("a.9", {"a": [1]}, None),
        ("a.-1", {"a": [1]}, None),
        ("a.b", {"a": "text"}, None),
        ("a", [], None),
    ],
)
def test_a_path_has_names_and_positions(path: str, document: Any, value: Any) -> None:
    assert at(steps(path), json.dumps(document).encode()) == value


@pytest.mark.parametrize("document", [b"", b"{", b"\xff", b"[" * 900_000, b'{"a":' * 100_000, b"9" * 5000])
def test_what_is_no_document_has_no_value(document: bytes) -> None:
    assert at(("a",), document) is None


def test_many_brackets_that_are_not_deep_are_read() -> None:
    assert at(("a",), json.dumps({"b": [[]] * 5000 + ["[" * 5000], "a": 1}).encode()) == 1


@pytest.mark.parametrize(
    ("value", "exact"),
    [
        (1, Fraction(1)),
        ("0.1", Fraction(1, 10)),
        ("1e-6", Fraction(1, 10**6)),
        (True, None),
        (-1, None),
        ("-0", None),
        ("1e999", None),
        ("0x10", None),
        ("NaN", None),
        (" 1", None),
        (None, None),
        (10**400, None),
    ],
)
def test_an_amount_is_exact_or_none(value: object, exact: Fraction | None) -> None:
    assert amount(value) == exact
