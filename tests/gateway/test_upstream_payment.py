"""What a caller sends for the upstream is read strictly, and is the same payment however it is written."""

import base64
import json
from typing import Any

import pytest

from gateway import upstream_payment
from gateway.upstream_payment import Bill

PAYER, NONCE = "0x" + "aB" * 20, "0x" + "Cd" * 32
MESSAGE = {
    "from": PAYER, "to": "0x" + "11" * 20, "value": "70", "validAfter": "0", "validBefore": "9",
    "nonce": NONCE,
}  # fmt: skip
PAYLOAD = {"signature": "0x00", "authorization": MESSAGE}
ACCEPTED = {"scheme": "exact", "network": "eip155:1", "amount": "70", "asset": "0xAA", "payTo": "0x11"}
TWO: dict[str, Any] = {"x402Version": 2, "accepted": ACCEPTED, "payload": PAYLOAD}
ONE: dict[str, Any] = {"x402Version": 1, "scheme": "exact", "network": "base", "payload": PAYLOAD}
PERMIT = {
    "signature": "0x00",
    "permit2Authorization": {"from": PAYER, "nonce": "7", "permitted": {"token": "0xAA", "amount": "71"}},
}


def header(value: Any) -> str:
    return base64.b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    ("document", "name", "bill"),
    [
        (TWO, "PAYMENT-SIGNATURE", Bill("eip155:1", "0xAA", 70)),
        (ONE, "X-PAYMENT", Bill("base", None, 70)),
        (TWO | {"payload": PERMIT}, "PAYMENT-SIGNATURE", Bill("eip155:1", "0xAA", 71)),
        # The most that it says counts: a fee is a share of it.
        (TWO | {"accepted": ACCEPTED | {"amount": "1"}}, "PAYMENT-SIGNATURE", Bill("eip155:1", "0xAA", 70)),
        (TWO | {"payload": {"transaction": "AAAA"}}, "PAYMENT-SIGNATURE", Bill("eip155:1", "0xAA", 70)),
        (ONE | {"payload": {"transaction": "AAAA"}}, "X-PAYMENT", Bill("base", None, None)),
    ],
)
def test_it_goes_to_the_header_of_its_version(document: Any, name: str, bill: Bill) -> None:
    read = upstream_payment.read(header(document))
    assert (read.header, read.bill) == (name, bill)
    assert json.loads(base64.b64decode(read.value)) == document


def test_a_payment_is_who_pays_and_its_nonce() -> None:
    first = upstream_payment.read(header(TWO)).identity
    same = [
        ONE,
        TWO | {"extra": 1},
        TWO | {"payload": PAYLOAD | {"signature": "0x01"}},
        TWO
        | {"payload": PAYLOAD | {"authorization": MESSAGE | {"from": PAYER.lower(), "nonce": NONCE.lower()}}},
    ]
    assert {upstream_payment.read(header(one)).identity for one in same} == {first}
    others = [
        TWO | {"payload": PAYLOAD | {"authorization": MESSAGE | {"nonce": "0x" + "00" * 32}}},
        TWO | {"payload": PAYLOAD | {"authorization": MESSAGE | {"from": "0x" + "22" * 20}}},
        TWO | {"payload": PERMIT},
        TWO | {"payload": {"transaction": "AAAA"}},
        TWO | {"payload": {"transaction": "AAAB"}},
    ]
    assert len({upstream_payment.read(header(one)).identity for one in others} | {first}) == 6


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "%%%",
        "e30",                                                                     # no padding
        "é",
        header(b"[1]"),
        header(b"{}"),
        header(b'{"x402Version": true}'),
        header(b"[" * 9000),
        "A" * (upstream_payment.HEADER_BYTES_MAX + 1),
        header(TWO | {"x402Version": 3}),
        header(TWO | {"x402Version": 2.0}),
        header(TWO | {"x402Version": {}}),
        header(TWO | {"x402Version": [2]}),
        header(TWO | {"payload": "x"}),
        header(TWO | {"accepted": None}),
        header(TWO | {"accepted": ACCEPTED | {"network": 1}}),
        header(TWO | {"accepted": ACCEPTED | {"asset": 1}}),
        header(TWO | {"accepted": ACCEPTED | {"amount": "0.1"}}),
        header(TWO | {"accepted": ACCEPTED | {"amount": 70}}),
        header(TWO | {"accepted": ACCEPTED | {"amount": "9" * 40}}),
        header(TWO | {"accepted": ACCEPTED | {"amount": "-1"}}),
        header(TWO | {"Payload": PAYLOAD}),                                        # read by some servers
        header(TWO | {"payload": PAYLOAD | PERMIT}),
        header(TWO | {"payload": PAYLOAD | {"Authorization": MESSAGE}}),
        header(TWO | {"payload": {"signature": "0x00", "Authorization": MESSAGE}}),
        header(TWO | {"payload": {"signature": "0x00", "permit2authorization": PERMIT}}),
        header(TWO | {"payload": PAYLOAD | {"authorization": MESSAGE | {"Nonce": "0x01"}}}),
        header(TWO | {"payload": PAYLOAD | {"authorization": MESSAGE | {"nonce": "7"}}}),
        header(TWO | {"payload": PAYLOAD | {"authorization": MESSAGE | {"from": 1}}}),
        header(TWO | {"payload": PAYLOAD | {"authorization": []}}),
    ],
)  # fmt: skip
def test_anything_else_is_refused_in_words(sent: str) -> None:
    with pytest.raises(ValueError, match=r"^(is|has|does not|says|authorization\.|permit2)"):
        upstream_payment.read(sent)


def test_of_two_members_of_one_name_the_one_that_was_read_is_sent() -> None:
    text = json.dumps(TWO)[:-1] + ', "payload": ' + json.dumps(PAYLOAD | {"signature": "0x99"}) + "}"
    read = upstream_payment.read(header(text.encode()))
    assert base64.b64decode(read.value).count(b'"payload"') == 1
