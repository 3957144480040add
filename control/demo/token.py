"""The test token: what ``token.vy`` compiles to, and the calls that tests and the demonstration make.

``token.json`` holds what ``vyper -f abi,bytecode token.vy`` prints; a test notices when it is out of date.
"""

import json
from pathlib import Path
from typing import Any

COMPILED: dict[str, Any] = json.loads(Path(__file__).with_name("token.json").read_text())
ABI: list[dict[str, Any]] = COMPILED["abi"]
BYTECODE = bytes.fromhex(COMPILED["bytecode"].removeprefix("0x"))

NAME, SYMBOL, VERSION, DECIMALS = "Test Dollar", "TUSD", "1", 6

MINT = bytes.fromhex("40c10f19")
TRANSFER = bytes.fromhex("a9059cbb")
BALANCE_OF = bytes.fromhex("70a08231")


def mint(receiver: str, amount: int) -> bytes:
    return MINT + word(receiver) + amount.to_bytes(32)


def transfer(receiver: str, amount: int) -> bytes:
    return TRANSFER + word(receiver) + amount.to_bytes(32)


def balance_of(owner: str) -> bytes:
    return BALANCE_OF + word(owner)


def word(address: str) -> bytes:
    return bytes.fromhex(address.removeprefix("0x")).rjust(32, b"\0")
