"""Which keys a key may make."""

from collections.abc import Sequence

from control.api.access import Actor
from control.api_keys.models import Mode, NewSpendCaps
from gateway.kit.money import to_atomic
from gateway.kit.problem import FieldProblem, Invalid
from gateway.ledger.caps import DECIMALS, Caps


def excess(actor: Actor, granted: frozenset[str], scopes: Sequence[str] | None) -> list[str]:
    """What a key would have beyond its maker's own permissions, for a user who is granted these."""
    # A key without scopes follows its user to a higher role; a narrowed maker may not make one that outgrows
    # it.
    if scopes is None and actor.is_scoped:
        return ["every permission of its user"]
    asked = granted if scopes is None else set(scopes)
    return sorted(asked - actor.permissions)


def spends_more(actor: Actor, mode: Mode) -> bool:
    return actor.mode == "test" and mode == "live"


def merged(stored: Caps, asked: NewSpendCaps, place: str) -> Caps:
    """The stored caps with those that were sent. Null says nothing and empty text takes one away."""
    problems: list[FieldProblem] = []
    limits = {}
    for name in type(asked).model_fields:
        sent = getattr(asked, name)
        if sent is None:
            limits[name] = getattr(stored, name)
        elif sent == "":
            limits[name] = None
        else:
            limits[name] = atomic(sent, f"{place}/{name}", problems)
    if problems:
        raise Invalid(problems)
    return Caps(**limits)


def atomic(text: str, pointer: str, problems: list[FieldProblem]) -> int:
    try:
        return to_atomic(text, DECIMALS)
    except ValueError as error:
        problems.append(FieldProblem(pointer=pointer, detail=str(error)))
        return 0


def escapes(maker: Caps, scopes: Sequence[str] | None) -> bool:
    """Whether a new key would spend past its maker's caps: many keys have many times one key's caps."""
    return maker.is_set and (scopes is None or "wallet.spend" in scopes)
