"""Rules about the paid call: its stages are in the order that they say they are in."""

import ast
import re
from itertools import groupby
from pathlib import Path

import pytest

GATEWAY = Path(__file__).parents[2] / "gateway"
STAGES = ("admit", "match", "identify", "limit", "price", "protect", "pay", "forward", "settle")


def test_the_call_names_every_stage_in_order() -> None:
    tree = ast.parse((GATEWAY / "call.py").read_text())
    calls = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    in_order = [one.func.id for one in sorted(calls, key=lambda one: (one.lineno, one.col_offset))]  # type: ignore[attr-defined]
    # A stage may stand twice in a row, for a call whose head is known and for one whose head is not.
    assert tuple(name for name, _ in groupby(name for name in in_order if name in STAGES)) == STAGES


@pytest.mark.parametrize(("number", "stage"), list(enumerate(STAGES, 1)))
def test_a_stage_says_its_place(number: int, stage: str) -> None:
    docstring = ast.get_docstring(ast.parse((GATEWAY / f"{stage}.py").read_text())) or ""
    before = f"after {STAGES[number - 2]}" if number > 1 else ""
    after = f"before {STAGES[number]}" if number < len(STAGES) else ""
    place = ", ".join(filter(None, [f"Stage {number} of {len(STAGES)}", before, after]))
    assert docstring.startswith(f"{place}: ")


@pytest.mark.parametrize("package", ["ledger", "x402", "rails"])
def test_money_is_never_a_float(package: str) -> None:
    for path in GATEWAY.glob(f"{package}/*.py"):
        text = path.read_text()
        # Seconds are what a float may count here.
        floats = [
            line for line in text.splitlines() if re.search(r"\bfloat\b", line) and "seconds" not in line
        ]
        assert [line for line in floats if not re.search(r"known_at|retry_at|resend_at", line)] == []
