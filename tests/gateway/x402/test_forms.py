"""The members of a payment are read if they are of these forms, to the letter, and else refused."""

import random
import re
import string
from collections.abc import Callable

from gateway.x402 import shapes
from gateway.x402.facilitator import PaymentInvalid

ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
NONCE = re.compile(r"0x[0-9a-fA-F]{64}", re.ASCII)
SIGNATURE = re.compile(r"0x(?:[0-9a-fA-F]{2}){1,2048}", re.ASCII)
NUMBER = re.compile(r"0|[1-9][0-9]{0,77}", re.ASCII)

TIMES = 3000
OTHERS = string.hexdigits + "xXgG _+-\n\t\0é٣"


def test_what_is_read_is_of_its_form() -> None:
    draw = random.Random(9)
    for _ in range(TIMES):
        text = changed(draw, digits(draw, 40))
        assert is_read(lambda one: shapes.address(one, "from"), text) == bool(ADDRESS.fullmatch(text)), text
        text = changed(draw, digits(draw, 64))
        assert is_read(lambda one: shapes.octets(one, "nonce", 32, 32), text) == bool(NONCE.fullmatch(text))
        text = changed(draw, digits(draw, draw.choice([0, 1, 2, 130, 4096, 4098])))
        is_signature = bool(SIGNATURE.fullmatch(text))
        assert is_read(lambda one: shapes.octets(one, "signature", 1, 2048), text) == is_signature, text
        text = changed(draw, str(draw.randrange(10 ** draw.choice([1, 5, 40, 77, 78]))))
        is_number = NUMBER.fullmatch(text) is not None and int(text) < 1 << 256
        assert is_read(lambda one: shapes.number(one, "value"), text) == is_number, text


def digits(draw: random.Random, count: int) -> str:
    return "0x" + "".join(draw.choices(string.hexdigits, k=count))


def changed(draw: random.Random, text: str) -> str:
    """In up to two places, or as it was."""
    for _ in range(draw.choice([0, 0, 1, 2])):
        at = draw.randrange(len(text) + 1)
        text = text[:at] + draw.choice(["", draw.choice(OTHERS)]) + text[at + draw.choice([0, 1]) :]
    return text


def is_read(read: Callable[[str], object], text: str) -> bool:
    try:
        read(text)
    except PaymentInvalid:
        return False
    return True
