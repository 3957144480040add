"""Whom a request is from, by the word of a proxy."""

from ipaddress import ip_address

import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from pydantic import ValidationError

from config.settings import Listen
from gateway.kit import proxies

TRUSTED = Listen.model_validate(
    {"trusted_proxies": '["loopback", "10.0.0.0/8", "192.0.2.1", "fd00::/8"]'}
).trusted_proxies
PEER = "10.0.0.1"
XFF, RFC = "X-Forwarded-For", "Forwarded"


def client(peer: str, *fields: tuple[str, str]) -> str:
    headers = CIMultiDictProxy(CIMultiDict(fields))
    return str(proxies.client_of(ip_address(peer), headers, TRUSTED))


@pytest.mark.parametrize(
    ("sent", "whose"),
    [
        ("203.0.113.7", "203.0.113.7"),
        # What a caller claimed stands further left.
        ("6.6.6.6, 203.0.113.7", "203.0.113.7"),
        ("10.0.0.9, 203.0.113.7", "203.0.113.7"),
        ("nonsense, 203.0.113.7", "203.0.113.7"),
        (f"{'6.6.6.6, ' * 7000}203.0.113.7", "203.0.113.7"),
        # Proxies of ours behind one another.
        ("6.6.6.6, 203.0.113.7, 10.0.0.9, 192.0.2.1", "203.0.113.7"),
        # One of ours called for itself.
        ("10.0.0.9", "10.0.0.9"),
        ("10.0.0.8, 10.0.0.9", "10.0.0.8"),
        # As balancers write addresses.
        ("203.0.113.7:4711", "203.0.113.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("2001:DB8:0::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("6.6.6.6,::ffff:10.0.0.9", "6.6.6.6"),
        ("203.0.113.7 ,10.0.0.9", "203.0.113.7"),
        # What cannot be read is the proxy's.
        ("", PEER),
        (",", PEER),
        ("203.0.113.7,", PEER),
        ("unknown", PEER),
        ("203.0.113.7, unknown, 10.0.0.9", PEER),
        ("203.0.113", PEER),
        ("203.0.113.777", PEER),
        ("203.0.113.07", PEER),
        ("3405803783", PEER),
        ("203.0.113.7:", PEER),
        ("203.0.113.7:123456", PEER),
        ("203.0.113.7/32", PEER),
        ("203.0.113.7 6.6.6.6", PEER),
        ('"203.0.113.7"', PEER),
        ("fe80::1%eth0", PEER),
        ("[2001:db8::7", PEER),
        ("[203.0.113.7", PEER),
        ("٢٠٣.0.113.7", PEER),
        ("\udcff", PEER),
        ("1" * 60_000, PEER),
        # Longer than any chain of ours.
        (f"203.0.113.7{', 10.0.0.9' * 8}", "203.0.113.7"),
        (f"203.0.113.7{', 10.0.0.9' * 9}", PEER),
    ],
)
def test_x_forwarded_for_is_read_from_the_right(sent: str, whose: str) -> None:
    assert client(PEER, (XFF, sent)) == whose


@pytest.mark.parametrize(
    ("sent", "whose"),
    [
        ("for=203.0.113.7", "203.0.113.7"),
        ('For="203.0.113.7:4711"', "203.0.113.7"),
        ('for="[2001:db8::7]:4711";proto=https', "2001:db8::7"),
        ('proto=https;for="[2001:db8::7]";by=10.0.0.1', "2001:db8::7"),
        ("for=6.6.6.6, for=203.0.113.7", "203.0.113.7"),
        ('for=6.6.6.6;by=", for=203.0.113.7', "203.0.113.7"),
        ("for=203.0.113.7;host=shop.example, for=10.0.0.9", "203.0.113.7"),
        # A host is the caller's to choose.
        ('for=203.0.113.7;host="x, for=6.6.6.6"', PEER),
        ('for=203.0.113.7;host="x, for=6.6.6.6;x=\\""', PEER),
        ('for=203.0.113.7;host="for=6.6.6.6;x"', "203.0.113.7"),
        ("for=unknown", PEER),
        ("for=_hidden", PEER),
        ("for=[2001:db8::7]", PEER),
        ("for=203.0.113.7;for=6.6.6.6", PEER),
        ("by=10.0.0.1", PEER),
        ("203.0.113.7", PEER),
        ("for=203.0.113.7;", PEER),
        ("for = 203.0.113.7", PEER),
        ("", PEER),
        (f'for=203.0.113.7;host="{"a" * 60_000}"', PEER),
        (f'for="{chr(92) * 60_000}', PEER),
    ],
)
def test_forwarded_is_read_from_the_right(sent: str, whose: str) -> None:
    assert client(PEER, (RFC, sent)) == whose


def test_lines_of_one_name_are_one_list() -> None:
    assert client(PEER, (XFF, "6.6.6.6"), (XFF, "203.0.113.7")) == "203.0.113.7"
    assert client(PEER, (XFF, "6.6.6.6, 203.0.113.7"), (XFF, "10.0.0.9, 192.0.2.1")) == "203.0.113.7"
    assert client(PEER, (RFC, "for=6.6.6.6"), (RFC, "for=203.0.113.7")) == "203.0.113.7"
    assert client(PEER, (XFF, "203.0.113.7"), (XFF, "")) == PEER


def test_two_headers_that_disagree_are_the_proxys() -> None:
    """One of them may be the caller's, passed on by a proxy that writes the other."""
    assert client(PEER, (XFF, "203.0.113.7"), (RFC, "for=203.0.113.7")) == "203.0.113.7"
    assert client(PEER, (XFF, "203.0.113.7"), (RFC, "for=6.6.6.6")) == PEER
    assert client(PEER, (XFF, "203.0.113.7"), (RFC, "nonsense")) == PEER
    assert client(PEER, (XFF, "nonsense"), (RFC, "for=203.0.113.7")) == PEER
    assert client(PEER, (XFF, "nonsense"), (RFC, "nonsense")) == PEER


@pytest.mark.parametrize(
    ("peer", "whose"),
    [
        ("127.0.0.1", "203.0.113.7"),
        ("::1", "203.0.113.7"),
        ("fd12::1", "203.0.113.7"),
        ("::ffff:10.0.0.1", "203.0.113.7"),
        ("192.0.2.1", "203.0.113.7"),
        ("192.0.2.2", "192.0.2.2"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_only_the_word_of_who_is_trusted_counts(peer: str, whose: str) -> None:
    assert client(peer, (XFF, "203.0.113.7")) == whose
    assert client(peer) == str(ip_address(peer))


@pytest.mark.parametrize(
    "value",
    [
        '["0.0.0.0/0"]', '["::/0"]', '["10.0.0.1/8"]', '["::ffff:10.0.0.0/104"]', '["proxy.example"]',
        '[""]', "[1.5]", '"loopback"', '[null]', "10.0.0.0/8",
    ],
)  # fmt: skip
def test_a_setting_that_could_mean_more_than_it_says_is_refused(value: str) -> None:
    with pytest.raises(ValidationError):
        Listen.model_validate({"trusted_proxies": value})
